"""What a sample of masks tells about their reading and their classes, where no description does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from segmentarium.data import pairing, translate
from segmentarium.data.dataset import MaskReading, Pair
from segmentarium.data.meta import Meta
from segmentarium.errors import BadMask
from segmentarium.values.classes import Class, Classes, distinct_color
from segmentarium.values.mask import RawMask, read_mask

SAMPLE = 12
MANY_IDS = 64
PICTURE_WHITE = 255
PICTURE_NOTE = "masks hold 0 and 255, a picture instead of class ids"


@dataclass(frozen=True)
class Evidence:
    """The verdict: how to read, which classes, which ids are void, and how that came about."""

    reading: MaskReading
    classes: Classes
    ignore_ids: tuple[int, ...]
    notes: tuple[str, ...] = ()


def weigh(pairs: Sequence[Pair], meta: Meta) -> Evidence:
    """Believe the description first, then the file names, then a sample of masks."""
    told = Evidence(meta.reading or MaskReading.INDEX, meta.classes, meta.ignore_ids)
    masks = [pair.mask for pair in pairs if pair.mask is not None]
    if any(path.name.lower().endswith(pairing.VOLUMES) for path in (*masks, pairs[0].image)):
        return replace(told, reading=MaskReading.VOLUME)
    if any(path.suffix.lower() == pairing.REGIONS for path in masks):
        note = "masks are regions drawn by several people, without classes: no labels to learn from"
        return replace(told, reading=MaskReading.REGIONS, notes=(note,))
    if meta.reading is not None and len(meta.classes):
        return told
    sample = tuple(_read(masks))
    if not sample:
        return replace(told, notes=("no mask could be read",))
    if sum(_is_colored(mask) for mask in sample) > len(sample) / 2:
        return _colored(sample, told, meta)
    if len(meta.classes):
        return _numbered(sample, told, meta)
    return _guess_classes(sample, told, any(mask.format == "JPEG" for mask in sample))


def _read(paths: Sequence[Path]) -> Iterable[RawMask]:
    """Up to SAMPLE masks, evenly spaced; damaged ones are left for the data doctor to report."""
    places = np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths))).astype(int)
    for place in places:
        try:
            mask = read_mask(paths[place])
            if len(mask.size) == 2:
                yield mask
        except BadMask:
            continue


def _is_colored(mask: RawMask) -> bool:
    """Three channels that differ: grey pictures saved as RGB hold numbers after all."""
    return mask.is_color and bool((mask.values != mask.values[..., :1]).any())


def _colored(sample: tuple[RawMask, ...], told: Evidence, meta: Meta) -> Evidence:
    if meta.colored:
        return replace(told, reading=MaskReading.COLOUR, notes=("masks are colours, read by the legend",))
    colors = sorted({c for mask in sample if mask.is_color for c in _distinct_colors(mask.values)})
    if len(meta.classes):
        note = f"masks are colours ({len(colors)} in a sample), but the description gives classes no colours"
        return replace(told, notes=(note,))
    shown = ", ".join(str(color) for color in colors[:6])
    if len(colors) > MANY_IDS:
        return replace(told, notes=(f"masks hold {len(colors)} colours and no legend says what they mean",))
    classes = Classes(Class(id=i, name=f"class_{i}", color=color) for i, color in enumerate(colors))
    note = f"no legend: found {len(colors)} colours {shown}; named {_names(classes)}"
    return replace(told, reading=MaskReading.COLOUR, classes=classes, notes=(note,))


def _distinct_colors(values: np.ndarray) -> list[tuple[int, int, int]]:
    packed = np.unique(values.astype(np.int64) @ np.array([1, 256, 65536]))
    return [(int(v) & 255, int(v) >> 8 & 255, int(v) >> 16) for v in packed]


def _numbered(sample: tuple[RawMask, ...], told: Evidence, meta: Meta) -> Evidence:
    """Numbers beyond the ids are objects where there is one kind of object; else the doctor's affair."""
    ids = _distinct_ids(sample)
    objects = len(meta.classes) == 2 and "instance" in meta.task.lower()
    if objects and max(ids) > max((*meta.classes.ids, *meta.ignore_ids)):
        note = f"masks number the objects: every value above 0 is {meta.classes[1].name!r}"
        return replace(told, reading=MaskReading.INSTANCES, notes=(note,))
    if PICTURE_WHITE in ids and set(ids) <= {0, PICTURE_WHITE}:
        return replace(told, notes=(PICTURE_NOTE,))
    if PICTURE_WHITE in ids and PICTURE_WHITE not in (*meta.classes.ids, *meta.ignore_ids):
        return replace(told, notes=("masks hold 255, which is neither a class nor ignored",))
    return told


