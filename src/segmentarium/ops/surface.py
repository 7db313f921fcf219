"""Surfaces of masks and label maps on their grid, and distances from one surface to another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import ceil, gamma, pi, prod
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped
from numba import njit
from scipy.spatial import cKDTree

from segmentarium.errors import BadArgument
from segmentarium.ops.share import share

_NEARBY = 1000
"""About how many grid points around a point are looked at before the tree is asked: to a distance of 6 voxels
in a volume, 18 pixels in the plane."""
_REACH = 20
"""No further than this many voxels along any axis, however long voxels are along another."""


def surface_voxels(labels: Shaped[np.ndarray, "*s"]) -> Bool[np.ndarray, "*s"]:
    """Voxels with a face neighbour of another label; what lies outside the array is another label, too.

    Of a mask, ``surface_voxels(mask) & mask`` is the mask without its erosion by the face cross; of a label
    map, one pass finds the surfaces of all classes.

    >>> surface_voxels(np.array([0, 0, 0, 1, 1, 1, 1])).astype(int).tolist()
    [1, 0, 1, 1, 0, 0, 1]
    """
    surface = np.zeros(labels.shape, bool)
    for axis in range(labels.ndim):
        rows, found = np.moveaxis(labels, axis, 0), np.moveaxis(surface, axis, 0)
        differs = rows[1:] != rows[:-1]
        found[1:] |= differs
        found[:-1] |= differs
        found[:1] = found[-1:] = True
    return surface


def nearest_distances(
    points: Int64[np.ndarray, "n d"], sites: Int64[np.ndarray, "m d"], *, spacing: tuple[float, ...]
) -> Float64[np.ndarray, " n"]:
    """The exact Euclidean distance of every grid point to the nearest site; infinite if there is no site.

    Two surfaces worth comparing lie close to one another nearly everywhere. So each point first looks around
    itself, the nearest places first; those that find nothing ask a k-d tree of the sites.

    Args:
        points: indices of grid points, one a row.
        spacing: from one grid point to the next along each axis, in any unit; distances have the same.
    """
    if not len(points) or not len(sites):
        return np.full(len(points), np.inf)
    steps, lengths = _ball(spacing)
    reach = steps.max(0)
    lowest = np.minimum(points.min(0), sites.min(0)) - reach
    shape = np.maximum(points.max(0), sites.max(0)) + reach + 1 - lowest
    strides = np.append(np.cumprod(shape[:0:-1])[::-1], 1)
    occupied = np.zeros(int(shape.prod()), np.bool_)
    occupied[(sites - lowest) @ strides] = True
    starts, ways = (points - lowest) @ strides, steps @ strides
    found = np.empty(len(points), np.int64)
    share(lambda start, stop: _look_around(occupied, starts, ways, found, start, stop), len(points))
    distances = np.append(lengths, np.nan)[found]
    far = np.flatnonzero(found == len(ways))
    if far.size:
        distances[far] = _ask_tree(points[far], sites, np.asarray(spacing))
    return distances


def grid_spacing(spacing: float | Sequence[float], *, dimensions: int) -> tuple[float, ...]:
    """One positive number an axis; a single number stands for all of them.

    Raises:
        BadArgument: another number of axes, or a spacing that is not positive and finite.
    """
    given = np.asarray(spacing, np.float64)
    chosen = tuple(given.reshape(-1).tolist() * (dimensions if given.ndim == 0 else 1))
    if len(chosen) != dimensions or not all(0 < side < np.inf for side in chosen):
        raise BadArgument(
            f"spacing {spacing} for an array of {dimensions} axes",
            allowed="one positive number, or one an axis, in the order of the axes of the array",
            cure="for a volume indexed [slice, row, column] give (slice, row, column)",
        )
    return chosen


@lru_cache(maxsize=16)
def _ball(spacing: tuple[float, ...]) -> tuple[Int64[np.ndarray, "k d"], Float64[np.ndarray, " k"]]:
    """All steps on the grid up to some length, the shortest first, and their lengths."""
    dimensions = len(spacing)
    unit_ball = pi ** (dimensions / 2) / gamma(dimensions / 2 + 1)
    radius = min((_NEARBY * prod(spacing) / unit_ball) ** (1 / dimensions), _REACH * min(spacing))
    sides = [ceil(radius / side) for side in spacing]
    cube = np.stack(np.meshgrid(*(np.arange(-side, side + 1) for side in sides), indexing="ij"), -1)
    steps = cube.reshape(-1, dimensions).astype(np.int64)
    lengths = np.sqrt(((steps * np.asarray(spacing)) ** 2).sum(1))
    order = np.argsort(lengths, kind="stable")[: np.count_nonzero(lengths <= radius)]
    return steps[order], lengths[order]


@njit(cache=True, nogil=True)
@no_type_check  # a wrapper that checks arguments could not be compiled
def _look_around(occupied, starts, ways, found, start, stop):  # pragma: no cover - compiled
    """The first way from each point to a site; the number of ways where none leads to one."""
    for i in range(start, stop):
        way = 0
        while way < ways.size and not occupied[starts[i] + ways[way]]:
            way += 1
        found[i] = way


def _ask_tree(
    points: Int64[np.ndarray, "n d"], sites: Int64[np.ndarray, "m d"], spacing: Float64[np.ndarray, " d"]
) -> Float64[np.ndarray, " n"]:
    """The same distances from a k-d tree, measured on the grid again so that both ways agree to the bit."""
    tree = cKDTree(sites * spacing, leafsize=32, balanced_tree=False)
    nearest = np.empty(len(points), np.int64)

    def ask(start: int, stop: int) -> None:
        nearest[start:stop] = tree.query(points[start:stop] * spacing)[1]

    share(ask, len(points))
    return np.asarray(np.sqrt((((points - sites[nearest]) * spacing) ** 2).sum(1)))
