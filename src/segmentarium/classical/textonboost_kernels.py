"""Compiled loops behind :mod:`segmentarium.classical.textonboost`."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def integrate(textons, count):
    """``sums[t, y, x]``: how many pixels above row y and left of column x have texton t."""
    height, width = textons.shape
    sums = np.zeros((count, height + 1, width + 1), np.int32)
    for y in range(height):
        for x in range(width):
            sums[textons[y, x], y + 1, x + 1] = 1
    for t in range(count):
        for y in range(height):
            row = 0
            for x in range(width):
                row += sums[t, y + 1, x + 1]
                sums[t, y + 1, x + 1] = sums[t, y, x + 1] + row
    return sums


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def layout_counts(sums, rows, columns, boxes, textons, counts, start, stop):
    """How many pixels of a texton lie in a box laid around a pixel, for pixels ``start .. stop``.

    Args:
        sums: of :func:`integrate`.
        boxes: top, left, bottom, right of each feature, relative to the pixel, the end exclusive; what lies
            outside the picture holds nothing.
        textons: of each feature.
    """
    height, width = sums.shape[1] - 1, sums.shape[2] - 1
    for i in range(start, stop):
        for f in range(len(boxes)):
            top = min(max(rows[i] + boxes[f, 0], 0), height)
            left = min(max(columns[i] + boxes[f, 1], 0), width)
            bottom = min(max(rows[i] + boxes[f, 2], 0), height)
            right = min(max(columns[i] + boxes[f, 3], 0), width)
            whole = sums[textons[f]]
            counts[i, f] = whole[bottom, right] - whole[top, right] - whole[bottom, left] + whole[top, left]
