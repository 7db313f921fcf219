"""Resized pixels by the originals around them: what all finishers that resize have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from segmentarium.ops.resize import neighbours
from segmentarium.ops.tiles import Window

STRIP_BYTES = 64 * 2**20
"""How much memory full-size scores may take at a time where they are needed at all."""


class Axis(NamedTuple):
    """Some pixels of a resized axis, grouped by the original before them, their cell.

    The pixels of original ``first + i`` are ``starts[i] .. starts[i + 1]``; the last cells may be without
    pixels. ``before`` and ``share`` go by pixel: the original before it, and the share of the one after it.
    """

    first: int
    starts: Int64[np.ndarray, " cells"]
    before: Int64[np.ndarray, " n"]
    share: Float32[np.ndarray, " n"]


def axis(length: int, resized: int, start: int, stop: int) -> Axis:
    """The pixels ``start .. stop`` of an axis of ``length`` that is resized, corners not aligned."""
    before, share = neighbours(length, resized, start, stop)
    first, last = int(before[0]), int(before[-1])
    stop_cell = min(
        last + 2, length
    )  # one more, without pixels, since the last one's right corners are its own
    return Axis(first, np.searchsorted(before, np.arange(first, stop_cell + 1)), before, share)


def aligned_neighbours(
    length: int, resized: int, start: int, stop: int
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """As :func:`~segmentarium.ops.resize.neighbours`, for corners that are aligned: ends fall on ends.

    >>> before, share = aligned_neighbours(2, 5, 0, 5)
    >>> before.tolist(), share.tolist()
    ([0, 0, 0, 0, 1], [0.0, 0.25, 0.5, 0.75, 0.0])
    """
    scale = np.float32(length - 1) / np.float32(max(resized - 1, 1))
    position = scale * np.arange(start, stop, dtype=np.float32)
    before = np.minimum(position.astype(np.int64), length - 1)
    return before, np.clip(position - before.astype(np.float32), 0, 1).astype(np.float32)


def resized_strips(
    logits: Float[Tensor, "b k h w"],
    size: tuple[int, int],
    part: Window,
    *,
    align_corners: bool = False,
    maps: int = 1,
) -> Iterator[tuple[int, Float[Tensor, "b k n w2"]]]:
    """The resized scores from the top, a few rows at a time, on the device where the scores are.

    Args:
        maps: how many arrays as large as a strip the caller will hold beside it, the strip counted.

    Yields:
        The first row, counted from the top of ``part``, and the scores of some rows.
    """
    batch, classes, height, width = logits.shape
    at = aligned_neighbours if align_corners else neighbours
    columns, share_x = (
        torch.from_numpy(a).to(logits.device) for a in at(width, size[1], part.left, part.right)
    )
    after = (columns + 1).clamp(max=width - 1)
    rows = max(1, STRIP_BYTES // (4 * maps * batch * classes * len(columns)))
    for top in range(part.top, part.bottom, rows):
        found = at(height, size[0], top, min(top + rows, part.bottom))
        before, share_y = (torch.from_numpy(a).to(logits.device) for a in found)
        below = (before + 1).clamp(max=height - 1)
        upper, lower = logits[:, :, before].float(), logits[:, :, below].float()
        strip = torch.lerp(upper, lower, share_y[:, None])
        yield top - part.top, torch.lerp(strip[..., columns], strip[..., after], share_x)
