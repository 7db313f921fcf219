"""Hierarchical multi-scale attention: look twice, at half and at full size, and learn which look to believe.

Paper    Tao, Sapra, Catanzaro 2020, arXiv:2005.10821, section 3 and figure 2
Origin   written from the paper; parity with NVIDIA/semantic-segmentation in tests/parity/hrnet.toml
Weights  weights/cards/hmsa.toml

Each look tells how far it is to be believed over the next finer one. That is learnt on one pair of sizes,
and holds for any other: predictions walk from the largest size to the smallest, as many as ``scales`` has,
1 among them, with the same weights. The network is HRNet-OCR; logits are at the size of the image, for looks
are blended there. The head begins as torch begins layers, as in the paper's code.

The auxiliary outputs in training are the blend of the guessed regions (0.4) and each of the two looks alone
(0.05), weights from the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones.hrnet import TINY, W18_SMALL, W48, HRNet, HRNetConfig, join
from segmentarium.errors import BadArgument
from segmentarium.nn import ConvNormAct, Semantic, require_channels, resize
from segmentarium.nn.object_context import Context, ObjectContextHead


@dataclass(frozen=True, kw_only=True)
class Config:
    """What the network is made of and how often it looks; the default is the paper's for Cityscapes."""

    body: HRNetConfig = W48
    context: Context = field(default_factory=Context)
    attention_width: int = 256
    trained_scale: float = 0.5  # of the second look in training
    scales: tuple[float, ...] = (0.5, 1.0, 2.0)  # of the looks in eval mode
    in_channels: int = 3
    classes: int = 19


VARIANTS = {
    "w48": Config(),
    "single_scale": Config(scales=(1.0,)),
    "small": Config(
        body=W18_SMALL, context=Context(width=128, keys=64), attention_width=64, scales=(0.5, 1.0)
    ),
    "tiny": Config(body=TINY, context=Context(width=32, keys=16), attention_width=16, scales=(0.5, 1.0)),
}


class Look(NamedTuple):
    """What is seen at one scale, at the size of the image of that scale; ``attention`` is from 0 to 1.

    ``region_logits`` have that size in training only.
    """

    logits: Float[Tensor, "b k h w"]
    region_logits: Float[Tensor, "b k _ _"]
    attention: Float[Tensor, "b 1 h w"]


class HMSA(nn.Module):
    """The network of ``config``; logits at the size of the image."""

    aux_weights: ClassVar[tuple[float, ...]] = (1.0, 0.4, 0.05, 0.05)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.body = HRNet(config.body, in_channels=config.in_channels)
        joined, width = sum(self.body.channels), config.attention_width
        self.head = ObjectContextHead(joined, joined, config.context, classes=config.classes)
        self.attention = nn.Sequential(
            ConvNormAct(config.context.width, width),
            ConvNormAct(width, width),
            nn.Conv2d(width, 1, 1, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, image: Float[Tensor, "b c h w"], *, scales: Sequence[float] = ()) -> Semantic:
        """
        Args:
            scales: of the looks, in place of the config's; in eval mode only, training has a pair of its own.

        Raises:
            BadArgument: 1 is not among the scales, or one is not finite or not above 0.
        """
        require_channels(image, self.config.in_channels)
        if self.training:
            return self._lesson(image)
        scales = tuple(scales or self.config.scales)
        if 1.0 not in scales or not all(isfinite(scale) and scale > 0 for scale in scales):
            raise BadArgument(
                f"scales: {scales}",
                allowed="finite numbers above 0, 1 among them",
                cure="leave them out for those of the network",
            )
        scales = sorted(scales, reverse=True)
        found, *coarser = (self._look(image, scale) for scale in scales)
        logits = found.logits
        for scale, look in zip(scales[1:], coarser, strict=True):
            logits = blend(logits, look.logits, look.attention, coarse=scale < 1)
        return Semantic(logits)

    def _lesson(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        near, far = self._look(image, 1.0), self._look(image, self.config.trained_scale)
        coarse = self.config.trained_scale < 1
        joint = blend(near.logits, far.logits, far.attention, coarse=coarse)
        regions = blend(near.region_logits, far.region_logits, far.attention, coarse=coarse)
        return Semantic(joint, (regions, resize(far.logits, image.shape[-2:]), near.logits))

    def _look(self, image: Float[Tensor, "b c h w"], scale: float) -> Look:
        size = [max(1, int(side * scale)) for side in image.shape[-2:]]
        seen = join(self.body(resize(image, size)), by=self.config.body.up)
        logits, regions, features = self.head(seen, seen)
        if self.training:  # nothing else asks for the regions
            regions = resize(regions, size)
        return Look(resize(logits, size), regions, resize(self.attention(features), size))


def blend(
    finer: Float[Tensor, "b k _ _"],
    logits: Float[Tensor, "b k h w"],
    attention: Float[Tensor, "b 1 h w"],
    *,
    coarse: bool,
) -> Float[Tensor, "b k _ _"]:
    """What is believed after one more look.

    Args:
        finer: what was believed from larger scales.
        logits, attention: of the look; where attention is 1 it alone is believed.
        coarse: the look is smaller than the image: it is enlarged. Otherwise ``finer`` is made smaller.

    Source: arXiv:2005.10821, section 3.1.
    """
    size = (finer if coarse else logits).shape[-2:]
    return resize(attention * logits, size) + (1 - resize(attention, size)) * resize(finer, size)
