"""Compiled loops behind :mod:`segmentarium.ops.rle`: from pieces of columns to COCO's text.

Annotations would be checked by a wrapper that the compiler cannot see through, hence ``no_type_check``.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
LONGEST = 8
"""Characters of a number below 2^35, its sign included."""


@njit(**PLAIN)
@no_type_check
def tight_box(spans, count, box):
    """Fill ``box`` with the smallest (x0, y0, x1, y1) around spans in order, end exclusive; all 0 if none."""
    box[:] = 0
    if count:
        box[0], box[2] = spans[0, 0], spans[count - 1, 0] + 1
        top, bottom = spans[0, 1], spans[0, 2]
        for n in range(count):
            top, bottom = min(top, spans[n, 1]), max(bottom, spans[n, 2])
        box[1], box[3] = top, bottom


@njit(**PLAIN)
@no_type_check
def _put(value, text, length):
    """Write a number, five bits a character, lowest first; returns the new length of the text."""
    more = True
    while more:
        low = value & 31
        value >>= 5
        more = value != -1 if low & 16 else value != 0
        text[length] = np.uint8((low | 32 if more else low) + 48)
        length += 1
    return length


@njit(**PLAIN)
@no_type_check
def pack_spans(spans, count, box, text, length):
    """Write COCO's counts of the crop inside ``box``; spans that touch over the end of a column are one run.

    Args:
        spans: (column, start, stop) by row, ascending, apart from one another; ``count`` of them.
        text: room for ``LONGEST * (2 * count + 1)`` characters from ``length`` on.

    Returns:
        The new length of the text.
    """
    height, width = box[3] - box[1], box[2] - box[0]
    before, last, place, written, n = np.int64(0), np.int64(0), np.int64(0), 0, 0
    while n < count:
        start = (spans[n, 0] - box[0]) * height + spans[n, 1] - box[1]
        stop = start + spans[n, 2] - spans[n, 1]
        n += 1
        while n < count and (spans[n, 0] - box[0]) * height + spans[n, 1] - box[1] == stop:
            stop += spans[n, 2] - spans[n, 1]
            n += 1
        for run in (start - place, stop - start):
            length = _put(run - before if written > 2 else run, text, length)
            before, last = last, run
            written += 1
        place = stop
    if place < height * width:
        rest = height * width - place
        length = _put(rest - before if written > 2 else rest, text, length)
    return length
