"""DeepLabv3+: DeepLabv3's pyramid, and a small decoder that finds the boundaries again.

Paper    Chen, Zhu, Papandreou, Schroff, Adam 2018, arXiv:1802.02611, sections 3 and 4, figures 2 and 4
Origin   written from the paper; parity with segmentation-models-pytorch and mmsegmentation in
         tests/parity/deeplab.toml
Weights  weights/cards/deeplabv3plus.toml

Training mode takes output stride 16; evaluation mode may take another one with the same weights: the paper's
tables have 16 and 8. Training takes batches of two images or more, for image pooling leaves BatchNorm one
value an image. The paper begins with encoders trained on ImageNet and says nothing of the other weights: here
the encoder begins as timm's, the rest as ``nn.aspp.initialise_head`` says. The aligned Xception is timm's,
whose map of stride 4 is taken after its ReLU; the authors' code takes it before.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones import Encoder
from segmentarium.errors import BadArgument
from segmentarium.nn import ConvNormAct, Semantic, require_channels
from segmentarium.nn.aspp import ASPP, AuxiliaryHead, initialise_head
from segmentarium.nn.separable import Separable, conv_norm_act


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a DeepLabv3+ is made of; the default is the paper's on the aligned Xception of 65 layers."""

    encoder: str = "xception65"
    output_stride: int = 16  # in training
    test_stride: int = 16  # in eval mode
    multi_grid: tuple[int, ...] = ()  # of a ResNet's last stage; empty: as timm dilates
    rates: tuple[int, ...] = (6, 12, 18)  # of the pyramid, at output_stride
    width: int = 256  # channels of the pyramid and of the decoder
    fine_width: int = 48  # channels that the map of stride 4 is reduced to
    separable: Separable = "normed"  # the 3x3 convolutions of pyramid and decoder
    kernel: int = 1  # of the projection after the pyramid
    smooth: bool = False  # one more 3x3 convolution before maps are enlarged
    depth: int = 2  # 3x3 convolutions after the maps are joined
    align_corners: bool = False  # where the coarse map is enlarged
    dropout: float = 0.0  # after the projection
    auxiliary: bool = False  # a second head on the last map but one, answering in training only
    in_channels: int = 3
    classes: int = 21


VARIANTS = {
    "paper": Config(),
    "paper_x71": Config(encoder="xception71"),
    "paper_r101": Config(encoder="resnet101", multi_grid=(1, 2, 4), separable="no"),
    "smp_r34": Config(
        encoder="resnet34", multi_grid=(1, 1, 1), rates=(12, 24, 36), separable="bare", smooth=True, depth=1,
        align_corners=True, dropout=0.5,
    ),
    "smp_r101": Config(
        encoder="resnet101", multi_grid=(1, 1, 1), rates=(12, 24, 36), separable="bare", smooth=True, depth=1,
        align_corners=True, dropout=0.5,
    ),
    "smp_x65": Config(
        rates=(12, 24, 36), separable="bare", smooth=True, depth=1, align_corners=True, dropout=0.5
    ),
    "mmseg_r101": Config(
        encoder="resnet101c", output_stride=8, test_stride=8, rates=(12, 24, 36), width=512, kernel=3,
        dropout=0.1, auxiliary=True,
    ),
    "small": Config(encoder="resnet18", rates=(3, 6, 9), width=128),
    "tiny": Config(encoder="lcnet_050", rates=(1, 2, 3), width=32),
}  # fmt: skip


def from_encoder(name: str) -> Config:
    """The paper's pyramid and decoder on a timm encoder."""
    return Config(encoder=name)


class DeepLabV3Plus(nn.Module):
    """The network of ``config``; logits at stride 4.

    Raises:
        BadArgument: the encoder cannot be dilated so, or has no map of stride 4; in training, a batch of one.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(
            config.encoder,
            in_channels=config.in_channels,
            output_stride=config.output_stride,
            test_stride=config.test_stride,
            multi_grid=config.multi_grid,
        )
        self.fine = position_of_stride_4(self.encoder)
        *_, middle, deep = self.encoder.channels
        self.pyramid = ASPP(
            deep,
            config.width,
            rates=config.rates,
            strides=self.encoder.output_strides,
            separable=config.separable,
            kernel=config.kernel,
            dropout=config.dropout,
        )
        self.smooth = convolution(config, config.width) if config.smooth else nn.Identity()
        self.reduce = ConvNormAct(self.encoder.channels[self.fine], config.fine_width, kernel=1)
        joined = config.width + config.fine_width
        inputs = [joined, *[config.width] * (config.depth - 1)]
        self.decoder = nn.Sequential(*(convolution(config, channels) for channels in inputs))
        self.classify = nn.Conv2d(config.width, config.classes, 1)
        self.auxiliary = AuxiliaryHead(middle, config.classes) if config.auxiliary else None
        for name, part in self.named_children():
            if name != "encoder":
                part.apply(initialise_head)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        maps = self.encoder(image)
        fine = self.reduce(maps[self.fine])
        deep = functional.interpolate(
            self.smooth(self.pyramid(maps[-1])),
            size=fine.shape[2:],
            mode="bilinear",
            align_corners=self.config.align_corners,
        )
        logits = self.classify(self.decoder(torch.cat([deep, fine], dim=1)))
        aux = (self.auxiliary(maps[-2]),) if self.auxiliary is not None and self.training else ()
        return Semantic(logits, aux)


def convolution(config: Config, inputs: int) -> nn.Sequential:
    """A 3x3 convolution of the decoder."""
    return conv_norm_act(inputs, config.width, separable=config.separable)


def position_of_stride_4(encoder: Encoder) -> int:
    """Which of the maps the decoder takes.

    Raises:
        BadArgument: there is none.
    """
    if 4 not in encoder.strides:
        raise BadArgument(
            f"an encoder with maps at strides {encoder.strides}",
            allowed="one that has a map of stride 4",
            cure="try resnet18, mobilenetv3_large_100 or convnext_tiny",
        )
    return encoder.strides.index(4)
