"""Results of methods that know no classes: regions with a number, or one thing and what surrounds it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int32, Integer

from segmentarium.classical.levels import Levels
from segmentarium.values import Class, Classes, LabelMap, distinct_color

_NAME = "region {}"


def regions(labels: Integer[np.ndarray, "*s"], picture: Levels) -> LabelMap:
    """Regions numbered in the order in which a scan meets them, each in its mean colour."""
    numbered, count = renumbered(labels)
    colors = np.clip(mean_levels(numbered, picture, count=count).round(), 0, 255).astype(int)
    if picture.channels != 3:
        colors = np.repeat(colors[:, :1], 3, axis=1)
    classes = Classes(
        Class(id=i, name=_NAME.format(i + 1), color=(int(r), int(g), int(b)))
        for i, (r, g, b) in enumerate(colors)
    )
    ignore = 255 if count <= 255 else 65535
    return LabelMap(numbered, classes, spacing_mm=picture.spacing_mm, ignore_id=ignore, grid=picture.grid)


def cut_out(
    inside: Bool[np.ndarray, "*s"], picture: Levels, *, probs: Float[np.ndarray, " 2 *s"] | None = None
) -> LabelMap:
    """One thing before its background; ``probs`` are those of background and thing."""
    return named(inside.astype(np.int32), ("background", "foreground"), picture, probs=probs)


def marked(
    labels: Integer[np.ndarray, "*s"],
    count: int,
    picture: Levels,
    *,
    first: int = 1,
    probs: Float[np.ndarray, " k *s"] | None = None,
) -> LabelMap:
    """Labels of seeds: two are background and foreground, more are numbered as the person did.

    Args:
        labels: from 0.
        first: the number that label 0 had as a seed.
    """
    several = tuple(f"label {first + i}" for i in range(count))
    return named(labels, ("background", "foreground") if count == 2 else several, picture, probs=probs)


def named(
    labels: Integer[np.ndarray, "*s"],
    names: tuple[str, ...],
    picture: Levels,
    *,
    probs: Float[np.ndarray, " k *s"] | None = None,
) -> LabelMap:
    """Labels that mean something: those of seeds, of phases or of thresholds."""
    plain = names[0] == "background"
    classes = Classes(
        Class(id=i, name=name, color=distinct_color(i if plain else i + 1)) for i, name in enumerate(names)
    )
    return LabelMap(
        labels.astype(np.int32), classes, probs=probs, spacing_mm=picture.spacing_mm, grid=picture.grid
    )


def renumbered(labels: Integer[np.ndarray, "*s"]) -> tuple[Int32[np.ndarray, "*s"], int]:
    """Labels from 0 in the order of their first pixel, and how many there are."""
    flat = labels.ravel()
    low, high = int(flat.min()), int(flat.max())
    if high - low >= 4 * flat.size:  # too far apart for a table
        flat, low = np.unique(flat, return_inverse=True)[1].ravel(), 0
        high = int(flat.max())
    first = np.full(high - low + 1, flat.size)
    first[flat[::-1] - low] = np.arange(flat.size - 1, -1, -1)  # the last one written is the first pixel
    count = int((first < flat.size).sum())
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first), dtype=np.int32)
    return rank[flat - low].reshape(labels.shape), count


def mean_levels(
    labels: Integer[np.ndarray, "*s"], picture: Levels, *, count: int
) -> Float[np.ndarray, "n c"]:
    """The mean of each channel in each region; nan where a number has no pixel."""
    flat = labels.ravel()
    sizes = np.bincount(flat, minlength=count)
    sums = [
        np.bincount(flat, picture.values[..., c].ravel(), minlength=count) for c in range(picture.channels)
    ]
    with np.errstate(invalid="ignore"):
        return np.stack(sums, axis=-1) / sizes[:, None]


def is_partition(result: LabelMap) -> bool:
    """Whether the labels only number regions, as those of :func:`regions` do."""
    return len(result.classes) > 0 and result.classes[0].name == _NAME.format(1)
