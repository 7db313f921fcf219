"""Bending and turning a volume and its labels together, by one resampling.

An affine map and a field of displacements on a coarse grid of control points are one map from output to
source. The field is interpolated while the volume is resampled, so that none of the size of the volume is
ever stored.
"""

from __future__ import annotations

from functools import partial
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Integer
from numba import njit

from segmentarium.ops.share import share
from segmentarium.ops.splines import mirrored, spline_taps
from segmentarium.values.classes import VOID

IDENTITY = np.eye(3, 4, dtype=np.float32)

Warped = tuple[Float32[np.ndarray, "c z y x"], Integer[np.ndarray, "z y x"]]


def warp_volume(
    voxels: Float32[np.ndarray, "c d h w"],
    labels: Integer[np.ndarray, "d h w"],
    *,
    size: tuple[int, int, int],
    matrix: Float32[np.ndarray, "3 4"] = IDENTITY,
    field: Float32[np.ndarray, "3 gd gh gw"] | None = None,
    fill: float | None = None,
) -> Warped:
    """Resample voxels (trilinear) and labels (nearest, never mixed) through one map from output to source.

    Args:
        labels: of a signed type; outside the source they become ``VOID``.
        matrix: takes output (d, h, w, 1) to source (d, h, w); voxel centres are whole numbers.
        field: displacements of control points in output voxels, added before ``matrix``; it spans the output,
            its outer points lying on the output's corners, with Catmull-Rom splines between.
        fill: value outside the source; None mirrors the source.
    """
    field = np.zeros((3, 2, 2, 2), np.float32) if field is None else field
    out = np.empty((len(voxels), *size), np.float32)
    picked = np.empty(size, labels.dtype)
    taps = tuple(spline_taps(length, points) for length, points in zip(size, field.shape[1:], strict=True))
    work = partial(
        _warp_planes,
        np.ascontiguousarray(voxels),
        np.ascontiguousarray(labels),
        matrix,
        np.ascontiguousarray(field),
        taps,
        fill is None,
        np.float32(fill or 0),
        out,
        picked,
    )
    share(work, size[0])
    return out, picked


@njit(cache=True, nogil=True)
@no_type_check
def _warp_planes(  # pragma: no cover (compiled)
    voxels, labels, matrix, field, taps, mirror, fill, out, picked, start, stop
):
    """One row at a time: where each of its voxels comes from, then what is there."""
    (depth, height, width), one, half = labels.shape, np.float32(1), np.float32(0.5)
    _, rows, columns = picked.shape
    plane = np.empty((3, field.shape[2], field.shape[3]), np.float32)
    line = np.empty((3, field.shape[3]), np.float32)
    place = np.empty((3, columns), np.float32)
    for z in range(start, stop):
        _down_to_plane(field, taps[0], z, plane)
        for y in range(rows):
            _down_to_line(plane, taps[1], y, line)
            _locate(line, taps[2], matrix, np.float32(z), np.float32(y), place)
            for x in range(columns):
                fd, fh, fw = np.floor(place[0, x]), np.floor(place[1, x]), np.floor(place[2, x])
                d0, h0, w0 = np.int64(fd), np.int64(fh), np.int64(fw)
                fd, fh, fw = place[0, x] - fd, place[1, x] - fh, place[2, x] - fw
                near_d, near_h, near_w = d0 + (fd >= half), h0 + (fh >= half), w0 + (fw >= half)
                inside = 0 <= near_d < depth and 0 <= near_h < height and 0 <= near_w < width
                picked[z, y, x] = labels[near_d, near_h, near_w] if inside else VOID
                if not inside and not mirror:
                    for k in range(len(voxels)):
                        out[k, z, y, x] = fill
                    continue
                d1, h1, w1 = d0 + 1, h0 + 1, w0 + 1
                if d0 < 0 or h0 < 0 or w0 < 0 or d1 >= depth or h1 >= height or w1 >= width:
                    d0, d1 = mirrored(d0, depth), mirrored(d1, depth)
                    h0, h1 = mirrored(h0, height), mirrored(h1, height)
                    w0, w1 = mirrored(w0, width), mirrored(w1, width)
                gd, gh, gw = one - fd, one - fh, one - fw
                for k in range(len(voxels)):
                    near = gh * (gw * voxels[k, d0, h0, w0] + fw * voxels[k, d0, h0, w1])
                    near += fh * (gw * voxels[k, d0, h1, w0] + fw * voxels[k, d0, h1, w1])
                    far = gh * (gw * voxels[k, d1, h0, w0] + fw * voxels[k, d1, h0, w1])
                    far += fh * (gw * voxels[k, d1, h1, w0] + fw * voxels[k, d1, h1, w1])
                    out[k, z, y, x] = gd * near + fd * far


@njit(cache=True, nogil=True)
@no_type_check
def _down_to_plane(field, taps, z, plane):  # pragma: no cover (compiled)
    points, weights = taps
    for axis in range(3):
        for row in range(plane.shape[1]):
            for column in range(plane.shape[2]):
                total = np.float32(0)
                for tap in range(4):
                    total += weights[tap, z] * field[axis, points[tap, z], row, column]
                plane[axis, row, column] = total


@njit(cache=True, nogil=True)
@no_type_check
def _down_to_line(plane, taps, y, line):  # pragma: no cover (compiled)
    points, weights = taps
    for axis in range(3):
        for column in range(line.shape[1]):
            total = np.float32(0)
            for tap in range(4):
                total += weights[tap, y] * plane[axis, points[tap, y], column]
            line[axis, column] = total


@njit(cache=True, nogil=True)
@no_type_check
def _locate(line, taps, matrix, z, y, place):  # pragma: no cover (compiled)
    """Source coordinates of each voxel of the output row (z, y)."""
    points, weights = taps
    for x in range(place.shape[1]):
        d, h, w = z, y, np.float32(x)
        for tap in range(4):
            weight, point = weights[tap, x], points[tap, x]
            d += weight * line[0, point]
            h += weight * line[1, point]
            w += weight * line[2, point]
        for axis in range(3):
            row = matrix[axis]
            place[axis, x] = row[0] * d + row[1] * h + row[2] * w + row[3]
