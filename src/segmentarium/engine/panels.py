"""Image, truth, prediction and errors as panels of equal size: of label maps, of objects, of volumes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Int32, Integer, UInt8
from PIL import Image as Pil

from segmentarium.data.segments import Segments
from segmentarium.metrics.panoptic_kernels import shared_pixels
from segmentarium.values.classes import Classes, distinct_color
from segmentarium.values.draw import (
    CONFUSED,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    Entry,
    background_of,
    entries_of,
    error_map,
    overlay,
    tint,
    to_rgb8,
)
from segmentarium.values.draw_volume import grey, shown_range
from segmentarium.values.image import Image
from segmentarium.values.instances import Instances
from segmentarium.values.panoptic import Panoptic
from segmentarium.values.results import LabelMap
from segmentarium.values.volume import Volume

SURE = 0.5
"""Objects below this score count in average precision, but are neither drawn nor written."""

Rgb: TypeAlias = UInt8[np.ndarray, "_ _ 3"]
Panels: TypeAlias = list[Rgb]


class Row(NamedTuple):
    """Four panels and what their colours mean."""

    panels: Panels
    entries: Sequence[Entry]


def rows_of(image: Any, truth: Any, answer: Any, classes: Classes, *, side: int) -> list[Row]:
    """The rows of panels that show one case: one of a picture, three orthogonal ones of a volume.

    Args:
        image: an ``Image``, or a ``Volume``.
        truth: labels, or ``Segments`` of objects.
        answer: the result of the task.
        side: longest side of a panel, in pixels.
    """
    if isinstance(answer, Instances | Panoptic):
        return [_of_objects(image, truth, answer, classes, side)]
    labels = answer.labels if isinstance(answer, LabelMap) else answer
    if isinstance(image, Volume):
        return [
            _of_labels(*planes, classes, side) for planes in _orthogonal(image, np.asarray(truth), labels)
        ]
    return [_of_labels(image, truth, labels, classes, side)]


def _of_labels(
    image: Image,
    truth: Integer[np.ndarray, "h w"],
    prediction: Integer[np.ndarray, "h w"],
    classes: Classes,
    side: int,
) -> Row:
    rgb = fitted(to_rgb8(image)[0], side)
    truth, prediction = nearest(truth, rgb.shape[:2]), nearest(prediction, rgb.shape[:2])
    drawn = [
        overlay(rgb, truth, classes, with_legend=False),
        overlay(rgb, prediction, classes, with_legend=False),
        error_map(rgb, truth, prediction, classes, with_legend=False),
    ]
    return Row([rgb, *map(np.asarray, drawn)], _entries(truth, prediction, classes))


def _of_objects(
    image: Image, truth: Segments, answer: Instances | Panoptic, classes: Classes, side: int
) -> Row:
    rgb = fitted(to_rgb8(image)[0], side)
    true = np.maximum(truth.numbers(), 0)
    found = _numbers(answer)
    missed, added = _unmatched(true, found)
    true, found, missed, added = (nearest(part, rgb.shape[:2]) for part in (true, found, missed, added))
    panels = [rgb, _numbered(rgb, true), _numbered(rgb, found), _errors(rgb, missed, added)]
    return Row(panels, [("missed", FALSE_NEGATIVE), ("too much", FALSE_POSITIVE), ("both", CONFUSED)])


def _numbers(answer: Instances | Panoptic) -> Int32[np.ndarray, "h w"]:
    if isinstance(answer, Panoptic):
        return answer.ids
    return answer.above(SURE).numbers()


def _unmatched(
    true: Integer[np.ndarray, "h w"], found: Integer[np.ndarray, "h w"]
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Pixels of true objects that nothing found overlaps by an IoU above a half, and the other way round."""
    pairs, pixels = shared_pixels(found, true)
    areas = [dict(zip(*np.unique(side, return_counts=True), strict=True)) for side in (true, found)]
    matched = [
        (t, f)
        for (t, f), both in zip(pairs.tolist(), pixels.tolist(), strict=True)
        if t > 0 and f > 0 and both / (areas[0][t] + areas[1][f] - both) > 0.5
    ]
    known = [np.array([pair[side] for pair in matched], np.int64) for side in (0, 1)]
    return (true > 0) & ~np.isin(true, known[0]), (found > 0) & ~np.isin(found, known[1])


