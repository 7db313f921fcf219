"""FCN-32s, FCN-16s and FCN-8s: a classifier made convolutional, its scores joined with those of finer maps.

Paper    Long, Shelhamer, Darrell 2015, arXiv:1411.4038, sections 3 and 4, figure 3, tables 2 and 3
Origin   written from the paper and its published network definitions; parity with wkentaro/pytorch-fcn in
         tests/parity/fcn.toml
Weights  weights/cards/fcn_32s.toml, fcn_16s.toml, fcn_8s.toml

The image gets a border of 100 zeros, for VGG's first fully connected layer, now a 7x7 convolution, has none;
scores are cropped to the image. An image of one pixel needs 97. Transposed convolutions take all
classes in, as in the authors' files; zero between classes at the start, they may stay so (``grouped``). The
paper learns all but the last of them, the authors' later files none ("at once", arXiv:1605.06211).

Networks are trained in stages. Tensors that two of them share have one name, so that the next begins by

    fcn_16s.load_state_dict(fcn_32s.state_dict(), strict=False)

and answers nearly as the one before, for the new score layer is zero. FCN-32s begins with a VGG-16 trained on
ImageNet: ``fcn_32s.begin_with(torchvision.models.vgg16(weights=...).state_dict())``. The paper finds training
from scratch not feasible and gives no start for it; ours is He's. "tiny" has three poolings in place of five,
and so strides 8, 4 and 2 in place of 32, 16 and 8: one score for 32 pixels a side draws no small picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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


PAPER = Config()
SMALL = Config(
    depths=DEPTHS[11], widths=(32, 64, 128, 256, 256), fc_width=512, fc_kernel=5, padding=65, grouped=True
)
TINY = Config(depths=(1, 1, 2), widths=(16, 32, 48), fc_width=96, fc_kernel=5, padding=17, dropout=0.0)

VARIANTS = {
    "fcn_32s": {"paper": PAPER, "fixed": replace(PAPER, fixed=True), "small": SMALL, "tiny": TINY},
    "fcn_16s": {"paper": PAPER, "small": SMALL, "tiny": TINY},
    "fcn_8s": {
        "paper": PAPER,
        "at_once": replace(PAPER, scales=(0.01, 0.0001), learned=False),
        "small": SMALL,
        "tiny": TINY,
    },
}


class FCN(nn.Module):
    """What the three networks share; logits at the size of the image.

    Raises:
        BadArgument: the padding is too small for the kernel of ``fc6``, or that is even or below 5.
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


class FCN32s(FCN):
    """The scores of the last layer alone, enlarged 32 times."""


class FCN16s(FCN):
    """Scores of ``pool4`` are added."""

    skips = 1


class FCN8s(FCN):
    """Scores of ``pool4`` and ``pool3`` are added."""

    skips = 2


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
