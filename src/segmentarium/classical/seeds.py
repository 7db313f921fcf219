"""What a person marks: points, or a map of scribbles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32, Integer
from scipy import ndimage

from segmentarium.classical.levels import within
from segmentarium.errors import BadArgument

Points = Sequence[tuple[int, ...]]
"""Pixels (x, y), of volumes (x, y, z), counted from the upper left corner."""

BACKGROUND, FOREGROUND = 1, 2

MOST_LABEL = 2**31 - 2


def seed_map(
    size: tuple[int, ...],
    *,
    seeds: Integer[np.ndarray, "*s"] | None = None,
    foreground: Points = (),
    background: Points = (),
    radius: float = 0.0,
) -> Int32[np.ndarray, "*s"]:
    """Which label is known where: 0 unknown, 1 background, 2 foreground; of several labels 1, 2, 3 ...

    Args:
        size: of the picture.
        seeds: such a map, to which the points are added.
        radius: of the dabs that points are, in pixels. Where two of different labels meet, nothing is known,
            and the map comes before them.

    Raises:
        BadArgument: the map has another size or negative numbers, a point lies outside the picture, or one
            pixel is marked as both.
    """
    known = np.zeros(size, np.int32) if seeds is None else _checked(seeds, size)
    for points, label in ((background, BACKGROUND), (foreground, FOREGROUND)):
        for point in points:
            at = _place(point, size)
            if known[at] not in (0, label):
                raise BadArgument(
                    f"the point {tuple(point)} is marked as {label} and as {known[at]}",
                    allowed="one label a pixel",
                    cure="take one of the marks away",
                )
            known[at] = label
    within("radius", radius, 0)
    if radius and (foreground or background):
        _dab(known, {BACKGROUND: background, FOREGROUND: foreground}, radius)
    return known


def _dab(known: Int32[np.ndarray, "*s"], marks: dict[int, Points], radius: float) -> None:
    """Widen the points in ``known`` where it is open."""
    reached = np.zeros(known.shape, np.int32)
    for label, points in marks.items():
        if points:
            apart = np.ones(known.shape, bool)
            apart[tuple(np.array([_place(point, known.shape) for point in points]).T)] = False
            near = ndimage.distance_transform_edt(apart) <= radius
            reached[near] = np.where(reached[near] == 0, label, -1)
    wider = (known == 0) & (reached > 0)
    known[wider] = reached[wider]


def require_labels(known: Int32[np.ndarray, "*s"], *, least: int = 2, first: int = 1) -> int:
    """The number of labels, all of which must be marked somewhere.

    Args:
        first: the number that the person gave to label 1.

    Raises:
        BadArgument: fewer than ``least`` labels are marked, or a number between is not.
    """
    present = np.unique(known[known > 0])
    highest = int(present.max(initial=0))
    if len(present) >= least and highest == len(present):
        return highest
    shown = ", ".join(str(int(v) - 1 + first) for v in present[:12]) or "none"
    raise BadArgument(
        f"seeds mark the labels {shown}",
        allowed=f"{first}, {first + 1}, ... without a gap, at least {least} of them",
        cure="mark at least one pixel of each",
    )


def _checked(seeds: Integer[np.ndarray, "*s"], size: tuple[int, ...]) -> Int32[np.ndarray, "*s"]:
    if seeds.shape != size:
        raise BadArgument(
            f"seeds of shape {seeds.shape} for a picture of {size}", allowed="a map as large as the picture"
        )
    if seeds.min(initial=0) < 0:
        raise BadArgument(f"the seed {seeds.min()}", allowed="0 for unknown, and labels from 1")
    if seeds.max(initial=0) > MOST_LABEL:
        raise BadArgument(f"the seed {seeds.max()}", allowed=f"labels up to {MOST_LABEL}")
    return seeds.astype(np.int32)


def _place(point: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    at = tuple(reversed(point))
    if len(at) != len(size) or any(not 0 <= i < n for i, n in zip(at, size, strict=False)):
        axes = ", ".join(f"{axis} from 0 to {n - 1}" for axis, n in zip("xyz", reversed(size), strict=False))
        raise BadArgument(f"the point {tuple(point)} lies outside the picture", allowed=axes)
    return at
