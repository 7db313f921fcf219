"""The compiled loops behind :mod:`segmentarium.classical.mean_shift`."""

from __future__ import annotations

from math import ceil, floor
from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
SUMS = PLAIN | {"fastmath": {"reassoc", "contract", "nsz"}}
"""Sums in any order, so that they are taken several at a time; NaN and infinity keep their meaning."""

LANES = 16
"""Rows are taken in multiples of it: compilers make loops of so many elements, and the rest one by one."""


@njit(**SUMS)
@no_type_check
def gaussian_weights(squares, weights):
    """``exp(-square / 2)`` to 13 digits for squares up to 16: a series at a 32nd, squared four times."""
    for i in range(squares.size):
        t = squares[i] * (-1 / 32)
        e = 1 + t * (1 / 9)
        e = 1 + t * (1 / 8) * e
        e = 1 + t * (1 / 7) * e
        e = 1 + t * (1 / 6) * e
        e = 1 + t * (1 / 5) * e
        e = 1 + t * (1 / 4) * e
        e = 1 + t * (1 / 3) * e
        e = 1 + t * (1 / 2) * e
        e = 1 + t * e
        e *= e
        e *= e
        e *= e
        weights[i] = e * e


@njit(**SUMS)
@no_type_check
def mean_around(planes, at, place, color, gaussian, reach, total, squares, weights):
    """Sums of y, x and levels around ``at`` in ``total``, each pixel by its weight; the sum of these.

    Args:
        planes: ``(c, h, w + LANES)``, far away in the last columns.
        squares, weights: room for a row of the kernel.
    """
    channels, height, width = planes.shape[0], planes.shape[1], planes.shape[2] - LANES
    near, far, end = 1 / (place * place), 1 / (color * color), reach * reach
    total[:], mass = 0, 0.0
    top, bottom = max(0, ceil(at[0] - reach * place)), min(height, floor(at[0] + reach * place) + 1)
    for y in range(top, bottom):
        beside = (y - at[0]) * (y - at[0]) * near
        span = np.sqrt(max(end - beside, 0.0)) * place + 1e-9
        left, right = max(0, ceil(at[1] - span)), min(width, floor(at[1] + span) + 1)
        if right <= left:
            continue
        right = left + (right - left + LANES - 1) // LANES * LANES  # what is beyond the kernel weighs nothing
        square, weight = squares[: right - left], weights[: right - left]
        for i in range(square.size):
            apart = left + i - at[1]
            square[i] = beside + apart * apart * near
        for c in range(channels):
            level, row = at[2 + c], planes[c, y, left:right]
            for i in range(square.size):
                apart = row[i] - level
                square[i] += apart * apart * far
        if gaussian:
            gaussian_weights(square, weight)
            for i in range(square.size):
                weight[i] = weight[i] if square[i] <= end else 0.0
        else:
            for i in range(square.size):
                weight[i] = 1.0 if square[i] <= end else 0.0
        heard, across = 0.0, 0.0
        for i in range(square.size):
            heard += weight[i]
            across += weight[i] * i
        if heard == 0:
            continue
        mass += heard
        total[0] += heard * y
        total[1] += heard * left + across
        for c in range(channels):
            row, sum_ = planes[c, y, left:right], 0.0
            for i in range(square.size):
                sum_ += weight[i] * row[i]
            total[2 + c] += sum_
    return mass


@njit(**PLAIN)
@no_type_check
def climb(planes, place, color, gaussian, reach, least, iterations, modes, start, stop):
    """Move the pixels of the rows ``start .. stop`` uphill until they rest.

    Args:
        planes: ``(c, h, w + LANES)``, far away in the last columns.
        place, color: the two bandwidths.
        gaussian: the kernel; flat if not.
        reach: the kernel is zero beyond so many bandwidths.
        least: a move of fewer bandwidths is rest.
        modes: ``(h, w, 2 + c)``, where they rest: y, x, levels.
    """
    channels, width = planes.shape[0], planes.shape[2] - LANES
    longest = 2 * ceil(reach * place) + 3 + LANES
    at, total = np.empty(2 + channels), np.empty(2 + channels)
    squares, weights = np.empty(longest), np.empty(longest)
    near, far = 1 / (place * place), 1 / (color * color)
    for pixel in range(start * width, stop * width):
        row, column = pixel // width, pixel % width
        at[0], at[1], at[2:] = row, column, planes[:, row, column]
        for _ in range(iterations):
            mass = mean_around(planes, at, place, color, gaussian, reach, total, squares, weights)
            moved = 0.0
            for a in range(at.size):
                mean = total[a] / mass
                moved += (mean - at[a]) ** 2 * (near if a < 2 else far)
                at[a] = mean
            if moved <= least * least:
                break
        modes[row, column] = at
