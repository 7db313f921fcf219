"""OCRNet: guess the classes, sum up each guessed region as an object, and let pixels ask the objects.

Paper    Yuan, Chen, Wang 2020, arXiv:1909.11065, section 3 and figure 3
Origin   written from the paper; parity with HRNet-Semantic-Segmentation, openseg.pytorch and mmsegmentation
         in tests/parity/hrnet.toml
Weights  weights/cards/ocrnet.toml

The first guess is the auxiliary output, which training teaches too. On HRNet it is read off the same joined
streams as the pixels, on a dilated ResNet off the last stage but one. The paper's code enlarges maps with
corners aligned, inside HRNet and at the end, where our finisher aligns centres. How the paper joins ASPP is
told by its code alone: the object context stands where ASPP has the image's mean. The trunk begins as for
ImageNet, the head as torch begins layers, as in the paper's code.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones import Encoder
from segmentarium.backbones.hrnet import TINY, W18_SMALL, W48, HRNet, HRNetConfig, join
from segmentarium.nn import Semantic, require_channels
from segmentarium.nn.object_context import Context, ObjectContextHead

ALIGNED = replace(W48, up="aligned")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What an OCRNet is made of; the default is the paper's on HRNetV2-W48."""

    encoder: str = ""  # of timm, dilated; empty: HRNet
    output_stride: int = 8  # of the encoder
    body: HRNetConfig = ALIGNED  # in place of an encoder
    context: Context = field(default_factory=Context)
    in_channels: int = 3
    classes: int = 19


ON_RESNET = Context(region_kernel=3, region_width=512, region_dropout=0.05, bias=False)
ON_ASPP = Context(
    width=256, keys=128, rates=(24, 48, 72), dropout=0.1, region_kernel=3, region_width=512, bias=False
)

VARIANTS = {
    "w48": Config(),
    "resnet101": Config(encoder="resnet101s", context=ON_RESNET),
    "w48_aspp": Config(context=ON_ASPP),
    "mmseg_w48": Config(body=W48, context=Context(dropout=0.0, bias=False)),
    "small": Config(body=replace(W18_SMALL, up="aligned"), context=Context(width=128, keys=64)),
    "tiny": Config(body=replace(TINY, up="aligned"), context=Context(width=32, keys=16)),
}


def from_encoder(name: str) -> Config:
    """The paper's head for ResNets on a timm encoder that can be dilated."""
    return Config(encoder=name, context=ON_RESNET)


class OCRNet(nn.Module):
    """The network of ``config``; logits at stride 4 on HRNet, at the output stride on an encoder.

    Raises:
        BadArgument: the encoder cannot be dilated so.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        if config.encoder:
            self.encoder: nn.Module = Encoder(
                config.encoder, in_channels=config.in_channels, output_stride=config.output_stride
            )
            *_, coarse, channels = self.encoder.channels
        else:
            self.encoder = HRNet(config.body, in_channels=config.in_channels)
            coarse = channels = sum(self.encoder.channels)
        self.head = ObjectContextHead(channels, coarse, config.context, classes=config.classes)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        *_, middle, deep = self.encoder(image) if self.config.encoder else self._joined(image)
        logits, regions, _ = self.head(deep, middle)
        return Semantic(logits, (regions,) if self.training else ())

    def _joined(self, image: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ _ _"]]:
        return [join(self.encoder(image), by=self.config.body.up)] * 2
