"""FC-DenseNet, the Hundred Layers Tiramisu: a U of dense blocks, in which only new maps climb.

Paper    Jégou, Drozdzal, Vazquez, Romero, Bengio 2017, arXiv:1611.09326, section 3, tables 1 and 2
Origin   written from the paper; parity with the authors' wiring and with a public implementation in
         tests/parity/dense_nested_grids.toml
Weights  weights/cards/fc_densenet.toml

The first variant is the paper's best; the names count convolutions. The authors' program normalises by the
statistics of the pictures at hand in tests too; here tests take the running ones, as is usual. Sides need not
be divisible by 32: pooling leaves out a last odd row, and what is enlarged is cut to the middle of its skip.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.nn import Semantic, crop_or_pad, require_channels


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an FC-DenseNet is made of; the default is the paper's with 103 layers."""

    layers: tuple[int, ...] = (4, 5, 7, 10, 12, 15, 12, 10, 7, 5, 4)  # of each dense block, the lowest amid
    growth: int = 16  # maps that each layer adds ("k")
    width: int = 48  # maps of the first convolution
    dropout: float = 0.2  # after each convolution but the first and the last
    in_channels: int = 3
    classes: int = 11


VARIANTS = {
    "103": Config(),
    "67": Config(layers=(5,) * 11),
    "56": Config(layers=(4,) * 11, growth=12),
    "tiny": Config(layers=(1, 2, 4, 6, 4, 2, 1), growth=8, width=8, dropout=0.0),
}


class FCDenseNet(nn.Module):
    """The network of ``config``; logits at the size of the image."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        depth = len(config.layers) // 2
        self.first = nn.Conv2d(config.in_channels, config.width, 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.enlarge, self.up = nn.ModuleList(), nn.ModuleList()
        stack, skips = config.width, []
        for layers in config.layers[:depth]:
            self.down.append(DenseBlock(config, stack, layers))
            stack += config.growth * layers
            skips.append(stack)
            self.shrink.append(layer(config, stack, stack, kernel=1))
        self.bottleneck = DenseBlock(config, stack, config.layers[depth])
        for below, layers in zip(config.layers[depth:], config.layers[depth + 1 :], strict=False):
            new = config.growth * below
            self.enlarge.append(nn.ConvTranspose2d(new, new, 3, stride=2))
            stack = new + skips.pop()
            self.up.append(DenseBlock(config, stack, layers))
        self.classify = nn.Conv2d(stack + config.growth * config.layers[-1], config.classes, 1)
        self.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        stack, skips = self.first(image), []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(block(stack))
            maps = shrink(skips[-1])
            # a side of one pixel stays: any image has an answer
            stack = functional.max_pool2d(maps, [min(2, side) for side in maps.shape[2:]])
        new = self.bottleneck(stack)[:, stack.shape[1] :]
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            skip = skips.pop()
            joined = torch.cat([crop_or_pad(enlarge(new), skip.shape[2:]), skip], dim=1)
            stack = block(joined)
            new = stack[:, joined.shape[1] :]
        return Semantic(self.classify(stack))


class DenseBlock(nn.ModuleList):
    """Layers that each look at the input and at all maps made since; both come out, the newest last."""

    def __init__(self, config: Config, inputs: int, layers: int) -> None:
        super().__init__(
            layer(config, inputs + n * config.growth, config.growth, kernel=3) for n in range(layers)
        )

    def forward(self, stack: Tensor) -> Tensor:
        for add in self:
            stack = torch.cat([stack, add(stack)], dim=1)
        return stack


def layer(config: Config, inputs: int, outputs: int, *, kernel: int) -> nn.Sequential:
    """BatchNorm, ReLU, convolution and dropout, in this order: table 1."""
    return nn.Sequential(
        nn.BatchNorm2d(inputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2),
        nn.Dropout(config.dropout),
    )


def initialise(module: nn.Module) -> None:
    """Section 4.1: He's uniform numbers (HeUniform); no shift at the start."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
