"""Compiled loops behind :mod:`segmentarium.classical.watershed`.

Pixels are numbers in a flat array with a frame of one pixel around it, whose labels are ``WALL``; ``steps``
lead from a pixel to its neighbours. Annotations would be checked by a wrapper that the compiler cannot see
through, hence ``no_type_check``.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True}
WALL, WAITING, LINE = -1, -2, -3


@njit(**PLAIN)
@no_type_check
def flood(relief, labels, steps, top, line):
    """Give each pixel with the label 0 that of the marker whose water reaches it first; changes ``labels``.

    A queue for each level of the relief, first in first out; water never sinks, so what lies below the level
    that is reached joins the end of its queue. With ``line`` pixels wait, and one that two waters touch when
    its turn comes is ``LINE``.
    """
    following = np.full(relief.size, -1, np.int32)
    first, last = np.full(top + 1, -1, np.int32), np.full(top + 1, -1, np.int32)
    for pixel in range(relief.size):
        if labels[pixel] > 0:
            for step in steps:
                if labels[pixel + step] == 0:
                    if line:
                        labels[pixel + step] = WAITING
                        _append(first, last, following, relief[pixel + step], pixel + step)
                    else:
                        _append(first, last, following, relief[pixel], pixel)
                        break
    for level in range(top + 1):
        while first[level] >= 0:
            pixel = first[level]
            first[level] = following[pixel]
            following[pixel] = -1
            if line and not _settle(labels, steps, pixel):
                continue
            for step in steps:
                near = pixel + step
                if labels[near] == 0:
                    labels[near] = WAITING if line else labels[pixel]
                    _append(first, last, following, max(level, relief[near]), near)


@njit(**PLAIN)
@no_type_check
def _append(first, last, following, level, pixel):
    if first[level] < 0:
        first[level] = pixel
    else:
        following[last[level]] = pixel
    last[level] = pixel


@njit(**PLAIN)
@no_type_check
def _settle(labels, steps, pixel):
    """Whether one label only is around; then the pixel has it."""
    found = 0
    for step in steps:
        near = labels[pixel + step]
        if near > 0 and near != found:
            if found:
                labels[pixel] = LINE
                return False
            found = near
    labels[pixel] = found
    return True


@njit(**PLAIN)
@no_type_check
def basins(relief, walls, steps, top, depth):
    """A marker in each basin: the lowest pixel, in the order of the scan, of every one that is deep enough.

    Pixels join from the lowest up. Where two basins meet, the one whose floor is higher is filled to here:
    its depth. It is a basin of its own if that is ``depth`` or more. The basin with the lowest floor always
    is, in each part that walls leave.
    """
    size = relief.size
    start = np.zeros(top + 2, np.int64)
    for pixel in range(size):
        if not walls[pixel]:
            start[relief[pixel] + 1] += 1
    for level in range(top + 1):
        start[level + 1] += start[level]
    order = np.empty(start[top + 1], np.int32)
    for pixel in range(size):
        if not walls[pixel]:
            order[start[relief[pixel]]] = pixel
            start[relief[pixel]] += 1
    above = np.full(size, -1, np.int32)  # -1: not yet under water
    kept = np.zeros(size, np.bool_)
    for pixel in order:
        above[pixel] = pixel
        level = relief[pixel]
        for step in steps:
            if above[pixel + step] < 0:
                continue
            here, near = _root(above, pixel), _root(above, pixel + step)
            if here == near:
                continue
            higher, lower = here, near
            if relief[near] > relief[here] or (relief[near] == relief[here] and near > here):
                higher, lower = near, here
            if level - relief[higher] >= depth and level > relief[higher]:
                kept[higher] = True
            above[higher] = lower
    for pixel in order:
        if above[pixel] == pixel:
            kept[pixel] = True
    return kept


@njit(**PLAIN)
@no_type_check
def _root(above, pixel):
    while above[pixel] != pixel:
        above[pixel] = above[above[pixel]]
        pixel = above[pixel]
    return pixel
