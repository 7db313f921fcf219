"""FastFCN: an undilated encoder, its last three maps joined to one of stride 8, and the head of your choice.

Paper    Wu, Zhang, Huang, Liang, Yu 2019, arXiv:1903.11816, sections 3 and 4, figures 2 and 4
Origin   written from the paper and its authors' settings; parity with wuhuikai/FastFCN and mmsegmentation in
         tests/parity/context_heads.toml
Weights  weights/cards/fastfcn.toml

The heads are those of EncNet (the paper's best), of a plain fully convolutional network, of PSPNet and of
DeepLabv3, each after joint pyramid upsampling. EncNet is also trained to tell which classes a picture holds,
the "SE-loss" of weight 0.2: that branch decides nothing in the answer and is left out here, for the losses of
this library know pixels only. Heads of PSPNet and DeepLabv3 are trained on batches of two images or more. The
encoder begins as timm's, the rest as ``nn.aspp.initialise_head`` says, codewords as their paper does. The
authors enlarge their logits with aligned corners; ours are left at stride 8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones import Encoder
from segmentarium.nn import ConvNormAct, Semantic, require_channels
from segmentarium.nn.aspp import ASPP, AuxiliaryHead, initialise_head
from segmentarium.nn.encoding import ContextEncoding
from segmentarium.nn.joint_upsampling import JointPyramidUpsampling
from segmentarium.nn.pyramid_pooling import PyramidPooling


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a FastFCN is made of; the default is the paper's best on PASCAL Context."""

    encoder: str = "resnet101s"
    head: Literal["encoding", "fcn", "psp", "deeplab"] = "encoding"
    width: int = 512  # channels of each branch of the joint upsampling, and of the head
    rates: tuple[int, ...] = (1, 2, 4, 8)  # of the joint upsampling
    codewords: int = 32  # of the head "encoding"
    pyramid_rates: tuple[int, ...] = (12, 24, 36)  # of the head "deeplab"
    coarse_first: bool = True  # the order in which the maps are joined
    align_corners: bool = True  # where maps are enlarged
    in_channels: int = 3
    classes: int = 59


VARIANTS = {
    "paper": Config(),
    "paper_r50": Config(encoder="resnet50s"),
    "fcn_r50": Config(encoder="resnet50s", head="fcn"),
    "psp_r50": Config(encoder="resnet50s", head="psp"),
    "deeplab_r50": Config(encoder="resnet50s", head="deeplab"),
    "mmseg_psp_r50": Config(
        encoder="resnet50c", head="psp", coarse_first=False, align_corners=False, classes=19
    ),
    "small": Config(encoder="resnet18", width=128),
    "tiny": Config(encoder="lcnet_050", width=32, codewords=8),
}


def from_encoder(name: str) -> Config:
    """The paper's joint upsampling and head on a timm encoder."""
    return Config(encoder=name)


class FastFCN(nn.Module):
    """The network of ``config``; logits at the stride of the encoder's last map but two: 8.

    Raises:
        BadArgument: in training with the heads ``psp`` and ``deeplab``, a batch of one image.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.encoder, in_channels=config.in_channels)
        self.order = -1 if config.coarse_first else 1
        self.upsample = JointPyramidUpsampling(
            self.encoder.channels[-3:][:: self.order],
            config.width,
            rates=config.rates,
            align_corners=config.align_corners,
        )
        self.head = HEADS[config.head](config, self.upsample.channels)
        self.auxiliary = AuxiliaryHead(self.encoder.channels[-2], config.classes)
        # EncNet's code weighs its auxiliary head less than the others
        self.aux_weights = (1.0, 0.2 if config.head == "encoding" else 0.4)
        for part in (self.upsample, self.head, self.auxiliary):
            part.apply(initialise_head)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        maps = self.encoder(image)
        logits = self.head(self.upsample(maps[-3:][:: self.order]))
        return Semantic(logits, (self.auxiliary(maps[-2]),) if self.training else ())


def encoding_head(config: Config, inputs: int) -> nn.Sequential:
    """EncNet's; its first convolution is 1x1 here, for the upsampling has looked around already."""
    return nn.Sequential(
        ConvNormAct(inputs, config.width, kernel=1),
        ContextEncoding(config.width, config.codewords),
        *classifier(config, config.width),
    )


def psp_head(config: Config, inputs: int) -> nn.Sequential:
    """PSPNet's."""
    return nn.Sequential(
        PyramidPooling(inputs, inputs // 4, align_corners=config.align_corners),
        ConvNormAct(2 * inputs, config.width),
        *classifier(config, config.width),
    )


def deeplab_head(config: Config, inputs: int) -> nn.Sequential:
    """DeepLabv3's, with one more 3x3 convolution."""
    width = config.width // 2
    return nn.Sequential(
        ASPP(inputs, width, rates=config.pyramid_rates, dropout=0.5),
        ConvNormAct(width, width),
        *classifier(config, width),
    )


def fcn_head(config: Config, inputs: int) -> nn.Sequential:
    """One 3x3 convolution."""
    return nn.Sequential(ConvNormAct(inputs, config.width), *classifier(config, config.width))


def classifier(config: Config, inputs: int) -> tuple[nn.Module, nn.Module]:
    """Dropout of whole channels, and one score a class."""
    return nn.Dropout2d(0.1), nn.Conv2d(inputs, config.classes, 1)


HEADS: dict[str, Callable[[Config, int], nn.Sequential]] = {
    "encoding": encoding_head,
    "fcn": fcn_head,
    "psp": psp_head,
    "deeplab": deeplab_head,
}
