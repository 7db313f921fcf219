"""The ResNet of DeepLabv2, as its authors ran it in Caffe, made of timm's."""

from __future__ import annotations

from segmentarium.backbones.encoder import Encoder
from segmentarium.nn.aspp import dilate
from segmentarium.nn.detection_trunk import freeze_norms, move_strides

RATES = {"layer3": 2, "layer4": 4}
"""Stages that keep stride 8, and the dilation of all their blocks, the first one too."""


def caffe_resnet(name: str, *, in_channels: int = 3, frozen_norm: bool = False) -> Encoder:
    """A ResNet of timm with output stride 8 and its tensors, but with what is peculiar to Caffe's.

    Bottlenecks take their stride in the first 1x1 convolution, the stem's pooling rounds sides up, and every
    block of a dilated stage has the stage's rate; timm's first block keeps the rate of the stage before.

    Args:
        name: one of timm's ResNets.
        frozen_norm: BatchNorm as constants, for weights that were trained elsewhere.

    Raises:
        UnknownName: timm has no such model.
        BadArgument: timm cannot dilate it.
    """
    encoder = Encoder(name, in_channels=in_channels, output_stride=8)
    for stage, rate in RATES.items():
        dilate(getattr(encoder.body, stage), rate)
    move_strides(encoder.body)
    encoder.body.maxpool.ceil_mode = True
    if frozen_norm:
        freeze_norms(encoder.body)
    return encoder
