"""Depthwise separable convolutions: space first, channels after."""

from __future__ import annotations

from typing import Literal

from torch import nn

from segmentarium.nn.blocks import ConvNormAct

Separable = Literal["no", "normed", "bare"]
"""``no``: one full convolution. ``normed``: BatchNorm and ReLU after both halves, as in DeepLabv3+ and in
mmsegmentation. ``bare``: after the second only, as in segmentation-models-pytorch."""


def conv_norm_act(inputs: int, outputs: int, *, separable: Separable, dilation: int = 1) -> nn.Sequential:
    """A 3x3 convolution that keeps the size, BatchNorm, ReLU; the layer that is dilated comes first."""
    if separable == "no":
        return ConvNormAct(inputs, outputs, dilation=dilation)
    depthwise = nn.Conv2d(inputs, inputs, 3, 1, dilation, dilation, groups=inputs, bias=False)
    between = (nn.BatchNorm2d(inputs), nn.ReLU(inplace=True)) if separable == "normed" else ()
    return nn.Sequential(depthwise, *between, *ConvNormAct(inputs, outputs, kernel=1))
