"""DANet: two attentions side by side, of positions and of channels, and the sum of what they found.

Paper    Fu, Liu, Tian, Li, Bao, Fang, Lu 2019, arXiv:1809.02983, sections 3 and 4, figures 2 and 3
Origin   written from the paper and its authors' settings; parity with junfu1115/DANet and mmsegmentation in
         tests/parity/context_heads.toml
Weights  weights/cards/danet.toml

Three heads are trained alike: on the sum, which answers, and on each attention alone. The blocks of the last
stage are dilated by 4, 8 and 16, the "multi-grid" of the paper's best; the stage before as timm dilates it,
which is how the authors' code does it. The encoder begins as timm's, both attentions as the identity, the
rest as ``nn.aspp.initialise_head`` says. The authors enlarge their logits with aligned corners; ours are left
at the network's stride.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones import Encoder
from segmentarium.nn import ConvNormAct, Semantic, require_channels
from segmentarium.nn.aspp import AuxiliaryHead, dilate, initialise_head
from segmentarium.nn.dual_attention import ChannelAttention, PositionAttention


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a DANet is made of; the default is the paper's for Cityscapes."""

    encoder: str = "resnet101"
    output_stride: int = 8
    grid: tuple[int, ...] = (4, 8, 16)  # dilation by block of a ResNet's last stage; empty: as timm dilates
    layout: Literal["paper", "mmseg"] = "paper"  # "mmseg": a fourth head, on the last map but one
    width: int = 512  # channels of each attention, a quarter of the encoder's
    keys: int = 64  # channels of queries and keys
    dropout: float = 0.1  # of whole channels, ahead of each classifier
    in_channels: int = 3
    classes: int = 19


VARIANTS = {
    "paper": Config(),
    "paper_r50": Config(encoder="resnet50"),
    "mmseg_r101": Config(encoder="resnet101c", grid=(), layout="mmseg"),
    "small": Config(encoder="resnet18", output_stride=16, grid=(), width=128, keys=16),
    "tiny": Config(encoder="lcnet_050", grid=(), width=32, keys=8),
}


def from_encoder(name: str) -> Config:
    """The paper's attentions on a timm encoder, at output stride 8."""
    return Config(encoder=name, grid=())


class DANet(nn.Module):
    """The network of ``config``; logits at the encoder's output stride.

    Raises:
        BadArgument: the encoder cannot be dilated so.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(
            config.encoder, in_channels=config.in_channels, output_stride=config.output_stride
        )
        for block, rate in zip(self.encoder.body.layer4 if config.grid else (), config.grid, strict=True):
            dilate(block, rate)
        *_, middle, deep = self.encoder.channels
        self.position = self._branch(deep, PositionAttention(config.width, config.keys))
        self.channel = self._branch(deep, ChannelAttention())
        self.classify, self.classify_position, self.classify_channel = (self._classifier() for _ in range(3))
        self.auxiliary = None
        self.aux_weights: tuple[float, ...] = (1.0, 1.0, 1.0)
        if config.layout == "mmseg":
            self.auxiliary = AuxiliaryHead(middle, config.classes).apply(initialise_head)
            self.aux_weights += (0.4,)
            for attention in (self.position[1], self.channel[1]):
                attention.gamma = nn.Parameter(torch.zeros(()))  # it stores these numbers without an axis

    def _branch(self, inputs: int, attention: nn.Module) -> nn.Sequential:
        width = self.config.width
        before, after = (ConvNormAct(c, width).apply(initialise_head) for c in (inputs, width))
        return nn.Sequential(before, attention, after)

    def _classifier(self) -> nn.Sequential:
        classify = nn.Conv2d(self.config.width, self.config.classes, 1)
        return nn.Sequential(nn.Dropout2d(self.config.dropout), classify).apply(initialise_head)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        *_, middle, deep = self.encoder(image)
        position, channel = self.position(deep), self.channel(deep)
        logits = self.classify(position + channel)
        if not self.training:
            return Semantic(logits)
        aux = [self.classify_position(position), self.classify_channel(channel)]
        if self.auxiliary is not None:
            aux.append(self.auxiliary(middle))
        return Semantic(logits, tuple(aux))
