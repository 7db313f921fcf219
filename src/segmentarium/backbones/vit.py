"""Vision transformers (ViT): an image as a grid of patches, each a token that looks at all others.

``BASE`` and ``LARGE`` are ViT-B/16 and ViT-L/16 of Dosovitskiy et al. 2021, arXiv:2010.11929, table 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument
from segmentarium.nn import resize
from segmentarium.nn.transformer import Block, drop_path_rates


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a vision transformer is made of; the default is ViT-B/16 for images of 384 pixels a side."""

    patch: int = 16  # pixels a side ("P")
    width: int = 768  # channels of a token ("D")
    depth: int = 12  # blocks ("L")
    heads: int = 12
    grid: tuple[int, int] = (24, 24)  # rows and columns of patches, each with a learned position
    patch_bias: bool = True  # of the patches' projection
    class_token: bool = True  # False: none goes through the blocks; its row of positions stays, unread
    distilled: bool = False  # a second such token, DeiT's
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"  # of positions for other grids; see ``ViT``
    eps: float = 1e-6  # of LayerNorms
    dropout: float = 0.0
    drop_path: float = 0.0  # of the last block; it rises from 0


BASE = Config()
LARGE = replace(BASE, width=1024, depth=24, heads=16)


class ViT(nn.Module):
    """The maps after chosen blocks, all at the stride of a patch, sides rounded up, without class tokens.

    ``channels`` and ``strides`` describe the maps. The image is filled up with zeros to whole patches, below
    and on the right. Positions are exact for the grid they were learned on; for others they are resampled,
    those of class tokens left alone: ``bilinear`` without antialiasing, as Segmenter and SETR do, ``bicubic``
    with antialiasing, as timm does.

    Args:
        taps: after which blocks, counted from 1; the last one if left out.
        norm: a LayerNorm after the last block; other taps are as they are.

    Raises:
        BadArgument: ``taps`` are not in rising order, or ``norm`` has no last block to follow.
    """

    def __init__(
        self, config: Config, *, in_channels: int = 3, taps: Sequence[int] = (), norm: bool = True
    ) -> None:
        super().__init__()
        taps = tuple(taps) or (config.depth,)
        if list(taps) != sorted({*taps}) or not 1 <= taps[0] <= taps[-1] <= config.depth:
            raise BadArgument(f"taps: {taps}", allowed=f"rising numbers from 1 to {config.depth}")
        if norm and taps[-1] != config.depth:
            raise BadArgument(f"norm: True with taps {taps}", allowed=f"taps that end with {config.depth}")
        self.config, self.taps = config, taps
        self.channels, self.strides = (config.width,) * len(taps), (config.patch,) * len(taps)
        rows, columns = config.grid
        self.project = nn.Conv2d(
            in_channels, config.width, config.patch, stride=config.patch, bias=config.patch_bias
        )
        self.class_token = _learned(1, config) if config.class_token else None
        self.distillation_token = _learned(1, config) if config.distilled else None
        self.positions = _learned(1 + config.distilled + rows * columns, config)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            Block(config.width, config.heads, dropout=config.dropout, drop_path=chance, eps=config.eps)
            for chance in drop_path_rates(config.drop_path, config.depth)[: taps[-1]]
        )
        self.norm = nn.LayerNorm(config.width, eps=config.eps) if norm else nn.Identity()

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        patches = self.project(to_whole_patches(image, self.config.patch))
        grid = patches.shape[-2:]
        tokens = self.dropout(self._placed(patches.flatten(2).transpose(1, 2), grid))
        learned = tokens.shape[1] - grid.numel()
        maps = []
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            if number in self.taps:
                seen = self.norm(tokens) if number == self.config.depth else tokens
                maps.append(seen[:, learned:].transpose(1, 2).unflatten(2, grid))
        return maps

    def _placed(self, tokens: Float[Tensor, "b n c"], grid: Sequence[int]) -> Float[Tensor, "b m c"]:
        """``tokens`` with their positions, class tokens ahead of them."""
        ahead = self.positions.shape[1] - self.config.grid[0] * self.config.grid[1]
        own, places = self.positions[:, :ahead], self._resampled(self.positions[:, ahead:], grid)
        tokens = tokens + places
        learned: list[Tensor] = [
            token for token in (self.class_token, self.distillation_token) if token is not None
        ]
        if not learned:
            return tokens
        first = torch.cat(learned, dim=1) + own
        return torch.cat([first.expand(len(tokens), -1, -1), tokens], dim=1)

    def _resampled(self, places: Float[Tensor, "1 m c"], grid: Sequence[int]) -> Float[Tensor, "1 n c"]:
        if tuple(grid) == self.config.grid:
            return places
        exact = torch.promote_types(places.dtype, torch.float32)
        maps = places.transpose(1, 2).unflatten(2, self.config.grid).to(exact)
        bicubic = self.config.interpolation == "bicubic"
        maps = functional.interpolate(
            maps, size=tuple(grid), mode=self.config.interpolation, align_corners=False, antialias=bicubic
        )
        return maps.flatten(2).transpose(1, 2).to(places.dtype)


def to_whole_patches(image: Float[Tensor, "b c h w"], patch: int) -> Float[Tensor, "b c y x"]:
    """``image`` with zeros below and on the right, up to the next multiples of ``patch``."""
    below, right = (-side % patch for side in image.shape[-2:])
    return functional.pad(image, (0, right, 0, below)) if below or right else image


def on_image(
    scores: Float[Tensor, "b k y x"], image: Float[Tensor, "b c h w"], patch: int
) -> Float[Tensor, "b k u v"]:
    """``scores`` of whole patches as scores of ``image`` alone.

    They are handed on if ``patch`` divides the image; otherwise enlarged to pixels, and what was filled up is
    cut off. Stretching the coarse scores over the image would move them, at the far edge by up to a patch.
    """
    height, width = image.shape[-2:]
    whole = [side + -side % patch for side in (height, width)]
    return scores if whole == [height, width] else resize(scores, whole)[..., :height, :width]


def _learned(tokens: int, config: Config) -> nn.Parameter:
    parameter = nn.Parameter(torch.empty(1, tokens, config.width))
    nn.init.trunc_normal_(parameter, std=0.02)
    return parameter
