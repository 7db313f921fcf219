"""Mask2Former: queries that look only where they saw their object last, one network for all three tasks.

Paper    Cheng et al. 2022, arXiv:2112.01527, section 3 and figure 2
Origin   written from the paper; parity with two public implementations in tests/parity/mask2former.toml
Weights  weights/cards/mask2former.toml
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from segmentarium.backbones import encoder_of
from segmentarium.errors import UnknownName
from segmentarium.nn import Queries, require_channels, resize
from segmentarium.nn.attention import Attention
from segmentarium.nn.deformable_attention import DeformableAttention, Sizes, pixel_centres
from segmentarium.nn.mlp import MLP
from segmentarium.nn.position import sine_positions

STRIDES = (4, 8, 16, 32)
LEVELS = 3  # strides 32, 16 and 8, in this order wherever levels are told one by one
GROUPS = 32


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a Mask2Former is made of; the default is the paper's on ResNet-50, for COCO's panoptic classes."""

    encoder: str = "resnet50"  # ``swin_t`` and its kin, or of timm with maps at strides 4, 8, 16 and 32
    width: int = 256  # channels of all tokens, maps and queries ("C"), a multiple of 32
    heads: int = 8  # of all attentions
    points: int = 4  # read by each token in each map, by each head of the pixel decoder
    pixel_layers: int = 6  # of deformable attention
    pixel_hidden: int = 1024  # channels within their perceptrons
    layers: int = 9  # of masked attention ("3 L")
    hidden: int = 2048  # channels within their perceptrons
    queries: int = 100  # the most objects and regions told of an image ("N")
    in_channels: int = 3
    classes: int = 133


VARIANTS = {
    "r50": Config(),
    "r101": Config(encoder="resnet101"),
    "swin_t": Config(encoder="swin_t"),
    "swin_s": Config(encoder="swin_s"),
    "swin_b": Config(encoder="swin_b_384"),
    "swin_l": Config(encoder="swin_l_384", queries=200),
    "small": Config(
        encoder="resnet18", width=128, pixel_layers=3, pixel_hidden=512, layers=3, hidden=512, classes=2
    ),
    "tiny": Config(
        encoder="mobilenetv3_small_050",
        width=64,
        heads=4,
        points=2,
        pixel_layers=2,
        pixel_hidden=128,
        layers=3,
        hidden=128,
        queries=50,
        classes=2,
    ),
}


def from_encoder(name: str) -> Config:
    """The paper's decoders on a timm encoder."""
    return Config(encoder=name)


class Mask2Former(nn.Module):
    """The network of ``config``; masks at stride 4, sides rounded up.

    While training, ``aux`` holds what was answered before each layer, the first answer being that of the
    queries before they have seen the image.
    """

    loss: ClassVar[str] = "mask2former"
    readout: ClassVar[str] = "mask2former"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = encoder_of(config.encoder, in_channels=config.in_channels)
        channels = dict(zip(self.encoder.strides, self.encoder.channels, strict=True))
        if not channels.keys() >= set(STRIDES):
            raise UnknownName(
                f"encoder {config.encoder!r} has maps at strides {self.encoder.strides}",
                allowed=f"encoders with strides {STRIDES}",
                cure="try resnet50 or convnext_tiny",
            )
        self.pixel_decoder = PixelDecoder(config, [channels[stride] for stride in STRIDES])
        self.decoder = MaskedDecoder(config)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Queries:
        require_channels(image, self.config.in_channels)
        maps = dict(zip(self.encoder.strides, self.encoder(image), strict=True))
        return self.decoder(*self.pixel_decoder([maps[stride] for stride in STRIDES]))


class PixelDecoder(nn.Module):
    """Deformable attention among the three coarse levels, then a step up to stride 4."""

    def __init__(self, config: Config, channels: Sequence[int]) -> None:
        super().__init__()
        width = config.width
        fine, *coarse = channels
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, width, 1), nn.GroupNorm(GROUPS, width)) for c in reversed(coarse)
        )
        self.level = nn.Parameter(torch.empty(LEVELS, width))
        self.layers = nn.ModuleList(DeformableLayer(config) for _ in range(config.pixel_layers))
        self.lateral = nn.Sequential(nn.Conv2d(fine, width, 1, bias=False), nn.GroupNorm(GROUPS, width))
        self.smooth = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.GroupNorm(GROUPS, width),
            nn.ReLU(inplace=True),
        )
        self.masks = nn.Conv2d(width, width, 1)
        self._initialise()

    def forward(self, maps: Sequence[Float[Tensor, "b _ _ _"]]) -> tuple[Tensor, list[Tensor]]:
        """The map that masks are read from, and those that queries look at, coarsest first."""
        fine, *coarse = maps
        levels = [project(level) for project, level in zip(self.project, reversed(coarse), strict=True)]
        sizes = [(level.shape[-2], level.shape[-1]) for level in levels]
        codes = torch.cat(
            [sine_positions(m, m.shape[1]) + code for m, code in zip(levels, self.level, strict=True)]
        )
        places = pixel_centres(sizes, like=fine)
        tokens = torch.cat([level.flatten(2).transpose(1, 2) for level in levels], dim=1)
        for layer in self.layers:
            tokens = layer(tokens, codes, places=places, sizes=sizes)
        split = tokens.transpose(1, 2).split([h * w for h, w in sizes], dim=2)
        levels = [level.unflatten(2, size) for level, size in zip(split, sizes, strict=True)]
        lateral = self.lateral(fine)
        return self.masks(self.smooth(lateral + resize(levels[-1], lateral.shape[-2:]))), levels

    def _initialise(self) -> None:
        nn.init.normal_(self.level)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        spread(*self.project)


