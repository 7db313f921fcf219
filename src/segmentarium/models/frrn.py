"""FRRN: a stream that is never pooled keeps the edges, a stream that is pooled finds out what there is.

Paper    Pohlen, Hermans, Mathias, Leibe 2017, arXiv:1611.08323, sections 3 and 4, table 1
Origin   written from the paper and the facts of the authors' program; parity with its wiring in
         tests/parity/dense_nested_grids.toml
Weights  weights/cards/frrn.toml

The paper leaves open how the pooled stream is enlarged. Here it is as in the authors' program, bilinear with
each pixel in the first corner of its four: pixel 2 i is pixel i, pixel 2 i + 1 the mean of i and i + 1. What
is added to the residual stream is enlarged by copying. Images whose sides the last stride does not divide are
filled up with zeros, and the logits are cut again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.nn import ConvNormAct, Semantic, require_channels
from segmentarium.nn.upsampling import bilinear


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an FRRN is made of; the default is FRRN A."""

    width: int = 48  # maps of the first convolution and of the residual units
    lanes: int = 32  # maps of the residual stream
    units: int = 3  # residual units before the streams part, and after they join
    # groups of (units, maps): the first at stride 2, halving until the deepest, then doubling
    down: tuple[tuple[int, int], ...] = ((3, 96), (4, 192), (2, 384), (2, 384))
    up: tuple[tuple[int, int], ...] = ((2, 192), (2, 192), (2, 96))
    in_channels: int = 3
    classes: int = 19


VARIANTS = {
    "a": Config(),
    "b": Config(
        down=((3, 96), (4, 192), (2, 384), (2, 384), (2, 384)), up=((2, 192), (2, 192), (2, 192), (2, 96))
    ),
    "small": Config(
        width=16,
        lanes=16,
        units=2,
        down=((2, 32), (2, 64), (2, 128), (2, 128)),
        up=((1, 64), (1, 64), (1, 32)),
    ),
    "tiny": Config(width=8, lanes=8, units=1, down=((1, 16), (2, 24), (2, 32)), up=((1, 24), (1, 16))),
}


class FRRN(nn.Module):
    """The network of ``config``; logits at the size of the image."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, lanes = config.width, config.lanes
        self.first = ConvNormAct(config.in_channels, width, kernel=5)
        self.before = nn.Sequential(*(ResidualUnit(width, width) for _ in range(config.units)))
        self.split = nn.Sequential(nn.Conv2d(width, lanes, 1, bias=False), nn.BatchNorm2d(lanes))
        self.groups = nn.ModuleList()
        self.strides = strides(config)
        channels = width
        for stride, (units, outputs) in zip(self.strides, (*config.down, *config.up), strict=True):
            inputs = (channels, *[outputs] * (units - 1))
            self.groups.append(Group(FullResolutionUnit(n, lanes, outputs, stride=stride) for n in inputs))
            channels = outputs
        self.after = nn.Sequential(
            *(ResidualUnit(channels + lanes if n == 0 else width, width) for n in range(config.units))
        )
        self.classify = nn.Conv2d(width, config.classes, 1)
        self.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        height, width = image.shape[2:]
        below, right = (-side % max(self.strides) for side in (height, width))
        pooled = self.before(self.first(functional.pad(image, (0, right, 0, below))))
        residual, stride = self.split(pooled), 1
        for group, next_stride in zip(self.groups, self.strides, strict=True):
            pooled = functional.max_pool2d(pooled, 2) if next_stride > stride else double(pooled)
            stride = next_stride
            pooled, residual = group(pooled, residual)
        joined = self.after(torch.cat([double(pooled), residual], dim=1))
        return Semantic(self.classify(joined)[..., :height, :width])


class ResidualUnit(nn.Module):
    """RU: two convolutions beside the identity, or beside a 1x1 convolution where the channels change."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.short = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)
        self.convolve = nn.Sequential(
            ConvNormAct(inputs, outputs),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, maps: Tensor) -> Tensor:
        short: Tensor = self.short(maps)
        return short + self.convolve(maps)


class FullResolutionUnit(nn.Module):
    """FRRU: reads both streams at ``stride``, replaces the pooled one, adds to the residual one: figure 3."""

    def __init__(self, inputs: int, lanes: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.convolve = nn.Sequential(ConvNormAct(inputs + lanes, outputs), ConvNormAct(outputs, outputs))
        self.write = nn.Conv2d(outputs, lanes, 1)

    def forward(self, pooled: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        read = functional.max_pool2d(residual, self.stride)
        pooled = self.convolve(torch.cat([pooled, read], dim=1))
        return pooled, residual + functional.interpolate(self.write(pooled), scale_factor=self.stride)


class Group(nn.ModuleList):
    """Units of one stride, one after another."""

    def forward(self, pooled: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        for unit in self:
            pooled, residual = unit(pooled, residual)
        return pooled, residual


def strides(config: Config) -> tuple[int, ...]:
    """Of each group of units, down and up again; the last one is 2."""
    deepest = len(config.down)
    return tuple(2**level for level in (*range(1, deepest + 1), *range(deepest - 1, 0, -1)))


def double(maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Twice the size, bilinearly, each pixel in the first corner of its four."""
    height, width = maps.shape[2:]
    repeated = functional.pad(maps, (0, 1, 0, 1), mode="replicate")
    return bilinear(repeated, (2 * height + 1, 2 * width + 1), align_corners=True)[..., :-1, :-1]


def initialise(module: nn.Module) -> None:
    """He's uniform numbers as in the authors' program: gain sqrt(2) where a ReLU follows, else 1."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="linear")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, ConvNormAct):
        nn.init.kaiming_uniform_(module.get_parameter("0.weight"), nonlinearity="relu")
