"""PSPNet: each pixel is told what the picture holds as a whole, in quarters, ninths and thirty-sixths.

Paper    Zhao, Shi, Qi, Wang, Jia 2017, arXiv:1612.01105, sections 3 and 4, figure 3
Origin   written from the paper and its authors' settings; parity with hszhao/semseg, mmsegmentation and
         segmentation-models-pytorch in tests/parity/context_heads.toml
Weights  weights/cards/pspnet.toml

The paper leaves open how the dilated ResNet is laid out. As in the authors' code its stem is three 3x3
convolutions, every block of the last two stages is dilated (by 2 and 4), a 3x3 convolution of 512 channels
stands ahead of the classifier, and corners are aligned wherever maps are enlarged. The authors' sides are
8n + 1 pixels for that reason and their logits are enlarged with aligned corners too; ours are left at the
network's stride and enlarged like those of all networks here. Training takes batches of two images or more.
The encoder begins as timm's, the rest as ``nn.aspp.initialise_head`` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones import Encoder
from segmentarium.nn import ConvNormAct, Semantic, require_channels
from segmentarium.nn.aspp import initialise_head
from segmentarium.nn.pyramid_pooling import PyramidPooling


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a PSPNet is made of; the default is the paper's for VOC and Cityscapes."""

    encoder: str = "resnet101s"
    output_stride: int = 8
    multi_grid: tuple[int, ...] = (1, 1, 1)  # a ResNet's, all blocks dilated alike; empty: as timm dilates
    layout: Literal["paper", "smp"] = "paper"  # "smp" knows nothing of the two above; see `PSPNet`
    bins: tuple[int, ...] = (1, 2, 3, 6)  # parts along each side
    align_corners: bool = True  # where the means of the parts are enlarged
    width: int = 512  # channels ahead of the classifier
    dropout: float = 0.1  # of whole channels, ahead of each classifier
    auxiliary: bool = True  # the second head, on the last map but one, answering in training only
    in_channels: int = 3
    classes: int = 21


VARIANTS = {
    "paper": Config(),
    "paper_r50": Config(encoder="resnet50s"),
    "smp_r34": Config(encoder="resnet34", layout="smp", dropout=0.2, auxiliary=False),
    "mmseg_r101": Config(encoder="resnet101c", multi_grid=(), align_corners=False),
    "small": Config(encoder="resnet18", output_stride=16, multi_grid=(), width=128),
    "tiny": Config(encoder="lcnet_050", multi_grid=(), width=32),
}


def from_encoder(name: str) -> Config:
    """The paper's heads on a timm encoder, at output stride 8."""
    return Config(encoder=name, multi_grid=())


class PSPNet(nn.Module):
    """The network of ``config``; logits at the encoder's output stride.

    The layout of segmentation-models-pytorch, ``smp``, is another network: the encoder ends at its map of
    stride 8, undilated; the picture's mean has no BatchNorm; the maps are joined by a 1x1 convolution, means
    first; the classifier is 3x3.

    Raises:
        BadArgument: the encoder cannot be dilated so; in training, a batch of one image.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        smp = config.layout == "smp"
        if smp:
            self.encoder: Encoder = FirstStages(config.encoder, in_channels=config.in_channels)
        else:
            self.encoder = Encoder(
                config.encoder,
                in_channels=config.in_channels,
                output_stride=config.output_stride,
                multi_grid=config.multi_grid,
            )
        *_, middle, deep = self.encoder.channels
        share = deep // len(config.bins)
        self.pyramid = PyramidPooling(deep, share, bins=config.bins, align_corners=config.align_corners)
        self.classify = self._head(deep + len(config.bins) * share, config.width)
        if smp:
            self.pyramid.branches[0] = nn.Sequential(nn.Conv2d(deep, share, 1), nn.ReLU(inplace=True))
        self.auxiliary = self._head(middle, middle // 4) if config.auxiliary else None
        for part in (self.pyramid, self.classify, self.auxiliary):
            if part is not None:
                part.apply(initialise_head)

    def _head(self, inputs: int, width: int) -> nn.Sequential:
        kernels = (1, 3) if self.config.layout == "smp" else (3, 1)
        return nn.Sequential(
            ConvNormAct(inputs, width, kernel=kernels[0]),
            nn.Dropout2d(self.config.dropout),
            nn.Conv2d(width, self.config.classes, kernels[1], padding=kernels[1] // 2),
        )

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        *_, middle, deep = self.encoder(image)
        if self.config.layout == "smp":
            joined = torch.cat([*self.pyramid.means(deep), deep], dim=1)
        else:
            joined = self.pyramid(deep)
        logits = self.classify(joined)
        aux = (self.auxiliary(middle),) if self.auxiliary is not None and self.training else ()
        return Semantic(logits, aux)


class FirstStages(Encoder):
    """An encoder that ends at its map of stride 8; what comes after is not even there."""

    def __init__(self, name: str, *, in_channels: int) -> None:
        super().__init__(name, in_channels=in_channels)
        kept = self.strides.index(8) + 1
        for later in list(self.body.return_layers)[kept:]:
            del self.body[later]
        self.channels = self.channels[:kept]
        form = self._forms[0]._replace(strides=self.strides[:kept])
        self._forms = (form, form)
