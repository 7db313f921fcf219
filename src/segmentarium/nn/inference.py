"""A network made ready to answer: the same answers, to a few parts in a hundred thousand, sooner.

Norms are folded into convolutions. On a CPU most 3x3 convolutions are then computed by Winograd's algorithm,
on maps that lie plane by plane; on other devices, and where torch's idle threads would hold up those of the
algorithm, the channels of a pixel lie together.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.nn.folding import folded
from segmentarium.nn.geometry import geometry_of
from segmentarium.waiting import GIVE_WAY

SIDE = 64
"""Of the picture that a network is watched at, in pixels; volumes have half of it."""

TILE = 6
"""Pixels a side that come of one transform, which takes 64 multiplications in place of 9 a pixel."""

FEWEST_TILES, FEWEST_CHANNELS = 16, 16
"""With less the transforms of weights and maps cost more than they save."""

MOST_WORK = 0.4
"""Share of the usual multiplications above which nothing is gained: tiles stick out of small maps."""


def prepared(network: nn.Module) -> nn.Module:
    """A copy of ``network`` in evaluation mode that answers sooner, on the device it is on now.

    ``network`` stays as it is; the copy cannot be trained, saved in its place or exported.
    """
    quick = folded(network, small_image(network))
    if getattr(network, "dimensions", 2) != 2:
        return quick
    if not has_winograd(next(network.parameters())):
        return quick.to(memory_format=torch.channels_last)
    for path, module in list(quick.to(memory_format=torch.contiguous_format).named_modules()):
        if is_winograd(module):
            quick.set_submodule(path, WinogradConvolution(module))
        elif isinstance(module, nn.MaxPool2d) and not module.return_indices:
            module.register_forward_pre_hook(_channels_last)  # twice as fast, with both copies
            module.register_forward_hook(_plane_by_plane)
    return quick


def _channels_last(_: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    return inputs[0].contiguous(memory_format=torch.channels_last)


def _plane_by_plane(_: nn.Module, __: tuple[Tensor], pooled: Tensor) -> Tensor:
    return pooled.contiguous()


def has_winograd(weight: Tensor) -> bool:
    """Whether Winograd's algorithm is to be had, and sooner, where and as ``weight`` is."""
    here = weight.device.type == "cpu" and weight.dtype == torch.float32
    undisturbed = GIVE_WAY or torch.get_num_threads() == 1
    return here and undisturbed and torch.backends.nnpack.is_available()


def small_image(network: Any) -> Float[Tensor, "1 c ..."]:
    """Noise of a size that ``network`` takes, the same each time."""
    weight = next(network.parameters())
    axes = getattr(network, "dimensions", 2)
    side = geometry_of(network).input_side(SIDE if axes == 2 else SIDE // 2)
    draw = torch.Generator().manual_seed(0)
    return torch.rand(1, network.config.in_channels, *[side] * axes, generator=draw).to(weight)


def is_winograd(module: nn.Module) -> bool:
    """Whether Winograd's algorithm is for ``module``: a plain 3x3 convolution that keeps the size."""
    return (
        type(module) is nn.Conv2d
        and (module.kernel_size, module.stride, module.groups) == ((3, 3), (1, 1), 1)
        and module.padding == module.dilation == module.dilation[:1] * 2
        and module.padding_mode == "zeros"
        and min(module.in_channels, module.out_channels) >= FEWEST_CHANNELS
    )


class WinogradConvolution(nn.Conv2d):
    """``convolution`` by Winograd's algorithm, F(6x6, 3x3), as NNPACK has it in PyTorch.

    Dilated by d, it is d x d convolutions of every d-th pixel. NNPACK is quick with one image only: these
    parts, and the images of a batch, are laid out side by side, a line of zeros apart. Maps for which that
    saves nothing are convolved as usual, and so is all that is not in single precision on a CPU.

    Source: Lavin and Gray 2015, arXiv:1509.09308; errors of some 1e-5 of the largest value.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        inputs, outputs, step = convolution.in_channels, convolution.out_channels, convolution.dilation[0]
        super().__init__(inputs, outputs, 3, padding=step, dilation=step, device="meta")
        bias = convolution.bias if convolution.bias is not None else convolution.weight.new_zeros(outputs)
        self.weight = nn.Parameter(convolution.weight.contiguous(), requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.eval()

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        images, channels, height, width = maps.shape
        step = self.dilation[0]
        if maps.device.type != "cpu" or maps.dtype != torch.float32:
            return super().forward(maps)
        if images == step == 1:
            if not worthwhile(height, width, pixels=height * width):
                return super().forward(maps)
            return self._convolve(maps)
        tall, wide = -(-height // step), -(-width // step)
        rows, columns = images * step * (tall + 1), step * (wide + 1)
        if not worthwhile(rows, columns, pixels=maps[:, 0].numel()):
            return super().forward(maps)
        whole = functional.pad(maps, (0, step * wide - width, 0, step * tall - height))
        sheet = maps.new_zeros(channels, images, step, tall + 1, step, wide + 1)
        parts = whole.reshape(images, channels, tall, step, wide, step)
        sheet[:, :, :, :tall, :, :wide] = parts.permute(1, 0, 3, 2, 5, 4)
        found = self._convolve(sheet.view(1, channels, rows, columns)).view(-1, *sheet.shape[1:])
        joined = found[:, :, :, :tall, :, :wide].permute(1, 0, 3, 2, 5, 4)
        return joined.reshape(images, -1, step * tall, step * wide)[..., :height, :width]

    def _convolve(self, maps: Tensor) -> Tensor:
        return torch._nnpack_spatial_convolution(maps.contiguous(), self.weight, self.bias, [1, 1])


def worthwhile(rows: int, columns: int, *, pixels: int) -> bool:
    """Whether tiles for ``rows`` of ``columns`` are less work than ``pixels`` by themselves."""
    tiles = -(-rows // TILE) * -(-columns // TILE)
    return tiles >= FEWEST_TILES and tiles * 64 <= MOST_WORK * 9 * pixels
