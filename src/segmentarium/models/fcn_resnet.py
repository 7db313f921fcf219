"""FCN on a ResNet: a dilated encoder and one 3x3 convolution, as torchvision and mmsegmentation have it.

Paper    none of its own: the idea of Long, Shelhamer, Darrell 2015, arXiv:1411.4038, on a dilated ResNet; the
         second head is that of Zhao et al. 2016, arXiv:1612.01105
Origin   written from the libraries' descriptions; parity with torchvision and mmsegmentation in
         tests/parity/fcn.toml
Weights  weights/cards/fcn_resnet.toml

This is no FCN-8s: it joins no maps. For that see ``fcn.py``. The encoder begins as timm's, the rest as
``nn.aspp.initialise_head`` says. In training torchvision counts the second head half, mmsegmentation 0.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones import Encoder
from segmentarium.nn import ConvNormAct, Semantic, require_channels
from segmentarium.nn.aspp import AuxiliaryHead, initialise_head


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the network is made of; the default is torchvision's ``fcn_resnet50``."""

    encoder: str = "resnet50"
    output_stride: int = 8
    width: int = 512  # channels of the head
    depth: int = 1  # its 3x3 convolutions
    joined: bool = False  # one more of them sees the encoder's map beside the head's
    dropout: float = 0.1  # before the classifier
    auxiliary: float = 0.5  # weight of a second head on the last map but one, in training; 0: there is none
    in_channels: int = 3
    classes: int = 21


VARIANTS = {
    "torchvision_r50": Config(),
    "torchvision_r101": Config(encoder="resnet101"),
    "mmseg_r50": Config(encoder="resnet50c", depth=2, joined=True, auxiliary=0.4, classes=19),
    "mmseg_r101": Config(encoder="resnet101c", depth=2, joined=True, auxiliary=0.4, classes=19),
    "small": Config(encoder="resnet18", width=128),
    "tiny": Config(encoder="lcnet_050", width=32, auxiliary=0.0),
}


def from_encoder(name: str) -> Config:
    """torchvision's head on a timm encoder."""
    return Config(encoder=name)


class FCNResNet(nn.Module):
    """The network of ``config``; logits at the encoder's output stride.

    Raises:
        BadArgument: the encoder cannot be dilated so.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.aux_weights = (1.0, config.auxiliary)
        self.encoder = Encoder(
            config.encoder, in_channels=config.in_channels, output_stride=config.output_stride
        )
        *_, middle, deep = self.encoder.channels
        width = config.width
        inputs = [deep, *[width] * (config.depth - 1)]
        self.convolve = nn.Sequential(*(ConvNormAct(channels, width) for channels in inputs))
        self.join = ConvNormAct(deep + width, width) if config.joined else None
        self.dropout = nn.Dropout(config.dropout)
        self.classify = nn.Conv2d(width, config.classes, 1)
        self.auxiliary = AuxiliaryHead(middle, config.classes) if config.auxiliary else None
        for name, part in self.named_children():
            if name != "encoder":
                part.apply(initialise_head)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        *_, middle, deep = self.encoder(image)
        head = self.convolve(deep)
        if self.join is not None:
            head = self.join(torch.cat([deep, head], dim=1))
        aux = (self.auxiliary(middle),) if self.auxiliary is not None and self.training else ()
        return Semantic(self.classify(self.dropout(head)), aux)
