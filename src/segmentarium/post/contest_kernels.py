"""Compiled loops in which queries compete for pixels.

Output pixels are grouped by the four mask scores around them, their cell; what is bound to lose in a whole
cell is left out before any pixel is looked at, as in :mod:`segmentarium.post.kernels`. Annotations would be
checked by a wrapper that the compiler cannot see through, hence ``no_type_check``.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from segmentarium.post.kernels import _bound, _load

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
ONE, ZERO = np.float32(1), np.float32(0)
PAD = 16


@njit(**PLAIN)
@no_type_check
def _between(upper, lower, k, x, right, weight_x, weight_y):
    """The logit of a query at a pixel of cell ``x``."""
    above = (ONE - weight_x) * upper[k, x] + weight_x * upper[k, right]
    below = (ONE - weight_x) * lower[k, x] + weight_x * lower[k, right]
    return (ONE - weight_y) * above + weight_y * below


@njit(**PLAIN)
@no_type_check
def _measure(upper, lower, starts_x, weight_x, weight_y, areas):
    """Count the pixels of a row of cells where each mask is at least as likely as not."""
    width, rows = starts_x.size - 1, weight_y.size
    for k in range(areas.size):
        for x in range(width):
            here, there = starts_x[x], starts_x[x + 1]
            right = min(x + 1, width - 1)
            a, b, c, d = upper[k, x], upper[k, right], lower[k, x], lower[k, right]
            if min(a, b, c, d) >= ZERO:
                areas[k] += rows * (there - here)
            elif max(a, b, c, d) >= ZERO:
                for i in range(rows):
                    for j in range(here, there):
                        areas[k] += _between(upper, lower, k, x, right, weight_x[j], weight_y[i]) >= ZERO


@njit(**PLAIN)
@no_type_check
def _contest(upper, lower, rivals, count, weights, x, weight_x, weight_y, winners, tallies):
    """Settle the pixels of a cell among some rivals; the first best wins."""
    right = min(x + 1, upper.shape[1] - PAD - 1)
    for i in range(weight_y.size):
        for j in range(weight_x.size):
            best, winner, chosen = np.float32(-1), rivals[0], ZERO
            for n in range(count):
                k = rivals[n]
                logit = _between(upper, lower, k, x, right, weight_x[j], weight_y[i])
                chance = weights[k] * (ONE / (ONE + np.exp(-logit)))
                if chance > best:
                    best, winner, chosen = chance, k, logit
            inside = chosen >= ZERO
            tallies[0, winner] += 1
            tallies[1, winner] += inside
            winners[i, j] = winner if inside else ~winner


@njit(**PLAIN)
@no_type_check
def contest_cells(logits, chances, weights, corner, rows, columns, winners, tallies, start, stop):
    """Which query is likeliest at each pixel: ``weights[k] * sigmoid(resized logits[k])``.

    Args:
        logits, chances: ``(n, h, w)`` before the sigmoid, and after it and its weight.
        corner, rows, columns: see ``kernels.argmax_cells``.
        winners: all of the output, filled with k; with ~k where the mask of k is less likely than not.
        tallies: ``(3, n)``, added to: pixels won, pixels won and likely, pixels where the mask is likely.
        start, stop: the rows of cells to work on.
    """
    (starts_y, weight_y), (starts_x, weight_x), (top, left) = rows, columns, corner
    count, bottom, width = logits.shape[0], logits.shape[1] - 1, starts_x.size - 1
    upper, lower = np.empty((count, width + PAD), np.float32), np.empty((count, width + PAD), np.float32)
    high, low = np.empty((count, width + PAD), np.float32), np.empty((count, width + PAD), np.float32)
    ceiling = np.empty((count, width + PAD), np.float32)
    floor = np.empty(width, np.float32)
    first, rivals = np.empty(width, np.int32), np.empty(width, np.int32)
    names = np.empty(count, np.int32)
    for y in range(start, stop):
        begin, end = starts_y[y], starts_y[y + 1]
        if begin == end:
            continue
        below = min(top + y + 1, bottom)
        _load(logits, False, top + y, left, width, upper)
        _load(logits, False, below, left, width, lower)
        _load(chances, False, top + y, left, width, high)
        _load(chances, False, below, left, width, low)
        _bound(high, low, ceiling, floor, first, rivals)
        _measure(upper, lower, starts_x, weight_x, weight_y[begin:end], tallies[2])
        for x in range(width):
            here, there = starts_x[x], starts_x[x + 1]
            if here == there:
                continue
            names[0], found = first[x], 1
            if rivals[x] > 1:
                found = 0
                for k in range(count):
                    if ceiling[k, x] >= floor[x]:
                        names[found] = k
                        found += 1
            if found == 1 and _settle(upper, lower, names[0], x, winners[begin:end, here:there], tallies):
                continue
            cell = winners[begin:end, here:there]
            _contest(
                upper,
                lower,
                names,
                found,
                weights,
                x,
                weight_x[here:there],
                weight_y[begin:end],
                cell,
                tallies,
            )


@njit(**PLAIN)
@no_type_check
def _settle(upper, lower, k, x, winners, tallies):
    """Give a cell to its only candidate, if its mask is likely in all of it or nowhere in it."""
    right = min(x + 1, upper.shape[1] - PAD - 1)
    a, b, c, d = upper[k, x], upper[k, right], lower[k, x], lower[k, right]
    inside = min(a, b, c, d) >= ZERO
    if not inside and max(a, b, c, d) >= ZERO:
        return False
    tallies[0, k] += winners.size
    tallies[1, k] += winners.size if inside else 0
    winner = k if inside else ~k
    for i in range(winners.shape[0]):
        for j in range(winners.shape[1]):
            winners[i, j] = winner
    return True


@njit(**PLAIN)
@no_type_check
def recolour(names, table, ids, start, stop):
    """``ids = table[names]`` for some rows; names below 0 count from the end of the table."""
    for y in range(start, stop):
        for x in range(names.shape[1]):
            name = np.int64(names[y, x])
            ids[y, x] = table[name if name >= 0 else name + table.size]


@njit(**PLAIN)
@no_type_check
def decide(lower, upper, slack, first, sure, start, stop):
    """The class that wins all of a cell, for scores between two bounds.

    Args:
        lower, upper: ``(k, m)``, what each class reaches at least and at most in each cell.
        slack: how much the bounds may be off by rounding, as a share.
        first: filled with the class of the best lower bound.
        sure: filled with whether no other class can beat it.
        start, stop: the cells to work on.
    """
    count = stop - start
    floor = np.full(count, -np.inf, np.float32)
    rivals = np.zeros(count, np.int32)
    for k in range(lower.shape[0]):
        row = lower[k, start:stop]
        for x in range(count):
            better = row[x] > floor[x]
            floor[x] = row[x] if better else floor[x]
            first[start + x] = k if better else first[start + x]
    for k in range(upper.shape[0]):
        row = upper[k, start:stop]
        for x in range(count):
            rivals[x] += row[x] * (ONE + slack) >= floor[x]
    for x in range(count):
        sure[start + x] = rivals[x] == 1


@njit(**PLAIN)
@no_type_check
def fill_cells(first, sure, starts_y, starts_x, labels, open_pixels):
    """Label the pixels of decided cells; collect the others.

    Args:
        first, sure: of some rows of cells, ``(n, m)``.
        labels: of all pixels.
        open_pixels: filled with the numbers of the pixels of undecided cells.

    Returns:
        How many there are.
    """
    count, width = 0, labels.shape[1]
    for y in range(first.shape[0]):
        for i in range(starts_y[y], starts_y[y + 1]):
            for x in range(first.shape[1]):
                if sure[y, x]:
                    for j in range(starts_x[x], starts_x[x + 1]):
                        labels[i, j] = first[y, x]
                else:
                    for j in range(starts_x[x], starts_x[x + 1]):
                        open_pixels[count] = i * width + j
                        count += 1
    return count


@njit(**PLAIN)
@no_type_check
def sample(logits, rows, columns, pixels, width, found, start, stop):
    """The resized scores of maps ``start .. stop`` at some pixels.

    Args:
        logits: ``(q, h, w)``.
        rows, columns: of each axis, the original before each pixel and the share of the one after it.
        pixels: numbers of pixels in a picture of ``width``.
        found: ``(q, n)``, filled.
    """
    (before_y, share_y), (before_x, share_x) = rows, columns
    bottom, last = logits.shape[1] - 1, logits.shape[2] - 1
    for q in range(start, stop):
        plane, line = logits[q], found[q]
        for n in range(pixels.size):
            i, j = pixels[n] // width, pixels[n] % width
            y, x = before_y[i], before_x[j]
            below, right = min(y + 1, bottom), min(x + 1, last)
            share = share_x[j]
            above = (ONE - share) * plane[y, x] + share * plane[y, right]
            under = (ONE - share) * plane[below, x] + share * plane[below, right]
            line[n] = (ONE - share_y[i]) * above + share_y[i] * under
