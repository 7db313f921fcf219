"""Compiled loops behind :mod:`segmentarium.losses.lovasz`: errors are sorted by radix, class by class."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from segmentarium.losses.softmax_kernels import BLOCK, ONE, ZERO, exponential

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
DIGIT, DIGITS = 11, 3
BUCKETS = 1 << DIGIT


@njit(**PLAIN)
@no_type_check
def sort_descending(keys, payload, spare_keys, spare_payload):
    """Sort bit patterns of numbers in 0..1 from the largest; the result lies in the spare arrays.

    Non-negative floats order as their bits do, so three passes of eleven bits do it; each pass is stable.
    """
    counts = np.zeros((DIGITS, BUCKETS), np.int64)
    mask = np.uint32(BUCKETS - 1)
    for i in range(keys.size):
        key = ~keys[i]
        for digit in range(DIGITS):
            counts[digit, (key >> np.uint32(digit * DIGIT)) & mask] += 1
    for digit in range(DIGITS):
        total = 0
        for bucket in range(BUCKETS):
            here = counts[digit, bucket]
            counts[digit, bucket] = total
            total += here
        places = counts[digit]
        shift = np.uint32(digit * DIGIT)
        for i in range(keys.size):
            bucket = (~keys[i] >> shift) & mask
            place = places[bucket]
            places[bucket] = place + 1
            spare_keys[place] = keys[i]
            spare_payload[place] = payload[i]
        keys, spare_keys = spare_keys, keys
        payload, spare_payload = spare_payload, payload


@njit(**PLAIN)
@no_type_check
def _errors(logits, log_sum, labels, valid, number, keys, payload):
    """|1[y = c] - p_c| of each valid pixel; the payload is twice the pixel, plus 1 if it is of the class."""
    row = np.empty(BLOCK, np.float32)
    errors = keys.view(np.float32)
    count, members, pixels = 0, 0, labels.shape[1]
    for image in range(len(labels)):
        for begin in range(0, pixels, BLOCK):
            size = min(BLOCK, pixels - begin)
            for x in range(size):
                known = valid[image, begin + x]
                row[x] = exponential(logits[image, begin + x] - log_sum[image, begin + x] if known else ZERO)
            for x in range(size):
                if valid[image, begin + x]:
                    member = labels[image, begin + x] == number
                    chance = min(row[x], ONE)
                    errors[count] = ONE - chance if member else chance
                    payload[count] = np.uint32(2 * (image * pixels + begin + x) + member)
                    count += 1
                    members += member
    return count, members


@njit(**PLAIN)
@no_type_check
def slopes_of_class(logits, log_sum, labels, valid, number, slopes):
    """Lovász loss of one class, and its derivative by the probability of each pixel.

    Args:
        logits: of the class in some images, ``(b, n)``; the other maps alike.
        slopes: all 0; filled.

    Returns:
        The loss, and the number of pixels of the class.

    The Jaccard loss of the i hardest pixels is 1 - (members - hits) / (members + misses); each error weighs
    what its pixel adds to that.
    """
    keys = np.empty(labels.size, np.uint32)
    payload, spare_payload = np.empty(labels.size, np.uint32), np.empty(labels.size, np.uint32)
    count, members = _errors(logits, log_sum, labels, valid, number, keys, payload)
    sorted_keys = np.empty(count, np.uint32)
    sort_descending(keys[:count], payload[:count], sorted_keys, spare_payload[:count])
    errors = sorted_keys.view(np.float32)
    loss, before, inside, union, pixels = 0.0, 0.0, members, members, labels.shape[1]
    for i in range(count):
        member = spare_payload[i] & np.uint32(1)
        inside -= np.int64(member)
        union += 1 - np.int64(member)
        jaccard = 1.0 - inside / union if union else 0.0
        loss += errors[i] * (jaccard - before)
        slope = np.float32(jaccard - before)
        pixel = np.int64(spare_payload[i] >> np.uint32(1))
        slopes[pixel // pixels, pixel % pixels] = -slope if member else slope
        before = jaccard
    return loss, members


@njit(**PLAIN)
@no_type_check
def through_softmax(logits, log_sum, valid, shares, slopes, start, stop):
    """Turn derivatives by probabilities into derivatives by logits, in place, for some blocks of pixels.

    Args:
        logits, slopes: ``(k, n)``.
        shares: what each class counts in the mean, ``(k,)``.
    """
    classes, pixels = logits.shape
    block = np.empty((classes, BLOCK), np.float32)
    common = np.empty(BLOCK, np.float32)
    for begin in range(start * BLOCK, min(stop * BLOCK, pixels), BLOCK):
        size = min(BLOCK, pixels - begin)
        common[:] = ZERO
        for c in range(classes):
            row = block[c]
            for x in range(size):
                row[x] = exponential(logits[c, begin + x] - log_sum[begin + x] if valid[begin + x] else ZERO)
                slopes[c, begin + x] *= shares[c]
                common[x] += row[x] * slopes[c, begin + x]
        for c in range(classes):
            for x in range(size):
                slopes[c, begin + x] = block[c, x] * (slopes[c, begin + x] - common[x])
