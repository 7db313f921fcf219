"""Atrous spatial pyramid pooling: one map seen by convolutions of several rates, and as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.errors import BadArgument
from segmentarium.nn.blocks import ConvNormAct
from segmentarium.nn.separable import Separable, conv_norm_act

Self = TypeVar("Self", bound="ASPP")


class ASPP(nn.Module):
    """A 1x1 convolution, a 3x3 one for each rate and the image's mean, side by side, then projected.

    Every branch ends in BatchNorm and ReLU, and so does the projection. The image's mean is one value a
    channel and image: of one image a batch BatchNorm could take no deviation. The paper's batches are of 16.

    Args:
        outputs: channels of each branch and of the result.
        rates: dilations in training, in pixels of the map.
        strides: of the map in eval mode and in training; where it is twice as fine, rates are doubled.
        separable: how the 3x3 convolutions are made.
        kernel: side of the projection.
        dropout: after the projection.

    Source: Chen et al. 2017, arXiv:1706.05587, section 3.3 and figure 5.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        rates: Sequence[int],
        strides: tuple[int, int] = (1, 1),
        separable: Separable = "no",
        kernel: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.rates = tuple(tuple(rate * strides[1] // stride for rate in rates) for stride in strides)
        dilated = (conv_norm_act(inputs, outputs, separable=separable, dilation=rate) for rate in rates)
        self.branches = nn.ModuleList([ConvNormAct(inputs, outputs, kernel=1), *dilated])
        self.image = ConvNormAct(inputs, outputs, kernel=1)
        joined = (len(self.branches) + 1) * outputs
        self.project = nn.Sequential(*ConvNormAct(joined, outputs, kernel=kernel), nn.Dropout(dropout))

    def train(self: Self, mode: bool = True) -> Self:
        """Take the rates of this mode."""
        for rate, branch in zip(self.rates[mode], list(self.branches)[1:], strict=True):
            dilate(branch, rate)
        return super().train(mode)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        """See the class.

        Raises:
            BadArgument: one image came in training, and BatchNorm of the image's mean is not frozen.
        """
        if len(maps) == 1 and self.image[1].training:
            raise BadArgument(
                "a training batch of one image: image pooling leaves BatchNorm one value a channel",
                allowed="2 images or more in each process and each part of a batch (the paper: 16)",
                cure="raise train.batch, or freeze BatchNorm",
            )
        image = self.image(maps.mean((2, 3), keepdim=True))
        seen = [*(branch(maps) for branch in self.branches), image.expand(-1, -1, *maps.shape[2:])]
        return self.project(torch.cat(seen, dim=1))


def dilate(block: nn.Module, rate: int) -> None:
    """Let the 3x3 convolutions of ``block`` look ``rate`` pixels far; maps keep their size."""
    for module in block.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3):
            module.dilation = module.padding = (rate, rate)


class AuxiliaryHead(nn.Sequential):
    """The head of a fully convolutional network on a middle map, to train on: a quarter of its channels."""

    def __init__(self, inputs: int, classes: int, *, dropout: float = 0.1) -> None:
        middle = inputs // 4
        super().__init__(ConvNormAct(inputs, middle), nn.Dropout(dropout), nn.Conv2d(middle, classes, 1))


def initialise_head(module: nn.Module) -> None:
    """He's normal weights for convolutions before BatchNorm; for classifiers deviation 0.01 and no bias.

    Source: the papers do not say; 0.01 is that of the authors' code (tensorflow/models, research/deeplab).
    """
    if isinstance(module, nn.Conv2d) and module.bias is None:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    elif isinstance(module, nn.Conv2d) and module.bias is not None:
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)
