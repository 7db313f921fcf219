"""Pyramid pooling: what the picture holds as a whole and in ever smaller parts, told to every pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument
from segmentarium.nn.blocks import ConvNormAct
from segmentarium.nn.upsampling import bilinear


class PyramidPooling(nn.Module):
    """Means over the parts of each grid, through a 1x1 convolution, BatchNorm and ReLU, enlarged again.

    The mean of the whole picture is one value a channel and image: of one image a batch BatchNorm could take
    no deviation. The paper's batches are of 16.

    Args:
        outputs: channels of each branch: in the paper ``inputs`` divided by the number of branches.
        bins: parts along each side, one grid a branch.
        align_corners: of the enlargement; see :func:`segmentarium.nn.upsampling.bilinear`.

    Source: Zhao et al. 2017, arXiv:1612.01105, section 3.2 and figure 3.
    """

    def __init__(
        self, inputs: int, outputs: int, *, bins: Sequence[int] = (1, 2, 3, 6), align_corners: bool
    ) -> None:
        super().__init__()
        self.bins, self.align_corners = tuple(bins), align_corners
        self.branches = nn.ModuleList(ConvNormAct(inputs, outputs, kernel=1) for _ in bins)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _ h w"]:
        """``maps``, and behind them :meth:`means`."""
        return torch.cat([maps, *self.means(maps)], dim=1)

    def means(self, maps: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b k h w"]]:
        """What the branches found, each of the size of ``maps``.

        Raises:
            BadArgument: one image came in training, and BatchNorm of the picture's mean is not frozen.
        """
        grids = list(zip(self.branches, self.bins, strict=True))
        if len(maps) == 1 and any(needs_company(branch, bins) for branch, bins in grids):
            raise BadArgument(
                "a training batch of one image: the picture's mean leaves BatchNorm one value a channel",
                allowed="2 images or more in each process and each part of a batch (the paper: 16)",
                cure="raise train.batch, or freeze BatchNorm",
            )
        found = [branch(functional.adaptive_avg_pool2d(maps, bins)) for branch, bins in grids]
        return [bilinear(mean, maps.shape[2:], align_corners=self.align_corners) for mean in found]


def needs_company(branch: nn.Module, bins: int) -> bool:
    """Whether ``branch`` takes statistics over the batch and gets one value an image."""
    return bins == 1 and any(isinstance(m, nn.BatchNorm2d) and m.training for m in branch.modules())
