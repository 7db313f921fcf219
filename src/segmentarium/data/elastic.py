"""Elastic deformation, and every other bending of image and labels, by one resampling.

A displacement field is drawn on a coarse grid of control points and made smooth by bicubic interpolation
while the image is resampled: no field of the size of the image is ever stored. An affine map (scale,
rotation, crop) can be folded into the same pass. Fields are drawn for any number of axes; ``ops.warp_volume``
resamples volumes.

Source: U-Net (Ronneberger et al. 2015), section 3.1: displacements from a normal distribution of 10 pixels on
a 3x3 grid; Simard et al. 2003, section 2, for the alpha/sigma form.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Integer, Shaped
from numba import njit
from scipy.ndimage import gaussian_filter

from segmentarium.errors import BadRecipe
from segmentarium.ops.splines import mirrored, spline_taps
from segmentarium.values.classes import VOID

_UNIFORM_STD = 1 / math.sqrt(3)
"""Deviation of uniform noise in -1..1."""

IDENTITY = np.eye(2, 3, dtype=np.float32)

Field = Float32[np.ndarray, "axes *grid"]
Pixels = Shaped[np.ndarray, "h w c"]
Labels = Integer[np.ndarray, "h w"]
Warped = tuple[Shaped[np.ndarray, "y x c"], Integer[np.ndarray, "y x"]]


def draw_field(seed: int, *, grid: tuple[int, ...] = (3, 3), std_px: float = 10.0) -> Field:
    """Displacements of the control points, as in the U-Net paper.

    Args:
        grid: control points along each axis; the outer ones lie on the corners of the output.
        std_px: standard deviation of a displacement, in output pixels.

    Raises:
        BadRecipe: fewer than two points along an axis.
    """
    if min(grid) < 2:
        raise BadRecipe(f"an elastic grid of {grid} points came", allowed="2 points or more along each axis")
    rng = np.random.default_rng(seed)
    return rng.standard_normal((len(grid), *grid), np.float32) * np.float32(std_px)


def draw_smooth_field(seed: int, *, size: tuple[int, ...], alpha: float, sigma_px: float) -> Field:
    """The field of Simard et al.: uniform noise in -1..1, blurred by ``sigma_px``, times ``alpha``.

    Noise blurred by sigma holds nothing finer than sigma, so it is drawn on a grid of about that spacing,
    with the amplitude that the dense recipe would give.

    Raises:
        BadRecipe: ``sigma_px`` is not above 0.
    """
    if sigma_px <= 0:
        raise BadRecipe(f"an elastic sigma of {sigma_px} px came", allowed="above 0")
    spacing = max(1.0, sigma_px / 2)
    grid = tuple(max(2, math.ceil((side - 1) / spacing) + 1) for side in size)
    cell_sigma = sigma_px / spacing
    noise = np.random.default_rng(seed).standard_normal((len(grid), *grid), np.float32)
    smooth = np.stack([gaussian_filter(axis, cell_sigma, mode="wrap") for axis in noise])
    correction = (_damping(sigma_px) / _damping(cell_sigma)) ** len(grid)
    return smooth * np.float32(alpha * _UNIFORM_STD * correction)


def _damping(sigma: float) -> float:
    """By how much a Gaussian blur along one axis lowers the deviation of white noise."""
    reach = np.arange(-math.ceil(4 * sigma), math.ceil(4 * sigma) + 1)
    kernel = np.exp(-0.5 * (reach / sigma) ** 2)
    return float(np.linalg.norm(kernel / kernel.sum()))


def deform(pixels: Pixels, labels: Labels, field: Field) -> Warped:
    """Bend an image and its labels alike, by a field of control points that spans the image."""
    return warp(pixels, labels, size=labels.shape, field=field)


def warp(
    pixels: Pixels,
    labels: Labels,
    *,
    size: tuple[int, ...],
    matrix: Float32[np.ndarray, "2 3"] = IDENTITY,
    field: Field | None = None,
    fill: Float32[np.ndarray, " c"] | None = None,
) -> Warped:
    """Resample image (bilinear) and labels (nearest, never mixed) through one map from output to source.

    Args:
        pixels: uint8, uint16 or float32; the type is kept.
        labels: of a signed type; outside the source they become ``VOID``.
        size: height and width of the output.
        matrix: takes output (row, column, 1) to source (row, column); pixel centres are whole numbers.
        field: displacements of control points in output pixels, added before ``matrix``; it spans the output.
        fill: colour outside the source; None mirrors the source.
    """
    height, width = size
    field = np.zeros((2, 2, 2), np.float32) if field is None else field
    out_pixels = np.empty((height, width, pixels.shape[2]), pixels.dtype)
    out_labels = np.empty((height, width), labels.dtype)
    _warp(
        np.ascontiguousarray(pixels),
        np.ascontiguousarray(labels),
        matrix,
        field,
        (spline_taps(height, field.shape[1]), spline_taps(width, field.shape[2])),
        np.empty(0, np.float32) if fill is None else fill,
        np.float32(0.5 if pixels.dtype.kind == "u" else 0),
        out_pixels,
        out_labels,
    )
    return out_pixels, out_labels


@njit(cache=True, nogil=True)
@no_type_check
def _warp(  # pragma: no cover (compiled)
    pixels, labels, matrix, field, taps, fill, rounding, out_pixels, out_labels
):
    """One row at a time: where each of its pixels comes from, then what is there."""
    (height, width), half, one = labels.shape, np.float32(0.5), np.float32(1)
    bent = np.empty((2, field.shape[2]), np.float32)
    rows, columns = np.empty(out_labels.shape[1], np.float32), np.empty(out_labels.shape[1], np.float32)
    for y in range(out_labels.shape[0]):
        _bend(field, taps[0], y, bent)
        _locate(bent, taps[1], matrix, np.float32(y), rows, columns)
        for x in range(out_labels.shape[1]):
            floor_y, floor_x = np.floor(rows[x]), np.floor(columns[x])
            fy, fx = rows[x] - floor_y, columns[x] - floor_x
            y0, x0 = np.int64(floor_y), np.int64(floor_x)
            near_y, near_x = y0 + (fy >= half), x0 + (fx >= half)
            inside = 0 <= near_y < height and 0 <= near_x < width
            out_labels[y, x] = labels[near_y, near_x] if inside else VOID
            if not inside and len(fill):
                for k in range(len(fill)):
                    out_pixels[y, x, k] = fill[k] + rounding
                continue
            y1, x1 = mirrored(y0 + 1, height), mirrored(x0 + 1, width)
            y0, x0 = mirrored(y0, height), mirrored(x0, width)
            w11 = fy * fx
            w00, w01, w10 = one - fy - fx + w11, fx - w11, fy - w11
            for k in range(pixels.shape[2]):
                top = w00 * pixels[y0, x0, k] + w01 * pixels[y0, x1, k]
                out_pixels[y, x, k] = top + w10 * pixels[y1, x0, k] + w11 * pixels[y1, x1, k] + rounding


@njit(cache=True, nogil=True)
@no_type_check
def _bend(field, taps, y, bent):  # pragma: no cover (compiled)
    """Interpolate the field down to row ``y``."""
    points, weights = taps
    for axis in range(2):
        for column in range(field.shape[2]):
            total = np.float32(0)
            for tap in range(4):
                total += weights[tap, y] * field[axis, points[tap, y], column]
            bent[axis, column] = total


@njit(cache=True, nogil=True)
@no_type_check
def _locate(bent, taps, matrix, y, rows, columns):  # pragma: no cover (compiled)
    """Source coordinates of each pixel of output row ``y``."""
    points, weights = taps
    for x in range(len(rows)):
        row, column = y, np.float32(x)
        for tap in range(4):
            row += weights[tap, x] * bent[0, points[tap, x]]
            column += weights[tap, x] * bent[1, points[tap, x]]
        rows[x] = matrix[0, 0] * row + matrix[0, 1] * column + matrix[0, 2]
        columns[x] = matrix[1, 0] * row + matrix[1, 1] * column + matrix[1, 2]
