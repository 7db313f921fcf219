"""In which order a network's maps lie in memory, and how wide it is, which decides that."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.nn.geometry import geometry_of

SIDE = 64
"""Of the picture that a network is watched at, in pixels; volumes have half of it."""

WIDE, LEAST_WIDE = 64, 2 / 3
"""Channels on both sides of a wide convolution, and what share of a network's work they must do."""


def training_layout(network: nn.Module) -> torch.memory_format:
    """What steps of ``network`` are fastest in, on the device it is on now.

    The channels of a pixel lie together, but for wide networks on a CPU: oneDNN's convolutions are quicker
    plane by plane there (the log has both).
    """
    if getattr(network, "dimensions", 2) == 3:
        return torch.channels_last_3d
    on_cpu = next(network.parameters()).device.type == "cpu"
    told = hasattr(network, "config")  # what it takes; a network of one's own need not tell
    if on_cpu and told and is_wide(network, small_image(network)):
        return torch.contiguous_format
    return torch.channels_last


def is_wide(network: nn.Module, image: Float[Tensor, "b c h w"]) -> bool:
    """Whether most of the work on ``image`` is done in convolutions of many channels."""
    return wide_share(network, image) >= LEAST_WIDE


@torch.no_grad()
def wide_share(network: nn.Module, image: Float[Tensor, "b c h w"]) -> float:
    """The share of multiplications in convolutions that wide ones do; 0 where there are none.

    The network is watched in evaluation mode.
    """
    work = {True: 0, False: 0}

    def count(module: nn.Module, _: Any, answer: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        wide = min(module.in_channels, module.out_channels) >= WIDE
        work[wide] += module.weight.numel() * answer[:, 0].numel()

    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    hooks = [module.register_forward_hook(count) for module in convolutions]
    training = network.training
    try:
        network.eval()(image)
    finally:
        network.train(training)
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
