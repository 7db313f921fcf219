"""DeepLabv3: atrous convolutions keep the map fine, a pyramid of rates sees objects of every size.

Paper    Chen, Papandreou, Schroff, Adam 2017, arXiv:1706.05587, sections 3 and 4
Origin   written from the paper; parity with torchvision, segmentation-models-pytorch and mmsegmentation
         in tests/parity/deeplab.toml
Weights  weights/cards/deeplabv3.toml

The paper trains at output stride 16 and answers at 8, with rates twice as large and the same weights: so do
training and evaluation mode. Training takes batches of two images or more (16 in the paper), for image
pooling leaves BatchNorm one value an image. The paper begins with a ResNet trained on ImageNet and says
nothing of the other weights: here the encoder begins as timm's, the rest as ``nn.aspp.initialise_head`` says.
The authors' ResNet has its strides in the last block of a stage, timm's in the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones import Encoder
from segmentarium.backbones.cascade import Cascade
from segmentarium.nn import ConvNormAct, Semantic, require_channels
from segmentarium.nn.aspp import ASPP, AuxiliaryHead, initialise_head


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a DeepLabv3 is made of; the default is the paper's network with parallel pooling."""

    encoder: str = "resnet101"
    output_stride: int = 16  # in training
    test_stride: int = 8  # in eval mode
    multi_grid: tuple[int, ...] = (1, 2, 4)  # "Multi_Grid" of the last stage; empty: as timm dilates
    cascade: int = 0  # blocks after block4, in place of the pyramid
    rates: tuple[int, ...] = (6, 12, 18)  # of the pyramid, at output_stride
    width: int = 256  # channels of each branch
    kernel: int = 1  # of the projection after the pyramid
    smooth: bool = False  # one more 3x3 convolution before the classifier
    dropout: float = 0.0  # after the projection
    auxiliary: bool = False  # a second head on the last map but one, answering in training only
    in_channels: int = 3
    classes: int = 21


VARIANTS = {
    "paper": Config(),
    "cascade": Config(cascade=3, multi_grid=(1, 2, 1)),
    "torchvision_r50": Config(
        encoder="resnet50", output_stride=8, multi_grid=(), rates=(12, 24, 36), smooth=True, dropout=0.5,
        auxiliary=True,
    ),
    "torchvision_r101": Config(
        output_stride=8, multi_grid=(), rates=(12, 24, 36), smooth=True, dropout=0.5, auxiliary=True
    ),
    "smp_r34": Config(
        encoder="resnet34", output_stride=8, multi_grid=(1, 1, 1), rates=(12, 24, 36), smooth=True,
        dropout=0.5,
    ),
    "mmseg_r101": Config(
        encoder="resnet101c", output_stride=8, multi_grid=(), rates=(12, 24, 36), width=512, kernel=3,
        dropout=0.1, auxiliary=True,
    ),
    "small": Config(encoder="resnet18", multi_grid=(1, 2), rates=(3, 6, 9), width=128),
    "tiny": Config(encoder="lcnet_050", output_stride=8, multi_grid=(), rates=(1, 2, 3), width=32),
}  # fmt: skip


def from_encoder(name: str) -> Config:
    """The paper's pyramid on a timm encoder, at output stride 16 throughout."""
    return Config(encoder=name, test_stride=16, multi_grid=())


class DeepLabV3(nn.Module):
    """The network of ``config``; logits at the encoder's output stride.

    Raises:
        BadArgument: the encoder cannot be dilated so; in training, a batch of one image.
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
        *_, middle, channels = self.encoder.channels
        if config.cascade:
            self.context: nn.Module = Cascade(
                self.encoder, blocks=config.cascade, multi_grid=config.multi_grid
            )
        else:
            self.context, channels = self._pyramid(channels), config.width
        self.smooth = ConvNormAct(channels, channels) if config.smooth else nn.Identity()
        self.classify = nn.Conv2d(channels, config.classes, 1)
        self.auxiliary = AuxiliaryHead(middle, config.classes) if config.auxiliary else None
        for name, part in self.named_children():
            if name != "encoder" and not isinstance(part, Cascade):
                part.apply(initialise_head)

    def _pyramid(self, inputs: int) -> ASPP:
        return ASPP(
            inputs,
            self.config.width,
            rates=self.config.rates,
            strides=self.encoder.output_strides,
            kernel=self.config.kernel,
            dropout=self.config.dropout,
        )

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        *_, middle, deep = self.encoder(image)
        logits = self.classify(self.smooth(self.context(deep)))
        aux = (self.auxiliary(middle),) if self.auxiliary is not None and self.training else ()
        return Semantic(logits, aux)
