"""LinkNet: what enters an encoder block is added to what leaves the decoder block opposite.

Paper    Chaurasia, Culurciello 2017, arXiv:1707.03718, section 3 and figures 1 to 3
Origin   written from the paper; parity with e-lab/pytorch-linknet and segmentation-models-pytorch in
         tests/parity/encoder_decoders.toml
Weights  weights/cards/linknet.toml

The first link carries the pooled map of the stem. The paper takes sides that are multiples of 32; for others
a decoder block's map is cut, or completed by zeros, to the size of its link. The paper begins with an encoder
trained on ImageNet; here it begins as timm's, the rest with He's weights by outputs, as in the authors' Lua
code. That code adds BatchNorm's 0.001 to the variance and one more ReLU after each sum, which does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones import Encoder
from segmentarium.nn import ConvNormAct, Semantic, require_channels


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a LinkNet is made of; the default is the paper's."""

    encoder: str = "resnet18"
    layout: Literal["paper", "customary"] = "paper"  # customary: that of segmentation-models-pytorch
    head: int = 32  # channels before the classifier
    in_channels: int = 3
    classes: int = 21


VARIANTS = {
    "paper": Config(),
    "smp_r34": Config(encoder="resnet34", layout="customary"),
    "small": Config(encoder="resnet10t"),
    "tiny": Config(encoder="lcnet_050", head=16),
}


def from_encoder(name: str) -> Config:
    """The paper's decoder on a timm encoder."""
    return Config(encoder=name)


class LinkNet(nn.Module):
    """The network of ``config``; logits at the size of the image."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder, in_channels=config.in_channels)
        widths, customary = self.encoder.channels, config.layout == "customary"
        self.pools = self.encoder.strides[0] == 2 and not customary
        steps = [Step(deep, link, kernel=4 if customary else 3) for link, deep in pairwise(widths)]
        if self.pools:
            steps[0] = Step(widths[1], widths[0], kernel=3, stride=1)
        self.decoder = nn.ModuleList(reversed(steps))
        self.head = customary_head(widths[0], config) if customary else paper_head(widths[0], config)
        for part in (self.decoder, self.head):
            part.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        *links, deep = self.encoder(image)
        if self.pools:
            links[0] = functional.max_pool2d(links[0], 3, stride=2, padding=1)
        for step, link in zip(self.decoder, reversed(links), strict=True):
            deep = fitted(step(deep), link.shape[-2:]) + link
        return Semantic(fitted(self.head(deep), image.shape[-2:]))


class Enlarge(nn.Sequential):
    """A transposed convolution of 3x3 or 4x4, BatchNorm, ReLU: maps ``stride`` times as large."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int = 2, bias: bool = True) -> None:
        more = kernel % 2 * (stride - 1)
        super().__init__(
            nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding=1, output_padding=more, bias=bias),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        )


class Step(nn.Sequential):
    """A decoder block: to a quarter of the channels, enlarge, to the channels of the link."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int = 2) -> None:
        narrow = inputs // 4
        super().__init__(
            ConvNormAct(inputs, narrow, kernel=1),
            Enlarge(narrow, narrow, kernel=kernel, stride=stride, bias=kernel == 4),
            ConvNormAct(narrow, outputs, kernel=1),
        )


def paper_head(inputs: int, config: Config) -> nn.Sequential:
    """To four times the size in two steps, the second of which is the classifier."""
    return nn.Sequential(
        Enlarge(inputs, config.head, kernel=3),
        nn.Sequential(
            nn.Conv2d(config.head, config.head, 3, padding=1),
            nn.BatchNorm2d(config.head),
            nn.ReLU(inplace=True),
        ),
        nn.ConvTranspose2d(config.head, config.classes, 2, stride=2),
    )


def customary_head(inputs: int, config: Config) -> nn.Sequential:
    """One more step without a link, and a classifier of one pixel."""
    return nn.Sequential(Step(inputs, config.head, kernel=4), nn.Conv2d(config.head, config.classes, 1))


def fitted(maps: Float[Tensor, "b c _ _"], size: Sequence[int]) -> Float[Tensor, "b c _ _"]:
    """``maps`` cut, or completed by zeros, at the far edges: the first pixel stays the first."""
    height, width = size
    over, beyond = maps.shape[-2] - height, maps.shape[-1] - width
    return functional.pad(maps, (0, -beyond, 0, -over)) if over or beyond else maps


def initialise(module: nn.Module) -> None:
    """He's normal weights by outputs, no bias."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        meeting = module.out_channels * module.weight[0, 0].numel()
        nn.init.normal_(module.weight, std=sqrt(2 / meeting))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
