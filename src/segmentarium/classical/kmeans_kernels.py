"""Compiled loops behind :mod:`segmentarium.classical.kmeans`.

The picture lies in tiles of 16 x 16 pixels, each channel of a tile in one run of memory. A tile is a small
box in the space of features, and a centre that is farther from all of the box than another centre is from any
of it cannot win a pixel there: most centres fall out before a single distance is taken, and the answer stays
that of Lloyd to the last label.

Source of the rule: Pelleg and Moore, "Accelerating exact k-means algorithms with geometric reasoning", 1999.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract", "nsz"}}
SIDE = 16
AREA = SIDE * SIDE
SLACK = 1 + 1e-9  # a centre must not fall out by rounding


@njit(**PLAIN)
@no_type_check
def lay(values, corners, tiles, start, stop):
    """Copy pixels into tiles; those that stick out of the picture repeat its border.

    Args:
        values: ``(d, h, w, c)``.
        corners: ``(n, 3)``, the first index of each tile.
        tiles: ``(n, c, AREA)``.
    """
    height, width = values.shape[1:3]
    for n in range(start, stop):
        z, top, left = corners[n]
        for c in range(values.shape[3]):
            for i in range(AREA):
                y, x = min(top + i // SIDE, height - 1), min(left + i % SIDE, width - 1)
                tiles[n, c, i] = values[z, y, x, c]


@njit(**PLAIN)
@no_type_check
def _candidates(low, high, centers, near, far, found):
    """Which centres may win a pixel of the box from ``low`` to ``high``, in order; their number.

    ``near`` and ``far`` are room for the squared distances of each centre from the box.
    """
    near[:], far[:] = 0, 0
    for a in range(low.size):
        middle, half, row = (low[a] + high[a]) / 2, (high[a] - low[a]) / 2, centers[a]
        for k in range(near.size):
            apart = abs(row[k] - middle)
            beyond = apart - half
            beyond += abs(beyond)  # twice the distance outside, 0 inside
            near[k] += beyond * beyond / 4
            far[k] += (apart + half) * (apart + half)
    limit, count = far.min() * SLACK, 0
    for k in range(near.size):
        found[count] = k
        count += near[k] <= limit
    return count


@njit(**PLAIN)
@no_type_check
def _win(tile, low, scale, centers, found, places, score, best, winner):
    """The nearest of the centres ``found``, the first of equals.

    Features are taken from the corner ``low`` of the tile, so that nothing large cancels; what all centres
    have in common is left out, and the rest of the square is linear in the features. ``best`` and ``winner``
    have two rows, which take turns: a value that is read and written in one place would be written under a
    mask, which takes some processors ten times as long.

    Returns:
        the row of ``winner`` that holds them.
    """
    best[0], winner[0] = np.inf, found[0]
    for at in range(len(found)):
        k = found[at]
        offset = 0.0
        for a in range(low.size):
            offset += (centers[a, k] - low[a]) ** 2
        ky, kx = -2 * scale[1] * (centers[1, k] - low[1]), -2 * scale[2] * (centers[2, k] - low[2])
        for c in range(len(tile)):
            offset += 2 * low[3 + c] * (centers[3 + c, k] - low[3 + c])
        for i in range(AREA):
            score[i] = offset + ky * places[0, i] + kx * places[1, i]
        if len(tile) % 2:
            slope = -2 * (centers[3, k] - low[3])
            for i in range(AREA):
                score[i] += slope * tile[0, i]
        for c in range(len(tile) % 2, len(tile), 2):
            one, two = -2 * (centers[3 + c, k] - low[3 + c]), -2 * (centers[4 + c, k] - low[4 + c])
            for i in range(AREA):
                score[i] += one * tile[c, i] + two * tile[c + 1, i]
        _choose(score, k, best[at % 2], best[1 - at % 2], winner[at % 2], winner[1 - at % 2])
    return len(found) % 2


@njit(**PLAIN)
@no_type_check
def _choose(score, k, old, new, was, now):
    for i in range(AREA):
        better = score[i] < old[i]
        new[i] = score[i] if better else old[i]
        now[i] = k if better else was[i]


@njit(**PLAIN)
@no_type_check
def _move(tile, labels, corner, size, winner, sums):
    """Write the labels, and take the pixels that changed from one sum to the other; how many did.

    Args:
        size: of the part of the tile that lies in the picture.
        sums: ``(k, 1 + 3 + c)``: pixels, the sums of their indices and of their levels. Those of 8-bit
            pictures are whole numbers, so adding and taking away leaves no trace.
    """
    changed = 0
    for i in range(AREA):
        changed += labels[i] != winner[i]
    if not changed:
        return 0
    moved = 0
    for y in range(size[0]):
        for x in range(size[1]):
            i = y * SIDE + x
            old, new = labels[i], winner[i]
            if old == new:
                continue
            moved += 1
            for k, sign in ((new, 1), (old, -1)):
                if k >= 0:
                    sums[k, 0] += sign
                    sums[k, 1] += sign * corner[0]
                    sums[k, 2] += sign * (corner[1] + y)
                    sums[k, 3] += sign * (corner[2] + x)
                    for c in range(len(tile)):
                        sums[k, 4 + c] += sign * tile[c, i]
    for i in range(AREA):
        labels[i] = winner[i]
    return moved


@njit(**PLAIN)
@no_type_check
def assign(tiles, boxes, corners, size, scale, centers, labels, sums, moved, start, stop):
    """Give each pixel the number of its nearest centre, and bring the sums of the clusters up to date.

    Args:
        tiles: as :func:`lay` leaves them.
        boxes: ``(n, 2, 3 + c)``, the least and greatest features of each tile.
        size: of the picture.
        scale: of an index along each axis, in units of a level.
        centers: ``(3 + c, k)`` in units of a level.
        labels: ``(n, AREA)``, -1 where none is given yet.
        sums: ``(parts, k, 4 + c)``, see :func:`_move`; a part is a run of tiles, whatever the cores.
        moved: for each part the number of pixels that changed.
        start, stop: the parts to work on.
    """
    count = centers.shape[1]
    ends, found = np.empty((2, count)), np.empty(count + 1, np.int32)
    score, best, winner = np.empty(AREA), np.empty((2, AREA)), np.empty((2, AREA), np.int32)
    places = np.empty((2, AREA))
    for i in range(AREA):
        places[0, i], places[1, i] = i // SIDE, i % SIDE
    for part in range(start, stop):
        moved[part] = 0
        for n in range(part * len(tiles) // len(sums), (part + 1) * len(tiles) // len(sums)):
            low, high = boxes[n]
            candidates = _candidates(low, high, centers, ends[0], ends[1], found)
            row = 0
            if candidates == 1:
                winner[0] = found[0]
            else:
                row = _win(tiles[n], low, scale, centers, found[:candidates], places, score, best, winner)
            inside = min(SIDE, size[1] - corners[n, 1]), min(SIDE, size[2] - corners[n, 2])
            moved[part] += _move(tiles[n], labels[n], corners[n], inside, winner[row], sums[part])


@njit(**PLAIN)
@no_type_check
def unlay(tiled, corners, labels, start, stop):
    """Copy the labels of tiles back into a picture ``(d, h, w)``."""
    for n in range(start, stop):
        z, top, left = corners[n]
        for y in range(top, min(top + SIDE, labels.shape[1])):
            for x in range(left, min(left + SIDE, labels.shape[2])):
                labels[z, y, x] = tiled[n, (y - top) * SIDE + x - left]
