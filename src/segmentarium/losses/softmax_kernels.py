"""Compiled loops behind :mod:`segmentarium.losses.softmax`: single precision, on processors.

They work on blocks of pixels that stay in the cache, all classes of a block at a time, and write nothing of
the size of the logits but the gradient. Void pixels (worth 0) are read as logits of 0.

Inner loops touch few arrays each: with more, the compiler gives up proving that they do not overlap and goes
number by number.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
BLOCK = 128
"""Pixels of a block."""

_F = np.float32
ZERO, HALF, ONE, TWO = _F(0), _F(0.5), _F(1), _F(2)
LOG2E = _F(1.4426950408889634)
# log 2 in two parts, the first with so few digits that small multiples of it are exact
LN2_HIGH, LN2_LOW = _F(0.693359375), _F(-2.12194440e-4)
LEAST = _F(-87)
C6, C5, C4, C3 = _F(1 / 720), _F(1 / 120), _F(1 / 24), _F(1 / 6)
EXPONENT_BIAS, MANTISSA_BITS = np.int32(127), np.int32(23)


@njit(inline="always")
@no_type_check
def exponential(value):
    """exp of a number up to 0, relative error 1.5e-7; nan stays nan, below e^-87 all is e^-87.

    A power series for the rest of a division by log 2, and the quotient put into the exponent's bits: the
    compiler does eight numbers at a time, where the library's exp goes one by one.
    """
    value = LEAST if value < LEAST else value  # in this order, so that nan passes
    whole = np.floor(value * LOG2E + HALF)
    rest = (value - whole * LN2_HIGH) - whole * LN2_LOW
    series = (((C6 * rest + C5) * rest + C4) * rest + C3) * rest + HALF
    power = np.int32((np.int32(whole) + EXPONENT_BIAS) << MANTISSA_BITS).view(np.float32)
    return ((series * rest + ONE) * rest + ONE) * power


@njit(**PLAIN)
@no_type_check
def sum_up(logits, labels, worth, mix, log_sum, log_true, mixed_log, sums, start, stop):
    """The sums of some blocks; block ``i`` is block ``i % per_image`` of image ``i // per_image``.

    Args:
        logits: ``(b, k, n)``.
        labels: ``(b, n)``, at least 0.
        worth: ``(b, n)``.
        mix: weights of the classes in ``mixed_log``; both may be empty.
        log_sum: filled with ``log sum_c exp(logits)`` of each pixel.
        log_true: filled with the log-probability of the true class.
        mixed_log: all 0; filled with the weighted sum of the log-probabilities.
        sums: ``(b, 3, k)`` float64, added to: hit, predicted, squares.
    """
    classes, pixels = logits.shape[1:]
    per_image = (pixels + BLOCK - 1) // BLOCK
    block = np.empty((classes, BLOCK), np.float32)
    top, total = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    all_mixed = mix.sum()
    for number in range(start, stop):
        image, begin = number // per_image, number % per_image * BLOCK
        count = min(BLOCK, pixels - begin)
        value = worth[image, begin : begin + count]
        _load(logits[image], begin, value, block)
        if mix.size:
            _add_mixed(block, mix, mixed_log[image, begin : begin + count])
        _shift_and_exponentiate(block, top, total, count)
        for x in range(count):
            true = labels[image, begin + x]
            log_total = np.log(total[x])
            log_sum[image, begin + x] = top[x] + log_total
            raw = logits[image, true, begin + x] if value[x] > ZERO else ZERO
            log_true[image, begin + x] = (raw - top[x]) - log_total
            total[x] = ONE / total[x]
            sums[image, 0, true] += value[x] * block[true, x] * total[x]
        if mix.size:
            for x in range(count):
                mixed_log[image, begin + x] -= all_mixed * log_sum[image, begin + x]
        for c in range(classes):
            row = block[c]
            predicted, squares = ZERO, ZERO
            for x in range(count):
                chance = row[x] * total[x]
                weighed = value[x] * chance
                predicted += weighed
                squares += weighed * chance
            sums[image, 1, c] += predicted
            sums[image, 2, c] += squares


@njit(**PLAIN)
@no_type_check
def _load(logits, begin, worth, block):
    """Copy the logits of a block of pixels, 0 under void."""
    for c in range(len(logits)):
        source, target = logits[c], block[c]
        for x in range(worth.size):
            target[x] = source[begin + x] if worth[x] > ZERO else ZERO


@njit(**PLAIN)
@no_type_check
def _add_mixed(block, mix, target):
    for c in range(len(block)):
        for x in range(target.size):
            target[x] += mix[c] * block[c, x]


@njit(**PLAIN)
@no_type_check
def _shift_and_exponentiate(block, top, total, count):
    """Turn a block of logits into exp(logit - largest); ``total`` gets its sum over the classes."""
    top[:] = block[len(block) - 1]
    total[:] = ZERO
    for c in range(1, len(block), 2):  # two at a time, to touch the running maximum half as often
        row, other = block[c - 1], block[c]
        for x in range(count):
            larger = row[x] if row[x] > other[x] else other[x]
            top[x] = larger if larger > top[x] else top[x]
    for c in range(len(block)):
        row = block[c]
        for x in range(count):
            row[x] = exponential(row[x] - top[x])
        for x in range(count):
            total[x] += row[x]


@njit(**PLAIN)
@no_type_check
def differentiate(logits, labels, worth, mix, log_sum, of_log, of_mixed, of_sums, gradient, start, stop):
    """The gradient by the logits of some blocks, as :func:`sum_up` counts them.

    With ``A_c`` the derivative by the probability of class c, a softmax gives ``p_c (A_c - sum_j p_j A_j)``.

    Args:
        of_log: ``(b, n)``, the derivative by ``log_true``.
        of_mixed: the derivative by ``mixed_log``; empty if ``mix`` is.
        of_sums: ``(b, 3, k)``, the derivative by the sums.
        gradient: ``(b, k, n)``, filled.
    """
    classes, pixels = logits.shape[1:]
    per_image = (pixels + BLOCK - 1) // BLOCK
    block = np.empty((classes, BLOCK), np.float32)
    common = np.empty(BLOCK, np.float32)
    all_mixed = mix.sum()
    for number in range(start, stop):
        image, begin = number // per_image, number % per_image * BLOCK
        count = min(BLOCK, pixels - begin)
        value, log_total = worth[image, begin : begin + count], log_sum[image, begin : begin + count]
        by_hit, by_predicted, by_square = of_sums[image, 0], of_sums[image, 1], TWO * of_sums[image, 2]
        _load(logits[image], begin, value, block)
        common[:] = ZERO
        for c in range(classes):
            row, slope, bend = block[c], by_predicted[c], by_square[c]
            for x in range(count):
                row[x] = exponential(row[x] - log_total[x])
            for x in range(count):
                common[x] += row[x] * value[x] * (slope + bend * row[x])
        for x in range(count):
            true = labels[image, begin + x]
            common[x] += block[true, x] * value[x] * by_hit[true] + of_log[image, begin + x]
        if mix.size:
            for x in range(count):
                common[x] += all_mixed * of_mixed[image, begin + x]
        _write(block, value, by_predicted, by_square, common, gradient[image], begin)
        for x in range(count):
            true = labels[image, begin + x]
            own = block[true, x] * value[x] * by_hit[true] + of_log[image, begin + x]
            gradient[image, true, begin + x] += own
        if mix.size:
            for c in range(classes):
                for x in range(count):
                    gradient[image, c, begin + x] += mix[c] * of_mixed[image, begin + x]


@njit(**PLAIN)
@no_type_check
def _write(block, worth, slopes, bends, common, gradient, begin):
    """The part of the gradient that all classes have: p_c (w (slope_c + bend_c p_c) - common)."""
    for c in range(len(block)):
        row, target, slope, bend = block[c], gradient[c], slopes[c], bends[c]
        for x in range(worth.size):
            target[begin + x] = row[x] * (worth[x] * (slope + bend * row[x]) - common[x])
