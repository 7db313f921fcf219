"""Volumes and labels from one grid to another, through their affines: what lies in one place stays there."""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32, Float64, Int64, Integer, Shaped
from numba import njit

from segmentarium.errors import BadArgument
from segmentarium.ops.share import share
from segmentarium.ops.warp_volume import warp_volume
from segmentarium.values.grid import Grid, Size

_PARALLEL = 0.01
"""Grids whose axes part by less than so many voxels from corner to corner are resampled axis by axis."""


class Taps(NamedTuple):
    """For each voxel along an axis: the first source voxel that counts, and the weights from there on."""

    first: Int64[np.ndarray, " n"]
    weights: Float32[np.ndarray, "n taps"]


def resample(
    voxels: Shaped[np.ndarray, "*c d h w"], source: Grid, target: Grid, *, antialias: bool = True
) -> Float32[np.ndarray, "*c z y x"]:
    """Linear interpolation on another grid; beyond the source its outermost voxels go on.

    Args:
        antialias: widen the interpolation to the voxels of ``target`` where these are the larger ones, so
            that each is a mean of all that lies under it; without, most of the source is never looked at.
            Only for grids that are parallel.

    Raises:
        BadArgument: voxels of another size than ``source``, or a target that reaches beyond the source.
    """
    matrix = _checked(voxels, source, target)
    banded = voxels.reshape(-1, *source.size)
    if not _parallel(matrix, target.size):
        unused = np.zeros(source.size, np.int8)
        moved = matrix.astype(np.float32)
        turned, _ = warp_volume(banded.astype(np.float32, copy=False), unused, size=target.size, matrix=moved)
        return turned.reshape(*voxels.shape[:-3], *target.size)
    taps = tuple(
        linear_taps(matrix[axis, axis], matrix[axis, 3], source.size[axis], target.size[axis], antialias)
        for axis in range(3)
    )
    return _interpolated(banded, taps).reshape(*voxels.shape[:-3], *target.size)


def resize(
    voxels: Shaped[np.ndarray, "c d h w"], size: Size, *, antialias: bool = True
) -> Float32[np.ndarray, "c z y x"]:
    """Linear interpolation to so many voxels over the same space (corners not aligned)."""
    taps = []
    for length, wanted in zip(voxels.shape[1:], size, strict=True):
        step = length / wanted
        taps.append(linear_taps(step, (step - 1) / 2, length, wanted, antialias))
    return _interpolated(voxels, tuple(taps))


def resample_labels(
    labels: Integer[np.ndarray, "d h w"],
    source: Grid,
    target: Grid,
    *,
    method: Literal["vote", "nearest"] = "vote",
) -> Integer[np.ndarray, "z y x"]:
    """Labels on another grid; none appears that was not there, and the type stays.

    Args:
        method: ``vote`` interpolates the mask of each label linearly (antialiased, see :func:`resample`) and
            takes the one of most weight, the lowest among equals, without ever making these masks;
            ``nearest`` takes the label of the nearest voxel.

    Raises:
        BadArgument: as for :func:`resample`; or a vote between grids that are not parallel.
    """
    matrix = _checked(labels, source, target)
    parallel = _parallel(matrix, target.size)
    if method == "nearest" and parallel:
        places = (
            np.floor(matrix[axis, axis] * np.arange(target.size[axis]) + matrix[axis, 3] + 0.5)
            for axis in range(3)
        )
        clipped = (
            place.astype(np.int64).clip(0, length - 1)
            for place, length in zip(places, source.size, strict=True)
        )
        return labels[np.ix_(*clipped)]
    if method == "nearest":
        return _nearest_turned(labels, matrix, target.size)
    if not parallel:
        came = "a vote between grids that are turned against each other"
        raise BadArgument(came, allowed="parallel grids", cure="take method='nearest'")
    taps = tuple(
        linear_taps(matrix[axis, axis], matrix[axis, 3], source.size[axis], target.size[axis], True)
        for axis in range(3)
    )
    low, high = int(labels.min()), int(labels.max())
    out = np.empty(target.size, labels.dtype)
    share(partial(_vote_planes, labels, low, high - low + 1, taps, out), target.size[0])
    return out


def linear_taps(step: float, start: float, length: int, count: int, antialias: bool) -> Taps:
    """Taps at ``start + step * i``, for ``i`` from 0 to ``count - 1``, on an axis of ``length`` voxels."""
    reach = max(1.0, step) if antialias else 1.0
    at = (start + step * np.arange(count)).clip(-0.5, length - 0.5)
    width = min(length, int(np.ceil(2 * reach)))
    first = np.clip(np.floor(at - reach).astype(np.int64) + 1, 0, length - width)
    weights = np.maximum(0, 1 - np.abs(first[:, None] + np.arange(width) - at[:, None]) / reach)
    return Taps(first, np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32))


def _interpolated(
    voxels: Shaped[np.ndarray, "c d h w"], taps: tuple[Taps, ...]
) -> Float32[np.ndarray, "c z y x"]:
    depth, height, width = (len(axis.first) for axis in taps)
    out = np.empty((len(voxels), depth, height, width), np.float32)
    for source, made in zip(voxels, out, strict=True):
        share(partial(_interpolate_planes, source, taps, made), depth)
    return out


