"""DeepLabv2's atrous spatial pyramid: each rate has a classifier of its own, and their logits are added."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.nn.aspp import initialise_head


class SummedASPP(nn.ModuleList):
    """One branch a rate.

    Args:
        rates: dilations in pixels of the map.
        width: channels of two hidden layers of each branch, VGG's fc6 and fc7; 0: the dilated 3x3 convolution
            is the classifier itself, as on a ResNet.
        dropout: after each hidden layer.

    Source: Chen et al. 2016, arXiv:1606.00915, section 3.2 and figure 7.
    """

    def __init__(
        self, inputs: int, classes: int, *, rates: Sequence[int], width: int = 0, dropout: float = 0.5
    ) -> None:
        super().__init__()
        for rate in rates:
            dilated = nn.Conv2d(inputs, width or classes, 3, padding=rate, dilation=rate)
            self.append(_hidden(dilated, classes, dropout) if width else dilated.apply(initialise_head))

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        return torch.stack([branch(maps) for branch in self]).sum(0)


def _hidden(fc6: nn.Conv2d, classes: int, dropout: float) -> nn.Sequential:
    width = fc6.out_channels
    fc7 = nn.Conv2d(width, width, 1)
    for layer in (fc6, fc7):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.get_parameter("bias"))
    return nn.Sequential(
        fc6, nn.ReLU(inplace=True), nn.Dropout(dropout),
        fc7, nn.ReLU(inplace=True), nn.Dropout(dropout),
        nn.Conv2d(width, classes, 1).apply(initialise_head),
    )  # fmt: skip
