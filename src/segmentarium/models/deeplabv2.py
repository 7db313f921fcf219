"""DeepLabv2: atrous convolutions of four rates vote on each pixel, at several scales of the image.

Paper    Chen, Papandreou, Kokkinos, Murphy, Yuille 2016, arXiv:1606.00915, sections 3 and 4
Origin   written from the paper; parity with a public implementation in tests/parity/dilated.toml
Weights  weights/cards/deeplabv2.toml

The paper ends in a dense CRF, which is no part of this network. Its ResNet-101 begins with weights trained on
ImageNet and COCO, and BatchNorm stays as it was trained there: so it is in ``paper``; ``small`` and ``tiny``,
which begin with nothing, learn it. In training each scale answers too (``aux``) and counts as much as their
maximum. The authors' loss compares at stride 8, and their bilinear enlargement aligns corners; here loss and
finisher enlarge, pixel centres aligned.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones import Encoder
from segmentarium.backbones.caffe_resnet import caffe_resnet
from segmentarium.backbones.large_fov import DilatedVGG
from segmentarium.nn import Semantic, require_channels
from segmentarium.nn.multi_scale import at_scales, largest
from segmentarium.nn.summed_aspp import SummedASPP


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a DeepLabv2 is made of; the default is the paper's best, on ResNet-101."""

    encoder: str = "resnet101"  # a timm encoder; empty: VGG-16 with 3x3 poolings
    caffe: bool = True  # the ResNet as in Caffe, see `backbones.caffe_resnet`; otherwise as timm dilates
    frozen_norm: bool = True  # its BatchNorm as constants: for weights that were trained elsewhere
    rates: tuple[int, ...] = (6, 12, 18, 24)  # of ASPP-L
    width: int = 0  # channels of fc6 and fc7 in each branch, which VGG-16 has
    scales: tuple[float, ...] = (1.0, 0.75, 0.5)  # of the image; one alone for a single pass
    dropout: float = 0.5  # after fc6 and fc7
    in_channels: int = 3
    classes: int = 21


VARIANTS = {
    "paper": Config(),
    "single_scale": Config(scales=(1.0,)),
    "vgg16": Config(encoder="", width=1024),
    "small": Config(encoder="resnet18", frozen_norm=False, scales=(1.0,)),
    "tiny": Config(encoder="lcnet_050", caffe=False, rates=(1, 2, 3), scales=(1.0,)),
}


def from_encoder(name: str) -> Config:
    """The paper's pyramid and scales on a timm encoder, dilated as timm does."""
    return Config(encoder=name, caffe=False)


class DeepLabV2(nn.Module):
    """The network of ``config``; logits at stride 8, and those of each scale in training.

    Raises:
        BadArgument: the encoder cannot be dilated so, or a scale is not above 0.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = _encoder(config)
        self.pyramid = SummedASPP(
            self.encoder.channels[-1],
            config.classes,
            rates=config.rates,
            width=config.width,
            dropout=config.dropout,
        )
        self.aux_weights = (1.0,) * (1 + len(config.scales))

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        each = at_scales(self._at_one_scale, image, self.config.scales)
        return Semantic(largest(each), tuple(each) if self.training and len(each) > 1 else ())

    def _at_one_scale(self, image: Tensor) -> Tensor:
        *_, deep = self.encoder(image)
        logits: Tensor = self.pyramid(deep)
        return logits


def _encoder(config: Config) -> Encoder | DilatedVGG:
    if not config.encoder:
        return DilatedVGG(in_channels=config.in_channels)
    if config.caffe:
        return caffe_resnet(config.encoder, in_channels=config.in_channels, frozen_norm=config.frozen_norm)
    return Encoder(config.encoder, in_channels=config.in_channels, output_stride=8)
