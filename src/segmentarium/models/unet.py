"""U-Net: contract, expand, and hand each level's map across.

Paper    Ronneberger, Fischer, Brox 2015, arXiv:1505.04597, figure 1 and sections 2 and 3
Origin   written from the paper; parity with three public implementations in tests/parity/unet.toml
Weights  weights/cards/unet.toml
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones import Encoder
from segmentarium.nn import Semantic, crop_or_pad, require_channels
from segmentarium.nn.valid import ValidUNet


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a U-Net is made of; the default is the customary one with padding and BatchNorm."""

    encoder: str = ""  # a timm encoder; empty: the paper's contracting path
    widths: tuple[int, ...] = (64, 128, 256, 512, 1024)  # channels by level of the contracting path
    decoder: tuple[int, ...] = (512, 256, 128, 64)  # channels by step up; a short path stops at a stride
    up: Literal["learned", "bilinear", "nearest"] = "learned"  # the paper's 2x2 "up-convolution" is learned
    valid: bool = False  # unpadded convolutions: the paper's; the output loses `border` pixels a side
    norm: bool = True  # BatchNorm after each convolution
    bias: bool = False  # of the 3x3 convolutions
    dropout: float = 0.0  # at the end of the contracting path
    in_channels: int = 3
    classes: int = 2


VARIANTS = {
    "paper": Config(valid=True, norm=False, bias=True, dropout=0.5, in_channels=1),
    "padded_bn": Config(),
    "small": Config(widths=(16, 32, 64, 128, 256), decoder=(128, 64, 32, 16)),
    "fast": Config(encoder="resnet18", decoder=(128, 64, 32), up="nearest"),
    "tiny": Config(widths=(8, 16, 32, 64), decoder=(32, 16, 8)),
}


def from_encoder(name: str) -> Config:
    """The paper's decoder on a timm encoder, laid out as segmentation-models-pytorch made customary."""
    return Config(encoder=name, decoder=(256, 128, 64, 32, 16), up="nearest")


class UNet(nn.Module):
    """The network of ``config``; logits at the size of the image, or at a stride if the decoder is short."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        inputs = config.in_channels
        self.encoder = Encoder(config.encoder, in_channels=inputs) if config.encoder else Contracting(config)
        skips = dict(zip(self.encoder.strides, self.encoder.channels, strict=True))
        stride, channels = skips.popitem()
        self.decoder = nn.ModuleList()
        for outputs in config.decoder:
            stride //= 2
            self.decoder.append(Step(config, channels, skips.get(stride, 0), outputs))
            channels = outputs
        kernel = 3 if config.encoder else 1
        self.classify = nn.Conv2d(channels, config.classes, kernel, padding=kernel // 2)
        for part in (self.decoder, self.classify) if config.encoder else (self,):
            part.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        if self.config.valid:
            self._valid.require_even(image.shape[-2:])
        maps = dict(zip(self.encoder.strides, self.encoder(image), strict=True))
        stride, deep = maps.popitem()
        for step in self.decoder:
            stride //= 2
            skip = maps.get(stride)
            size = [-(-side // stride) for side in image.shape[-2:]] if skip is None else skip.shape[-2:]
            deep = step(deep, skip, size)
        return Semantic(self.classify(deep))

    @property
    def border(self) -> int:
        """Pixels lost on each side: 92 for the paper's four levels of valid convolutions."""
        return self._valid.border if self.config.valid else 0

    def input_side(self, output: int) -> int:
        """The smallest side that yields ``output`` pixels: 572 for 388."""
        return self._valid.input_side(output) if self.config.valid else output

    @property
    def _valid(self) -> ValidUNet:
        return ValidUNet(len(self.config.decoder))


class Contracting(nn.Module):
    """The paper's encoder: two convolutions a level, 2x2 max pooling between levels."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.channels = config.widths
        self.strides = tuple(2**level for level in range(len(config.widths)))
        self.levels = nn.ModuleList(
            convolutions(config, inputs, width, width)
            for inputs, width in pairwise((config.in_channels, *config.widths))
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        maps = [self.levels[0](image)]
        for level in self.levels[1:]:
            # a side of one pixel stays: any image has an answer
            window = [min(2, side) for side in maps[-1].shape[-2:]]
            maps.append(level(functional.max_pool2d(maps[-1], window)))
        return [*maps[:-1], self.dropout(maps[-1])]


class Step(nn.Module):
    """One step of the expanding path: enlarge, join with the skip, two convolutions."""

    def __init__(self, config: Config, deep: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.valid = config.valid
        middle = outputs
        if config.up == "learned":
            self.up: nn.Module | None = nn.ConvTranspose2d(deep, outputs, 2, stride=2)
            deep = outputs
        elif config.up == "bilinear":
            self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            middle = (deep + skip) // 2
        else:
            self.up = None
        self.convolve = convolutions(config, deep + skip, middle, outputs)

    def forward(self, deep: Tensor, skip: Tensor | None, size: Sequence[int]) -> Tensor:
        # the order of joining is each public layout's own, so that its weights can be taken over
        if self.up is None:
            maps = [functional.interpolate(deep, size=list(size)), skip]
        elif self.valid and skip is not None:
            deep = self.up(deep)
            maps = [crop_or_pad(skip, deep.shape[-2:]), deep]
        else:
            maps = [skip, crop_or_pad(self.up(deep), size)]
        return self.convolve(torch.cat([m for m in maps if m is not None], dim=1))


def convolutions(config: Config, *channels: int) -> nn.Sequential:
    """3x3 convolutions through ``channels``, each with BatchNorm if the config has it, and ReLU."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers.append(nn.Conv2d(inputs, outputs, 3, padding=0 if config.valid else 1, bias=config.bias))
        if config.norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def initialise(module: nn.Module) -> None:
    """Section 3: Gaussian of deviation sqrt(2/N), N the inputs that meet in one output value."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        taps = 1 if isinstance(module, nn.ConvTranspose2d) else module.weight[0, 0].numel()
        nn.init.normal_(module.weight, std=sqrt(2 / (module.in_channels * taps)))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
