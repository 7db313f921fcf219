"""DETR: a fixed set of queries, each of which answers with one object, and a mask from where it looked.

Paper    Carion et al. 2020, arXiv:2005.12872, sections 3.2 and 4.4 and appendix A.4; masks: figure 8
Origin   written from the paper; parity with two public implementations in tests/parity/detr.toml
Weights  weights/cards/detr.toml
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones import Encoder
from segmentarium.nn import Queries, require_channels
from segmentarium.nn.attention import Attention
from segmentarium.nn.mlp import MLP
from segmentarium.nn.position import sine_positions


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a DETR is made of; the default is the paper's with ResNet-50."""

    encoder: str = "resnet50"  # of timm, with maps at strides 4, 8, 16 and 32
    output_stride: int = 32  # of what the transformer sees; 16 is the paper's "DC5"
    frozen: bool = True  # BatchNorm of the encoder learns neither statistics nor scale: only if pretrained
    width: int = 256  # channels of a token ("d")
    heads: int = 8  # of every attention ("M")
    encoder_layers: int = 6
    decoder_layers: int = 6
    hidden: int = 2048  # channels within the perceptron of a layer
    queries: int = 100  # the most objects an image can have ("N")
    dropout: float = 0.1
    in_channels: int = 3
    classes: int = 250  # COCO's panoptic numbers reach 200 and are not contiguous; the authors took 250


_SCRATCH = Config(
    encoder="resnet18",
    frozen=False,
    width=128,
    encoder_layers=3,
    decoder_layers=3,
    hidden=512,
    queries=50,
)

VARIANTS = {
    "r50_panoptic": Config(),
    "r101_panoptic": Config(encoder="resnet101"),
    "dc5": Config(output_stride=16),
    "small": _SCRATCH,
    "tiny": Config(
        encoder="lcnet_050",
        frozen=False,
        width=64,
        encoder_layers=2,
        decoder_layers=2,
        hidden=128,
        queries=20,
        classes=4,
    ),
}


AT_ONCE = 10
"""Queries whose masks are made at a time when nothing is learnt: more are slower, and need more memory."""


class DETR(nn.Module):
    """The network of ``config``; masks at a quarter of the image's size, rounded up.

    A mask is before its sigmoid. Earlier layers of the decoder, in ``aux``, answer with classes and boxes;
    their masks have no pixels. Queries do not compete for pixels before the read-out.
    """

    loss: ClassVar[str] = "detr"
    readout: ClassVar[str] = "detr"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, heads = config.width, config.heads
        self.encoder = _encoder(config)
        *skips, deep = self.encoder.channels[-4:]
        self.project = nn.Conv2d(deep, width, 1)
        self.encode = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.decode = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.norm = nn.LayerNorm(width)
        self.queries = nn.Embedding(config.queries, width)
        self.classify = nn.Linear(width, config.classes + 1)
        self.box = MLP(width, width, width, 4)
        self.look = AttentionMap(width, heads)
        self.mask = MaskHead(width, heads, tuple(reversed(skips)))

    def forward(self, image: Float[Tensor, "b c h w"]) -> Queries:
        require_channels(image, self.config.in_channels)
        *skips, deep = self.encoder(image)[-4:]
        maps = self.project(deep)
        places = sine_positions(maps, self.config.width)
        memory = maps.flatten(2).transpose(1, 2)
        for layer in self.encode:
            memory = layer(memory, places)
        answers = self._answers(memory, places)
        masks = self.mask(maps, self.look(answers[-1], memory), skips[::-1])
        none = masks.new_zeros(*masks.shape[:2], 0, 0)
        aux = tuple(self._say(answer, none) for answer in answers[:-1])
        return self._say(answers[-1], masks)._replace(aux=aux)

    def _answers(
        self, memory: Float[Tensor, "b n c"], places: Float[Tensor, "n c"]
    ) -> list[Float[Tensor, "b q c"]]:
        """After each layer of the decoder; all of them pass the same norm, which no layer builds on."""
        names = self.queries.weight
        tokens = names.new_zeros(len(memory), *names.shape)
        answers = []
        for layer in self.decode:
            tokens = layer(tokens, names, memory, places)
            answers.append(self.norm(tokens))
        return answers

    def _say(self, answer: Float[Tensor, "b q c"], masks: Float[Tensor, "b q h w"]) -> Queries:
        return Queries(self.classify(answer), masks, boxes=self.box(answer).sigmoid())


def _encoder(config: Config) -> Encoder:
    encoder = Encoder(config.encoder, in_channels=config.in_channels, output_stride=config.output_stride)
    if config.frozen:
        from timm.layers import freeze_batch_norm_2d

        for part in encoder.modules():
            if isinstance(part, nn.BatchNorm2d):
                nn.init.ones_(part.weight)  # timm starts some at nought, where they would stay
        freeze_batch_norm_2d(encoder)
    return encoder


