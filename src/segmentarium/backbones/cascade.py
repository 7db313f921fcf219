"""Going deeper with atrous convolution: copies of a ResNet's last stage, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import TypeVar

from torch import nn

from segmentarium.backbones.dilation import STAGES
from segmentarium.backbones.encoder import Encoder
from segmentarium.errors import BadArgument
from segmentarium.nn.aspp import dilate

Self = TypeVar("Self", bound="Cascade")


class Cascade(nn.Sequential):
    """block5, block6 and so on, each like the encoder's block4 and looking twice as far as the one before.

    A block has as many bottlenecks as block4, all copies of its last one (its first takes 1024 channels),
    each of as many times the block's rate as ``multi_grid`` says. Weights are copied too. The rate follows
    the encoder's output stride, which may differ between training and test.

    Args:
        encoder: a ResNet of timm; it is left alone.
        blocks: how many copies: 3 make the paper's network of seven blocks.
        multi_grid: as for the encoder, one number a bottleneck.

    Raises:
        BadArgument: the encoder has no stage ``layer4``, or it has another number of bottlenecks.

    Source: Chen et al. 2017, arXiv:1706.05587, section 3.2 and figure 3.
    """

    def __init__(self, encoder: Encoder, *, blocks: int, multi_grid: Sequence[int]) -> None:
        stage = list(getattr(encoder.body, "layer4", ()))
        if len(stage) != len(multi_grid):
            raise BadArgument(
                f"multi_grid: {tuple(multi_grid)} for blocks of {len(stage)} bottlenecks",
                allowed="one rate a bottleneck of a ResNet's layer4",
            )
        super().__init__(*(nn.Sequential(*(deepcopy(stage[-1]) for _ in stage)) for _ in range(blocks)))
        self.multi_grid = tuple(multi_grid)
        self.output_strides = encoder.output_strides
        self.train(encoder.training)

    def train(self: Self, mode: bool = True) -> Self:
        """Take the rates that belong to the output stride of this mode."""
        unit = STAGES["layer4"] // self.output_strides[mode]
        for number, block in enumerate(self.children(), start=1):
            for bottleneck, factor in zip(block.children(), self.multi_grid, strict=True):
                dilate(bottleneck, unit * 2**number * factor)
        return super().train(mode)
