"""SETR: an encoder without convolutions, and three ways back from its coarse map to pixels.

Paper    Zheng et al. 2021, arXiv:2012.15840, section 3 and figure 1
Origin   written from the paper and, for what it leaves open, from the list of layers in the authors' code;
         parity with that code and with mmsegmentation in tests/parity/segmenter_setr.toml
Weights  weights/cards/setr_naive.toml, weights/cards/setr_pup.toml and weights/cards/setr_mla.toml

The paper begins with a vision transformer trained on ImageNet-21k or by distillation; here all weights begin
as the authors' code has them without that. Its input has one fixed size; here other images are filled up to
whole patches and positions resampled, as that code resamples them once when it loads trained ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.backbones import vit
from segmentarium.nn import ConvNormAct, Semantic, require_channels, resize
from segmentarium.nn.upsampling import bilinear

T_LARGE = replace(vit.LARGE, grid=(48, 48))  # 768 pixels a side, as for Cityscapes
T_BASE = replace(vit.BASE, grid=(48, 48))


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a SETR is made of; the default is SETR-PUP's on T-Large, for Cityscapes."""

    encoder: vit.Config = T_LARGE
    taps: tuple[int, ...] = (10, 15, 20, 24)  # blocks that are read: by MLA, elsewhere by auxiliary heads
    auxiliary: bool = True  # heads on the taps, which answer in training only
    width: int = 256  # channels of the decoder
    stream: int = 128  # of each of MLA's streams in the end
    bias: bool = True  # of convolutions ahead of a BatchNorm, but for MLA's
    enlarge: int = 4  # how many times heads of one step enlarge their scores
    in_channels: int = 3
    classes: int = 19


# without the auxiliary heads, which differ there
MMSEG = Config(encoder=replace(T_LARGE, patch_bias=False), bias=False, auxiliary=False)
SMALL = Config(
    encoder=replace(vit.BASE, width=192, depth=8, heads=3, grid=(16, 20)), width=96, stream=48, classes=11
)
TINY = Config(
    encoder=replace(vit.BASE, patch=8, width=64, depth=4, heads=2, grid=(12, 12)),
    width=24,
    stream=16,
    classes=2,
)
VARIANTS = {
    "setr_naive": {
        "t_large": Config(taps=(10, 15, 20), enlarge=1),
        "t_base": Config(encoder=T_BASE, taps=(3, 6, 9), enlarge=1),
        "mmseg_t_large": MMSEG,
        "small": replace(SMALL, taps=(2, 4, 6), enlarge=1),
        "tiny": replace(TINY, taps=(1, 2, 3), enlarge=1),
    },
    "setr_pup": {
        "t_large": Config(),
        "t_base": Config(encoder=T_BASE, taps=(5, 8, 10, 12)),
        "mmseg_t_large": MMSEG,
        "small": replace(SMALL, taps=(2, 4, 6, 8)),
        "tiny": replace(TINY, taps=(1, 2, 3, 4)),
    },
    "setr_mla": {
        "t_large": Config(taps=(6, 12, 18, 24)),
        "t_base": Config(encoder=T_BASE, taps=(3, 6, 9, 12)),
        "small": replace(SMALL, taps=(2, 4, 6, 8)),
        "tiny": replace(TINY, taps=(1, 2, 3, 4)),
    },
}


class SETRNaive(nn.Module):
    """The network of ``config`` with two 1x1 convolutions; logits at the stride of a patch."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decode, self.auxiliary = _upsampler(
            config, steps=1, kernel=1, enlarge=config.enlarge
        )

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        return _decoded(self, image)


class SETRPUP(nn.Module):
    """The network of ``config`` that enlarges step by step; logits at an eighth of a patch's stride.

    The last doubling is left to whoever resizes logits to the image. That mmsegmentation doubles ahead of the
    class layer changes nothing: a 1x1 convolution and interpolation can be exchanged.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decode, self.auxiliary = _upsampler(config, steps=4, kernel=3)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        return _decoded(self, image)


class UpHead(nn.Module):
    """A norm, ``steps`` convolutions with the map doubled between them, a score a class.

    Args:
        enlarge: by how much scores grow at last.
    """

    def __init__(self, config: Config, *, steps: int, kernel: int, enlarge: int = 1) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.norm = nn.LayerNorm(config.encoder.width, eps=config.encoder.eps)
        inputs = [config.encoder.width, *[config.width] * (steps - 1)]
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, config.width, kernel, padding=kernel // 2, bias=config.bias),
                nn.BatchNorm2d(config.width),
                nn.ReLU(inplace=True),
            )
            for channels in inputs
        )
        self.classify = nn.Conv2d(config.width, config.classes, 1)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        maps = self.steps[0](normalised(maps, self.norm))
        for step in self.steps[1:]:
            maps = step(enlarged(maps, 2))
        return enlarged(self.classify(maps), self.enlarge)