def _nearest_turned(
    labels: Integer[np.ndarray, "d h w"], matrix: Float64[np.ndarray, "3 4"], size: Size
) -> Integer[np.ndarray, "z y x"]:
    """Plane by plane, so that no coordinates of the whole volume are ever held."""
    limits = np.array(labels.shape)[:, None, None] - 1
    rows, columns = np.meshgrid(*(np.arange(length) for length in size[1:]), indexing="ij")
    out = np.empty(size, labels.dtype)
    for z, plane in enumerate(out):
        places = np.tensordot(matrix, np.stack([np.full_like(rows, z), rows, columns, np.ones_like(rows)]), 1)
        near = np.floor(places + 0.5).astype(np.int64).clip(0, limits)
        plane[:] = labels[near[0], near[1], near[2]]
    return out


def _checked(
    voxels: Shaped[np.ndarray, "*c d h w"], source: Grid, target: Grid
) -> Float64[np.ndarray, "3 4"]:
    """Takes indices of the target to indices of the source."""
    if voxels.shape[-3:] != source.size:
        raise BadArgument(f"voxels of shape {voxels.shape} on a grid of {source.size}", allowed="equal sizes")
    matrix = target.to_index_of(source)
    ends = np.array([[0, length - 1] for length in target.size], np.float64)
    corners = np.stack([axis.ravel() for axis in np.meshgrid(*ends, indexing="ij")])
    places = matrix[:, :3] @ corners + matrix[:, 3:]
    room = np.maximum(1.0, np.abs(matrix[:, :3]).sum(axis=1))[:, None]
    beyond = np.maximum(-places, places - np.array(source.size)[:, None] + 1) - room
    if beyond.max() > 0:
        raise BadArgument(
            f"a target that reaches {beyond.max():.3g} voxels beyond its source",
            allowed="grids that lie within their source",
            cure="pad the source, or take Grid.at_spacing",
        )
    return matrix


def _parallel(matrix: Float64[np.ndarray, "3 4"], size: Size) -> bool:
    turn = matrix[:, :3]
    astray = np.abs(turn - np.diag(np.diag(turn))) @ (np.array(size, np.float64) - 1)
    return bool((astray < _PARALLEL).all() and (np.diag(turn) > 0).all())


@njit(cache=True, nogil=True)
@no_type_check
def _interpolate_planes(source, taps, out, start, stop):  # pragma: no cover (compiled)
    """Sum up the source rows that count for an output row, then interpolate along it."""
    (first_d, weights_d), (first_h, weights_h), (first_w, weights_w) = taps
    line = np.empty(source.shape[2], np.float32)
    for z in range(start, stop):
        for y in range(out.shape[1]):
            line[:] = 0
            for a in range(weights_d.shape[1]):
                for b in range(weights_h.shape[1]):
                    weight = weights_d[z, a] * weights_h[y, b]
                    if weight > 0:
                        row = source[first_d[z] + a, first_h[y] + b]
                        for x in range(len(line)):
                            line[x] += weight * np.float32(row[x])
            for x in range(out.shape[2]):
                total = np.float32(0)
                for c in range(weights_w.shape[1]):
                    total += weights_w[x, c] * line[first_w[x] + c]
                out[z, y, x] = total


@njit(cache=True, nogil=True)
@no_type_check
def _vote_planes(labels, low, count, taps, out, start, stop):  # pragma: no cover (compiled)
    """The label with the most weight among the voxels that count for each output voxel.

    Within an object all of them are alike, which is found out for whole rows, before anything is weighed.
    """
    (first_d, weights_d), (first_h, weights_h), (first_w, weights_w) = taps
    votes = np.zeros(count, np.float32)
    line = np.empty(labels.shape[2], np.int64)
    mixed = low - 1
    for z in range(start, stop):
        for y in range(out.shape[1]):
            _alike_columns(labels, first_d[z], weights_d[z], first_h[y], weights_h[y], mixed, line)
            for x in range(out.shape[2]):
                best = line[first_w[x]]
                for c in range(1, weights_w.shape[1]):
                    best = best if line[first_w[x] + c] == best else mixed
                if best == mixed:
                    corner = first_d[z], first_h[y], first_w[x]
                    best = _elected(labels, corner, weights_d[z], weights_h[y], weights_w[x], low, votes)
                out[z, y, x] = best


@njit(cache=True, nogil=True)
@no_type_check
def _alike_columns(labels, d, weights_d, h, weights_h, mixed, line):  # pragma: no cover (compiled)
    """The label that all voxels which count have in each column of the source, or ``mixed``."""
    line[:] = labels[d, h]
    for a in range(len(weights_d)):
        for b in range(len(weights_h)):
            row = labels[d + a, h + b]
            for x in range(len(line)):
                line[x] = line[x] if row[x] == line[x] else mixed


@njit(cache=True, nogil=True)
@no_type_check
def _elected(labels, corner, weights_d, weights_h, weights_w, low, votes):  # pragma: no cover (compiled)
    """The label of most weight, the lowest among equals; ``votes`` are zeros, and are left as such."""
    d, h, w = corner
    for a in range(len(weights_d)):
        for b in range(len(weights_h)):
            for c in range(len(weights_w)):
                votes[labels[d + a, h + b, w + c] - low] += weights_d[a] * weights_h[b] * weights_w[c]
    most, best = np.float32(-1), low
    for a in range(len(weights_d)):
        for b in range(len(weights_h)):
            for c in range(len(weights_w)):
                label = labels[d + a, h + b, w + c]
                share = votes[label - low]
                if share > most or (share == most and label < best):
                    most, best = share, label
    for a in range(len(weights_d)):
        for b in range(len(weights_h)):
            for c in range(len(weights_w)):
                votes[labels[d + a, h + b, w + c] - low] = 0
    return best
