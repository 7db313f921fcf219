"""Polygons to masks, to the pixel as COCO's tools draw them.

COCO's rule: corners are rounded on a grid five times finer than the pixels, edges are walked there along
their longer side, and where the walk crosses the middle of a column of pixels, the column changes sides at
the next middle of a pixel below. Walking is not needed: each crossing is computed by itself.

Source: the polygon masks of COCO (Lin et al. 2014); written from their behaviour.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit

from segmentarium.errors import BadMask
from segmentarium.ops.crops import Crop, tight

FINE = 5
"""Steps of the finer grid to a pixel."""
FARTHEST = 1e7
"""Pixels; coordinates beyond are no place in a picture."""


def fill(parts: Sequence[Float[np.ndarray, "_ 2"]], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """The pixels inside any of the polygons, in a picture of ``size`` (height, width).

    Each polygon is its corners (x, y) in pixels, x = 0 being the left edge of the first pixel; where it
    crosses itself, pixels inside an even number of times are outside.

    Raises:
        BadMask: fewer than three corners, or a coordinate that is no number or out of all bounds.

    >>> fill([np.array([[0, 0], [2, 0], [2, 1], [0, 1]], float)], (2, 3)).astype(int)
    array([[1, 1, 0],
           [0, 0, 0]])
    """
    crop = fill_crop(parts, size)
    full = np.zeros(size, bool)
    full[crop.window] = crop.mask
    return full


def fill_crop(parts: Sequence[Float[np.ndarray, "_ 2"]], size: tuple[int, int]) -> Crop:
    """:func:`fill`, cut to the smallest box."""
    fine = [_on_fine_grid(part) for part in parts]
    first, last = _reach(fine, size)
    box = (int(first[0]), int(first[1]), int(last[0]), int(last[1]))
    inside = np.zeros((box[2] - box[0], box[3] - box[1]), bool)
    for corners in fine:
        turns = np.zeros((inside.shape[0], inside.shape[1] + 1), bool)
        if inside.size:
            _mark_turns(corners, np.roll(corners, -1, axis=0), box[0], box[1], turns)
        inside |= np.logical_xor.accumulate(turns, axis=1)[:, :-1]
    return tight(Crop(box, inside.T))


def _on_fine_grid(part: Float[np.ndarray, "_ 2"]) -> Int[np.ndarray, "_ 2"]:
    if len(part) < 3:
        raise BadMask(f"a polygon of {len(part)} points", allowed="three points or more")
    wrong = ~(np.abs(part) <= FARTHEST)
    if wrong.any():
        raise BadMask(f"a polygon with the coordinate {part[wrong][0]}", allowed="numbers, in pixels")
    return (FINE * part + 0.5).astype(np.int64)  # towards zero, as COCO's tools do


def _reach(
    fine: Sequence[Int[np.ndarray, "_ 2"]], size: tuple[int, int]
) -> tuple[Int[np.ndarray, " 2"], Int[np.ndarray, " 2"]]:
    """First and last (column, row) that can be inside, within the picture; ends are exclusive."""
    if not fine:
        return np.zeros(2, np.int64), np.zeros(2, np.int64)
    corners = np.concatenate(fine)
    within = np.array(size[::-1])
    first = np.clip(-((2 - corners.min(0)) // FINE), 0, within)
    last = np.clip(-((2 - corners.max(0)) // FINE), 0, within)
    return first, np.maximum(first, last)


@njit(cache=True, nogil=True)
@no_type_check
def _mark_turns(corners, following, left, top, turns):  # pragma: no cover (compiled)
    """Flip ``turns[column, row]`` where an edge crosses the middle of a column just above a pixel's middle.

    The column is on one side down to that row, and on the other from there on.
    """
    columns, rows = turns.shape[0], turns.shape[1] - 1
    for edge in range(len(corners)):
        xs, ys = corners[edge, 0], corners[edge, 1]
        xe, ye = following[edge, 0], following[edge, 1]
        dx, dy = abs(xe - xs), abs(ye - ys)
        if (dx >= dy and xs > xe) or (dx < dy and ys > ye):
            xs, ys, xe, ye = xe, ye, xs, ys
        low, high = min(xs, xe), max(xs, xe)
        for column in range(columns):
            before = FINE * (left + column) + 2  # the fine column left of the middle
            if before < low or before >= high:
                continue
            if dx >= dy:
                slope, step = (ye - ys) / dx, before - xs
                here = min(int(ys + slope * step + 0.5), int(ys + slope * (step + 1) + 0.5))
            else:
                here = ys + _last_before(xs, (xe - xs) / dy, before, dy)
            row = -((2 - here) // FINE) - top
            turns[column, min(max(row, 0), rows)] ^= True


@njit(cache=True, nogil=True)
@no_type_check
def _last_before(start, slope, before, steps):  # pragma: no cover (compiled)
    """The last step down a steep edge that is still on the side of ``before`` on which the edge starts."""
    rising = slope > 0
    step = int((before + 0.5 - start) / slope)
    step = min(max(step, 0), steps)
    while step > 0 and (int(start + slope * step + 0.5) > before) == rising:
        step -= 1
    while step < steps and (int(start + slope * (step + 1) + 0.5) > before) != rising:
        step += 1
    return step
