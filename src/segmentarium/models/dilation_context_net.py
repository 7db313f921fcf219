"""Dilated convolutions that gather context: a front end made of VGG-16, and a module that looks ever farther.

Paper    Yu, Koltun 2016, arXiv:1511.07122, sections 3 and 4, table 1 and appendix
Origin   written from the paper; layers and numbers as in the authors' published definitions, see
         tests/parity/dilated.toml
Weights  weights/cards/dilation_context_net.toml

Convolutions of the front end are valid: the network reflects the image about its edges, 186 pixels a side
for VGG-16, so that any image gives a map of stride 8 that covers it. The context module pads with zeros: in
VOC's published definition once, before its first layer (``pad_first``), in the others at each layer. Pixel i
of the map lies in the middle of pixels 8 i to 8 i + 7, so that enlarging with aligned centres, as loss and
finisher do, is what the authors' fixed deconvolution does, but for the edge, where theirs fades.

The paper trains the front end (``front_end``), then the context module on its maps, then both. It begins
with VGG-16 trained on ImageNet; here convolutions begin with He's normal weights, the front end's classifier
with deviation 0.001 as in the authors' code, the context module, as the paper says, by handing maps through.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones.large_fov import initialise
from segmentarium.backbones.vgg import DEPTHS, VGG, WIDTHS
from segmentarium.nn import Semantic, require_channels

STRIDE = 8
POOLED = 3
"""Groups of VGG that keep their 2x2 pooling; the other two poolings became rates 2 and 4."""

RATES8 = (1, 1, 2, 4, 8, 16, 1)
BASIC8 = (1,) * 7
LARGE8 = (2, 2, 4, 8, 16, 32, 32)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the network is made of; the default is the paper's for VOC 2012 with the large context module."""

    rates: tuple[int, ...] = RATES8  # of the context module's 3x3 convolutions; empty: front end alone
    multiples: tuple[int, ...] = LARGE8  # their channels, in multiples of the classes ("C" in table 1)
    pad_first: bool = True  # zeros around the context module's input once; otherwise at each layer
    depths: tuple[int, ...] = DEPTHS[16]  # convolutions of each group of VGG
    widths: tuple[int, ...] = WIDTHS
    width: int = 4096  # channels of fc6 and fc7
    kernel: int = 7  # side of fc6
    norm: bool = False  # BatchNorm in VGG, to train from nothing
    dropout: float = 0.5
    in_channels: int = 3
    classes: int = 21


VARIANTS = {
    "paper": Config(),
    "basic": Config(multiples=BASIC8, pad_first=False),
    "front_end": Config(rates=(), multiples=()),
    "dilation7_kitti": Config(rates=(1, 1, 2, 4, 8, 1), multiples=(1,) * 6, pad_first=False, classes=11),
    "dilation8_camvid": Config(multiples=BASIC8, pad_first=False, classes=11),
    "dilation10_cityscapes": Config(
        rates=(1, 1, 2, 4, 8, 16, 32, 64, 1), multiples=(1,) * 9, pad_first=False, classes=19
    ),
    "small": Config(
        multiples=BASIC8, pad_first=False, widths=(16, 32, 64, 128, 128), width=256, kernel=3, norm=True
    ),
    "tiny": Config(
        rates=(1, 1, 2, 1), multiples=(2, 2, 4, 4), depths=(1,) * 5, widths=(8, 16, 32, 48, 48), width=64,
        kernel=3, norm=True, dropout=0.0,
    ),
}  # fmt: skip


class DilationContextNet(nn.Module):
    """The network of ``config``; logits at stride 8."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.front_end = FrontEnd(config)
        self.context = ContextModule(config) if config.rates else None

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        logits = self.front_end(image)
        return Semantic(logits if self.context is None else self.context(logits))


class FrontEnd(nn.Module):
    """VGG that classifies 8x8 pixels at a time and looks ``margin`` pixels beyond them; nothing is padded."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.margin = _margin(config)
        self.groups = VGG(
            config.depths,
            config.widths,
            in_channels=config.in_channels,
            norm=config.norm,
            padding=0,
            dilations=(1, 1, 1, 1, 2),
        )
        self.fc6 = nn.Conv2d(config.widths[-1], config.width, config.kernel, dilation=4)
        self.fc7 = nn.Conv2d(config.width, config.width, 1)
        self.dropout = nn.Dropout(config.dropout)
        self.apply(initialise)
        self.classify = nn.Conv2d(config.width, config.classes, 1)
        nn.init.normal_(self.classify.weight, std=0.001)
        nn.init.zeros_(self.classify.get_parameter("bias"))

    def forward(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k _ _"]:
        maps = reflected(image, self.margin, unit=STRIDE)
        for index, group in enumerate(self.groups):
            maps = group(maps)
            if index < POOLED:
                maps = functional.max_pool2d(maps, 2)
        for layer in (self.fc6, self.fc7):
            maps = self.dropout(functional.relu(layer(maps)))
        return self.classify(maps)


class ContextModule(nn.Module):
    """3x3 convolutions of growing rates, then a 1x1 one; all begin by handing their input through."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.edge = sum(config.rates) if config.pad_first else 0
        widths = [config.classes * multiple for multiple in (1, *config.multiples)]
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=0 if config.pad_first else rate, dilation=rate)
            for (inputs, outputs), rate in zip(pairwise(widths), config.rates, strict=True)
        )
        self.classify = nn.Conv2d(widths[-1], config.classes, 1)
        for convolution in (*self.layers, self.classify):
            identity_(convolution, groups=config.classes)

    def forward(self, maps: Float[Tensor, "b k h w"]) -> Float[Tensor, "b k h w"]:
        maps = functional.pad(maps, (self.edge,) * 4)
        for layer in self.layers:
            maps = functional.relu(layer(maps))
        return self.classify(maps)


@torch.no_grad()
def identity_(convolution: nn.Conv2d, *, groups: int, noise: float = 0.01) -> None:
    """Let each output channel begin as the sum of its class's inputs, scaled so that the module hands on.

    Args:
        groups: the classes, ``C``: channels are shared out among them evenly, in order.
        noise: deviation of all weights, as a share of the weight in the middle.

    Source: equations 4 and 5; the deviation is that of the authors' code.
    """
    outputs, inputs = convolution.weight.shape[:2]
    share = groups / outputs
    nn.init.normal_(convolution.weight, std=noise * share)
    owner_in, owner_out = (
        torch.arange(n, device=convolution.weight.device) * groups // n for n in (inputs, outputs)
    )
    middle = convolution.kernel_size[0] // 2
    convolution.weight[..., middle, middle] += share * (owner_out[:, None] == owner_in)
    nn.init.zeros_(convolution.get_parameter("bias"))


def reflected(image: Float[Tensor, "b c _ _"], margin: int, *, unit: int) -> Float[Tensor, "b c _ _"]:
    """Mirror ``image`` about its outer pixels, to ``margin`` pixels beyond a whole number of units a side."""
    for axis in (2, 3):
        side = image.shape[axis]
        period = max(1, 2 * side - 2)
        at = torch.arange(-margin, -(-side // unit) * unit + margin, device=image.device) % period
        image = image.index_select(axis, torch.minimum(at, period - at))
    return image


def _margin(config: Config) -> int:
    """Half of what the front end sees of the image for one pixel of its map, less that pixel's own stride."""
    seen, stride = 1, 1
    for index, depth in enumerate(config.depths):
        seen += 2 * depth * stride * (2 if index > POOLED else 1)
        if index < POOLED:
            seen += stride
            stride *= 2
    return (seen + 4 * (config.kernel - 1) * stride - stride) // 2
