"""UNETR: a transformer over patches of a volume, read at four depths by a U-shaped decoder.

Paper    Hatamizadeh et al. 2022, arXiv:2103.10504, figure 2 and section 3
Origin   written from the paper; parity with MONAI's network in tests/parity/test_volume_networks.py
Weights  weights/cards/unetr.toml
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument
from segmentarium.nn import Semantic, require_channels, resize
from segmentarium.nn.volumes import InstanceNorm, cut, pad_to_multiple


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a UNETR is made of; the default is the paper's for crops of 96 voxels a side."""

    patch: int = 16  # "P", voxels a side, a power of two
    grid: tuple[int, int, int] = (6, 6, 6)  # patches by axis, each with a learned position
    embedding: Literal["linear", "conv"] = "linear"  # one function, two layouts of its weights
    width: int = 768  # "K"
    depth: int = 12
    heads: int = 12
    skips: tuple[int, ...] = (3, 6, 9)  # after these blocks; one fewer than the patch has halvings
    features: int = 16  # channels of the decoder at full size, doubled at each halving
    in_channels: int = 1
    classes: int = 14


VARIANTS = {
    "paper": Config(),
    "monai": Config(skips=(4, 7, 10), embedding="conv"),
    "monai_perceptron": Config(skips=(4, 7, 10)),
    "small": Config(patch=8, grid=(5, 7, 5), width=96, depth=4, heads=4, skips=(1, 3), classes=3),
    "tiny": Config(patch=8, grid=(4, 4, 4), width=32, depth=2, heads=2, skips=(1, 1), features=4, classes=2),
}


