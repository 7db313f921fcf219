"""Deformable attention: a query reads a few points of several maps instead of all their pixels.

It is plain PyTorch, bilinear reading by ``grid_sample``; a compiled kernel would be a second implementation.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument

Sizes = Sequence[tuple[int, int]]


class DeformableAttention(nn.Module):
    """Each query works out where to read, and how much each reading counts, from itself alone.

    Args:
        width: channels of queries, tokens and answers.
        levels: maps that are read.
        points: read by a query in each map, by each head.

    Source: Zhu et al. 2020, arXiv:2010.04159, section 4.1, equation 3.
    """

    def __init__(self, width: int, heads: int, *, levels: int, points: int) -> None:
        super().__init__()
        if width % heads:
            raise BadArgument(
                f"{width} channels in {heads} heads", allowed="heads that divide the width", cure="change one"
            )
        self.shape = (heads, levels, points)
        self.offsets = nn.Linear(width, 2 * heads * levels * points)
        self.weights = nn.Linear(width, heads * levels * points)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self._initialise()

    def forward(
        self,
        queries: Float[Tensor, "b q c"],
        tokens: Float[Tensor, "b n c"],
        *,
        places: Float[Tensor, "q 2"],
        sizes: Sizes,
    ) -> Float[Tensor, "b q c"]:
        """Answer ``queries``; offsets are in pixels of the map that is read.

        Args:
            tokens: the pixels of all maps, row by row, one map after another.
            places: where each query stands, (x, y) as shares of the image's extent.
            sizes: height and width of each map, in pixels.
        """
        heads, levels, points = self.shape
        # places need more digits than half precision has
        exact = torch.promote_types(tokens.dtype, torch.float32)
        offsets = self.offsets(queries).unflatten(-1, (heads, levels, points, 2)).to(exact)
        weights = self.weights(queries).unflatten(-1, (heads, levels * points)).to(exact).softmax(-1)
        extent = offsets.new_tensor([(width, height) for height, width in sizes])
        read = read_points(
            self.value(tokens).unflatten(-1, (heads, -1)).to(exact),
            places.to(exact)[:, None, None, None] + offsets / extent[:, None],
            weights.unflatten(-1, (levels, points)),
            sizes=sizes,
        )
        return self.out(read.to(tokens.dtype))

    def _initialise(self) -> None:
        """Heads look into directions all around, a point further for each point, all counting alike."""
        heads, levels, points = self.shape
        angles = torch.arange(heads) * (2 * pi / heads)
        ways = torch.stack([angles.cos(), angles.sin()], dim=-1)
        ways = ways / ways.abs().amax(-1, keepdim=True)
        steps = torch.arange(1, points + 1)[:, None] * ways[:, None, None]
        with torch.no_grad():
            self.offsets.bias.copy_(steps.expand(heads, levels, points, 2).flatten())
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.weights.weight)
        nn.init.zeros_(self.weights.bias)
        for part in (self.value, self.out):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)


def read_points(
    values: Float[Tensor, "b n g d"],
    places: Float[Tensor, "b q g l p 2"],
    weights: Float[Tensor, "b q g l p"],
    *,
    sizes: Sizes,
) -> Float[Tensor, "b q g*d"]:
    """The weighted sum of what the heads read of the maps, bilinearly; beyond the border all is 0.

    Args:
        values: by token, as :class:`DeformableAttention` has them.
        places: (x, y) as shares of the extent, from 0 at one border to 1 at the other.
        sizes: height and width of each map, in pixels.
    """
    batch, _, heads, _ = values.shape
    grids = (2 * places - 1).permute(3, 0, 2, 4, 1, 5).flatten(1, 2)  # l b*g p q 2
    shares = weights.permute(3, 0, 2, 4, 1).flatten(1, 2)[:, :, None]  # l b*g 1 p q
    levels = values.permute(0, 2, 3, 1).flatten(0, 1).split([h * w for h, w in sizes], dim=-1)
    reads = [
        (functional.grid_sample(tokens.unflatten(-1, size), grid, align_corners=False) * share).sum(dim=2)
        for tokens, size, grid, share in zip(levels, sizes, grids, shares, strict=True)
    ]
    return torch.stack(reads).sum(0).unflatten(0, (batch, heads)).flatten(1, 2).transpose(1, 2)


def pixel_centres(sizes: Sizes, *, like: Tensor) -> Float[Tensor, "n 2"]:
    """Where the pixels of all maps stand, (x, y) as shares of the extent, in the order of tokens.

    Args:
        sizes: height and width of each map, in pixels.
        like: the places are on its device, in its precision or single precision, whichever is finer.
    """
    exact = torch.promote_types(like.dtype, torch.float32)
    places = []
    for size in sizes:
        rows, columns = ((torch.arange(n, dtype=exact, device=like.device) + 0.5) / n for n in size)
        places.append(torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1))
    return torch.cat(places)
