"""Volumes of a data set: an image and its labels, checked to lie in one place, voxel for voxel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32, Integer

from segmentarium.data.dataset import DataSet, Pair
from segmentarium.data.translate import UNKNOWN
from segmentarium.errors import BadMask
from segmentarium.values.classes import VOID
from segmentarium.values.grid import Grid
from segmentarium.values.volume import Volume, probe_volume, read_label_values, read_volume

_TABLE = 1 << 20  # values that span more than this are sorted instead of looked up


def labels_of(pair: Pair, data: DataSet) -> Int32[np.ndarray, "d h w"]:
    """The class index of each voxel, ``VOID`` where the truth is to be ignored; axes as in ``Volume``.

    Raises:
        BadMask: the labels are missing or damaged, hold a value that is neither class nor void, or have
            another shape or affine than the image.
        BadImage: the head of the image cannot be read.
    """
    if pair.mask is None:
        raise BadMask(f"{pair.image} has no labels", cure=f"add them, or see `seg check {data.root}`")
    values, grid = read_label_values(pair.mask)
    refuse_elsewhere(pair.mask, grid, pair.image, image_grid(pair.image))
    return class_indices(values, pair.mask, data)


def read_pair(
    pair: Pair, data: DataSet, *, channels: bool = False
) -> tuple[Volume, Int32[np.ndarray, "d h w"]]:
    """The image and its labels.

    Args:
        channels: whether the image may have a fourth axis, which holds channels then.

    Raises:
        BadImage, BadMask: as for ``read_volume`` and :func:`labels_of`.
    """
    return read_volume(pair.image, channels=channels), labels_of(pair, data)


def image_grid(path: Path) -> Grid:
    """Where an image lies; of a NIfTI file only the head is read."""
    return read_volume(path).grid if path.is_dir() else probe_volume(path).grid


def refuse_elsewhere(mask: Path, grid: Grid, image: Path, expected: Grid) -> None:
    """Raise ``BadMask`` unless labels and image share size and affine."""
    difference = grid.difference(expected)
    if not difference:
        return
    raise BadMask(
        f"{mask} and its image {image.name} do not lie in one place: {difference}",
        allowed="equal shape and affine",
        cure="resample the labels onto the image by nearest neighbour, or correct the header that is wrong",
    )


def class_indices(
    values: Integer[np.ndarray, "d h w"], path: Path, data: DataSet
) -> Int32[np.ndarray, "d h w"]:
    """Class indices from the ids in a label file; an ignore id wins over a class of that id.

    Raises:
        BadMask: a value that is neither; told with its first place.
    """
    meanings = {c.id: index for index, c in enumerate(data.classes)} | dict.fromkeys(data.ignore_ids, VOID)
    low, high = int(values.min()), int(values.max())
    if high - low < _TABLE:
        found, places = np.arange(low, high + 1), values.astype(np.int64) - low if low else values
    else:
        found, places = np.unique(values, return_inverse=True)
    table = np.array([meanings.get(int(value), UNKNOWN) for value in found], np.int32)
    labels: Int32[np.ndarray, "d h w"] = table[places.reshape(values.shape)]
    if labels.min() == UNKNOWN:
        raise _unknown(values, labels == UNKNOWN, path, data)
    return labels


def _unknown(
    values: Integer[np.ndarray, "d h w"], wrong: Bool[np.ndarray, "d h w"], path: Path, data: DataSet
) -> BadMask:
    d, h, w = (int(place) for place in np.unravel_index(int(wrong.argmax()), wrong.shape))
    known = ", ".join(f"{c.id} {c.name}" for c in data.classes[:12])
    ignored = f", ignored {', '.join(map(str, data.ignore_ids))}" if data.ignore_ids else ""
    return BadMask(
        f"{path} has value {int(values[d, h, w])} at (d, h, w) = ({d}, {h}, {w})",
        allowed=f"class ids {known}{ignored}",
        cure=f"correct the labels, or name the class in the description of {data.root}",
    )
