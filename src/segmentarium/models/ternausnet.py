"""TernausNet: a U-Net whose contracting path is a VGG11 that has seen ImageNet.

Paper    Iglovikov, Shvets 2018, arXiv:1801.05746, section 2 and figure 1
Origin   written from the paper; parity with ternaus/TernausNet in tests/parity/encoder_decoders.toml
Weights  weights/cards/ternausnet.toml

UNet16 is the authors' later network of the same family. The paper has one score a pixel before a sigmoid;
here two classes, the difference of whose scores is that one. Sides are multiples of 32 there; here a window
of pooling at the far edge may hold fewer pixels, and an enlarged map is cut to the size of its skip. The
paper's best network begins with the encoder of a VGG11 trained on ImageNet; here all weights begin uniform as
LeCun has them, as in the one that begins from nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones import VGG
from segmentarium.backbones.vgg import DEPTHS, WIDTHS
from segmentarium.nn import Semantic, crop_or_pad, require_channels


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a TernausNet is made of; the default is the paper's, UNet11."""

    depths: tuple[int, ...] = DEPTHS[11]  # convolutions of each group of the encoder
    widths: tuple[int, ...] = WIDTHS  # channels of each group, and within the step up from there
    decoder: tuple[int, ...] = (256, 256, 128, 64, 32)  # channels after each step up, deepest first
    up: Literal["3x3", "4x4", "bilinear"] = "3x3"  # transposed convolutions of that side, or interpolation
    in_channels: int = 3
    classes: int = 2


VARIANTS = {
    "paper": Config(),
    "unet16": Config(depths=DEPTHS[16], decoder=(256, 256, 256, 64, 32), up="bilinear"),
    "unet16_deconv": Config(depths=DEPTHS[16], decoder=(256, 256, 256, 64, 32), up="4x4"),
    "small": Config(widths=(16, 32, 64, 128, 128), decoder=(64, 64, 32, 16, 16)),
    "tiny": Config(depths=(1, 1, 1, 1), widths=(16, 24, 32, 48), decoder=(32, 32, 16, 16)),
}


class TernausNet(nn.Module):
    """The network of ``config``; logits at the size of the image."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = VGG(config.depths, config.widths, in_channels=config.in_channels)
        self.decoder = nn.ModuleList()
        deep = middle = config.widths[-1]
        for skip, outputs in zip(reversed(config.widths), config.decoder, strict=True):
            self.decoder.append(step(deep, middle, outputs, up=config.up))
            deep, middle = outputs + skip, skip
        last = config.decoder[-1]
        self.classify = nn.Sequential(
            nn.Conv2d(deep, last, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(last, config.classes, 1)
        )
        self.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        deep, skips = image, []
        for group in self.encoder:
            skips.append(group(deep))
            deep = functional.max_pool2d(skips[-1], 2, ceil_mode=True)
        for enlarge, skip in zip(self.decoder, reversed(skips), strict=True):
            deep = torch.cat([crop_or_pad(enlarge(deep), skip.shape[-2:]), skip], dim=1)
        return Semantic(self.classify(deep))


def step(inputs: int, middle: int, outputs: int, *, up: str) -> nn.Sequential:
    """A step up: two convolutions with ReLU, one of which enlarges or comes after the interpolation."""
    first = (nn.Conv2d(inputs, middle, 3, padding=1), nn.ReLU(inplace=True))
    if up == "bilinear":
        second = nn.Conv2d(middle, outputs, 3, padding=1)
        return nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"), *first, second, nn.ReLU(inplace=True)
        )
    kernel = int(up[0])
    enlarge = nn.ConvTranspose2d(middle, outputs, kernel, stride=2, padding=1, output_padding=kernel % 2)
    return nn.Sequential(*first, enlarge, nn.ReLU(inplace=True))


def initialise(module: nn.Module) -> None:
    """LeCun's uniform weights, of variance 1 / inputs that meet in a value; no bias."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        inputs = module.in_channels * module.weight[0, 0].numel() / module.stride[0] ** 2
        nn.init.uniform_(module.weight, -sqrt(3 / inputs), sqrt(3 / inputs))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
