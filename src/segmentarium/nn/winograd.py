"""Plain 3x3 convolutions by Winograd's algorithm, F(6x6, 3x3), as NNPACK has it in PyTorch.

Source: Lavin and Gray 2015, arXiv:1509.09308. 36 pixels take 64 multiplications in place of 324; errors are
some 1e-5 of the largest value. Only in single precision on a CPU, and on maps that lie plane by plane.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.waiting import GIVE_WAY

HERE = torch.backends.nnpack.is_available()
"""Whether this machine has NNPACK. It must be asked once in a process: that also makes it ready."""

TILE = 6
"""Pixels a side that come of one transform, which takes 64 multiplications in place of 9 a pixel."""

FEWEST_TILES, FEWEST_CHANNELS = 16, 16
"""With less the transforms of weights and maps cost more than they save."""

MOST_WORK = 0.4
"""Share of the usual multiplications above which nothing is gained: tiles stick out of small maps."""


def has_winograd(weight: Tensor) -> bool:
    """Whether the algorithm is to be had, and sooner, where and as ``weight`` is.

    NNPACK has threads of its own; those of torch would keep the cores from them, unless they give way.
    """
    undisturbed = GIVE_WAY or torch.get_num_threads() == 1
    return undisturbed and _is_possible(weight)


def _is_possible(values: Tensor) -> bool:
    return HERE and values.device.type == "cpu" and values.dtype == torch.float32


def is_winograd(module: nn.Module) -> bool:
    """Whether the algorithm is for ``module``: a plain 3x3 convolution that keeps the size."""
    return (
        type(module) is nn.Conv2d
        and module.padding_mode == "zeros"
        and _is_plain(module.weight, module.stride, module.padding, module.dilation, module.groups)
        and min(module.in_channels, module.out_channels) >= FEWEST_CHANNELS
    )


def _is_plain(weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: Any) -> bool:
    kept = padding == dilation == dilation[:1] * 2
    return kept and (*weight.shape[2:], *stride, groups) == (3, 3, 1, 1, 1)


def worthwhile(rows: int, columns: int, *, pixels: int) -> bool:
    """Whether tiles for ``rows`` of ``columns`` are less work than ``pixels`` by themselves."""
    tiles = -(-rows // TILE) * -(-columns // TILE)
    return tiles >= FEWEST_TILES and tiles * 64 <= MOST_WORK * 9 * pixels


class Sheet:
    """How maps lie side by side in one, a line of zeros apart, for a convolution dilated by ``step``.

    NNPACK is quick with one image only, and knows no dilation: dilated by d, a convolution is d x d of every
    d-th pixel. These parts, and the images of a batch, become one image.
    """

    def __init__(self, maps: Float[Tensor, "b c h w"], step: int) -> None:
        self.images, _, self.height, self.width = maps.shape
        self.step, self.single = step, self.images == step == 1
        self.tall, self.wide = -(-self.height // step), -(-self.width // step)

    @property
    def worthwhile(self) -> bool:
        pixels = self.images * self.height * self.width
        apart = 0 if self.single else 1
        rows, columns = self.images * self.step * (self.tall + apart), self.step * (self.wide + apart)
        return worthwhile(rows, columns, pixels=pixels)

    def convolve(
        self, maps: Float[Tensor, "b c h w"], weight: Tensor, bias: Tensor | None
    ) -> Float[Tensor, "b k h w"]:
        laid = maps.contiguous() if self.single else self._laid(maps)
        found = torch._nnpack_spatial_convolution(laid, weight.contiguous(), bias, [1, 1])
        return found if self.single else self._picked(found)

    def _laid(self, maps: Tensor) -> Float[Tensor, "1 c rows columns"]:
        step, tall, wide = self.step, self.tall, self.wide
        whole = functional.pad(maps, (0, step * wide - self.width, 0, step * tall - self.height))
        channels = maps.shape[1]
        sheet = maps.new_zeros(channels, self.images, step, tall + 1, step, wide + 1)
        parts = whole.reshape(self.images, channels, tall, step, wide, step)
        sheet[:, :, :, :tall, :, :wide] = parts.permute(1, 0, 3, 2, 5, 4)
        return sheet.view(1, channels, self.images * step * (tall + 1), step * (wide + 1))

    def _picked(self, found: Tensor) -> Tensor:
        step, tall, wide = self.step, self.tall, self.wide
        sheet = found.view(-1, self.images, step, tall + 1, step, wide + 1)[:, :, :, :tall, :, :wide]
        joined = sheet.permute(1, 0, 3, 2, 5, 4).reshape(self.images, -1, step * tall, step * wide)
        return joined[..., : self.height, : self.width].contiguous()


class WinogradConvolution(nn.Conv2d):
    """``convolution`` by the algorithm, for answering only.

    Maps for which that saves nothing are convolved as usual, and so is all that is not in single precision on
    a CPU.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        inputs, outputs, step = convolution.in_channels, convolution.out_channels, convolution.dilation[0]
        super().__init__(inputs, outputs, 3, padding=step, dilation=step, device="meta")
        bias = convolution.bias if convolution.bias is not None else convolution.weight.new_zeros(outputs)
        self.weight = nn.Parameter(convolution.weight.contiguous(), requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.eval()

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        sheet = Sheet(maps, self.dilation[0])
        if _is_possible(maps) and sheet.worthwhile:
            return sheet.convolve(maps, self.weight, self.bias)
        return super().forward(maps)
