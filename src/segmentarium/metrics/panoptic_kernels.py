"""Which segments of two maps lie on one another, and in how many pixels: one pass, any numbers."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Int64, Integer
from numba import njit

from segmentarium.errors import BadMask

_TABLE = 2**16
"""Bins up to which counting beats sorting; numbers in COCO's colours lie too far apart for it."""


def shared_pixels(
    prediction: Integer[np.ndarray, "*p"], truth: Integer[np.ndarray, "*t"]
) -> tuple[Int64[np.ndarray, "n 2"], Int64[np.ndarray, " n"]]:
    """Every pair of numbers that meet in a pixel, and the pixels they share.

    Returns:
        (number in truth, number in prediction) in ascending order, and their pixels. Only pairs that occur
        are listed: maps of ten thousand cells cost no table of their square.

    Raises:
        BadMask: the shapes differ, a map holds no integers, or a number has more than 31 bits.
    """
    for name, ids in (("prediction", prediction), ("truth", truth)):
        if ids.dtype.kind not in "iu":
            raise BadMask(f"{name} of type {ids.dtype}", allowed="numbers of segments, an integer type")
    if prediction.shape != truth.shape:
        raise BadMask(
            f"a prediction of shape {prediction.shape} for a truth of shape {truth.shape}",
            allowed="equal shapes",
            cure="resize the prediction to the truth with the nearest label, never the truth",
        )
    true, found = _alike(truth, prediction)
    if not true.size:
        return np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
    begins = np.r_[0, np.flatnonzero(_turns(true, found)) + 1]
    numbers = np.stack([true[begins], found[begins]]).astype(np.int64)
    if (numbers != numbers.astype(np.int32)).any():
        raise BadMask("a segment number of more than 31 bits", allowed=f"numbers up to {2**31 - 1}")
    return _summed(numbers, np.diff(begins, append=true.size))


def _summed(numbers: Any, lengths: Any) -> tuple[Any, Any]:
    """Each pair once, in ascending order, with the total of its lengths."""
    low, high = numbers.min(1), numbers.max(1)
    width = high[1] - low[1] + 1
    if (high[0] - low[0] + 1) * width <= _TABLE:
        table = np.bincount((numbers[0] - low[0]) * width + numbers[1] - low[1], lengths)
        keys = np.flatnonzero(table)
        return np.stack(np.divmod(keys, width), axis=1) + low, table[keys].astype(np.int64)
    keys = (numbers[0] << 32) + numbers[1]
    order = np.argsort(keys)
    keys = keys[order]
    first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    return numbers[:, order[first]].T, np.add.reduceat(lengths[order], first)


def _alike(truth: Any, prediction: Any) -> tuple[Any, Any]:
    """Both maps in one row and of one of four types, so that few kernels are compiled."""
    kept = truth.dtype == prediction.dtype and truth.dtype in (np.uint8, np.uint16, np.int32)
    dtype = truth.dtype if kept else np.dtype(np.int64)
    flat = [np.ascontiguousarray(ids).reshape(-1).astype(dtype, copy=False) for ids in (truth, prediction)]
    return flat[0], flat[1]


@njit(cache=True, nogil=True)
@no_type_check  # a wrapper that checks arguments could not be compiled
def _turns(truth, prediction):  # pragma: no cover - compiled
    """Whether the pair of numbers changes after each pixel.

    Segments are blobs: there are some fifty times fewer runs of one pair than pixels, and only runs need
    sorting. No branch, so that several pixels are compared at once.
    """
    turns = np.empty(truth.size - 1, np.bool_)
    for i in range(turns.size):
        turns[i] = (truth[i] != truth[i + 1]) | (prediction[i] != prediction[i + 1])
    return turns
