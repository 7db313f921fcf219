"""The compiled loop behind :mod:`segmentarium.classical.mean_shift`."""

from __future__ import annotations

from math import ceil, exp, floor
from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def climb(values, place, color, gaussian, reach, least, iterations, modes, start, stop):
    """Move the pixels of the rows ``start .. stop`` uphill until they rest.

    Args:
        values: ``(h, w, c)``.
        place, color: the two bandwidths.
        gaussian: the kernel; flat if not.
        reach: the kernel is zero beyond so many bandwidths.
        least: a move of fewer bandwidths is rest.
        modes: ``(h, w, 2 + c)``, where they rest: y, x, levels.
    """
    height, width, channels = values.shape
    near, far = 1 / (place * place), 1 / (color * color)
    at, total = np.empty(2 + channels), np.empty(2 + channels)
    for pixel in range(start * width, stop * width):
        row, column = pixel // width, pixel % width
        at[0], at[1], at[2:] = row, column, values[row, column]
        for _ in range(iterations):
            total[:], mass = 0, 0.0
            for y in range(
                max(0, ceil(at[0] - reach * place)), min(height, floor(at[0] + reach * place) + 1)
            ):
                beside = (y - at[0]) ** 2 * near
                span = np.sqrt(max(reach * reach - beside, 0.0)) * place + 1e-9
                for x in range(max(0, ceil(at[1] - span)), min(width, floor(at[1] + span) + 1)):
                    square = 0.0
                    for c in range(channels):
                        apart = values[y, x, c] - at[2 + c]
                        square += apart * apart
                    square = square * far + beside + (x - at[1]) ** 2 * near
                    if square > reach * reach:
                        continue
                    weight = exp(-square / 2) if gaussian else 1.0
                    mass += weight
                    total[0] += weight * y
                    total[1] += weight * x
                    for c in range(channels):
                        total[2 + c] += weight * values[y, x, c]
            moved = 0.0
            for a in range(at.size):
                mean = total[a] / mass
                moved += (mean - at[a]) ** 2 * (near if a < 2 else far)
                at[a] = mean
            if moved <= least * least:
                break
        modes[row, column] = at
