"""Where the pixels of a resized axis lie among the originals."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64


def neighbours(
    length: int, resized: int, start: int, stop: int
) -> tuple[Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """The originals around each of the pixels ``start .. stop``, for bilinear resizing, corners not aligned.

    The arithmetic is torch's, in single precision: pixel centres are scaled, and what falls before the first
    centre is moved onto it.

    Args:
        length: of the original axis, in pixels.
        resized: its length afterwards.

    Returns:
        The original before each pixel, and the share of the one after it (which is the same one at the far
        end).

    >>> before, share = neighbours(2, 4, 0, 4)
    >>> before.tolist(), share.tolist()
    ([0, 0, 0, 1], [0.0, 0.25, 0.75, 0.25])
    """
    scale = np.float32(length) / np.float32(resized)
    position = scale * (np.arange(start, stop, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
    position = np.maximum(position, np.float32(0))
    before = np.minimum(position.astype(np.int64), length - 1)
    return before, np.clip(position - before.astype(np.float32), 0, 1).astype(np.float32)
