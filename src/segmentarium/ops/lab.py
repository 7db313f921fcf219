"""CIE Lab: colours whose distance is about how different they look.

Source: CIE 15; sRGB by IEC 61966-2-1, white D65, observer of 2 degrees.
"""

from __future__ import annotations

from functools import cache, partial
from typing import no_type_check

import numpy as np
from jaxtyping import Float32
from numba import njit

from segmentarium.ops.share import share

_FINE = 1 << 13  # steps of the table of cube roots: off by less than 1e-3 in a and b
_TO_XYZ = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def lab_planes(rgb: Float32[np.ndarray, "*s 3"]) -> Float32[np.ndarray, "3 *s"]:
    """L from 0 to 100, then a and b, each in a plane of its own.

    Args:
        rgb: from 0 to 255, in the curve of sRGB.
    """
    flat = np.ascontiguousarray(rgb.reshape(-1, 3))
    planes = np.empty((3, len(flat)), np.float32)
    share(partial(_convert, flat, *_tables(), planes), len(flat))
    return planes.reshape(3, *rgb.shape[:-1])


@cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Light for each level, the matrix to X, Y, Z by those of white, and CIE's root of each 8192nd."""
    level = np.arange(257) / 255
    light = np.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)
    share_of_white = np.arange(_FINE + 2) / _FINE
    root = np.where(share_of_white > 0.008856, np.cbrt(share_of_white), 7.787 * share_of_white + 16 / 116)
    tables = light, _TO_XYZ / _WHITE[:, None], root
    return tuple(table.astype(np.float32) for table in tables)  # type: ignore[return-value]


@njit(cache=True, nogil=True, inline="always")
@no_type_check
def _looked_up(table, at):  # pragma: no cover (compiled)
    index = int(at)
    return table[index] + (at - np.float32(index)) * (table[index + 1] - table[index])


@njit(cache=True, nogil=True, error_model="numpy")
@no_type_check
def _convert(rgb, light, matrix, root, planes, start, stop):  # pragma: no cover (compiled)
    for i in range(start, stop):
        r, g, b = _looked_up(light, rgb[i, 0]), _looked_up(light, rgb[i, 1]), _looked_up(light, rgb[i, 2])
        x = _looked_up(root, np.float32(8192) * (matrix[0, 0] * r + matrix[0, 1] * g + matrix[0, 2] * b))
        y = _looked_up(root, np.float32(8192) * (matrix[1, 0] * r + matrix[1, 1] * g + matrix[1, 2] * b))
        z = _looked_up(root, np.float32(8192) * (matrix[2, 0] * r + matrix[2, 1] * g + matrix[2, 2] * b))
        planes[0, i] = np.float32(116) * y - np.float32(16)
        planes[1, i] = np.float32(500) * (x - y)
        planes[2, i] = np.float32(200) * (y - z)
