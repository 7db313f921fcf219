"""The compiled loop behind :mod:`segmentarium.classical.region_growing`.

Annotations would be checked by a wrapper that the compiler cannot see through, hence ``no_type_check``.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
@no_type_check
def grow(values, labels, sums, sizes, steps, limit, running, nearest):
    """Let regions take their neighbours; changes ``labels``, ``sums`` and ``sizes``.

    Args:
        values: (pixel, channel), with a frame of one pixel.
        labels: 0 where free, -1 in the frame.
        sums, sizes: of the colours of each region's pixels, by label.
        limit: the squared distance at which a pixel is too far from a region's mean.
        running: whether a mean changes as its region grows.
        nearest: whether the pixel that is nearest in colour comes first, instead of the one that was met
            first.
    """
    means = sums / np.maximum(sizes, 1).reshape(-1, 1)
    queue = [(np.float64(0), np.int64(0), np.int64(0), np.int64(0)) for _ in range(0)]
    met = 0
    for pixel in range(labels.size):
        if labels[pixel] > 0:
            for step in steps:
                if labels[pixel + step] == 0:
                    met = _meet(queue, met, values, means, pixel + step, labels[pixel], limit, nearest)
    while len(queue):
        _, _, pixel, label = heappop(queue)
        if labels[pixel] != 0:
            continue
        if running:
            if _gap(values, means, pixel, label) > limit:
                continue
            sizes[label] += 1
            for c in range(values.shape[1]):
                sums[label, c] += values[pixel, c]
                means[label, c] = sums[label, c] / sizes[label]
        labels[pixel] = label
        for step in steps:
            if labels[pixel + step] == 0:
                met = _meet(queue, met, values, means, pixel + step, label, limit, nearest)


@njit(cache=True, nogil=True)
@no_type_check
def _gap(values, means, pixel, label):
    gap = 0.0
    for c in range(values.shape[1]):
        gap += (values[pixel, c] - means[label, c]) ** 2
    return gap


@njit(cache=True, nogil=True)
@no_type_check
def _meet(queue, met, values, means, pixel, label, limit, nearest):
    gap = _gap(values, means, pixel, label)
    if gap > limit:
        return met
    heappush(queue, (gap if nearest else 0.0, met, np.int64(pixel), np.int64(label)))
    return met + 1
