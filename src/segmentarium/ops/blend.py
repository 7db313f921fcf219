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

    Tiles must come in rows from the top, and from the left within a row, on a grid. Rows that no later tile
    will reach are taken out by :meth:`finish` and their memory is used again: a ring, nothing is ever moved
    or zeroed.

    The sums need no division by the weights to find the best class, since all classes of a pixel have the
    same weight; :meth:`scores` divides.
    """

    def __init__(self, *, classes: int, size: tuple[int, int], tile: tuple[int, int], overlap: float) -> None:
        self.classes, self.size, self.tile = classes, size, tile
        rows, width = min(tile[0], size[0]), size[1]
        self.sums = np.empty((rows, width * classes), np.float32)
        self.top = 0  # the first row that is not yet taken out
        self._row = Window(0, 0, 0, 0)  # the last tile
        self._filled = 0  # the first row that no earlier row of tiles reached
        profile_y, profile_x = gaussian_profile(tile[0]), gaussian_profile(tile[1])
        self._profiles = profile_y, np.repeat(profile_x, classes)
        self._totals = _total(size[0], profile_y, overlap), _total(width, profile_x, overlap)

    def add(self, scores: Float32[np.ndarray, "h w k"], window: Window) -> None:
        """Add the scores of a tile, at the tile's resolution or below it.

        Args:
            scores: of the whole tile, classes innermost and contiguous.
            window: the part of the image under the tile; smaller than the tile where the image is, and then
                in
                the middle of it.
        """
        if window.top != self._row.top:
            self._filled = self._row.bottom
        seam = max(0, self._row.right - window.left) if window.top == self._row.top else 0
        self._row = window
        before = margins(window.size, self.tile)
        weights_y, weights_x = self._profiles
        (y, x), (height, width) = before, window.size
        place = window.top % len(self.sums), window.left * self.classes
        weights_y = weights_y[y : y + height]
        weights_x = weights_x[x * self.classes : (x + width) * self.classes]
        reach = max(0, self._filled - window.top), seam * self.classes
        flat = scores.reshape(len(scores), -1)
        if scores.shape[:2] == self.tile:
            offset = y, x * self.classes
            work = partial(kernels.add_scores, self.sums, place, flat, offset, weights_y, weights_x, *reach)
        else:
            rows = neighbours(scores.shape[0], self.tile[0], y, y + height)
            columns = neighbours(scores.shape[1], self.tile[1], x, x + width)
            resized = partial(kernels.add_resized_scores, self.sums, place, flat, self.classes)
            work = partial(resized, rows, columns, weights_y, weights_x, *reach)
        share(work, height)

    def finish(self, stop: int, kind: type[np.integer[Any]]) -> Shaped[np.ndarray, "n w"]:
        """The best class of each pixel of the rows up to ``stop``; they are taken out."""
        labels = np.empty((stop - self.top, self.size[1]), kind)
        work = partial(kernels.argmax_rows, self.sums, self.top % len(self.sums), self.classes, labels)
        share(work, len(labels))
        self.top = stop
        return labels

    def scores(self, stop: int) -> Float32[np.ndarray, "n w k"]:
        """The blended scores of the rows that :meth:`finish` would take out; call it before."""
        rows = np.arange(self.top, stop)
        total_y, total_x = self._totals
        sums = self.sums[rows % len(self.sums)].reshape(len(rows), self.size[1], self.classes)
        return np.asarray(sums / np.outer(total_y[rows], total_x)[..., None], np.float32)


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
