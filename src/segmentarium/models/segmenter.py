"""Segmenter: patches of an image compared with one learned token a class, by transformers alone.

Paper    Strudel, Garcia, Laptev, Schmid 2021, arXiv:2105.05633, section 3 and figure 2
Origin   written from the paper; parity with the authors' code in tests/parity/segmenter_setr.toml
Weights  weights/cards/segmenter_linear.toml and weights/cards/segmenter_mask.toml

The paper begins with a vision transformer trained on ImageNet-21k or, marked by a dagger, on ImageNet by
distillation; here all weights begin as the authors' code has them without that. The variants' positions are
those of the crops they were trained on: 640 pixels a side for L on ADE20K, 512 for the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.backbones import vit
from segmentarium.errors import BadArgument
from segmentarium.nn import Semantic, require_channels
from segmentarium.nn.transformer import Block, initialise

L16 = replace(vit.LARGE, grid=(40, 40), eps=1e-5, drop_path=0.1)
B16 = replace(vit.BASE, grid=(32, 32), eps=1e-5, drop_path=0.1)
TI16 = replace(B16, width=192, heads=3)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a Segmenter is made of; the default is the paper's best, Seg-L/16, for ADE20K."""

    encoder: vit.Config = L16
    layers: int = 2  # of the mask transformer ("M")
    dropout: float = 0.1  # within them
    in_channels: int = 3
    classes: int = 150


_VARIANTS = {
    "l16": Config(),
    "b16": Config(encoder=B16),
    "b8": Config(encoder=replace(B16, patch=8, grid=(64, 64))),
    "b16_deit": Config(encoder=replace(B16, distilled=True)),  # with a dagger in the paper
    "s16": Config(encoder=replace(B16, width=384, heads=6)),
    "ti16": Config(encoder=TI16),
    "small": Config(encoder=replace(TI16, depth=8, grid=(16, 20)), dropout=0.0, classes=11),
    "tiny": Config(
        encoder=replace(TI16, patch=8, width=64, depth=3, heads=2, grid=(12, 12), drop_path=0.0),
        layers=1,
        dropout=0.0,
        classes=2,
    ),
}
VARIANTS = {"segmenter_linear": _VARIANTS, "segmenter_mask": _VARIANTS}


class SegmenterLinear(nn.Module):
    """The network of ``config`` with one linear layer on each patch; logits at the stride of a patch.

    Where patches do not fill the image, logits are at its size: see ``backbones.vit.on_image``.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = vit.ViT(config.encoder, in_channels=config.in_channels)
        self.classify = nn.Linear(config.encoder.width, config.classes)
        initialise(self.classify)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        (maps,) = self.encoder(image)
        logits = self.classify(maps.movedim(1, 3)).movedim(3, 1)
        return Semantic(vit.on_image(logits, image, self.config.encoder.patch))


class SegmenterMask(nn.Module):
    """The network of ``config`` with the mask transformer; logits as of :class:`SegmenterLinear`.

    Logits are cosines, one a class, normalised over the classes of each patch. Of a single class the norm
    would leave nothing.

    Raises:
        BadArgument: there is a single class.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        if config.classes < 2:
            raise BadArgument(
                f"classes: {config.classes}, and their scores are normalised against one another",
                allowed="2 and above",
                cure="count the background as a class, or take segmenter_linear",
            )
        self.config = config
        self.encoder = vit.ViT(config.encoder, in_channels=config.in_channels)
        self.decoder = MaskTransformer(config)

    def forward(self, image: Float[Tensor, "b c h w"]) -> Semantic:
        require_channels(image, self.config.in_channels)
        (maps,) = self.encoder(image)
        return Semantic(vit.on_image(self.decoder(maps), image, self.config.encoder.patch))


class MaskTransformer(nn.Module):
    """Patches and classes look at one another; a class's mask is the cosine of its token and the patches."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width, heads, eps = config.encoder.width, config.encoder.heads, config.encoder.eps
        self.project = nn.Linear(width, width)
        self.classes = nn.Parameter(torch.empty(1, config.classes, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, dropout=config.dropout, eps=eps) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width, eps=eps)
        self.patch_space = nn.Parameter(torch.randn(width, width) / width**0.5)
        self.class_space = nn.Parameter(torch.randn(width, width) / width**0.5)
        self.mask_norm = nn.LayerNorm(config.classes, eps=eps)
        initialise(self.project)
        nn.init.trunc_normal_(self.classes, std=0.02)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        patches = self.project(maps.flatten(2).transpose(1, 2))
        tokens = torch.cat([patches, self.classes.expand(len(maps), -1, -1)], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        patches, classes = self.norm(tokens).split([patches.shape[1], self.classes.shape[1]], dim=1)
        patches = functional.normalize(patches @ self.patch_space, dim=-1)
        classes = functional.normalize(classes @ self.class_space, dim=-1)
        scores = self.mask_norm(patches @ classes.transpose(1, 2))
        return scores.transpose(1, 2).unflatten(2, maps.shape[-2:])