class UNETR(nn.Module):
    """The network of ``config``; logits at the size of the volume.

    Positions are exact for ``grid`` times ``patch`` voxels, up to the zeros that fill the last patches; for
    other sizes they are resampled trilinearly. The norms of the decoder are instance norms without scale
    and the attention has no bias in its projections, as in the authors' code.

    The paper's loss is ``unetr``, its equation 6.
    """

    dimensions: ClassVar[int] = 3

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        halvings = config.patch.bit_length() - 1
        fits = config.patch == 2**halvings and len(config.skips) == halvings - 1
        if not fits or list(config.skips) != sorted(config.skips) or config.skips[-1] > config.depth:
            raise BadArgument(
                f"patches of {config.patch} voxels, skips after {config.skips} of {config.depth} blocks",
                allowed="a power of two; a skip fewer than its halvings, in rising order, as (3, 6, 9) of 16",
            )
        self.embed = Embedding(config)
        self.blocks = nn.ModuleList(Block(config.width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        widths = [config.features * 2**level for level in range(halvings)]
        self.image = Residual(config.in_channels, widths[0])
        self.skips = nn.ModuleList(
            Lift(config.width, width, steps)
            for steps, width in zip(range(halvings - 1, 0, -1), widths[1:], strict=True)
        )
        self.decoder = nn.ModuleList(
            Step(deep, width) for deep, width in pairwise((config.width, *reversed(widths)))
        )
        self.classify = nn.Conv3d(widths[0], config.classes, 1)

    def forward(self, image: Float[Tensor, "b c d h w"]) -> Semantic:
        require_channels(image, self.config.in_channels, dimensions=3)
        volume = pad_to_multiple(image, self.config.patch)
        tokens = self.embed(volume)
        read = []
        for count, block in enumerate(self.blocks, start=1):
            tokens = block(tokens)
            read += [tokens] * self.config.skips.count(count)
        grid = [side // self.config.patch for side in volume.shape[2:]]
        skips = [self.image(volume)]
        skips += [lift(as_map(z, grid)) for lift, z in zip(self.skips, read, strict=True)]
        deep = as_map(self.norm(tokens), grid)
        for step in self.decoder:
            deep = step(deep, skips.pop())
        return Semantic(cut(self.classify(deep), image.shape[2:]))


class Embedding(nn.Module):
    """Patches as tokens, row by row, each with what is learned of its place."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        patch, channels, width = config.patch, config.in_channels, config.width
        self.patch, self.grid = patch, config.grid
        self.project = (
            nn.Linear(channels * patch**3, width)
            if config.embedding == "linear"
            else nn.Conv3d(channels, width, patch, stride=patch)
        )
        self.positions = nn.Parameter(torch.zeros(1, prod(config.grid), width))
        nn.init.trunc_normal_(self.positions, std=0.02)
        if config.embedding == "linear":
            initialise(self.project)

    def forward(self, volume: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b n k"]:
        grid = [side // self.patch for side in volume.shape[2:]]
        if isinstance(self.project, nn.Conv3d):
            tokens = self.project(volume).flatten(2).transpose(1, 2)
        else:
            # within a patch: depth, row, column, channel
            patches = volume.unflatten(2, (-1, self.patch)).unflatten(4, (-1, self.patch))
            patches = patches.unflatten(6, (-1, self.patch)).permute(0, 2, 4, 6, 3, 5, 7, 1)
            tokens = self.project(patches.flatten(4).flatten(1, 3))
        return tokens + self.at(grid)

    def at(self, grid: Sequence[int]) -> Float[Tensor, "1 n k"]:
        """The positions of ``grid`` patches."""
        learned = as_map(self.positions, self.grid)
        return resize(learned, grid).flatten(2).transpose(1, 2)


class Block(nn.Module):
    """Attention of all patches to all, then a perceptron on each; both added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.apply(initialise)

    def forward(self, tokens: Float[Tensor, "b n k"]) -> Float[Tensor, "b n k"]:
        qkv = self.qkv(self.norm1(tokens)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*qkv.unbind())
        tokens = tokens + self.out(attended.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.norm2(tokens))


class Residual(nn.Module):
    """Two 3x3x3 convolutions with norms, added to their input, which takes a 1x1x1 if channels differ."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.conv3 = None if inputs == outputs else nn.Conv3d(inputs, outputs, 1, bias=False)
        self.norm = InstanceNorm(outputs, affine=False)
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, maps: Float[Tensor, "b c *s"]) -> Float[Tensor, "b e *s"]:
        inner = self.norm(self.conv2(self.act(self.norm(self.conv1(maps)))))
        return self.act(inner + (maps if self.conv3 is None else self.norm(self.conv3(maps))))


class Lift(nn.Module):
    """A map of tokens doubled in size ``steps`` times, each time but the first with a residual block."""

    def __init__(self, inputs: int, outputs: int, steps: int) -> None:
        super().__init__()
        self.up = nn.ModuleList(double(outputs if n else inputs, outputs) for n in range(steps))
        self.convolve = nn.ModuleList(Residual(outputs, outputs) for _ in range(steps - 1))

    def forward(self, maps: Float[Tensor, "b k *s"]) -> Tensor:
        maps = self.up[0](maps)
        for up, convolve in zip(self.up[1:], self.convolve, strict=True):
            maps = convolve(up(maps))
        return maps


class Step(nn.Module):
    """One step of the decoder: double the size, join with the skip, a residual block."""

    def __init__(self, deep: int, width: int) -> None:
        super().__init__()
        self.up = double(deep, width)
        self.convolve = Residual(2 * width, width)

    def forward(self, deep: Float[Tensor, "b c *s"], skip: Float[Tensor, "b e *t"]) -> Tensor:
        return self.convolve(torch.cat([self.up(deep), skip], dim=1))


def double(inputs: int, outputs: int) -> nn.ConvTranspose3d:
    """The learned step to twice the size."""
    return nn.ConvTranspose3d(inputs, outputs, 2, stride=2, bias=False)


def as_map(tokens: Float[Tensor, "b n k"], grid: Sequence[int]) -> Float[Tensor, "b k d h w"]:
    """Tokens at their places in ``grid``."""
    return tokens.transpose(1, 2).unflatten(2, tuple(grid))


def initialise(module: nn.Module) -> None:
    """As in the authors' code."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
