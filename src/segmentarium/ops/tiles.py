"""Cutting a large image into overlapping tiles and putting the answers back together.

Windows are half open and in pixels. Positions are ``(row, column)``, origin at the upper left corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int64

from segmentarium.errors import BadRecipe, CoverageError

FLOOR = 1e-3
"""The least weight along one axis, so that no pixel of a tile is ever without a vote."""


class Window(NamedTuple):
    """A rectangle of pixels; ``bottom`` and ``right`` lie just outside."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """What to index an ``(h, w)`` array with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True, eq=False)
class Tile:
    """Scores of one tile, and where its upper left pixel lies in the whole."""

    scores: Float[np.ndarray, "k h w"]
    at: tuple[int, int]

    @property
    def window(self) -> Window:
        height, width = self.scores.shape[1:]
        return Window(self.at[0], self.at[1], self.at[0] + height, self.at[1] + width)


def spread(length: int, tile: int, overlap: float) -> list[int]:
    """Where tiles start along one axis: first at 0, last flush with the end, the others evenly between.

    Args:
        length: of the axis, in pixels.
        tile: side of a tile; an axis that is shorter gets one tile.
        overlap: share of a tile that the next one covers again, at the least; from 0 to below 1.
    """
    if not 0 <= overlap < 1:
        raise BadRecipe(f"an overlap of {overlap}", allowed="a share from 0 to below 1", cure="0.25 is usual")
    if min(length, tile) < 1:
        raise BadRecipe(f"a tile of {tile} pixels on an axis of {length}", allowed="at least one pixel each")
    if length <= tile:
        return [0]
    step = max(1, int(tile * (1 - overlap)))
    count = ceil((length - tile) / step) + 1
    return [int(start) for start in np.linspace(0, length - tile, count).round()]


def plan_tiles(size: tuple[int, int], tile: tuple[int, int], overlap: float = 0.25) -> list[Window]:
    """Windows that cover an image, row by row from the upper left.

    Args:
        size: height and width of the image.
        tile: height and width of a tile; an image that is smaller is its own tile.
        overlap: share of a tile that its neighbour covers again, at the least.

    >>> plan_tiles((4, 10), tile=(4, 4), overlap=0.25)
    [Window(top=0, left=0, bottom=4, right=4), Window(top=0, left=3, bottom=4, right=7), \
Window(top=0, left=6, bottom=4, right=10)]
    """
    (height, width), (tall, wide) = size, tile
    return [
        Window(top, left, min(top + tall, height), min(left + wide, width))
        for top in spread(height, tall, overlap)
        for left in spread(width, wide, overlap)
    ]


def gaussian_profile(length: int) -> Float32[np.ndarray, " length"]:
    """The weights along an axis of a tile: a bell of sigma ``length / 8``, height 1, at least ``FLOOR``."""
    offset = np.arange(length) - (length - 1) / 2
    bell = np.exp(-0.5 * (offset / (length / 8)) ** 2)
    return np.asarray(np.maximum(bell / bell.max(), FLOOR), np.float32)


def gaussian_weights(tile: tuple[int, int]) -> Float32[np.ndarray, "h w"]:
    """How much each pixel of a tile counts: the middle most, since it sees most around itself.

    The product of two :func:`gaussian_profile`; the least weight is ``FLOOR ** 2``, and positive.

    Source: importance map of nnU-Net (Isensee et al. 2021), sigma an eighth of the tile.
    """
    return np.outer(gaussian_profile(tile[0]), gaussian_profile(tile[1]))


def stitch(tiles: Sequence[Tile], size: tuple[int, int]) -> Float[np.ndarray, "k h w"]:
    """Blend overlapping tiles into one map by their weights.

    Args:
        tiles: scores with their window; windows in pixels, end exclusive, must cover ``size``.
        size: height and width of the whole image, in pixels.

    Returns:
        The weighted mean of the scores; same units as the tiles (logits stay logits).

    Raises:
        CoverageError: a pixel lies under no tile; the message names the first such pixel.

    Source: Gaussian weights as in nnU-Net (Isensee et al. 2021).

    >>> stitch([Tile(np.ones((1, 2, 3)), at=(0, 0))], size=(2, 3)).shape
    (1, 2, 3)
    """
    if not tiles:
        raise CoverageError("no tiles at all", allowed="tiles that cover every pixel", cure="use plan_tiles")
    kind = np.result_type(*(tile.scores.dtype for tile in tiles), np.float32)
    total = np.zeros((len(tiles[0].scores), *size), kind)
    weight = np.zeros(size, kind)
    for tile in tiles:
        _check_inside(tile.window, size)
        importance = gaussian_weights(tile.window.size)
        rows, columns = tile.window.slices
        total[:, rows, columns] += tile.scores * importance
        weight[rows, columns] += importance
    _check_covered(weight)
    return np.asarray(total / weight)


def _check_inside(window: Window, size: tuple[int, int]) -> None:
    if window.top < 0 or window.left < 0 or window.bottom > size[0] or window.right > size[1]:
        raise CoverageError(
            f"a tile at {tuple(window)}", allowed=f"windows inside {size[0]}x{size[1]} pixels"
        )


def _check_covered(weight: Float[np.ndarray, "h w"]) -> None:
    if not weight.all():
        row, column = np.unravel_index(int(np.argmin(weight)), weight.shape)
        raise CoverageError(
            f"the pixel in row {row}, column {column} lies under no tile",
            allowed="tiles that cover every pixel",
            cure="use plan_tiles",
        )


def mirror_index(start: int, stop: int, length: int) -> Int64[np.ndarray, " n"]:
    """Which pixel stands at each of ``start .. stop`` when both ends of an axis reflect, as often as needed.

    The edge pixel is not repeated (``c b | a b c | b a``); an axis of one pixel repeats that pixel.

    >>> mirror_index(-2, 5, 3).tolist()
    [2, 1, 0, 1, 2, 1, 0]
    """
    period = max(2 * (length - 1), 1)
    phase = np.arange(start, stop) % period
    return np.minimum(phase, period - phase) if length > 1 else np.zeros(stop - start, np.int64)
