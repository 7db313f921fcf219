"""Reading boxes off the maps of a pyramid at a fixed number of cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchvision.ops import roi_align, roi_pool


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How a box is read.

    Attributes:
        kind: ``align`` reads between pixels and rounds nowhere, ``pool`` rounds the box to the map's cells
            and takes the largest value of each part (Girshick 2015, arXiv:1504.08083, section 2.1).
        samples: points along each side of an output cell, whose values are averaged; 0: as many as the
            cell is pixels wide.
        aligned: pixel centres lie at halves, not at whole numbers.
        canonical: side in pixels of the boxes that are the smallest to be read off stride 16.
        level_epsilon, ratio_epsilon: added to the level before it is rounded down, and to the sides' ratio
            before its logarithm; libraries differ in where they guard against rounding.
    """

    kind: Literal["align", "pool"] = "align"
    samples: int = 2
    aligned: bool = False
    canonical: float = 224.0
    level_epsilon: float = 0.0
    ratio_epsilon: float = 0.0


class RegionPooling(nn.Module):
    """Boxes of a batch as maps of ``side`` x ``side`` cells, each read at the stride that suits its size.

    Args:
        strides: of the maps, finest first, each twice the one before.

    Source: He et al. 2017, arXiv:1703.06870, section 3; levels by Lin et al. 2017, arXiv:1612.03144,
    equation 1.
    """

    def __init__(self, config: Pooling, *, strides: Sequence[int], side: int) -> None:
        super().__init__()
        self.config, self.strides, self.side = config, tuple(strides), side

    def forward(
        self, maps: Sequence[Float[Tensor, "b _ _ _"]], boxes: Sequence[Float[Tensor, "_ 4"]]
    ) -> Float[Tensor, "n _ s s"]:
        """
        Args:
            maps: of the strides; further ones are not looked at.
            boxes: of each image, in pixels.
        """
        image = torch.cat([box.new_full((len(box), 1), i) for i, box in enumerate(boxes)])
        regions = torch.cat([image, torch.cat(list(boxes))], dim=1)
        levels = self.levels(regions[:, 1:])
        own = [torch.where(levels == level)[0] for level in range(len(self.strides))]
        # torchvision reads neither bfloat16 maps nor maps of another precision than the boxes
        read = [
            self._read(level.to(regions), regions[which], 1 / stride)
            for level, which, stride in zip(maps, own, self.strides, strict=False)
        ]
        in_order = torch.cat(read)[torch.cat(own).argsort()]
        return in_order.to(maps[0].dtype)

    def levels(self, boxes: Float[Tensor, "n 4"]) -> Int[Tensor, " n"]:
        """The place in ``strides`` at which each box is read."""
        config = self.config
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp_min(0)
        octaves = torch.log2(sides.prod(1).sqrt() / config.canonical + config.ratio_epsilon)
        first = log2(self.strides[0])
        level = torch.floor(log2(16) + octaves + config.level_epsilon) - first
        return level.clamp(0, len(self.strides) - 1).long()

    def _read(self, own: Tensor, regions: Float[Tensor, "n 5"], scale: float) -> Tensor:
        if self.config.kind == "pool":
            return roi_pool(own, regions, self.side, scale)
        return roi_align(own, regions, self.side, scale, self.config.samples, self.config.aligned)
