"""DeepLabv1: VGG-16 made dense by atrous convolutions, with a large field of view.

Paper    Chen, Papandreou, Kokkinos, Murphy, Yuille 2015, arXiv:1412.7062, sections 3 and 5, DeepLab-LargeFOV
Origin   written from the paper; parity with a public implementation in tests/parity/dilated.toml
Weights  weights/cards/deeplabv1.toml

The paper ends in a dense CRF, which is no part of this network. The other fields of view that it tries are
left out, and so is the variant MSc, which joins maps of the poolings. The paper begins with VGG-16 trained on
ImageNet; here convolutions begin with He's normal weights, the classifier with deviation 0.01 as in the
authors' code. Their loss compares at stride 8, and their bilinear enlargement aligns corners; here loss and
finisher enlarge, pixel centres aligned.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones.large_fov import LargeFOV
from segmentarium.backbones.vgg import DEPTHS, WIDTHS
from segmentarium.nn import Semantic, require_channels
from segmentarium.nn.aspp import initialise_head


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a DeepLabv1 is made of; the default is the paper's DeepLab-LargeFOV."""

    depths: tuple[int, ...] = DEPTHS[16]  # convolutions of each group of VGG
    widths: tuple[int, ...] = WIDTHS
    width: int = 1024  # channels of fc6 and fc7
    rate: int = 12  # of fc6
    norm: bool = False  # BatchNorm in VGG, to train from nothing
    dropout: float = 0.5
    in_channels: int = 3
    classes: int = 21


VARIANTS = {
    "paper": Config(),
    "small": Config(widths=(16, 32, 64, 128, 128), width=256, norm=True),
    "tiny": Config(
        depths=(1, 1, 2, 2, 2), widths=(8, 16, 32, 48, 48), width=64, rate=4, norm=True, dropout=0.0
    ),
}


class DeepLabV1(nn.Module):
    """The network of ``config``; logits at stride 8."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = LargeFOV(
            config.widths,
            depths=config.depths,
            width=config.width,
            rate=config.rate,
            dropout=config.dropout,
            in_channels=config.in_channels,
            norm=config.norm,
        )
        self.classify = nn.Conv2d(config.width, config.classes, 1)
        self.classify.apply(initialise_head)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        return Semantic(self.classify(self.encoder(image)))
