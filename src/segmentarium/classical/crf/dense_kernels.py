"""Compiled loops behind :mod:`segmentarium.classical.crf.dense`.

Maps hold one class after the other, (k, n); blocks hold the classes of a pixel side by side, (m, width), and
behind them zeros or, in scores, ``NOTHING``. The width is a multiple of 4.
Annotations would be checked by a wrapper that the compiler cannot see through, hence ``no_type_check``.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
FUSED = {**PLAIN, "fastmath": {"contract"}}  # a product and a sum may be one instruction
TILE = 16  # pixels whose classes are turned at once: a line of the cache
PER_OCTAVE = np.float32(1.4426950408889634)  # 1 / log 2
OCTAVE, REST = np.float32(0.693359375), np.float32(-2.12194440e-4)  # log 2; the first is short, so exact
LEAST = np.float32(-87)  # exp of less is no normal number
HALF, ONE = np.float32(0.5), np.float32(1)
NOTHING = np.float32(-1e30)  # the score of what is no class
SERIES = tuple(np.float32(1 / f) for f in (5040, 720, 120, 24, 6))


@njit(**PLAIN)
@no_type_check
def turn_negative(map_, block, start, stop):
    """``block[start:stop, :k] = -map_[:, start:stop].T``; what is behind becomes ``NOTHING``."""
    flat, classes, width = block.reshape(-1), len(map_), block.shape[1]
    for first in range(start, stop, TILE):
        count = min(TILE, stop - first)
        for k in range(classes):
            source, target = map_[k, first : first + count], flat[first * width + k :]
            for i in range(count):
                target[i * width] = -source[i]
        for i in range(first, first + count):
            for k in range(classes, width):
                block[i, k] = NOTHING


@njit(**PLAIN)
@no_type_check
def store(block, map_, start):
    """``map_[:, start : start + m] = block[:, :k].T``"""
    flat, classes, width = block.reshape(-1), len(map_), block.shape[1]
    for first in range(0, len(block), TILE):
        count = min(TILE, len(block) - first)
        for k in range(classes):
            source, target = flat[first * width + k :], map_[k, start + first : start + first + count]
            for i in range(count):
                target[i] = source[i * width]


@njit(**FUSED)
@no_type_check
def _exp(values, bits, powers):
    """In place, of numbers up to 0: ``2^n exp(r)`` with r within half an octave, to the last digit but one.

    Rows are flat here, so that whole registers are filled whatever the number of classes.
    """
    for i in range(len(values)):
        value = max(values[i], LEAST)
        whole = np.floor(value * PER_OCTAVE + HALF)
        bits[i] = (np.int32(whole) + 127) << 23
        r = value - whole * OCTAVE - whole * REST
        p = SERIES[0]
        p = p * r + SERIES[1]
        p = p * r + SERIES[2]
        p = p * r + SERIES[3]
        p = p * r + SERIES[4]
        p = p * r + HALF
        p = p * r + ONE
        values[i] = p * r + ONE
    for i in range(len(values)):
        values[i] *= powers[i]


@njit(**FUSED)
@no_type_check
def softmax(block, classes):
    """Over the classes of each pixel, in place; what is behind them in a row becomes 0."""
    width = block.shape[1]
    flat = block.reshape(-1)
    bits = np.empty(TILE * width, np.int32)
    powers = bits.view(np.float32)
    for first in range(0, len(block), TILE):
        last = min(first + TILE, len(block))
        for i in range(first, last):
            row = block[i]
            a, b, c, d = row[0], row[1], row[2], row[3]  # four at a time: none waits for the one before
            for k in range(4, width, 4):
                a, b = max(a, row[k]), max(b, row[k + 1])
                c, d = max(c, row[k + 2]), max(d, row[k + 3])
            most = max(max(a, b), max(c, d))
            for k in range(width):
                row[k] -= most
        length = (last - first) * width
        _exp(flat[first * width : last * width], bits[:length], powers[:length])
        for i in range(first, last):
            row = block[i]
            a = b = c = d = np.float32(0)
            for k in range(0, width, 4):
                a, b = a + row[k], b + row[k + 1]
                c, d = c + row[k + 2], d + row[k + 3]
            share = ONE / ((a + b) + (c + d))
            for k in range(classes):
                row[k] *= share
            for k in range(classes, width):
                row[k] = 0