class SETRMLA(nn.Module):
    """The network of ``config`` that adds up maps of several depths; logits at a quarter of a patch's stride.

    Each stream is enlarged four times with its corners aligned, as the authors' code does it.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        # the class token is taken off ahead of the blocks
        size, width = replace(config.encoder, class_token=False), config.width
        self.encoder = vit.ViT(size, in_channels=config.in_channels, taps=config.taps, norm=False)
        self.norms = nn.ModuleList(nn.LayerNorm(size.width, eps=size.eps) for _ in config.taps)
        self.reduce = nn.ModuleList(ConvNormAct(size.width, width, kernel=1) for _ in config.taps)
        self.smooth = nn.ModuleList(ConvNormAct(width, width) for _ in config.taps)
        self.refine = nn.ModuleList(
            nn.Sequential(ConvNormAct(width, config.stream), ConvNormAct(config.stream, config.stream))
            for _ in config.taps
        )
        self.classify = nn.Conv2d(len(config.taps) * config.stream, config.classes, 3, padding=1)
        read = config.taps if config.auxiliary else ()
        self.auxiliary = nn.ModuleList(nn.Conv2d(width, config.classes, 1, bias=False) for _ in read)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        streams = self._aggregated(self.encoder(image))
        fine = [refine(maps) for refine, maps in zip(self.refine, streams, strict=True)]
        size = [4 * side for side in fine[0].shape[-2:]]
        logits = self.classify(torch.cat([bilinear(maps, size, align_corners=True) for maps in fine], dim=1))
        return _answer(self, logits, streams, image)

    def _aggregated(self, maps: Sequence[Float[Tensor, "b _ h w"]]) -> list[Tensor]:
        """One stream a tap, with all deeper ones added."""
        parts = [
            reduce(normalised(m, norm)) for m, norm, reduce in zip(maps, self.norms, self.reduce, strict=True)
        ]
        sums = reversed(list(accumulate(reversed(parts))))
        return [smooth(total) for smooth, total in zip(self.smooth, sums, strict=True)]


def _upsampler(
    config: Config, *, steps: int, kernel: int, enlarge: int = 1
) -> tuple[vit.ViT, UpHead, nn.ModuleList]:
    """An encoder, the head on its last map, and heads of one step on the maps of the taps."""
    read = config.taps if config.auxiliary else ()
    taps = sorted({*read, config.encoder.depth})
    encoder = vit.ViT(config.encoder, in_channels=config.in_channels, taps=taps, norm=False)
    auxiliary = nn.ModuleList(UpHead(config, steps=1, kernel=kernel, enlarge=config.enlarge) for _ in read)
    return encoder, UpHead(config, steps=steps, kernel=kernel, enlarge=enlarge), auxiliary


def _decoded(network: SETRNaive | SETRPUP, image: Float[Tensor, "b c h w"]) -> Semantic:
    require_channels(image, network.config.in_channels)
    maps = network.encoder(image)
    return _answer(network, network.decode(maps[-1]), maps, image)


def _answer(
    network: SETRNaive | SETRPUP | SETRMLA, logits: Tensor, maps: Sequence[Tensor], image: Tensor
) -> Semantic:
    """``logits`` and, in training, what the auxiliary heads say of ``maps``, all of the image alone."""
    heads = zip(network.auxiliary, maps, strict=False) if network.training else ()
    scores = [logits, *(head(m) for head, m in heads)]
    logits, *aux = (vit.on_image(one, image, network.config.encoder.patch) for one in scores)
    return Semantic(logits, tuple(aux))


def normalised(maps: Float[Tensor, "b c h w"], norm: nn.Module) -> Float[Tensor, "b c h w"]:
    """``norm`` over the channels of each place."""
    return norm(maps.movedim(1, 3)).movedim(3, 1)


def enlarged(maps: Float[Tensor, "b c h w"], factor: int) -> Float[Tensor, "b c y x"]:
    """Sides ``factor`` times as long, by bilinear interpolation."""
    return resize(maps, [factor * side for side in maps.shape[-2:]])