def _numbered(rgb: Rgb, numbers: Integer[np.ndarray, "h w"]) -> Rgb:
    """Objects in colours of their own."""
    present, dense = np.unique(numbers, return_inverse=True)
    dense = dense.reshape(numbers.shape) + (0 if present[0] == 0 else 1)
    colors = np.array([distinct_color(i) for i in range(int(dense.max()) + 1)], np.uint8)
    return tint(rgb, dense, colors, dense > 0, alpha=0.5)


def _errors(rgb: Rgb, missed: Bool[np.ndarray, "h w"], added: Bool[np.ndarray, "h w"]) -> Rgb:
    grey = (rgb.mean(axis=-1) * 0.6).astype(np.uint8)
    drawn = np.repeat(grey[..., None], 3, axis=-1)
    drawn[missed], drawn[added] = FALSE_NEGATIVE, FALSE_POSITIVE
    drawn[missed & added] = CONFUSED
    return drawn


def _orthogonal(
    volume: Volume, truth: Integer[np.ndarray, "d h w"], labels: Integer[np.ndarray, "d h w"]
) -> list[tuple[Image, Integer[np.ndarray, "_ _"], Integer[np.ndarray, "_ _"]]]:
    """The three slices through the middle of what is true, brought to square pixels, the head above."""
    places = np.argwhere(truth > 0)
    middle = places.mean(0).round().astype(int) if len(places) else np.array(truth.shape) // 2
    voxels = np.moveaxis(volume.banded, 0, -1)
    limits = shown_range(voxels)
    planes = []
    for axis in range(3):
        spacing = [step for a, step in enumerate(volume.spacing_mm) if a != axis]
        picture = grey(voxels.take(middle[axis], axis), limits)
        cut = [picture, *(part.take(middle[axis], axis) for part in (truth, labels))]
        shown = [_squared(plane[::-1] if axis else plane, spacing) for plane in cut]
        planes.append((Image(np.ascontiguousarray(shown[0])), shown[1], shown[2]))
    return planes


def _squared(plane: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    finest = min(spacing)
    size = [max(1, round(n * s / finest)) for n, s in zip(plane.shape[:2], spacing, strict=True)]
    return nearest(plane, size)


def fitted(rgb: Rgb, side: int) -> Rgb:
    """``rgb`` with ``side`` as its longer side."""
    factor = side / max(rgb.shape[:2])
    height, width = (max(1, round(length * factor)) for length in rgb.shape[:2])
    how = Pil.Resampling.NEAREST if factor >= 2 else Pil.Resampling.LANCZOS  # few pixels are shown as such
    return np.asarray(Pil.fromarray(rgb).resize((width, height), how))


def nearest(labels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A map at another size; each new pixel takes the value at its centre."""
    rows, columns = ((np.arange(n) + 0.5) * old // n for n, old in zip(size, labels.shape[:2], strict=True))
    return np.asarray(labels[rows.astype(int)[:, None], columns.astype(int)])


def _entries(
    truth: Integer[np.ndarray, "h w"], prediction: Integer[np.ndarray, "h w"], classes: Classes
) -> list[Entry]:
    """Names and colours of the classes in either map, and of the kinds of error that can occur."""
    named = entries_of(classes, np.stack([truth, prediction]).reshape(2, -1))
    if background_of(classes) is None:
        return [*named, ("wrong class", CONFUSED)]
    errors: list[Entry] = [("missed", FALSE_NEGATIVE), ("too much", FALSE_POSITIVE)]
    return [*named, *errors, *([("wrong class", CONFUSED)] if len(classes) > 2 else [])]