class DeformableLayer(nn.Module):
    """Tokens read points of all levels, then each thinks for itself; each added, then normalised."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.attention = DeformableAttention(width, config.heads, levels=LEVELS, points=config.points)
        self.attention_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, config.pixel_hidden, width)
        self.mlp_norm = nn.LayerNorm(width)
        spread(self.mlp)

    def forward(
        self,
        tokens: Float[Tensor, "b n c"],
        codes: Float[Tensor, "n c"],
        *,
        places: Float[Tensor, "n 2"],
        sizes: Sizes,
    ) -> Float[Tensor, "b n c"]:
        read = self.attention(tokens + codes, tokens, places=places, sizes=sizes)
        tokens = self.attention_norm(tokens + read)
        return self.mlp_norm(tokens + self.mlp(tokens))


class Level(NamedTuple):
    """What queries look at: ``shapes`` is the map of masks at the level's size, to see where theirs are."""

    keys: Float[Tensor, "b n c"]
    values: Float[Tensor, "b n c"]
    shapes: Float[Tensor, "b c n"]


class MaskedDecoder(nn.Module):
    """Learned queries look at the levels in turn, coarse to fine and again, each within its own mask."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.queries = nn.Parameter(torch.randn(config.queries, width))
        self.positions = nn.Parameter(torch.randn(config.queries, width))
        self.level = nn.Parameter(torch.randn(LEVELS, width))
        self.layers = nn.ModuleList(MaskedLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, config.classes + 1)
        self.mask = MLP(width, width, width, width)

    def forward(self, pixels: Float[Tensor, "b c h w"], maps: Sequence[Tensor]) -> Queries:
        """Answer; ``pixels`` are what masks are read from, ``maps`` what is looked at, coarsest first."""
        levels = [self._level(pixels, level, code) for level, code in zip(maps, self.level, strict=True)]
        queries = self.queries.expand(len(pixels), -1, -1)
        aux: list[Queries] = []
        for layer, level in zip(self.layers, cycle(levels), strict=False):
            answers = self.norm(queries)
            masks = self.mask(answers)
            if self.training:
                aux.append(self._answer(answers, masks, pixels))
            queries = layer(queries, self.positions, level, allowed=inside(masks, level.shapes))
        answers = self.norm(queries)
        return self._answer(answers, self.mask(answers), pixels)._replace(aux=tuple(aux))

    def _level(self, pixels: Tensor, features: Tensor, code: Tensor) -> Level:
        values = features.flatten(2).transpose(1, 2) + code
        # a mask made smaller is the mask of the smaller map: both are linear
        shapes = resize(pixels.detach(), features.shape[-2:]).flatten(2)
        return Level(values + sine_positions(features, features.shape[1]), values, shapes)

    def _answer(self, answers: Tensor, masks: Tensor, pixels: Tensor) -> Queries:
        logits = masks @ pixels.flatten(2)
        return Queries(self.classify(answers), logits.unflatten(2, pixels.shape[-2:]))


class MaskedLayer(nn.Module):
    """Queries look at pixels, at one another, then each thinks for itself; each added, then normalised."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.width
        self.cross_attention = Attention(width, config.heads)
        self.cross_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, config.heads)
        self.self_norm = nn.LayerNorm(width)
        self.mlp = MLP(width, config.hidden, width)
        self.mlp_norm = nn.LayerNorm(width)
        spread(self.cross_attention.out, self.self_attention.out, self.mlp)

    def forward(
        self,
        queries: Float[Tensor, "b q c"],
        positions: Float[Tensor, "q c"],
        level: Level,
        *,
        allowed: Bool[Tensor, "b 1 q n"],
    ) -> Float[Tensor, "b q c"]:
        seen = self.cross_attention(queries + positions, level.keys, level.values, allowed=allowed)
        queries = self.cross_norm(queries + seen)
        placed = queries + positions
        queries = self.self_norm(queries + self.self_attention(placed, placed, queries))
        return self.mlp_norm(queries + self.mlp(queries))


def inside(masks: Float[Tensor, "b q c"], shapes: Float[Tensor, "b c n"]) -> Bool[Tensor, "b 1 q n"]:
    """The pixels that a query's mask has at one half or more; all of them where it has none."""
    within = masks.detach() @ shapes >= 0
    return (within | ~within.any(-1, keepdim=True))[:, None]


def spread(*modules: nn.Module) -> None:
    """First weights as Glorot and Bengio's; biases stay."""
    for module in modules:
        for tensor in module.parameters():
            if tensor.ndim > 1:
                nn.init.xavier_uniform_(tensor)
