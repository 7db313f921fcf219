"""Joint pyramid upsampling: the map that dilation would have given, learnt from undilated ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.nn.blocks import ConvNormAct
from segmentarium.nn.upsampling import bilinear


class JointPyramidUpsampling(nn.Module):
    """Each map through a 3x3 convolution, all enlarged to the finest, joined, and looked at by several rates.

    The convolutions of these rates are separable, with a BatchNorm between their halves but no ReLU, and
    stand side by side: the answer has ``width`` channels for each.

    Args:
        inputs: channels of the maps, in the order in which they are joined.
        rates: dilations, in pixels of the finest map.
        align_corners: where maps are enlarged.

    Source: Wu et al. 2019, arXiv:1903.11816, section 3.3 and figure 4.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        width: int,
        *,
        rates: Sequence[int] = (1, 2, 4, 8),
        align_corners: bool,
    ) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.channels = len(rates) * width
        self.lateral = nn.ModuleList(ConvNormAct(channels, width) for channels in inputs)
        joined = len(inputs) * width
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(joined, joined, 3, padding=rate, dilation=rate, groups=joined, bias=False),
                nn.BatchNorm2d(joined),
                *ConvNormAct(joined, width, kernel=1),
            )
            for rate in rates
        )

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> Float[Tensor, "b k h w"]:
        size = tuple(max([own.shape[axis] for own in maps]) for axis in (2, 3))
        even = [layer(own) for layer, own in zip(self.lateral, maps, strict=True)]
        joined = torch.cat(
            [
                m if tuple(m.shape[2:]) == size else bilinear(m, size, align_corners=self.align_corners)
                for m in even
            ],
            dim=1,
        )
        return torch.cat([branch(joined) for branch in self.branches], dim=1)
