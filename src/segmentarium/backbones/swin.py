"""Swin: attention within small windows that shift from block to block, in four stages of ever coarser maps.

Where a map is no multiple of the window it is filled up *before* it is shifted, and it is shifted even where
it is no larger than one window: so do the detectors and segmenters built on Swin. timm shifts first and
leaves small maps in place, so its numbers differ for most sizes of images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.nn.attention import Attention
from segmentarium.nn.transformer import DropPath, drop_path_rates, initialise, perceptron

PATCH = 4
APART = -100.0
"""Added to the score of two tokens that only the shift has brought together."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a Swin is made of; the default is Swin-T."""

    width: int = 96  # channels of the first stage ("C"), doubled by each further one
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks of each stage
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7  # tokens a side ("M")
    drop_path: float = 0.3  # of the last block, as MaskFormer and Mask2Former have it


T = Config()
S = replace(T, depths=(2, 2, 18, 2))
B = replace(S, width=128, heads=(4, 8, 16, 32))
L = replace(S, width=192, heads=(6, 12, 24, 48))
SIZES = {
    "swin_t": T,
    "swin_s": S,
    "swin_b": B,
    "swin_l": L,
    "swin_b_384": replace(B, window=12),
    "swin_l_384": replace(L, window=12),
}
"""By the names that papers use; 384 pixels a side is what those with larger windows were trained on."""


