"""Anchors: boxes of a few sizes and shapes around every cell of a map, from which proposals are shifted."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor


def cell_anchors(
    sizes: Sequence[int], ratios: Sequence[float], *, rounded: bool = False
) -> Float[Tensor, "a 4"]:
    """The boxes (x0, y0, x1, y1) around a cell at the origin, all ratios of the first size first.

    Args:
        sizes: square roots of the boxes' areas, in pixels.
        ratios: height over width.
        rounded: corners on whole pixels, as torchvision does.
    """
    sides = [(sqrt(size**2 / ratio), ratio) for size in sizes for ratio in ratios]
    corners = [(width / 2, ratio * width / 2) for width, ratio in sides]
    boxes = torch.tensor([(-x, -y, x, y) for x, y in corners], dtype=torch.float64)
    return boxes.round() if rounded else boxes


def anchor_grid(
    cell: Float[Tensor, "a 4"], size: Sequence[int], *, stride: int, like: Float[Tensor, "..."]
) -> Float[Tensor, "n 4"]:
    """``cell`` around every cell of a map, in pixels: row by row, all boxes of a cell together.

    Cell (i, j) stands at pixel corner (j * stride, i * stride).

    Args:
        size: rows and columns of the map.
        like: gives precision and device.
    """
    y, x = (torch.arange(side, dtype=like.dtype, device=like.device) * stride for side in size)
    down, right = torch.meshgrid(y, x, indexing="ij")
    corners = torch.stack([right, down, right, down], dim=-1)
    return (corners[:, :, None] + cell.to(like)).flatten(0, 2)
