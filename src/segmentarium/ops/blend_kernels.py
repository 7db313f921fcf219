"""Compiled loops behind :mod:`segmentarium.ops.blend`.

Classes lie innermost, so that a row of scores is one run of memory whatever the number of classes.
Annotations would be checked by a wrapper that the compiler cannot see through, hence ``no_type_check``.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
ONE = np.float32(1)  # a plain 1 would turn single precision into double


@njit(**PLAIN)
@no_type_check
def argmax_innermost(row, classes, labels):
    """The first best class of each pixel of a row, the classes of a pixel lying side by side."""
    for x in range(row.size // classes):
        best, arg = row[x * classes], 0
        for k in range(1, classes):
            score = row[x * classes + k]
            better = score > best
            best = score if better else best
            arg = k if better else arg
        labels[x] = arg


@njit(**PLAIN)
@no_type_check
def _settle(target, source, weight, weights, shared, closed, classes, labels):
    """Give the scores of a row of a tile to the sums, or at once to the labels where nothing else will come.

    Numbers before ``shared`` hold the votes of earlier tiles; no later tile reaches those before ``closed``.
    So four things may happen to a number:

    ============  ==============================  =================================
    .             later tiles will vote           this vote is the last
    ============  ==============================  =================================
    others voted  added to the sums               added, and the best class is taken
    none did      begins the sums                 never weighed: the best is taken
    ============  ==============================  =================================

    With a quarter of overlap, over two fifths of all pixels lie under one tile only.
    """
    last = min(shared, closed)
    for j in range(last):
        target[j] += weight * weights[j] * source[j]
    argmax_innermost(target[:last], classes, labels)
    argmax_innermost(source[last:closed], classes, labels[last // classes :])
    for j in range(closed, shared):
        target[j] += weight * weights[j] * source[j]
    for j in range(max(closed, shared), source.size):
        target[j] = weight * weights[j] * source[j]


@njit(**PLAIN)
@no_type_check
def add_scores(sums, labels, place, scores, offset, weights_y, weights_x, shared, closed, start, stop):
    """``sums += weight * scores`` for a tile whose scores have the tile's own resolution.

    Args:
        sums: a ring of rows, each ``width * k`` numbers.
        labels: the columns under the tile, for the rows that this row of tiles closes.
        place: the row of the ring and the number within the row where the tile begins.
        scores: ``(h, w * k)``, of which ``offset`` rows and numbers are margin and left out.
        weights_y: one a row.
        weights_x: one a number, so each repeated ``k`` times.
        shared: rows of the tile that earlier rows of tiles reached, and numbers of a row that the tile to the
            left reached.
        closed: rows that no later row of tiles reaches, and numbers of a row that no tile to the right does.
        start, stop: the rows of the tile to work on.
    """
    (slot, begin), (skip_y, skip_x), length = place, offset, weights_x.size
    classes = length // labels.shape[1]
    for y in range(start, stop):
        target = sums[(slot + y) % len(sums), begin : begin + length]
        source = scores[skip_y + y, skip_x : skip_x + length]
        before = length if y < shared[0] else shared[1]
        if y < closed[0]:
            _settle(target, source, weights_y[y], weights_x, before, closed[1], classes, labels[y])
        else:
            _settle(target, source, weights_y[y], weights_x, before, 0, classes, labels[0])


@njit(**PLAIN)
@no_type_check
def _widen(source, classes, columns, shares, widened):
    """Interpolate a row of scores along the row."""
    last = source.size // classes - 1
    for x in range(columns.size):
        left, right = columns[x] * classes, min(columns[x] + 1, last) * classes
        share = shares[x]
        for k in range(classes):
            widened[x * classes + k] = (ONE - share) * source[left + k] + share * source[right + k]


@njit(**PLAIN)
@no_type_check
def add_resized_scores(
    sums, labels, place, scores, rows, columns, weights_y, weights_x, shared, closed, start, stop
):
    """As :func:`add_scores` for scores below the tile's resolution, which are interpolated on the way.

    ``rows`` and ``columns`` hold the scores before each pixel and the shares of those after it. A row of
    scores is widened once and then serves all pixel rows it lies next to.
    """
    (slot, begin), (before_y, share_y), (before_x, share_x) = place, rows, columns
    length, classes = weights_x.size, weights_x.size // labels.shape[1]
    upper = np.empty(length, np.float32)
    lower = np.empty(length, np.float32)
    between = np.empty(length, np.float32)
    widened = -2
    for y in range(start, stop):
        row = before_y[y]
        if row != widened:
            if row == widened + 1:
                upper, lower = lower, upper
            else:
                _widen(scores[row], classes, before_x, share_x, upper)
            _widen(scores[min(row + 1, len(scores) - 1)], classes, before_x, share_x, lower)
            widened = row
        for j in range(length):
            between[j] = upper[j] + share_y[y] * (lower[j] - upper[j])
        target = sums[(slot + y) % len(sums), begin : begin + length]
        before = length if y < shared[0] else shared[1]
        if y < closed[0]:
            _settle(target, between, weights_y[y], weights_x, before, closed[1], classes, labels[y])
        else:
            _settle(target, between, weights_y[y], weights_x, before, 0, classes, labels[0])


@njit(**PLAIN)
@no_type_check
def argmax_rows(sums, slot, classes, labels, start, stop):
    """The first class of the largest sum, for the rows ``start .. stop`` of ``labels``.

    ``slot`` is the ring's row for the first row of ``labels``.
    """
    for y in range(start, stop):
        argmax_innermost(sums[(slot + y) % len(sums)], classes, labels[y])
