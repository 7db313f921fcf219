"""Blending patches into the labels of a volume while only a slab of it holds scores."""

from __future__ import annotations

import tempfile
from functools import partial
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Integer
from numba import njit

from segmentarium.ops.share import share
from segmentarium.ops.tiles import gaussian_profile
from segmentarium.values.grid import Size

SLAB_BYTES = 1 << 31
"""A larger slab lies in a temporary file, of which the system keeps in memory what there is room for."""


class RollingSlab:
    """Weighted sums of the scores of overlapping patches, as thick as a patch along one axis.

    Patches must come in layers along the rolling axis, from its start; within a layer in any order. Voxels
    that no later layer reaches get their labels by :meth:`close`, and their memory is used again: a ring of
    planes. The sums need no division by the weights to find the best class, since all classes of a voxel have
    the same weight.

    Args:
        labels: where the best classes are written; an array or a memory map.
        patch: depth, height and width of what is added; the volume may be smaller.
    """

    def __init__(self, labels: Integer[np.ndarray, "d h w"], *, classes: int, patch: Size) -> None:
        self.labels, self.axis = labels, rolling_axis(labels.shape, patch)
        size = labels.shape
        thick = min(patch[self.axis], size[self.axis])
        shape = (thick, size[1 - self.axis], classes, size[2])
        large = 4 * np.prod(shape, dtype=np.int64) > SLAB_BYTES
        # Zeros that are not touched take no memory.
        self.sums = _on_disk(shape) if large else np.zeros(shape, np.float32)
        self.top = 0  # the first plane that has no labels yet
        self._profiles = tuple(gaussian_profile(side) for side in patch)

    def add(self, scores: Float32[np.ndarray, "k d h w"], at: Size, first: Size = (0, 0, 0)) -> None:
        """Add the scores of a patch, or of the part of it that lies in the volume.

        Args:
            at: the voxel of the volume under the first score.
            first: the voxel of the patch that has it.
        """
        d, h, w = (
            profile[start : start + length]
            for profile, start, length in zip(self._profiles, first, scores.shape[1:], strict=True)
        )
        a, b = (0, 1) if self.axis == 0 else (1, 0)
        along, across = ((d, h), (h, d))[self.axis]
        corner = at[a] % len(self.sums), at[b], at[2]
        rows = np.ascontiguousarray(scores), self.axis, corner, (along, across, w)
        share(partial(_add_rows, self.sums, *rows), len(across))

    def close(self, stop: int) -> None:
        """Label the planes before ``stop`` along the rolling axis, and forget their scores."""
        planes = self.labels if self.axis == 0 else self.labels.swapaxes(0, 1)
        share(partial(_close_rows, self.sums, self.top, stop, planes), self.sums.shape[1])
        self.top = stop


def rolling_axis(size: tuple[int, ...], patch: Size) -> int:
    """The axis, d or h, along which a slab as thick as a patch takes less memory; rows along w stay whole."""
    return int(min(patch[1], size[1]) * size[0] < min(patch[0], size[0]) * size[1])


def _on_disk(shape: tuple[int, ...]) -> Float32[np.ndarray, "n m k w"]:
    """Zeros in a file without a name, which is gone with the last reference."""
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.float32, "w+", shape=shape)


@njit(cache=True, nogil=True)
@no_type_check
def _add_rows(sums, scores, axis, corner, profiles, start, stop):  # pragma: no cover (compiled)
    """``sums += weight * scores`` for the rows ``start .. stop`` across the rolling axis."""
    along, across, within = profiles
    slot, row, column = corner
    for y in range(start, stop):
        for z in range(len(along)):
            weight = along[z] * across[y]
            target = sums[(slot + z) % len(sums), row + y]
            for k in range(scores.shape[0]):
                source = scores[k, z, y] if axis == 0 else scores[k, y, z]
                line = target[k, column : column + len(within)]
                for x in range(len(within)):
                    line[x] += weight * within[x] * source[x]


@njit(cache=True, nogil=True)
@no_type_check
def _close_rows(sums, top, bottom, planes, start, stop):  # pragma: no cover (compiled)
    """The first best class of each voxel; one row at a time, so that the running best stays in the cache."""
    width = sums.shape[3]
    best = np.empty(width, np.float32)
    arg = np.empty(width, np.int64)
    for z in range(top, bottom):
        for y in range(start, stop):
            row = sums[z % len(sums), y]
            best[:] = row[0]
            arg[:] = 0
            for k in range(1, row.shape[0]):
                scores = row[k]
                for x in range(width):
                    better = scores[x] > best[x]
                    best[x] = scores[x] if better else best[x]
                    arg[x] = k if better else arg[x]
            for x in range(width):
                planes[z, y, x] = arg[x]
            row[:] = 0
