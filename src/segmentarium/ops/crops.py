"""Masks as crops inside their boxes: small objects of large pictures in the memory of small ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from segmentarium.errors import BadMask
from segmentarium.values.runs import Box


class Crop(NamedTuple):
    """A mask inside its box (x0, y0, x1, y1), in pixels, end exclusive; nothing lies outside the box."""

    box: Box
    mask: Bool[np.ndarray, "h w"]

    @property
    def window(self) -> tuple[slice, slice]:
        """Where the crop lies in its picture: rows, columns."""
        x0, y0, x1, y1 = self.box
        return slice(y0, y1), slice(x0, x1)


def tight(crop: Crop) -> Crop:
    """The same mask in the smallest box; one of no pixels, at (0, 0), if the mask is empty."""
    rows, columns = np.flatnonzero(crop.mask.any(1)), np.flatnonzero(crop.mask.any(0))
    if not len(rows):
        return Crop((0, 0, 0, 0), np.zeros((0, 0), bool))
    y0, y1, x0, x1 = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    x, y = crop.box[:2]
    return Crop((x + x0, y + y0, x + x1, y + y1), crop.mask[y0:y1, x0:x1])


def crop_of_runs(counts: Int[np.ndarray, " n"], size: tuple[int, int]) -> Crop:
    """Runs down the columns of a picture of ``size`` (height, width), background first, as a tight crop.

    Raises:
        BadMask: a run below zero, or runs that do not add up to the size.
    """
    height, width = size
    if len(counts) and counts.min() < 0:
        raise BadMask(f"a run of {counts.min()} pixels", allowed="runs of 0 pixels or more")
    ends = np.cumsum(counts)
    if (int(ends[-1]) if len(ends) else 0) != height * width:
        raise BadMask(
            f"runs of {int(ends[-1]) if len(ends) else 0} pixels for a picture of {width}x{height}",
            allowed="runs that add up to width x height",
        )
    inside = np.flatnonzero(counts[1::2]) * 2 + 1
    if not len(inside):
        return tight(Crop((0, 0, 0, 0), np.zeros((0, 0), bool)))
    first, last = inside[0], inside[-1]
    start, end = int(ends[first - 1]) // height, -(-int(ends[last]) // height)
    runs = counts[first : last + 1].copy()
    values = np.arange(len(runs)) % 2 == 0
    before = np.zeros(int(ends[first - 1]) - start * height, bool)
    after = np.zeros(end * height - int(ends[last]), bool)
    strip = np.concatenate([before, np.repeat(values, runs), after]).reshape(end - start, height).T
    return tight(Crop((start, 0, end, height), strip))
