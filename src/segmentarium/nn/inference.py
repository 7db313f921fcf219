"""A network made ready to answer: the same answers, to a few parts in a hundred thousand, sooner.

Norms are folded into convolutions. On a CPU most 3x3 convolutions of a wide network are then computed by
Winograd's algorithm, on maps that lie plane by plane. In a narrow one, on other devices, and where torch's
idle threads would hold up those of the algorithm, the channels of a pixel lie together.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.nn.folding import folded
from segmentarium.nn.geometry import geometry_of
from segmentarium.nn.winograd import WinogradConvolution, has_winograd, is_winograd

SIDE = 64
"""Of the picture that a network is watched at, in pixels; volumes have half of it."""

WIDE, LEAST_WIDE = 64, 2 / 3
"""Channels on both sides of a wide convolution, and what share of a network's work they must do."""


def prepared(network: nn.Module) -> nn.Module:
    """A copy of ``network`` in evaluation mode that answers sooner, on the device it is on now.

    ``network`` stays as it is; the copy cannot be trained, saved in its place or exported.
    """
    image = small_image(network)
    quick = folded(network, image)
    if getattr(network, "dimensions", 2) != 2:
        return quick
    if not has_winograd(next(network.parameters())) or wide_share(quick, image) < LEAST_WIDE:
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


@torch.no_grad()
def wide_share(network: nn.Module, image: Float[Tensor, "b c h w"]) -> float:
    """The share of multiplications in convolutions that wide ones do; 0 where there are none."""
    work = {True: 0, False: 0}

    def count(module: nn.Module, _: Any, answer: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        wide = min(module.in_channels, module.out_channels) >= WIDE
        work[wide] += module.weight.numel() * answer[:, 0].numel()

    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [module.register_forward_hook(count) for module in convolutions]
    try:
        network(image)
    finally:
        for hook in hooks:
            hook.remove()
    return work[True] / max(1, sum(work.values()))


def small_image(network: Any) -> Float[Tensor, "1 c ..."]:
    """Noise of a size that ``network`` takes, the same each time."""
    weight = next(network.parameters())
    axes = getattr(network, "dimensions", 2)
    side = geometry_of(network).input_side(SIDE if axes == 2 else SIDE // 2)
    draw = torch.Generator().manual_seed(0)
    return torch.rand(1, network.config.in_channels, *[side] * axes, generator=draw).to(weight)
