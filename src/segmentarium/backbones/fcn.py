"""The fully convolutional network with skips, of which FCN is made and which CRF-RNN refines.

The image gets a border of zeros, for the first fully connected layer, now a convolution, has none; scores are
cropped to the image. Scores of the last layer are enlarged and joined with those of finer maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones.vgg import DEPTHS, VGG, WIDTHS
from segmentarium.errors import BadArgument, WeightsMismatch
from segmentarium.nn import Semantic, require_channels
from segmentarium.nn.upsampling import bilinear_kernel


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an FCN is made of; the default is VGG-16 as the paper turns it."""

    depths: tuple[int, ...] = DEPTHS[16]  # convolutions between poolings
    widths: tuple[int, ...] = WIDTHS  # their channels
    fc_width: int = 4096  # channels of the two convolutions that were fully connected layers
    fc_kernel: int = 7  # side of the first of them; odd, at least 5
    padding: int = 100  # zeros around the image
    dropout: float = 0.5  # after each of the two
    scales: tuple[float, float] = (1.0, 1.0)  # of the two finer maps, before they are scored
    learned: bool = True  # the transposed convolutions but the last, which interpolates for ever
    grouped: bool = False  # they enlarge each class by itself
    fixed: bool = False  # only scores are learned: the paper's "fixed"
    in_channels: int = 3
    classes: int = 21


class FCN(nn.Module):
    """VGG turned convolutional, its scores and those of finer maps; logits at the size of the image.

    Raises:
        BadArgument: the padding is too small for the kernel of ``fc6``, or that is even or below 5.

    Source: Long, Shelhamer and Darrell 2015, arXiv:1411.4038.
    """

    skips: ClassVar[int] = 0
    """How many finer maps are scored too."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        stride = 2 ** len(config.widths)
        require_padding(config, stride)
        self.trunk = VGG(
            config.depths, config.widths, in_channels=config.in_channels, first_padding=config.padding
        )
        self.fc6 = nn.Conv2d(config.widths[-1], config.fc_width, config.fc_kernel)
        self.fc7 = nn.Conv2d(config.fc_width, config.fc_width, 1)
        self.dropout = nn.Dropout(config.dropout)
        # by stride, coarsest first
        self.strides = tuple(stride // 2**n for n in range(self.skips + 1))
        channels = (config.fc_width, *config.widths[-2::-1])
        self.score = nn.ModuleDict(
            {str(s): nn.Conv2d(c, config.classes, 1) for s, c in zip(self.strides, channels, strict=False)}
        )
        self.enlarge = nn.ModuleDict(
            {
                f"{a}_to_{b}": interpolation(config, a // b, learned=config.learned and b > 1)
                for a, b in pairwise((*self.strides, 1))
            }
        )
        self._initialise()

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        *pools, deep = self._pools(image)
        scores = self.score[str(self.strides[0])](self._classifier(deep))
        for n in range(self.skips):
            coarse, fine = self.strides[n : n + 2]
            scores = self.enlarge[f"{coarse}_to_{fine}"](scores)
            skip = self.score[str(fine)](self.config.scales[n] * pools[-1 - n])
            scores = scores + window(skip, self._shift(fine), scores)
        scores = self.enlarge[f"{self.strides[-1]}_to_1"](scores)
        return Semantic(window(scores, self._offset, image))

    def begin_with(self, classifier: Mapping[str, Tensor]) -> None:
        """Take over a trained VGG, its fully connected layers as convolutions; scores stay as they are.

        Args:
            classifier: torchvision's state dict of the same depth.

        Raises:
            WeightsMismatch: it is of another depth or width.
        """
        own = [*self.trunk.parameters(), *self.fc6.parameters(), *self.fc7.parameters()]
        known = [tensor for name, tensor in classifier.items() if not name.startswith("classifier.6")]
        if [tensor.numel() for tensor in own] != [tensor.numel() for tensor in known]:
            raise WeightsMismatch(
                f"a classifier of {len(known)} tensors below its last layer that do not fit",
                allowed=f"a VGG of the {len(own)} tensors that trunk, fc6 and fc7 have",
                cure="give the state dict of torchvision.models.vgg16",
            )
        with torch.no_grad():
            for mine, theirs in zip(own, known, strict=True):
                mine.copy_(theirs.view_as(mine))

    def _pools(self, maps: Tensor) -> list[Tensor]:
        found = []
        for group in self.trunk:
            maps = functional.max_pool2d(group(maps), 2, ceil_mode=True)
            found.append(maps)
        return found

    def _classifier(self, maps: Tensor) -> Tensor:
        for layer in (self.fc6, self.fc7):
            maps = self.dropout(functional.relu(layer(maps)))
        return maps

    def _shift(self, stride: int) -> int:
        """Where enlarged scores begin on the map of ``stride``: 5 and 9 in the paper's networks."""
        return self.strides[0] * (self.config.fc_kernel // 2 - 1) // stride + 1

    @property
    def _offset(self) -> int:
        """Where the image begins in its enlarged scores: 19, 27 and 31 in the paper's networks."""
        lost = self.strides[0] * (self.config.fc_kernel // 2 - 1)
        return self.config.padding - lost - 1 - self.strides[-1] // 2

    def _initialise(self) -> None:
        """Scores begin at zero as in the paper."""
        for tensor in (*self.trunk.parameters(), *self.fc6.parameters(), *self.fc7.parameters()):
            if tensor.ndim > 1:
                nn.init.kaiming_normal_(tensor, nonlinearity="relu")
            else:
                nn.init.zeros_(tensor)
        for tensor in self.score.parameters():
            nn.init.zeros_(tensor)
        if self.config.fixed:
            self.requires_grad_(False)
            self.score.requires_grad_(True)


def interpolation(config: Config, factor: int, *, learned: bool) -> nn.ConvTranspose2d:
    """A transposed convolution that begins as bilinear enlargement, ``factor`` pixels longer than that."""
    kernel = bilinear_kernel(factor)
    classes, groups = config.classes, config.classes if config.grouped else 1
    layer = nn.ConvTranspose2d(classes, classes, len(kernel), factor, groups=groups, bias=False)
    with torch.no_grad():
        layer.weight.copy_(kernel if config.grouped else torch.eye(classes)[:, :, None, None] * kernel)
    layer.weight.requires_grad_(learned)
    return layer


def window(
    maps: Float[Tensor, "b _ _ _"], start: int, like: Float[Tensor, "b _ h w"]
) -> Float[Tensor, "b _ h w"]:
    """The part of ``maps`` from ``start`` on along both axes that is as large as ``like``."""
    height, width = like.shape[2:]
    return maps[:, :, start : start + height, start : start + width]


def require_padding(config: Config, stride: int) -> None:
    """Refuse a border in which ``fc6`` finds no place on an image of one pixel.

    Raises:
        BadArgument: names the smallest padding that is enough.
    """
    if config.fc_kernel < 5 or config.fc_kernel % 2 == 0:
        raise BadArgument(f"fc_kernel: {config.fc_kernel}", allowed="odd numbers from 5")
    least = stride * (config.fc_kernel // 2) + 1
    if config.padding < least:
        raise BadArgument(
            f"padding: {config.padding} for a kernel of {config.fc_kernel} at stride {stride}",
            allowed=f"{least} and more",
        )
