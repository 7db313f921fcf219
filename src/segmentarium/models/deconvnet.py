"""DeconvNet: VGG16 down to one pixel, and its mirror image of unpooling and deconvolution up again.

Paper    Noh, Hong, Han 2015, arXiv:1505.04366, section 3, figure 2 and table 2
Origin   written from the paper; compared with the authors' layers, written out in Torch's own functions, in
         tests/parity/encoder_decoders.toml
Weights  weights/cards/deconvnet.toml

The paper takes 224x224 pixels, the smallest image whose last map has the 7x7 pixels that "fc6" looks at. Here
an image of any size is completed by zeros at its far edges, to multiples of 32 and to 224 at least, and the
logits are cut again; in larger images "fc6" has more places to stand. The paper crops 50 proposals of each
picture, runs each through the network and puts the answers together: ``post.proposals.aggregate`` does that.
It begins with a VGG16 trained on ImageNet; here the convolutions begin with He's weights, the deconvolutions
as in the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones import VGG
from segmentarium.backbones.vgg import DEPTHS, WIDTHS
from segmentarium.errors import BadArgument
from segmentarium.nn import Semantic, require_channels
from segmentarium.nn.upsampling import max_pool, max_unpool


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a DeconvNet is made of; the default is the paper's on VGG16."""

    depths: tuple[int, ...] = DEPTHS[16]  # convolutions of each group, and deconvolutions of the one opposite
    widths: tuple[int, ...] = WIDTHS  # channels of each group
    kernel: int = 7  # of "fc6", the side of the last map of the smallest image
    fc_width: int = 4096  # channels of "fc6" and "fc7"
    in_channels: int = 3
    classes: int = 21


VARIANTS = {
    "paper": Config(),
    "small": Config(widths=(16, 32, 64, 128, 128), kernel=3, fc_width=256),
    "tiny": Config(depths=(1, 1, 2, 2), widths=(16, 24, 32, 48), kernel=3, fc_width=64),
}


class DeconvNet(nn.Module):
    """The network of ``config``; logits at the size of the image."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths, narrow = config.widths, config.fc_width
        self.encoder = VGG(config.depths, widths, in_channels=config.in_channels, norm=True)
        self.fc = nn.Sequential(
            *normed(nn.Conv2d(widths[-1], narrow, config.kernel)),
            *normed(nn.Conv2d(narrow, narrow, 1)),
            *normed(nn.ConvTranspose2d(narrow, widths[-1], config.kernel)),
        )
        steps = zip(widths, (widths[0], *widths[:-1]), config.depths, strict=True)
        self.decoder = nn.ModuleList(deconvolutions(*channels, depth=depth) for *channels, depth in steps)[
            ::-1
        ]
        self.classify = nn.Conv2d(widths[0], config.classes, 1)
        self.apply(initialise)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        """See the class.

        Raises:
            BadArgument: one image of the smallest size came in training.
        """
        require_channels(image, self.config.in_channels)
        height, width = image.shape[-2:]
        maps, seen = functional.pad(image, (0, self._missing(width), 0, self._missing(height))), []
        for encode in self.encoder:
            seen.append(max_pool(encode(maps), (2, 2)))
            maps = seen[-1].values
        self._require_pixels(maps)
        maps = self.fc(maps)
        for decode, pooled in zip(self.decoder, reversed(seen), strict=True):
            maps = decode(max_unpool(maps, pooled))
        return Semantic(self.classify(maps)[..., :height, :width])

    def _missing(self, side: int) -> int:
        """Pixels that complete ``side`` to multiples of the last map's stride, "fc6" included."""
        stride = 2 ** len(self.config.widths)
        return stride * max(-(-side // stride), self.config.kernel) - side

    def _require_pixels(self, maps: Float[Tensor, "b c h w"]) -> None:
        height, width = (side - self.config.kernel + 1 for side in maps.shape[-2:])
        if len(maps) * height * width == 1 and self.fc[1].training:
            raise BadArgument(
                "a training batch of one small image: fc6 leaves BatchNorm one value a channel",
                allowed="2 images or more in each process and each part of a batch",
                cure="raise train.batch or train.crop, or freeze BatchNorm",
            )


def deconvolutions(inputs: int, outputs: int, *, depth: int) -> nn.Sequential:
    """``depth`` 3x3 transposed convolutions of stride 1, the last of which narrows maps to ``outputs``."""
    layers: list[nn.Module] = []
    for one, other in pairwise((*(inputs,) * depth, outputs)):
        layers += normed(nn.ConvTranspose2d(one, other, 3, padding=1))
    return nn.Sequential(*layers)


def normed(convolution: nn.Conv2d | nn.ConvTranspose2d) -> tuple[nn.Module, ...]:
    """``convolution``, BatchNorm, ReLU."""
    return convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True)


def initialise(module: nn.Module) -> None:
    """Convolutions as He has it, deconvolutions and classifier of deviation 0.01; no bias."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    if isinstance(module, nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.01)
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
        nn.init.zeros_(module.bias)
