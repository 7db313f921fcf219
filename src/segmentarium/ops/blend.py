"""Blending tiles into labels while only a band of the image is in memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32, Shaped

from segmentarium.ops import blend_kernels as kernels
from segmentarium.ops.resize import neighbours
from segmentarium.ops.share import share
from segmentarium.ops.tiles import Window, gaussian_profile, spread


class RollingBand:
    """Weighted sums of the scores of overlapping tiles, for as many rows as a tile is high.

    Tiles must come as ``plan_tiles`` lays them: in rows from the top, and from the left within a row. A pixel
    gets its label with the last tile that covers it, straight from that tile's scores if no other one did.
    Rows that no later tile will reach are taken out by :meth:`finish` and their memory is used again: a ring,
    nothing is ever moved or zeroed.

    The sums need no division by the weights to find the best class, since all classes of a pixel have the
    same weight; :meth:`scores` divides.

    Args:
        kind: of the labels.
        keep: whether all pixels are summed, so that :meth:`scores` can be asked for.
    """

    def __init__(
        self,
        *,
        classes: int,
        size: tuple[int, int],
        tile: tuple[int, int],
        overlap: float,
        kind: type[np.integer[Any]] = np.uint8,
        keep: bool = False,
    ) -> None:
        self.classes, self.size, self.tile, self.keep = classes, size, tile, keep
        rows, width = min(tile[0], size[0]), size[1]
        self.sums = np.empty((rows, width * classes), np.float32)
        self.labels = np.empty((rows, width), kind)
        self.top = 0  # the first row that is not yet taken out
        self._steps = _steps(size[0], tile[0], overlap), _steps(width, tile[1], overlap)
        profile_y, profile_x = gaussian_profile(tile[0]), gaussian_profile(tile[1])
        self._profiles = profile_y, np.repeat(profile_x, classes)
        self._totals = _total(size[0], profile_y, overlap), _total(width, profile_x, overlap)

    def add(self, scores: Float32[np.ndarray, "h w k"], window: Window) -> None:
        """Add the scores of a tile, at the tile's resolution or below it.

        Args:
            scores: of the whole tile, classes innermost and contiguous.
            window: the part of the image under the tile; smaller than the tile where the image is, and then
                in the middle of it.
        """
        k, (height, width) = self.classes, window.size
        y, x = margins(window.size, self.tile)
        weights_y = self._profiles[0][y : y + height]
        weights_x = self._profiles[1][x * k : (x + width) * k]
        (shared_y, closed_y), (shared_x, closed_x) = self._steps[0][window.top], self._steps[1][window.left]
        shared, closed = (shared_y, shared_x * k), (0 if self.keep else closed_y, closed_x * k)
        place = window.top % len(self.sums), window.left * k
        labels = self.labels[:, window.left : window.right]
        flat = scores.reshape(len(scores), -1)
        common = weights_y, weights_x, shared, closed
        if scores.shape[:2] == self.tile:
            offset = y, x * k
            work = partial(kernels.add_scores, self.sums, labels, place, flat, offset, *common)
        else:
            rows = neighbours(scores.shape[0], self.tile[0], y, y + height)
            columns = neighbours(scores.shape[1], self.tile[1], x, x + width)
            work = partial(kernels.add_resized_scores, self.sums, labels, place, flat, rows, columns, *common)
        share(work, height)

    def finish(self, stop: int) -> Shaped[np.ndarray, "n w"]:
        """The best class of each pixel of the rows up to ``stop``, the next top; they are taken out."""
        labels = np.empty((stop - self.top, self.size[1]), self.labels.dtype)
        if self.keep:
            work = partial(kernels.argmax_rows, self.sums, self.top % len(self.sums), self.classes, labels)
            share(work, len(labels))
        else:
            labels[:] = self.labels[: len(labels)]
        self.top = stop
        return labels

    def scores(self, stop: int) -> Float32[np.ndarray, "n w k"]:
        """The blended scores of the rows that :meth:`finish` would take out; call it before.

        Only of a band that keeps them.
        """
        rows = np.arange(self.top, stop)
        total_y, total_x = self._totals
        sums = self.sums[rows % len(self.sums)].reshape(len(rows), self.size[1], self.classes)
        return np.asarray(sums / np.outer(total_y[rows], total_x)[..., None], np.float32)


def _steps(length: int, tile: int, overlap: float) -> dict[int, tuple[int, int]]:
    """For each start of a tile along an axis: where the tile before it ends, and where the next one starts.

    Both are counted from the start: pixels before the first are shared, those before the second are closed.
    """
    starts, side = spread(length, tile, overlap), min(tile, length)
    ends = [0, *(start + side for start in starts)]
    return {
        start: (max(0, end - start), following - start)
        for start, end, following in zip(starts, ends, [*starts[1:], length], strict=False)
    }


def margins(size: tuple[int, int], tile: tuple[int, int]) -> tuple[int, int]:
    """How many mirrored rows and columns stand before an image that is smaller than its tile."""
    return (tile[0] - size[0]) // 2, (tile[1] - size[1]) // 2


def _total(length: int, profile: Float32[np.ndarray, " n"], overlap: float) -> Float32[np.ndarray, " l"]:
    """The weight that a pixel gets from all tiles along one axis; the whole is the product of both axes."""
    tile = len(profile)
    before = max(0, tile - length) // 2
    total = np.zeros(length, np.float32)
    for start in spread(length, tile, overlap):
        total[start : start + tile] += profile[before : before + min(tile, length)]
    return total
