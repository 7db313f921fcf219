"""The compiled loop behind :mod:`segmentarium.losses.points`."""

from __future__ import annotations

from typing import no_type_check

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
