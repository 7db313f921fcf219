"""SegNet: pooling remembers where each maximum stood, and the decoder puts its values back there.

Paper    Badrinarayanan, Kendall, Cipolla 2015, arXiv:1511.00561, section 3 and figure 2
Origin   written from the paper; parity with pytorch-semseg in tests/parity/encoder_decoders.toml
Weights  weights/cards/segnet.toml

Figure 2 ends every convolution in BatchNorm and ReLU; the authors' code (alexgkendall/SegNet-Tutorial) leaves
the last one bare, and so do we. There a window at the far edge may hold one row or column only, as 45 rows
become 23: here too, so images of any size are taken. The paper begins with the encoder of a VGG16 trained on
ImageNet; here all begins with He's weights, as the decoder does there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones import VGG
from segmentarium.backbones.vgg import DEPTHS, WIDTHS
from segmentarium.nn import Semantic, require_channels
from segmentarium.nn.upsampling import Pooled, max_pool, max_unpool


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a SegNet is made of; the default is the paper's on VGG16."""

    depths: tuple[int, ...] = DEPTHS[16]  # convolutions of each encoder, and of the decoder opposite
    widths: tuple[int, ...] = WIDTHS  # channels of each encoder
    in_channels: int = 3
    classes: int = 11


VARIANTS = {
    "paper": Config(),
    "small": Config(widths=(16, 32, 64, 128, 128)),
    "tiny": Config(depths=(1, 1, 2, 2), widths=(16, 24, 32, 48)),
}


class SegNet(nn.Module):
    """The network of ``config``; logits at the size of the image."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = VGG(config.depths, config.widths, in_channels=config.in_channels, norm=True)
        widths = config.widths
        depths = (config.depths[0] - 1, *config.depths[1:])  # the last convolution of all is the classifier
        steps = zip(widths, (widths[0], *widths[:-1]), depths, strict=True)
        self.decoder = nn.ModuleList(convolutions(*channels, depth=depth) for *channels, depth in steps)[::-1]
        self.classify = nn.Conv2d(widths[0], config.classes, 3, padding=1)
        self.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        maps, seen = image, []
        for encode in self.encoder:
            maps = encode(maps)
            seen.append((maps.shape[-2:], pool(maps)))
            maps = seen[-1][1].values
        for decode, ((height, width), pooled) in zip(self.decoder, reversed(seen), strict=True):
            maps = decode(max_unpool(maps, pooled)[..., :height, :width])
        return Semantic(self.classify(maps))


def pool(maps: Float[Tensor, "b c h w"]) -> Pooled:
    """The maxima of windows of 2x2 pixels; those at the far edges of odd sides are completed by zeros.

    No zero is ever chosen, for ReLU leaves nothing below and the first of equals is taken.
    """
    height, width = maps.shape[-2:]
    if height % 2 or width % 2:
        maps = functional.pad(maps, (0, width % 2, 0, height % 2))
    return max_pool(maps, (2, 2))


def convolutions(inputs: int, outputs: int, *, depth: int) -> nn.Sequential:
    """``depth`` 3x3 convolutions with BatchNorm and ReLU, the last of which narrows maps to ``outputs``."""
    layers: list[nn.Module] = []
    for one, other in pairwise((*(inputs,) * depth, outputs)):
        layers += [nn.Conv2d(one, other, 3, padding=1), nn.BatchNorm2d(other), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def initialise(module: nn.Module) -> None:
    """He's normal weights by inputs, "MSRA" in the authors' code; no bias."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
