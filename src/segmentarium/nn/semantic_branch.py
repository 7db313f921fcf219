"""The semantic branch of a feature pyramid: every map made as fine as the finest, added up, classified."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from math import log2

import torch
from jaxtyping import Float
from torch import Tensor, nn


class SemanticBranch(nn.Module):
    """Every map of a pyramid by steps of two to the finest one's size, summed, and classified there.

    Args:
        inputs: channels of the maps.
        width: channels of the branch.
        strides: of the maps, finest first, each twice the one before.
        layer: makes the convolution of one step, with its norm and activation, from inputs and outputs.
        align_corners: where a step enlarges.
        dropout: of whole channels of the sum.

    Source: Kirillov et al. 2019, arXiv:1901.02446, section 3 and figure 3.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        classes: int,
        *,
        strides: Sequence[int],
        layer: Callable[[int, int], nn.Module],
        align_corners: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.levels = nn.ModuleList()
        for stride in strides:
            steps = int(log2(stride // strides[0]))
            channels, layers = inputs, nn.Sequential()
            for _ in range(max(1, steps)):
                layers.append(layer(channels, width))
                if steps:
                    layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=align_corners))
                channels = width
            self.levels.append(layers)
        self.dropout = nn.Dropout2d(dropout)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b _ _ _"]:
        """
        Args:
            maps: each half as large as the one before; those beyond the levels are not looked at.
        """
        raised = [level(own) for level, own in zip(self.levels, maps, strict=False)]
        return self.classify(self.dropout(reduce(torch.add, raised)))
