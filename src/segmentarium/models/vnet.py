"""V-Net: residual stages of 5x5x5 convolutions, narrowed and widened by learned steps.

Paper    Milletari, Navab, Ahmadi 2016, arXiv:1606.04797, figure 2 and section 3
Origin   written from the paper; parity with MONAI's network in tests/parity/test_volume_networks.py, the
         authors' own (Caffe) is compared by its layers only
Weights  weights/cards/vnet.toml
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.nn import Semantic, require_channels
from segmentarium.nn.volumes import Convolution, Norm, Unit, cut, pad_to_multiple


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a V-Net is made of; the default is the paper's figure 2."""

    widths: tuple[int, ...] = (16, 32, 64, 128, 256)  # channels by level; on the way up twice the level's
    encoder: tuple[int, ...] = (1, 2, 3, 3, 3)  # 5x5x5 convolutions by level on the way down
    decoder: tuple[int, ...] = (3, 3, 2, 1)  # the same on the way up, the deepest first
    act: Literal["prelu", "elu"] = "prelu"
    norm: Norm = "none"  # after each convolution
    bias: bool = True  # of convolutions; transposed ones and the last always have one
    act_before_sum: bool = False  # also behind the last convolution of a stage, its first stage excepted
    head: Literal["point", "wide"] = "point"  # 1x1x1, or 5x5x5 ahead of it
    dropout: float = 0.0  # of whole channels: the two deepest levels and all skips
    in_channels: int = 1
    classes: int = 2


VARIANTS = {
    "paper": Config(),
    "prototxt": Config(encoder=(1, 1, 2, 3, 3), decoder=(3, 2, 1, 1), head="wide"),
    "monai": Config(
        encoder=(1, 1, 2, 3, 2),
        decoder=(2, 2, 1, 1),
        act="elu",
        norm="batch",
        bias=False,
        act_before_sum=True,
        head="wide",
        dropout=0.5,
    ),
    "small": Config(
        widths=(8, 16, 32, 64), encoder=(1, 1, 2, 1), decoder=(1, 1, 1), norm="instance", classes=3
    ),
    "tiny": Config(widths=(4, 8, 16, 32), encoder=(1, 1, 1, 1), decoder=(1, 1, 1)),
}


class VNet(nn.Module):
    """The network of ``config``; logits at the size of the volume.

    The paper's loss is ``dice_squared`` of the foreground: 1 - 2 sum(p g) / (sum(p^2) + sum(g^2)).
    """

    dimensions: ClassVar[int] = 3

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        levels = range(len(config.widths))
        self.encoder = nn.ModuleList(Down(config, level) for level in levels)
        self.decoder = nn.ModuleList(Up(config, level) for level in reversed(levels[:-1]))
        self.head = head(config, 2 * config.widths[0])
        self.apply(initialise)

    def forward(self, image: Float[Tensor, "b c d h w"]) -> Semantic:
        require_channels(image, self.config.in_channels, dimensions=3)
        maps = [pad_to_multiple(image, 2 ** len(self.config.decoder))]
        for stage in self.encoder:
            maps.append(stage(maps[-1]))
        deep = maps.pop()
        for stage in self.decoder:
            deep = stage(deep, maps.pop())
        return Semantic(cut(self.head(deep), image.shape[2:]))


class Residual(nn.Module):
    """``count`` 5x5x5 convolutions whose input, repeated or cut to ``width`` channels, is added to them."""

    def __init__(self, config: Config, inputs: int, width: int, count: int, *, act_before_sum: bool) -> None:
        super().__init__()
        self.width = width
        self.convolve = nn.Sequential()
        for n in range(count):
            conv = nn.Conv3d(width if n else inputs, width, 5, padding=2, bias=config.bias)
            act = activation(config, width) if act_before_sum or n < count - 1 else None
            self.convolve.append(Unit(conv, config.norm, act))
        self.act = activation(config, width)

    def forward(self, maps: Float[Tensor, "b c *s"], through: Float[Tensor, "b c *s"]) -> Tensor:
        """Add ``maps`` to the convolved ``through``, the same maps but for dropout."""
        if maps.shape[1] != self.width:
            maps = maps.repeat(1, -(-self.width // maps.shape[1]), 1, 1, 1)[:, : self.width]
        return self.act(self.convolve(through) + maps)


class Down(nn.Module):
    """One level on the way down: a learned step to half the size, except at the first; a stage."""

    def __init__(self, config: Config, level: int) -> None:
        super().__init__()
        width = config.widths[level]
        inputs = config.widths[level - 1] if level else config.in_channels
        self.step: nn.Module = nn.Identity()
        if level:
            conv = nn.Conv3d(inputs, width, 2, stride=2, bias=config.bias)
            self.step = Unit(conv, config.norm, activation(config, width))
            inputs = width
        self.dropout = nn.Dropout3d(config.dropout if level >= len(config.widths) - 2 else 0.0)
        act_before_sum = config.act_before_sum and level > 0
        self.stage = Residual(config, inputs, width, config.encoder[level], act_before_sum=act_before_sum)

    def forward(self, maps: Float[Tensor, "b c *s"]) -> Tensor:
        maps = self.step(maps)
        return self.stage(maps, self.dropout(maps))


class Up(nn.Module):
    """One level on the way up: a learned step to twice the size, the level's map beside it, a stage."""

    def __init__(self, config: Config, level: int) -> None:
        super().__init__()
        step = len(config.decoder) - 1 - level  # steps before this one
        width = config.widths[level]
        inputs = 2 * config.widths[level + 1] if step else config.widths[-1]
        conv = nn.ConvTranspose3d(inputs, width, 2, stride=2)
        self.step = Unit(conv, config.norm, activation(config, width))
        self.dropout = nn.Dropout3d(config.dropout if step < 2 else 0.0)
        self.drop_skip = nn.Dropout3d(config.dropout)
        count = config.decoder[step]
        self.stage = Residual(config, 2 * width, 2 * width, count, act_before_sum=config.act_before_sum)

    def forward(self, deep: Float[Tensor, "b c *s"], skip: Float[Tensor, "b e *t"]) -> Tensor:
        joined = torch.cat([self.step(self.dropout(deep)), self.drop_skip(skip)], dim=1)
        return self.stage(joined, joined)


def head(config: Config, channels: int) -> nn.Sequential:
    """From the last stage's ``channels`` to logits."""
    classes = config.classes
    if config.head == "point":
        return nn.Sequential(nn.Conv3d(channels, classes, 1))
    wide = nn.Conv3d(channels, classes, 5, padding=2, bias=config.bias)
    return nn.Sequential(Unit(wide, config.norm, activation(config, classes)), nn.Conv3d(classes, classes, 1))


def activation(config: Config, width: int) -> nn.Module:
    """A PReLU has a slope for each of ``width`` channels."""
    return nn.PReLU(width) if config.act == "prelu" else nn.ELU()


def initialise(module: nn.Module) -> None:
    """As released by the authors: deviation sqrt(2/N), N the mean of a kernel's inputs and outputs."""
    if isinstance(module, Convolution):
        weight = module.weight
        nn.init.normal_(weight, std=sqrt(4 / (weight[0].numel() + weight[:, 0].numel())))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