class Swin(nn.Module):
    """The maps of all stages, finest first, each with a LayerNorm of its own; sides rounded up.

    ``channels`` and ``strides`` describe the maps.

    Source: Liu et al. 2021, arXiv:2103.14030; the norms as in Cheng et al. 2021, arXiv:2107.06278.
    """

    def __init__(self, config: Config = T, *, in_channels: int = 3) -> None:
        super().__init__()
        self.config = config
        stages = range(len(config.depths))
        self.channels = tuple(config.width * 2**stage for stage in stages)
        self.strides = tuple(PATCH * 2**stage for stage in stages)
        self.project = nn.Conv2d(in_channels, config.width, PATCH, stride=PATCH)
        self.project_norm = nn.LayerNorm(config.width)
        chances = drop_path_rates(config.drop_path, sum(config.depths))
        ends = list(accumulate(config.depths))
        self.stages = nn.ModuleList(
            Stage(width, heads, config.window, chances[end - depth : end])
            for width, heads, depth, end in zip(self.channels, config.heads, config.depths, ends, strict=True)
        )
        self.merge = nn.ModuleList(Merge(width) for width in self.channels[:-1])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for width in self.channels)

    def forward(self, image: Float[Tensor, "b c h w"]) -> list[Tensor]:
        whole = filled(image.movedim(1, 3), PATCH).movedim(3, 1)
        tokens = self.project_norm(self.project(whole).movedim(1, 3))
        maps: list[Tensor] = []
        for number, (stage, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            tokens = stage(self.merge[number - 1](tokens) if number else tokens)
            maps.append(norm(tokens).movedim(3, 1))
        return maps


class Stage(nn.Module):
    """Blocks whose windows stand in place and shifted by half a window, in turn."""

    def __init__(self, width: int, heads: int, window: int, chances: list[float]) -> None:
        super().__init__()
        self.window = window
        self.blocks = nn.ModuleList(
            Block(width, heads, window=window, shift=(n % 2) * (window // 2), drop_path=chance)
            for n, chance in enumerate(chances)
        )

    def forward(self, tokens: Float[Tensor, "b h w c"]) -> Float[Tensor, "b h w c"]:
        height, width = (side + -side % self.window for side in tokens.shape[1:3])
        apart = strangers(height, width, self.window, like=tokens)
        for block in self.blocks:
            tokens = block(tokens, apart)
        return tokens


class Block(nn.Module):
    """Each token looks at those of its window, then thinks for itself; each time added to what came in."""

    def __init__(self, width: int, heads: int, *, window: int, shift: int, drop_path: float) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = perceptron(width)
        self.drop = DropPath(drop_path)
        self.apply(initialise)

    def forward(
        self, tokens: Float[Tensor, "b h w c"], apart: Float[Tensor, "n 1 t t"]
    ) -> Float[Tensor, "b h w c"]:
        """``apart`` is what :func:`strangers` says of the filled-up map."""
        tokens = tokens + self.drop(self._look(self.norm1(tokens), apart))
        return tokens + self.drop(self.mlp(self.norm2(tokens)))

    def _look(self, tokens: Tensor, apart: Tensor) -> Tensor:
        height, width = tokens.shape[1:3]
        below, right = -height % self.window, -width % self.window
        filled = functional.pad(tokens, (0, 0, 0, right, 0, below))
        windows = cut(filled.roll((-self.shift, -self.shift), (1, 2)), self.window)
        seen = join(self.attention(windows, apart if self.shift else None), filled.shape[1:3], self.window)
        return seen.roll((self.shift, self.shift), (1, 2))[:, :height, :width]


class WindowAttention(Attention):
    """Attention within each window, with a learned bias for each step from one token to another."""

    steps: Int[Tensor, "t t"]

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__(width, heads)
        self.bias = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias, std=0.02)
        self.register_buffer("steps", steps_within(window), persistent=False)

    def forward(  # type: ignore[override]
        self, windows: Float[Tensor, "b n t c"], apart: Float[Tensor, "n 1 t t"] | None
    ) -> Float[Tensor, "b n t c"]:
        q, k, v = (
            part(windows).flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # bn g t d
            for part in (self.query, self.key, self.value)
        )
        bias = self.bias[self.steps].permute(2, 0, 1)[None]
        if apart is not None:
            bias = (bias + apart).repeat(len(windows), 1, 1, 1)
        heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.out(heads.transpose(1, 2).flatten(2)).unflatten(0, windows.shape[:2])


class Merge(nn.Module):
    """Four neighbours become one token of twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.linear = nn.Linear(4 * width, 2 * width, bias=False)
        initialise(self.linear)

    def forward(self, tokens: Float[Tensor, "b h w c"]) -> Float[Tensor, "b y x d"]:
        tokens = filled(tokens, 2)
        four = [tokens[:, row::2, column::2] for column in range(2) for row in range(2)]
        return self.linear(self.norm(torch.cat(four, dim=-1)))


def filled(maps: Float[Tensor, "b h w c"], unit: int) -> Float[Tensor, "b y x c"]:
    """``maps`` with zeros below and on the right, up to the next multiples of ``unit``."""
    below, right = (-side % unit for side in maps.shape[1:3])
    return functional.pad(maps, (0, 0, 0, right, 0, below)) if below or right else maps


def cut(tokens: Float[Tensor, "b h w c"], window: int) -> Float[Tensor, "b n t c"]:
    """The windows of a map that they fill, row by row, and their tokens, row by row."""
    rows = tokens.unflatten(2, (-1, window)).unflatten(1, (-1, window))  # b y i x j c
    return rows.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def join(windows: Float[Tensor, "b n t c"], size: torch.Size, window: int) -> Float[Tensor, "b h w c"]:
    """The map of ``size`` that :func:`cut` took apart."""
    grid = (size[0] // window, size[1] // window)
    rows = windows.unflatten(2, (window, window)).unflatten(1, grid).transpose(2, 3)  # b y i x j c
    return rows.flatten(3, 4).flatten(1, 2)


def strangers(height: int, width: int, window: int, *, like: Tensor) -> Float[Tensor, "n 1 t t"]:
    """``APART`` for two tokens of a window of the shifted map that come from opposite edges, else 0.

    Args:
        height: and ``width``, of the map in tokens, multiples of ``window``.
        like: gives dtype and device.
    """
    rows, columns = (_origin(side, window, like) for side in (height, width))
    parts = cut((3 * rows[:, None] + columns)[None, :, :, None], window)[0, :, :, 0]  # n t
    return APART * (parts[:, None, :, None] != parts[:, None, None]).to(like.dtype)


def _origin(side: int, window: int, like: Tensor) -> Float[Tensor, " {side}"]:
    """Of each place along a side of the shifted map: whole windows 0, the cut one 1, what was wrapped 2."""
    places = torch.arange(side, device=like.device)
    return (places >= side - window).to(like.dtype) + (places >= side - window // 2)


def steps_within(window: int) -> Int[Tensor, "t t"]:
    """Which entry of the table of biases belongs to a query (axis 1) and a key (axis 2)."""
    places = torch.arange(window)
    row, column = (axis.flatten() for axis in torch.meshgrid(places, places, indexing="ij"))
    down, across = (axis[:, None] - axis + window - 1 for axis in (row, column))
    return down * (2 * window - 1) + across
