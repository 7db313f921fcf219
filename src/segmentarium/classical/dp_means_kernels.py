"""The compiled loop behind :mod:`segmentarium.classical.dp_means`."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def assign(points, centers, count, penalty, labels):
    """Give each point in turn to its nearest centre, or make it a centre if all are too far.

    Args:
        points: ``(n, d)``.
        centers: room for as many rows as there may be, of which ``count`` are taken.
        penalty: the greatest squared distance.
        labels: written over.

    Returns:
        the number of centres, or -1 if there is no room for one more; and whether a label changed.
    """
    changed = False
    for i in range(len(points)):
        nearest, least = -1, np.inf
        for k in range(count):
            square = 0.0
            for a in range(points.shape[1]):
                apart = points[i, a] - centers[k, a]
                square += apart * apart
            if square < least:
                nearest, least = k, square
        if least > penalty:
            if count == len(centers):
                return -1, True
            centers[count], nearest = points[i], count
            count += 1
        changed |= labels[i] != nearest
        labels[i] = nearest
    return count, changed
