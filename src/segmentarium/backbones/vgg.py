"""VGG: groups of 3x3 convolutions, the trunk of the first fully convolutional networks.

Between the groups each paper pools in its own way, so the pooling is the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions of each group, by the layers that the paper counts; three more are fully connected."""

WIDTHS = (64, 128, 256, 512, 512)
"""Channels of each group."""


class VGG(nn.ModuleList):
    """The groups, each a ``Sequential`` of convolutions with ReLU after each; ``channels`` are their widths.

    ``name`` is what timm and torchvision call the network of these groups, its convolutions being in the same
    order; empty if it is none of the paper's.

    Args:
        depths: convolutions of each group; an entry of ``DEPTHS``.
        widths: channels of each group.
        norm: BatchNorm before each ReLU; convolutions have a bias either way.
        padding: of every convolution as a share of what keeps the size: 1, or 0 for valid convolutions.
        first_padding: pixels around the image, in place of that of the first convolution.
        dilations: of the convolutions of each group.

    Source: Simonyan and Zisserman 2015, arXiv:1409.1556, table 1; BatchNorm as in torchvision and SegNet.
    """

    def __init__(
        self,
        depths: Sequence[int] = DEPTHS[16],
        widths: Sequence[int] = WIDTHS,
        *,
        in_channels: int = 3,
        norm: bool = False,
        padding: int = 1,
        first_padding: int | None = None,
        dilations: Sequence[int] = (1, 1, 1, 1, 1),
    ) -> None:
        super().__init__()
        self.channels = tuple(widths)
        self.name = _published_name(tuple(depths), tuple(widths), norm=norm)
        inputs = in_channels
        for depth, width, rate in zip(depths, widths, dilations, strict=False):
            layers: list[nn.Module] = []
            for _ in range(depth):
                layers.append(nn.Conv2d(inputs, width, 3, padding=padding * rate, dilation=rate))
                if norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                inputs = width
            self.append(nn.Sequential(*layers))
        if first_padding is not None:
            first = self.get_submodule("0.0")
            first.padding = (first_padding, first_padding)  # type: ignore[assignment]


def _published_name(depths: tuple[int, ...], widths: tuple[int, ...], *, norm: bool) -> str:
    layers = next((layers for layers, known in DEPTHS.items() if known == depths), None)
    return f"vgg{layers}{'_bn' if norm else ''}" if layers and widths == WIDTHS else ""
