"""From the values of a mask file to class indices, by lookup tables; every unknown value is an error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int32, Integer, UInt8

from segmentarium.errors import BadMask
from segmentarium.values.classes import VOID, Classes, Color

UNKNOWN = -2
"""Stands in the tables for values that mean nothing; no result ever holds it."""
PANOPTIC = "panoptic.json"


@dataclass(frozen=True)
class Legend:
    """What mask values mean; ``root`` names the data set in the cure of an error."""

    classes: Classes
    ignore_ids: tuple[int, ...]
    ignore_colors: tuple[Color, ...]
    root: Path


def from_ids(values: np.ndarray, path: Path, legend: Legend) -> Int32[np.ndarray, "h w"]:
    """Each value is a class id or an ignore id."""
    ids = single_channel(values, path)
    labels: Int32[np.ndarray, "h w"]
    if ids.dtype.kind == "u":
        labels = _id_table(legend, np.iinfo(ids.dtype).max + 1)[ids]
    else:
        meanings = _meanings(legend)
        labels = _match(ids, np.array(list(meanings), np.int32), np.array(list(meanings.values()), np.int32))
    if labels.size and labels.min() == UNKNOWN:
        raise _unknown_id(ids, labels == UNKNOWN, path, legend)
    return labels


def objects(values: np.ndarray, path: Path, legend: Legend) -> Int32[np.ndarray, "h w"]:
    """Zero is ground, every number above it an object; ignore ids are void."""
    numbers = single_channel(values, path)
    found: Int32[np.ndarray, "h w"] = np.maximum(numbers, 0).astype(np.int32)
    for ignored in legend.ignore_ids:
        found[numbers == ignored] = VOID
    return found


def classes_of(objects: Integer[np.ndarray, "h w"]) -> Integer[np.ndarray, "h w"]:
    """Ground is the first class, every object the second; void stays void."""
    classes: Integer[np.ndarray, "h w"] = np.minimum(objects, 1)
    return classes


def from_instances(values: np.ndarray, path: Path, legend: Legend) -> Int32[np.ndarray, "h w"]:
    """Zero is the first class, every other number an object of the second; ignore ids are void."""
    return classes_of(objects(values, path, legend))


def from_colors(
    values: np.ndarray, palette: np.ndarray | None, path: Path, legend: Legend
) -> Int32[np.ndarray, "h w"]:
    """Each colour is that of a class, or of void."""
    colors = _as_colors(values, palette, path)
    known = {c.color: index for index, c in enumerate(legend.classes)} | dict.fromkeys(
        legend.ignore_colors, VOID
    )
    keys = np.array([pack(*color) for color in known], np.int32)
    labels = _match(packed(colors), keys, np.array(list(known.values()), np.int32))
    if labels.size and labels.min() == UNKNOWN:
        row, column = first(labels == UNKNOWN)
        raise BadMask(
            f"{path} has colour {tuple(int(v) for v in colors[row, column])} at row {row}, column {column}",
            allowed="the legend's colours: " + ", ".join(f"{c.name} {c.color}" for c in legend.classes[:8]),
            cure="add the colour to the legend (meta.json or classes.json), or export without anti-aliasing",
        )
    return labels


def from_panoptic(
    values: np.ndarray, path: Path, legend: Legend, annotations: Path | None = None
) -> Int32[np.ndarray, "h w"]:
    """Each colour is a segment number (R + 256 G + 65536 B) of ``panoptic.json``; zero is void.

    Args:
        annotations: that file, if it does not lie beside the folder of masks.
    """
    from segmentarium.data import coco_panoptic

    if values.ndim != 3:
        raise BadMask(f"{path} has one number per pixel", allowed="an RGB panoptic mask")
    annotations = annotations or path.parent.parent / PANOPTIC
    table, numbers = coco_panoptic.table_of(annotations, path), packed(values)
    coco_panoptic.require_listed(path, annotations, numbers, table)
    index = coco_panoptic.indices_of(table, annotations, legend.classes)
    keys = np.array([0, *index], np.int32)
    return _match(numbers, keys, np.array([VOID, *index.values()], np.int32))


def single_channel(values: np.ndarray, path: Path) -> Integer[np.ndarray, "h w"]:
    """The numbers of a mask; three equal channels count as one, true colours are refused."""
    if values.ndim == 2:
        return values
    if (values[..., 0] == values[..., 1]).all() and (values[..., 0] == values[..., 2]).all():
        return values[..., 0]
    row, column = first((values != values[..., :1]).any(axis=-1))
    raise BadMask(
        f"{path} has colour {tuple(int(v) for v in values[row, column])} at row {row}, column {column}",
        allowed="one class id per pixel",
        cure="export indices, or put a legend with each class's colour into meta.json",
    )


def first(wrong: Bool[np.ndarray, "h w"]) -> tuple[int, int]:
    """Row and column of the first true pixel, in reading order."""
    row, column = divmod(int(wrong.argmax()), wrong.shape[1])
    return row, column


def pack(red: int, green: int, blue: int) -> int:
    """A colour as one number."""
    return red + 256 * green + 65536 * blue


def _meanings(legend: Legend) -> dict[int, int]:
    """Index by file value; an ignore id wins over a class of that id."""
    return {c.id: index for index, c in enumerate(legend.classes)} | dict.fromkeys(legend.ignore_ids, VOID)


def _id_table(legend: Legend, length: int) -> Int32[np.ndarray, " n"]:
    table = np.full(length, UNKNOWN, np.int32)
    for value, index in _meanings(legend).items():
        if 0 <= value < length:
            table[value] = index
    return table


def _unknown_id(
    ids: Integer[np.ndarray, "h w"], wrong: Bool[np.ndarray, "h w"], path: Path, legend: Legend
) -> BadMask:
    row, column = first(wrong)
    value, check = int(ids[row, column]), f"seg check {legend.root}"
    allowed = "class ids " + _ranges(legend.classes.ids)
    if legend.ignore_ids:
        allowed += " and ignore ids " + _ranges(legend.ignore_ids)
    if value == 255 and set(np.unique(ids).tolist()) <= {0, 255}:
        return BadMask(
            f"{path} holds 0 and 255, first at row {row}, column {column}",
            allowed=allowed,
            cure=f"`{check} --fix` writes 1 for 255",
        )
    return BadMask(
        f"{path} has value {value} at row {row}, column {column}", allowed=allowed, cure=f"see `{check}`"
    )


def _ranges(numbers: tuple[int, ...]) -> str:
    """``(0, 1, 2, 7)`` as ``"0-2, 7"``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _as_colors(values: np.ndarray, palette: np.ndarray | None, path: Path) -> UInt8[np.ndarray, "h w 3"]:
    if values.ndim == 3:
        return values
    if palette is not None:
        colors: UInt8[np.ndarray, "h w 3"] = np.asarray(palette, np.uint8)[values]
        return colors
    raise BadMask(
        f"{path} has one number per pixel, while this set's masks are colours",
        allowed="the colours of the legend",
        cure="export all masks the same way",
    )


def packed(colors: np.ndarray) -> Int32[np.ndarray, "h w"]:
    """Colours as numbers: R + 256 G + 65536 B."""
    wide = colors.astype(np.int32)
    return wide[..., 0] + 256 * wide[..., 1] + 65536 * wide[..., 2]


def _match(
    values: Int32[np.ndarray, "h w"], keys: Int32[np.ndarray, " n"], indices: Int32[np.ndarray, " n"]
) -> Int32[np.ndarray, "h w"]:
    """The index that belongs to the key equal to each value, ``UNKNOWN`` where none is."""
    order = np.argsort(keys)
    place = np.searchsorted(keys[order], values).clip(max=len(keys) - 1)
    return np.where(keys[order][place] == values, indices[order][place], np.int32(UNKNOWN))
