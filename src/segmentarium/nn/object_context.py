"""Object-contextual representations: each pixel learns what it is of from the regions it may belong to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.nn.blocks import ConvNormAct


@dataclass(frozen=True, kw_only=True)
class Context:
    """The numbers of a head of object context.

    Attributes:
        width: channels of pixels and objects.
        keys: channels in which they are compared.
        rates: dilations of a pyramid beside the context, which stands where ASPP has the image's mean; empty:
            the pixels themselves are beside it.
        dropout: of whole channels, before the classifier.
        region_kernel: side of the convolution that sees the soft regions.
        region_width: its channels; 0: as many as come in.
        region_dropout: of whole channels, after it.
        bias: of the first convolution of pixels and of regions; idle, for BatchNorm follows.
    """

    width: int = 512
    keys: int = 256
    rates: tuple[int, ...] = ()
    dropout: float = 0.05
    region_kernel: int = 1
    region_width: int = 0
    region_dropout: float = 0.0
    bias: bool = True


class InContext(NamedTuple):
    """What the head says of each pixel, what it took the regions for, and what it saw."""

    logits: Float[Tensor, "b k h w"]
    region_logits: Float[Tensor, "b k h w"]
    features: Float[Tensor, "b c h w"]


class ObjectContextHead(nn.Module):
    """Soft regions of every class, an object from each, and what these say to each pixel; then the classes.

    Args:
        inputs: channels of the maps of pixels.
        region_inputs: channels of the maps that regions are read off; often the same maps.

    Source: Yuan, Chen, Wang 2020, arXiv:1909.11065, section 3.2; with the pyramid as in the authors' code.
    """

    def __init__(self, inputs: int, region_inputs: int, config: Context, *, classes: int) -> None:
        super().__init__()
        width, middle = config.width, config.region_width or region_inputs
        self.regions = nn.Sequential(
            *_convolution(region_inputs, middle, kernel=config.region_kernel, bias=config.bias),
            nn.Dropout2d(config.region_dropout),
            nn.Conv2d(middle, classes, 1),
        )
        self.pixels = _convolution(inputs, width, kernel=3, bias=config.bias)
        self.attend = ObjectAttention(width, config.keys)
        dilated = (ConvNormAct(inputs, width, dilation=rate) for rate in config.rates)
        self.pyramid = nn.ModuleList([ConvNormAct(inputs, width, kernel=1), *dilated] if config.rates else [])
        beside = len(self.pyramid) or 1
        self.join = nn.Sequential(
            *ConvNormAct((1 + beside) * width, width, kernel=1), nn.Dropout2d(config.dropout)
        )
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Float[Tensor, "b i h w"], region_maps: Float[Tensor, "b r h w"]) -> InContext:
        region_logits = self.regions(region_maps)
        pixels = self.pixels(maps)
        context = self.attend(pixels, objects(pixels, region_logits))
        beside = [branch(maps) for branch in self.pyramid] or [pixels]
        features = self.join(torch.cat([context, *beside], dim=1))
        return InContext(self.classify(features), region_logits, features)


class ObjectAttention(nn.Module):
    """For each pixel a mean of what the objects are, weighed by how alike pixel and object are.

    Source: arXiv:1909.11065, equations 3 to 5.
    """

    def __init__(self, width: int, keys: int) -> None:
        super().__init__()
        self.query = nn.Sequential(ConvNormAct(width, keys, kernel=1), ConvNormAct(keys, keys, kernel=1))
        self.key = nn.Sequential(ConvNormAct(width, keys, kernel=1), ConvNormAct(keys, keys, kernel=1))
        self.value = ConvNormAct(width, keys, kernel=1)
        self.up = ConvNormAct(keys, width, kernel=1)

    def forward(
        self, pixels: Float[Tensor, "b c h w"], objects: Float[Tensor, "b c k 1"]
    ) -> Float[Tensor, "b c h w"]:
        query, key, value = (
            own.flatten(2).transpose(1, 2)
            for own in (self.query(pixels), self.key(objects), self.value(objects))
        )
        context = functional.scaled_dot_product_attention(query, key, value)
        return self.up(context.transpose(1, 2).unflatten(2, pixels.shape[2:]))


def objects(
    pixels: Float[Tensor, "b c h w"], region_logits: Float[Tensor, "b k h w"]
) -> Float[Tensor, "b c k 1"]:
    """Each object as the mean of all pixels, weighed by a softmax over the picture of its region's scores.

    Source: arXiv:1909.11065, equation 2.
    """
    weights = region_logits.flatten(2).softmax(2)
    return (pixels.flatten(2) @ weights.transpose(1, 2)).unsqueeze(3)


def _convolution(inputs: int, outputs: int, *, kernel: int, bias: bool) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
