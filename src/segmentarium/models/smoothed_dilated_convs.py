"""Smoothed dilated convolutions: DeepLabv2 whose dilated convolutions leave no grid behind.

Paper    Wang, Ji 2018, arXiv:1808.08931, sections 3 and 4
Origin   written from the paper; its operators compared with the authors' code in tests/parity/dilated.toml
Weights  weights/cards/smoothed_dilated_convs.toml

DeepLabv2 on ResNet-101 at one scale, each dilated convolution of its last two stages smoothed; the pyramid
stays as it is. At first the network equals DeepLabv2, whose weights it takes. The first variant has group
interaction, which the authors' code does too if not told otherwise. The paper's third proposal, an output
layer built on attention over the graph of pixels, is left out: its code and full description were not found.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones import Encoder
from segmentarium.backbones.caffe_resnet import caffe_resnet
from segmentarium.nn import Semantic, require_channels
from segmentarium.nn.smoothed_dilation import Smoothing, smooth
from segmentarium.nn.summed_aspp import SummedASPP


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the network is made of; the default is the paper's with group interaction."""

    smoothing: Smoothing = "group_interaction"
    encoder: str = "resnet101"  # a timm encoder
    caffe: bool = True  # a ResNet as in Caffe, see `backbones.caffe_resnet`; otherwise as timm dilates
    frozen_norm: bool = True  # its BatchNorm as constants: for weights that were trained elsewhere
    rates: tuple[int, ...] = (6, 12, 18, 24)  # of the pyramid
    in_channels: int = 3
    classes: int = 21


VARIANTS = {
    "paper": Config(),
    "separable_shared": Config(smoothing="separable_shared"),
    "small": Config(smoothing="separable_shared", encoder="resnet18", frozen_norm=False),
    "tiny": Config(encoder="lcnet_050", caffe=False, rates=(1, 2, 3)),
}


def from_encoder(name: str) -> Config:
    """Group interaction in a timm encoder, dilated as timm does."""
    return Config(encoder=name, caffe=False)


class SmoothedDilatedConvs(nn.Module):
    """The network of ``config``; logits at stride 8.

    Raises:
        BadArgument: the encoder cannot be dilated so, or its dilated convolutions cannot be smoothed.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        inputs = config.in_channels
        if config.caffe:
            self.encoder = caffe_resnet(config.encoder, in_channels=inputs, frozen_norm=config.frozen_norm)
        else:
            self.encoder = Encoder(config.encoder, in_channels=inputs, output_stride=8)
        smooth(self.encoder, config.smoothing)
        self.pyramid = SummedASPP(self.encoder.channels[-1], config.classes, rates=config.rates)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        *_, deep = self.encoder(image)
        return Semantic(self.pyramid(deep))
