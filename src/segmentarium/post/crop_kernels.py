"""Compiled loops that cut masks out of small grids of scores, straight to run-length code.

A grid is resized linearly and compared with a threshold, column by column, since run-length code goes down
the columns; nothing of the size of a picture is made. Axes are described by rows of ``frames``: the first
pixel and the one past the last, the pixel where the grid begins, cells a pixel, and where the middle of a
first pixel falls less half a cell. Annotations would be checked by a wrapper that the compiler cannot see
through, hence ``no_type_check``.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from segmentarium.ops.rle_kernels import LONGEST, pack_spans, tight_box

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
ONE, HALF, ZERO = np.float32(1), np.float32(0.5), np.float32(0)


@njit(**PLAIN)
@no_type_check
def _place(frame, cells):
    """The cell before each pixel of an axis, and the share of the cell after it."""
    first, count = np.int64(frame[0]), max(0, np.int64(frame[1] - frame[0]))
    origin, scale, shift = np.float32(frame[2]), np.float32(frame[3]), np.float32(frame[4])
    before = np.empty(count, np.int32)
    share = np.empty(count, np.float32)
    for i in range(count):
        position = max((np.float32(first + i) + HALF - origin) * scale + shift, ZERO)
        before[i] = min(np.int32(min(position, np.float32(cells))), cells - 1)
        share[i] = min(position - np.float32(before[i]), ONE)
    return before, share


@njit(**PLAIN)
@no_type_check
def _starts(before, cells):
    """Where the pixels of each cell begin, and where the last ones end."""
    starts = np.zeros(cells + 1, np.int32)
    for i in range(before.size):
        starts[before[i] + 1] += 1
    for cell in range(cells):
        starts[cell + 1] += starts[cell]
    return starts


@njit(**PLAIN)
@no_type_check
def _blend(across, before, share, line):
    """One column of the grid between two of its own; ``across`` is the grid, columns lying in one run."""
    after = min(before + 1, across.shape[0] - 1)
    left, right = across[before], across[after]
    rest = ONE - share
    for i in range(line.size):
        line[i] = rest * left[i] + share * right[i]


@njit(**PLAIN)
@no_type_check
def _cut(line, starts, share, threshold, column, top, spans, count):
    """Append the spans of a column whose blended scores reach the threshold; returns how many there are now.

    Between two scores of the grid that both reach it, all pixels do; pixels are looked at where one does not.
    """
    begun = -1
    for cell in range(line.size):
        start, stop = starts[cell], starts[cell + 1]
        if start == stop:
            continue
        a, b = line[cell], line[min(cell + 1, line.size - 1)]
        above, below = a >= threshold, b >= threshold
        if above and below:
            if begun < 0:
                begun = start
        elif not above and not below:
            if begun >= 0:
                spans[count, 0], spans[count, 1], spans[count, 2] = column, top + begun, top + start
                count, begun = count + 1, -1
        else:
            for i in range(start, stop):
                inside = (ONE - share[i]) * a + share[i] * b >= threshold
                if inside and begun < 0:
                    begun = i
                elif not inside and begun >= 0:
                    spans[count, 0], spans[count, 1], spans[count, 2] = column, top + begun, top + i
                    count, begun = count + 1, -1
    if begun >= 0:
        spans[count, 0], spans[count, 1], spans[count, 2] = column, top + begun, top + starts[line.size]
        count += 1
    return count


@njit(**PLAIN)
@no_type_check
def grid_spans(grid, rows, columns, threshold, spans):
    """The spans (column, start, stop) of one grid in pixels of the picture.

    Returns:
        The array they lie in, a larger one than ``spans`` if need be, and how many there are.
    """
    height, width = grid.shape
    across = np.ascontiguousarray(grid.T)
    before_y, share_y = _place(rows, height)
    before_x, share_x = _place(columns, width)
    starts = _starts(before_y, height)
    line = np.empty(height, np.float32)
    count, most = 0, before_y.size // 2 + 1
    for x in range(before_x.size):
        if count + most > len(spans):
            larger = np.empty((2 * len(spans) + most, 3), np.int32)
            larger[:count] = spans[:count]
            spans = larger
        _blend(across, before_x[x], share_x[x], line)
        column = np.int64(columns[0]) + x
        count = _cut(line, starts, share_y, threshold, column, np.int64(rows[0]), spans, count)
    return spans, count


@njit(**PLAIN)
@no_type_check
def crops(grids, frames, threshold, boxes, areas, lengths, start, stop):
    """The masks ``start .. stop``: fills their boxes, areas and lengths of text; returns all text in one run.

    Args:
        grids: ``(n, h, w)``, single precision.
        frames: ``(n, 2, 5)``, rows first; see the head of this file.
        boxes: ``(n, 4)``, filled with (x0, y0, x1, y1); all 0 for masks without a pixel, which get no text.
    """
    spans = np.empty((64, 3), np.int32)
    text = np.empty(1 << 12, np.uint8)
    length = 0
    for n in range(start, stop):
        spans, count = grid_spans(grids[n], frames[n, 0], frames[n, 1], threshold, spans)
        tight_box(spans, count, boxes[n])
        area = 0
        for i in range(count):
            area += spans[i, 2] - spans[i, 1]
        areas[n] = area
        if length + LONGEST * (2 * count + 1) > text.size:
            larger = np.empty(2 * text.size + LONGEST * (2 * count + 1), np.uint8)
            larger[:length] = text[:length]
            text = larger
        begun = length
        if count:
            length = pack_spans(spans, count, boxes[n], text, length)
        lengths[n] = length - begun
    return text[:length]


@njit(**PLAIN)
@no_type_check
def paint(grids, frames, threshold, pictures, start, stop):
    """As :func:`crops`, but fills full pictures ``(n, h, w)`` of ``False``."""
    spans = np.empty((64, 3), np.int32)
    for n in range(start, stop):
        spans, count = grid_spans(grids[n], frames[n, 0], frames[n, 1], threshold, spans)
        for i in range(count):
            column = spans[i, 0]
            for y in range(spans[i, 1], spans[i, 2]):
                pictures[n, y, column] = True


@njit(**PLAIN)
@no_type_check
def inner_scores(grid, rows, columns, threshold, area):
    """The resized scores of the pixels of one mask, ``area`` of them, in the order of run-length code."""
    height, width = grid.shape
    across = np.ascontiguousarray(grid.T)
    before_y, share_y = _place(rows, height)
    before_x, share_x = _place(columns, width)
    starts = _starts(before_y, height)
    line = np.empty(height, np.float32)
    spans = np.empty((before_y.size // 2 + 1, 3), np.int32)
    found = np.empty(area, np.float32)
    place, top = 0, np.int64(rows[0])
    for x in range(before_x.size):
        _blend(across, before_x[x], share_x[x], line)
        for i in range(_cut(line, starts, share_y, threshold, x, top, spans, 0)):
            for y in range(spans[i, 1] - top, spans[i, 2] - top):
                cell, weight = before_y[y], share_y[y]
                after = line[min(cell + 1, height - 1)]
                found[place] = (ONE - weight) * line[cell] + weight * after
                place += 1
    return found
