"""The compiled loops behind :mod:`segmentarium.losses.points`."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def read(maps, place, weight, order, values, start, stop):
    """``values[m, order[i]]`` is the weighted sum of map ``m`` at ``place[i]``, for the maps in start..stop.

    One map at a time: it stays in the cache, more so if neighbouring points follow one another.
    """
    flat = place.shape[1] == 4
    for m in range(start, stop):
        pixels = maps[m]
        row = values[m]
        if flat:  # unrolled, twice as quick as the loop below
            for i in range(len(order)):
                row[order[i]] = (
                    weight[i, 0] * pixels[place[i, 0]]
                    + weight[i, 1] * pixels[place[i, 1]]
                    + weight[i, 2] * pixels[place[i, 2]]
                    + weight[i, 3] * pixels[place[i, 3]]
                )
        else:
            for i in range(len(order)):
                total = weight[i, 0] * pixels[place[i, 0]]
                for corner in range(1, place.shape[1]):
                    total += weight[i, corner] * pixels[place[i, corner]]
                row[order[i]] = total


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def corners(points, lengths, numbers, order, place, weight):
    """The pixels around each point, by their place in the flattened map, and how much each counts.

    Args:
        points: ``(n, d)``, last axis of the map first.
        lengths: of the axes of the map.
        numbers: 0, 1/2 and 1 in the precision of the points: others would be computed with twice the digits.
        order: in which points are written.
        place, weight: ``(n, 2^d)``, filled.
    """
    nothing, half, one = numbers
    axes = len(lengths)
    for i in range(len(order)):
        point = points[order[i]]
        for corner in range(place.shape[1]):
            at, share = 0, one
            for axis in range(axes):
                length = lengths[axis]
                position = point[axes - 1 - axis] * (one * length) - half
                low = np.floor(position)
                upper = (corner >> (axes - 1 - axis)) & 1
                near = np.int64(low) + upper
                part = position - low if upper else one - (position - low)
                share *= part if 0 <= near < length else nothing
                at = at * length + min(max(near, 0), length - 1)
            place[i, corner], weight[i, corner] = at, share
