"""VGG-16 as the first DeepLabs use it: the last two poolings keep the size, what follows is dilated."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones.vgg import DEPTHS, VGG, WIDTHS

POOLINGS = (2, 2, 2, 1, 1)
"""Strides of the 3x3 poolings after each group."""


class DilatedVGG(VGG):
    """VGG down to stride 8; the maps after each pooling, ``channels`` and ``strides`` describe them.

    The authors' program rounds pooled sides up, ours down: sides of 8 k + 1, which the authors take, give the
    same map, other sides no row more than there are pixels for.

    Args:
        widths: channels of each group.
        depths: convolutions of each group.
        norm: BatchNorm, to train from nothing; the paper has none.
    """

    strides = (2, 4, 8, 8, 8)

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        *,
        depths: Sequence[int] = DEPTHS[16],
        in_channels: int = 3,
        norm: bool = False,
    ) -> None:
        super().__init__(depths, widths, in_channels=in_channels, norm=norm, dilations=(1, 1, 1, 1, 2))
        self.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        maps = [image]
        for group, stride in zip(self, POOLINGS, strict=True):
            maps.append(functional.max_pool2d(group(maps[-1]), 3, stride, padding=1))
        return maps[1:]


class LargeFOV(nn.Module):
    """The trunk with the "large field of view": fc6 as a 3x3 convolution of rate 12, then fc7.

    Args:
        width: channels of fc6 and fc7; a quarter of VGG's 4096.
        rate: dilation of fc6 in pixels of its map, which has stride 8.
        dropout: after both.

    Source: Chen et al. 2015, arXiv:1412.7062, section 3.2.
    """

    def __init__(
        self,
        widths: Sequence[int] = WIDTHS,
        *,
        depths: Sequence[int] = DEPTHS[16],
        width: int = 1024,
        rate: int = 12,
        dropout: float = 0.5,
        in_channels: int = 3,
        norm: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = DilatedVGG(widths, depths=depths, in_channels=in_channels, norm=norm)
        self.fc6 = nn.Conv2d(widths[-1], width, 3, padding=rate, dilation=rate)
        self.fc7 = nn.Conv2d(width, width, 1)
        self.dropout = nn.Dropout(dropout)
        self.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b _ _ _"]:
        """What fc7 makes of ``image``, at stride 8."""
        *_, deep = self.trunk(image)
        smooth = functional.avg_pool2d(deep, 3, 1, padding=1)
        middle = self.dropout(functional.relu(self.fc6(smooth)))
        return self.dropout(functional.relu(self.fc7(middle)))


def initialise(module: nn.Module) -> None:
    """He's normal weights and no bias; the papers begin with VGG-16 trained on ImageNet."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
