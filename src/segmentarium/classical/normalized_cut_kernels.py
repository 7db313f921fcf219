"""Compiled loops behind :mod:`segmentarium.classical.normalized_cut`."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def tie(values, offset, near, sigma, labels, one, other, ties):
    """The ties of all pixels to their neighbour at ``offset``, as triples (one, other, tie) of labels.

    Args:
        values: (d, h, w, c).
        near: what the distance of the two leaves of the tie.
        labels: number of each pixel; ties within a label count too.

    Returns:
        The number of triples.
    """
    depth, height, width, channels = values.shape
    dz, dy, dx = offset
    count = 0
    for z in range(max(0, -dz), min(depth, depth - dz)):
        for y in range(max(0, -dy), min(height, height - dy)):
            for x in range(max(0, -dx), min(width, width - dx)):
                apart = 0.0
                for c in range(channels):
                    apart += (values[z, y, x, c] - values[z + dz, y + dy, x + dx, c]) ** 2
                one[count] = labels[z, y, x]
                other[count] = labels[z + dz, y + dy, x + dx]
                ties[count] = near * np.exp(-apart / (sigma * sigma))
                count += 1
    return count
