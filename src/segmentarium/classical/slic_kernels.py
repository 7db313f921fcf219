"""Compiled loops behind :mod:`segmentarium.classical.slic`.

Pictures come as planes (c, d, h, w), one a channel, so that a row is one run of memory; those of two
dimensions as (c, h, 1, w).
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**PLAIN)
@no_type_check
def _challenge(planes, z, y, centre, weight, base, columns, label, apart, best, winners):
    """Give pixels of a row to a centre where it is nearer than all before.

    Args:
        columns: x of the pixels; ``apart``, ``best`` and ``winners`` hold a number for each of them.
    """
    start, count = int(columns[0]), columns.size
    for i in range(count):
        dx = columns[i] - centre[2]
        apart[i] = base + weight * dx * dx
    for c in range(len(planes)):
        row, level = planes[c, z, y, start : start + count], centre[3 + c]
        for i in range(count):
            apart[i] += (row[i] - level) * (row[i] - level)
    for i in range(count):
        nearer = apart[i] < best[i]
        best[i] = apart[i] if nearer else best[i]
        winners[i] = label if nearer else winners[i]


@njit(**PLAIN)
@no_type_check
def _nearest(planes, z, y, x, centres, weights):
    """Of all centres: for a pixel that no window reaches."""
    least, found = np.float32(np.inf), 0
    for k in range(len(centres)):
        dz, dy, dx = centres[k, 0] - z, centres[k, 1] - y, centres[k, 2] - x
        distance = weights[0] * dz * dz + weights[1] * dy * dy + weights[2] * dx * dx
        for c in range(len(planes)):
            distance += (planes[c, z, y, x] - centres[k, 3 + c]) ** 2
        if distance < least:
            least, found = distance, k
    return found


@njit(**PLAIN)
@no_type_check
def _add_row(planes, z, y, winners, first, sums):
    """Add a row to the sums of its labels: number, z, y, x, channels.

    ``sums`` are those of labels from ``first``; others, of pixels out of all windows, do not count.
    """
    for x in range(winners.size):
        label = winners[x] - first
        if 0 <= label < len(sums):
            sums[label, 0] += 1
            sums[label, 1] += z
            sums[label, 2] += y
            sums[label, 3] += x
            for c in range(len(planes)):
                sums[label, 4 + c] += planes[c, z, y, x]


@njit(**PLAIN)
@no_type_check
def assign(planes, centres, reach, weights, band, ranges, sums, labels, start, stop):
    """Give each pixel to the nearest centre in whose window it lies, and sum up the pixels of each.

    Args:
        centres: z, y, x and channels; by ascending z.
        reach: half the window along each axis.
        weights: of squared distances along each axis, beside those of the channels.
        band: slices a band; bands ``start .. stop`` are worked on.
        ranges: for each band the first centre that reaches it, the end, and its first row of ``sums``.
        labels: is filled.
    """
    _, depth, height, width = planes.shape
    best, apart, columns = (
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.arange(width).astype(np.float32),
    )
    for index in range(start, stop):
        first, end, begin = ranges[index]
        own = sums[begin : begin + end - first]
        own[:] = 0
        for z in range(index * band, min(depth, (index + 1) * band)):
            for y in range(height):
                winners = labels[z, y]
                best[:] = np.inf
                for k in range(first, end):
                    centre = centres[k]
                    dz, dy = centre[0] - np.float32(z), centre[1] - np.float32(y)
                    if abs(dz) > reach[0] or abs(dy) > reach[1]:
                        continue
                    left = max(0, int(np.ceil(centre[2] - reach[2])))
                    right = min(width, int(np.floor(centre[2] + reach[2])) + 1)
                    base = weights[0] * dz * dz + weights[1] * dy * dy
                    at = slice(left, right)
                    _challenge(
                        planes,
                        z,
                        y,
                        centre,
                        weights[2],
                        base,
                        columns[at],
                        np.int32(k),
                        apart,
                        best[at],
                        winners[at],
                    )
                for x in range(width):
                    if best[x] == np.inf:
                        winners[x] = _nearest(planes, z, y, x, centres, weights)
                _add_row(planes, z, y, winners, first, own)
