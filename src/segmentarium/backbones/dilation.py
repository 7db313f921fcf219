"""Output stride: the last stages of an encoder stop shrinking their maps and dilate convolutions instead.

A trained convolution of stride 2 can be given stride 1 if all that follow look twice as far; no weight
changes. So one set of weights serves every output stride, and :class:`~segmentarium.backbones.Encoder` trains
at one and answers at another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import nn

from segmentarium.errors import BadArgument
from segmentarium.nn.aspp import dilate

STAGES = {"layer3": 16, "layer4": 32}
"""The stages of timm's ResNets that may be dilated, with the stride of their maps otherwise."""


class Reach(NamedTuple):
    """Which pixels a convolution looks at: all of it that depends on the output stride."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: Any  # two numbers, or timm's word for padding at run time


def reaches(body: nn.Module) -> dict[str, Reach]:
    """What each convolution of ``body`` is set to, by its name."""
    return {name: Reach(c.stride, c.dilation, c.padding) for name, c in _convolutions(body).items()}


def reach(body: nn.Module, settings: dict[str, Reach]) -> None:
    """Set the convolutions of ``body`` as :func:`reaches` found them, in it or in its twin."""
    for name, convolution in _convolutions(body).items():
        convolution.stride, convolution.dilation, convolution.padding = settings[name]


def dilate_stages(
    body: nn.Module, multi_grid: Sequence[int], *, output_stride: int, trained_stride: int
) -> None:
    """Give all blocks of a ResNet's dilated stages the stage's rate, those of the last ``multi_grid`` times.

    Only stages that are dilated in training: one that still shrinks its map there has a first convolution of
    stride 2, which without the stride must look where it looked before, as timm lets it.

    Args:
        multi_grid: one number a block of the last stage; all 1 for the plain rates.
        output_stride: 8, 16 or 32; a stage whose map would have stride s has rate s / output_stride.
        trained_stride: the output stride of training.

    Raises:
        BadArgument: ``body`` has no such stages, or the last one another number of blocks.

    Source: Chen et al. 2017, arXiv:1706.05587, section 3.2.1.
    """
    stages = {name: list(getattr(body, name, ())) for name in STAGES}
    if len(stages["layer4"]) != len(multi_grid):
        raise BadArgument(
            f"multi_grid: {tuple(multi_grid)} for a last stage of {len(stages['layer4'])} blocks",
            allowed="one rate a block of a ResNet's layer4, or none",
        )
    for name, blocks in stages.items():
        if STAGES[name] <= trained_stride and name != "layer4":
            continue
        times = multi_grid if name == "layer4" else [1] * len(blocks)
        for block, factor in zip(blocks, times, strict=True):
            dilate(block, STAGES[name] // output_stride * factor)


def require_twins(body: nn.Module, twin: nn.Module, *, what: str) -> None:
    """Refuse two forms of an encoder that differ in more than the reach of their convolutions.

    Raises:
        BadArgument: a pooling or an anti-aliasing layer differs too, so that no setting makes one the other.
    """
    if _others(body) != _others(twin):
        raise BadArgument(
            f"{what} differ in more than their convolutions",
            allowed="one output stride for training and test",
        )


def _convolutions(body: nn.Module) -> dict[str, nn.Conv2d]:
    return {name: module for name, module in body.named_modules() if isinstance(module, nn.Conv2d)}


def _others(body: nn.Module) -> dict[str, str]:
    """All that is no convolution and has no parts, as it shows itself."""
    leaves = {name: m for name, m in body.named_modules() if not any(True for _ in m.children())}
    return {name: repr(m) for name, m in leaves.items() if not isinstance(m, nn.Conv2d)}
