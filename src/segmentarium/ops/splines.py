"""Bending by splines in any number of dimensions: control points with their weights, and mirroring."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit


def spline_taps(length: int, points: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of ``length`` voxels the four control points around it, with their Catmull-Rom weights."""
    at = np.linspace(0, points - 1, length) if length > 1 else np.array([(points - 1) / 2])
    first = np.minimum(at.astype(np.intp), points - 2)
    t = at - first
    weights = (
        ((2 - t) * t - 1) * t / 2,
        ((3 * t - 5) * t * t + 2) / 2,
        ((4 - 3 * t) * t + 1) * t / 2,
        (t - 1) * t * t / 2,
    )
    return np.clip(first + np.arange(-1, 3)[:, None], 0, points - 1), np.stack(weights).astype(np.float32)


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def mirrored(index, length):  # pragma: no cover (compiled)
    """An index beyond the border, mirrored as often as needed, the border voxel being repeated."""
    if 0 <= index < length:
        return index
    index %= 2 * length
    return index if index < length else 2 * length - 1 - index