def _guess_classes(sample: tuple[RawMask, ...], told: Evidence, jpeg: bool) -> Evidence:
    notes = ("masks are JPEG, which invents values along edges",) if jpeg else ()
    ids = _frequent_ids(sample) if jpeg else _distinct_ids(sample)
    if set(ids) <= {0, PICTURE_WHITE} and PICTURE_WHITE in ids:
        classes = Classes.named("background", "foreground")
        return replace(told, classes=classes, notes=(*notes, PICTURE_NOTE))
    if _counts_objects(sample):
        classes = Classes.named("background", "object")
        note = "no description: 16-bit masks that number objects from 1; every value above 0 is 'object'"
        return replace(told, reading=MaskReading.INSTANCES, classes=classes, notes=(*notes, note))
    ignored = told.ignore_ids or _ignored(ids)
    kept = [value for value in ids if value not in ignored]
    classes = Classes(Class(id=v, name=f"class_{v}", color=distinct_color(i)) for i, v in enumerate(kept))
    shown = ", ".join(map(str, kept[:8])) + (", ..." if len(kept) > 8 else "")
    guess = f"no description: found ids {shown} in {len(sample)} masks; named {_names(classes)}"
    void = (f"{ignored[0]} is taken as void",) if ignored else ()
    return replace(told, classes=classes, ignore_ids=ignored, notes=(*notes, guess, *void))


def _distinct_ids(sample: tuple[RawMask, ...]) -> list[int]:
    return sorted({int(v) for mask in _grey(sample) for v in np.unique(mask)})


def _grey(sample: tuple[RawMask, ...]) -> list[np.ndarray]:
    """Without the masks that are true colours: reading them later tells what is wrong with them."""
    return [translate.single_channel(m.values, Path()) for m in sample if not _is_colored(m)]


def _frequent_ids(sample: tuple[RawMask, ...]) -> list[int]:
    """Values on at least a hundredth of all pixels: those that were drawn, not invented by compression."""
    pixels = np.concatenate([mask.ravel() for mask in _grey(sample)])
    ids, counts = np.unique(pixels, return_counts=True)
    return [int(v) for v in ids[counts >= pixels.size / 100]]


def _counts_objects(sample: tuple[RawMask, ...]) -> bool:
    """True for 16-bit masks in which each file uses 0, 1, 2 ... n, with n differing from file to file."""
    if any(mask.values.dtype != np.uint16 for mask in sample):
        return False
    used = [np.unique(mask.values) for mask in sample]
    dense = all(ids.size == int(ids[-1]) + 1 for ids in used)
    return dense and len({ids.size for ids in used}) > 1


def _ignored(ids: list[int]) -> tuple[int, ...]:
    """255 beside small ids is the usual void; beside large ones it may be a class."""
    small = [value for value in ids if value != PICTURE_WHITE]
    return (PICTURE_WHITE,) if PICTURE_WHITE in ids and small and max(small) < MANY_IDS else ()


def _names(classes: Classes) -> str:
    return ", ".join(classes.names[:4]) + (", ..." if len(classes) > 4 else "")
