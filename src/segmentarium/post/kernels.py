"""Compiled loops that turn class scores into labels.

Scores come in one run of memory, either class by class (k, h, w) or, ``innermost``, pixel by pixel (h, w, k).
Annotations would be checked by a wrapper that the compiler cannot see through, hence ``no_type_check``.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from segmentarium.ops.blend_kernels import argmax_innermost

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
ONE, ZERO = np.float32(1), np.float32(0)  # plain numbers would turn single precision into double
SIGNLESS = 0x7FFFFFFF
PAD = 16
FEW = 6
"""With up to so many rivals, looking at each pixel by itself is faster than at all rivals at once."""


@njit(**PLAIN)
@no_type_check
def argmax_planes(scores, top, left, labels, start, stop):
    """The first best class of the pixels in rows ``start .. stop`` of ``labels``, for scores class by class.

    ``labels`` begins at row ``top`` and column ``left`` of the scores. One row at a time, so that the running
    best stays in the nearest cache while the classes stream by.
    """
    width = labels.shape[1]
    best = np.empty(width, np.float32)
    arg = np.empty(width, np.int32)
    for y in range(start, stop):
        for x in range(width):
            best[x], arg[x] = -np.inf, 0
        for k in range(scores.shape[0]):
            row = scores[k, top + y, left : left + width]
            for x in range(width):
                better = row[x] > best[x]
                best[x] = row[x] if better else best[x]
                arg[x] = k if better else arg[x]
        for x in range(width):
            labels[y, x] = arg[x]


@njit(**PLAIN)
@no_type_check
def argmax_pixels(scores, top, left, labels, start, stop):
    """As :func:`argmax_planes`, for scores pixel by pixel."""
    for y in range(start, stop):
        row = scores[top + y, left : left + labels.shape[1]].reshape(-1)
        argmax_innermost(row, scores.shape[2], labels[y])


@njit(**PLAIN)
@no_type_check
def _load(scores, innermost, y, left, width, slab):
    """Copy a row of scores to ``slab[k, x]``, walking memory in its own order."""
    classes = len(slab)
    if innermost:
        for x in range(width):
            for k in range(classes):
                slab[k, x] = scores[y, left + x, k]
    else:
        for k in range(classes):
            for x in range(width):
                slab[k, x] = scores[k, y, left + x]


@njit(**PLAIN)
@no_type_check
def _bound(upper, lower, ceiling, floor, first, rivals):
    """For every cell between two rows: the score that some class surely reaches, and how many may beat it.

    Inside a cell the interpolated score of a class lies between the least and the greatest of its four
    corners. ``floor[x]`` is the best such least value and ``first[x]`` its class; a class whose greatest
    corner (``ceiling[k, x]``) stays below that floor cannot win anywhere in the cell. Most cells keep a
    single class.
    """
    classes, width = len(upper), floor.size
    high = np.empty(width + 1, np.float32)
    low = np.empty(width + 1, np.float32)
    for x in range(width):
        floor[x], first[x], rivals[x] = -np.inf, 0, 0
    for k in range(classes):
        for x in range(width):
            a, b = upper[k, x], lower[k, x]
            high[x] = a if a > b else b
            low[x] = b if a > b else a
        high[width] = high[width - 1]
        low[width] = low[width - 1]
        for x in range(width):
            ceiling[k, x] = high[x] if high[x] > high[x + 1] else high[x + 1]
            least = low[x] if low[x] < low[x + 1] else low[x + 1]
            better = least > floor[x]
            floor[x] = least if better else floor[x]
            first[x] = k if better else first[x]
    for k in range(classes):
        for x in range(width):
            rivals[x] += 1 if ceiling[k, x] >= floor[x] else 0


@njit(**PLAIN)
@no_type_check
def _gather(upper, lower, x, ceiling, floor, names, corners):
    """The classes that may win in cell ``x`` and their scores at its four corners; returns how many."""
    right = min(x + 1, floor.size - 1)
    count = 0
    for k in range(upper.shape[0]):
        if ceiling[k, x] >= floor[x]:
            names[count] = k
            corners[0, count] = upper[k, x]
            corners[1, count] = upper[k, right]
            corners[2, count] = lower[k, x]
            corners[3, count] = lower[k, right]
            count += 1
    return count


@njit(**PLAIN)
@no_type_check
def _contest_few(names, corners, count, weight_y, weight_x, labels):
    """Interpolate the scores of a few rivals pixel by pixel; the first best wins."""
    for j in range(weight_x.size):
        right = weight_x[j]
        left = ONE - right
        for i in range(weight_y.size):
            bottom = weight_y[i]
            top = ONE - bottom
            best, arg = np.float32(-np.inf), names[0]
            for n in range(count):
                above = left * corners[0, n] + right * corners[1, n]
                below = left * corners[2, n] + right * corners[3, n]
                score = top * above + bottom * below
                better = score > best
                best = score if better else best
                arg = names[n] if better else arg
            labels[i, j] = arg


@njit(**PLAIN)
@no_type_check
def _first_best(above, below, top, bottom, count, scores, bits):
    """The position of the first best of ``count`` rivals; in steps that the compiler turns into vectors.

    Compilers keep the order of comparisons of floats, so the best is sought among whole numbers: ``bits`` are
    the bits of ``scores``, which order positive floats as they stand and negative ones once all but the sign
    is flipped. Adding zero makes the two zeros equal.
    """
    for n in range(count):
        scores[n] = top * above[n] + bottom * below[n] + ZERO
    best = -SIGNLESS - 1
    for n in range(count):
        best = max(best, bits[n] ^ ((bits[n] >> 31) & SIGNLESS))
    best ^= (best >> 31) & SIGNLESS
    position = 0
    while bits[position] != best:
        position += 1
    return position


@njit(**PLAIN)
@no_type_check
def _contest_many(names, corners, count, weight_y, weight_x, lines, labels):
    """Interpolate the scores of many rivals, all rivals at once for each pixel."""
    above, below, scores = lines[0], lines[1], lines[2]
    bits = scores.view(np.int32)
    for j in range(weight_x.size):
        right = weight_x[j]
        left = ONE - right
        for n in range(count):
            above[n] = left * corners[0, n] + right * corners[1, n]
            below[n] = left * corners[2, n] + right * corners[3, n]
        for i in range(weight_y.size):
            winner = _first_best(above, below, ONE - weight_y[i], weight_y[i], count, scores, bits)
            labels[i, j] = names[winner]


@njit(**PLAIN)
@no_type_check
def argmax_cells(scores, innermost, corner, rows, columns, labels, start, stop):
    """Bilinear resize and argmax in one pass, without the resized scores.

    Output pixels are grouped by the four scores around them, their cell. Classes that cannot win in a cell
    are discarded before any interpolation (see ``_bound``).

    Args:
        scores: class by class, or pixel by pixel if ``innermost``.
        corner: row and column of the scores where the first cell lies.
        rows: where the output rows of each cell begin (and, last, where they end), and of each output row the
            share of the score below it.
        columns: the same for columns; the share of the score to the right.
        labels: all of the output.
        start, stop: the rows of cells to work on.
    """
    (starts_y, weight_y), (starts_x, weight_x), (top, left) = rows, columns, corner
    classes = scores.shape[2] if innermost else scores.shape[0]
    bottom, width = (scores.shape[0] if innermost else scores.shape[1]) - 1, starts_x.size - 1
    # rows a power of two apart would all fall into the same few lines of the nearest cache
    upper = np.empty((classes, width + PAD), np.float32)
    lower = np.empty((classes, width + PAD), np.float32)
    ceiling = np.empty((classes, width + PAD), np.float32)
    floor = np.empty(width, np.float32)
    first = np.empty(width, np.int32)
    rivals = np.empty(width, np.int32)
    names = np.empty(classes, np.int32)
    corners = np.empty((4, classes), np.float32)
    lines = np.empty((3, classes), np.float32)
    loaded = -1  # the row of scores that stands in ``lower``: the next cell's upper one
    for y in range(start, stop):
        begin, end = starts_y[y], starts_y[y + 1]
        if begin == end:
            continue
        if loaded == top + y:
            upper, lower = lower, upper
        else:
            _load(scores, innermost, top + y, left, width, upper)
        loaded = min(top + y + 1, bottom)
        _load(scores, innermost, loaded, left, width, lower)
        _bound(upper, lower, ceiling, floor, first, rivals)
        for x in range(width):
            for j in range(starts_x[x], starts_x[x + 1]):
                labels[begin, j] = first[x]
                for i in range(begin + 1, end):
                    labels[i, j] = first[x]
        for x in range(width):
            here, there = starts_x[x], starts_x[x + 1]
            if rivals[x] == 1 or here == there:
                continue
            count = _gather(upper, lower, x, ceiling, floor, names, corners)
            cell, shares_y, shares_x = (
                labels[begin:end, here:there],
                weight_y[begin:end],
                weight_x[here:there],
            )
            if count <= FEW:
                _contest_few(names, corners, count, shares_y, shares_x, cell)
            else:
                _contest_many(names, corners, count, shares_y, shares_x, lines, cell)
