"""Attention to Scale: one network looks at the image in several sizes and learns which size to trust where.

Paper    Chen, Yang, Wang, Xu, Yuille 2016, arXiv:1511.03339, sections 3 and 4
Origin   reconstruction: written from the paper, whose code was not found; tests/parity/dilated.toml says what
         was compared
Weights  weights/cards/attention_to_scale.toml

The attention head reads what fc7 says at all scales, side by side. Soft-max runs over scales, so that at each
pixel their weights sum to 1. In training each scale answers too (``aux``), which the paper calls extra
supervision; all answers count the same. Ours, where the paper is silent: dropout as in DeepLab-LargeFOV, and
both classifiers begin with deviation 0.01.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones.large_fov import LargeFOV, initialise
from segmentarium.backbones.vgg import DEPTHS, WIDTHS
from segmentarium.errors import BadArgument
from segmentarium.nn import Semantic, require_channels
from segmentarium.nn.aspp import initialise_head
from segmentarium.nn.multi_scale import alike, at_scales


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the network is made of; the default is the paper's three scales."""

    scales: tuple[float, ...] = (1.0, 0.75, 0.5)  # the largest first
    attention: int = 512  # channels of the attention head
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
    "two_scales": Config(scales=(1.0, 0.5)),
    "small": Config(scales=(1.0, 0.5), attention=128, widths=(16, 32, 64, 128, 128), width=256, norm=True),
    "tiny": Config(
        scales=(1.0, 0.5), attention=32, depths=(1, 1, 2, 2, 2), widths=(8, 16, 32, 48, 48), width=64, rate=4,
        norm=True, dropout=0.0,
    ),
}  # fmt: skip


class AttentionToScale(nn.Module):
    """The network of ``config``; logits at stride 8, and those of each scale in training.

    Raises:
        BadArgument: the largest scale does not come first.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        if not config.scales or config.scales[0] < max(config.scales):
            raise BadArgument(f"scales: {config.scales}", allowed="one or more, the largest first")
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
        scales = len(config.scales)
        self.attend = nn.Sequential(
            nn.Conv2d(scales * config.width, config.attention, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(config.attention, scales, 1),
        )
        self.attend.apply(initialise)
        for last in (self.classify, self.attend[-1]):
            last.apply(initialise_head)
        self.aux_weights = (1.0,) * (1 + scales)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        features = at_scales(self.encoder, image, self.config.scales)
        each = [self.classify(maps) for maps in features]
        weights = self.attention(features).transpose(0, 1).unsqueeze(2)  # s b 1 h w
        return Semantic((weights * alike(each)).sum(0), tuple(each) if self.training else ())

    def attention(self, features: list[Float[Tensor, "b c _ _"]]) -> Float[Tensor, "b s h w"]:
        """How much each scale counts at each pixel of the finest map; 1 in all."""
        joined = torch.cat(list(alike(features)), dim=1)
        return self.attend(joined).softmax(1)