class Layer(nn.Module):
    """What the layers of encoder and decoder share: each part's answer is added, then normalised."""

    def __init__(self, config: Config, *, norms: int) -> None:
        super().__init__()
        self.attention = Attention(config.width, config.heads, dropout=config.dropout)
        self.mlp = MLP(config.width, config.hidden, config.width, dropout=config.dropout)
        for weight in self.mlp.parameters():
            if weight.ndim > 1:
                nn.init.xavier_uniform_(weight)
        self.norms = nn.ModuleList(nn.LayerNorm(config.width) for _ in range(norms))
        self.dropout = nn.Dropout(config.dropout)


class EncoderLayer(Layer):
    """Each place of the image looks at all others."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, norms=2)

    def forward(self, tokens: Float[Tensor, "b n c"], places: Float[Tensor, "n c"]) -> Float[Tensor, "b n c"]:
        first, last = self.norms
        placed = tokens + places
        tokens = first(tokens + self.dropout(self.attention(placed, placed, tokens)))
        return last(tokens + self.dropout(self.mlp(tokens)))


class DecoderLayer(Layer):
    """Each query looks at the other queries, then at the image."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, norms=3)
        self.cross = Attention(config.width, config.heads, dropout=config.dropout)

    def forward(
        self,
        tokens: Float[Tensor, "b q c"],
        names: Float[Tensor, "q c"],
        memory: Float[Tensor, "b n c"],
        places: Float[Tensor, "n c"],
    ) -> Float[Tensor, "b q c"]:
        first, second, last = self.norms
        named = tokens + names
        tokens = first(tokens + self.dropout(self.attention(named, named, tokens)))
        tokens = second(tokens + self.dropout(self.cross(tokens + names, memory + places, memory)))
        return last(tokens + self.dropout(self.mlp(tokens)))


class AttentionMap(nn.Module):
    """Where a query looks: one map a head, all maps of a query together of sum 1."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        for part in (self.query, self.key):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)

    def forward(
        self, answers: Float[Tensor, "b q c"], memory: Float[Tensor, "b n c"]
    ) -> Float[Tensor, "b q g n"]:
        query = self.query(answers).unflatten(-1, (self.heads, -1))  # b q g d
        key = self.key(memory).unflatten(-1, (self.heads, -1))  # b n g d
        scores = query.transpose(1, 2) / sqrt(query.shape[-1]) @ key.permute(0, 2, 3, 1)  # b g q n
        scores = scores.transpose(1, 2)
        return scores.flatten(2).softmax(-1).view(scores.shape)


class MaskHead(nn.Module):
    """A small pyramid that each query passes for itself: where it looked, made fine by the encoder's maps.

    Args:
        skips: channels of the encoder's maps, coarsest first.
    """

    def __init__(self, width: int, heads: int, skips: tuple[int, ...]) -> None:
        super().__init__()
        self.heads = heads
        self.mix = ConvGroupNorm(width + heads, width + heads)
        self.narrow = ConvGroupNorm(width + heads, width // 2)
        widths = [width // 2 ** (step + 1) for step in range(len(skips) + 1)]
        self.skips = nn.ModuleList(
            nn.Conv2d(skip, inner, 1) for skip, inner in zip(skips, widths, strict=False)
        )
        self.steps = nn.ModuleList(ConvGroupNorm(*pair) for pair in pairwise(widths))
        self.out = nn.Conv2d(widths[-1], 1, 3, padding=1)
        for part in self.modules():
            if isinstance(part, nn.Conv2d) and part.bias is not None:
                nn.init.kaiming_uniform_(part.weight, a=1)
                nn.init.zeros_(part.bias)

    def forward(
        self, maps: Float[Tensor, "b c h w"], looks: Float[Tensor, "b q g h*w"], skips: list[Tensor]
    ) -> Float[Tensor, "b q y x"]:
        # a convolution of maps beside looks, and the maps are the same for all queries: once is enough
        conv = self.mix.conv
        of_maps, of_looks = conv.weight.split([maps.shape[1], self.heads], dim=1)
        shared = functional.conv2d(maps, of_maps, conv.bias, padding=1)
        fine = [adapt(skip) for adapt, skip in zip(self.skips, skips, strict=True)]
        at_once = looks.shape[1] if self.training else AT_ONCE
        parts = looks.unflatten(-1, maps.shape[-2:]).split(at_once, dim=1)
        return torch.cat([self._masks(some, of_looks, shared, fine) for some in parts], dim=1)

    def _masks(
        self, looks: Float[Tensor, "b q g h w"], of_looks: Tensor, shared: Tensor, fine: list[Tensor]
    ) -> Float[Tensor, "b q y x"]:
        batch = looks.shape[:2]
        own = functional.conv2d(looks.flatten(0, 1), of_looks, padding=1).unflatten(0, batch)
        masks = self.narrow(self.mix.finish((own + shared[:, None]).flatten(0, 1)))
        for step, maps in zip(self.steps, fine, strict=True):
            coarse = functional.interpolate(masks, size=maps.shape[-2:]).unflatten(0, batch)
            masks = step((coarse + maps[:, None]).flatten(0, 1))
        return self.out(masks)[:, 0].unflatten(0, batch)


class ConvGroupNorm(nn.Module):
    """A 3x3 convolution, GroupNorm of eight groups, ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.GroupNorm(min(8, outputs), outputs)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        return self.finish(self.conv(maps))

    def finish(self, maps: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        return self.norm(maps).relu()
