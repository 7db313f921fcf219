"""Joint random transforms of a volume and its labels: each a pure function of the sample and a seed.

The crop is drawn first, in voxels of the source, so only the part that is needed is touched. Scale, rotation,
bending and crop are one resampling together, drawn in millimetres, so that anisotropic voxels turn and bend
as the body does. Labels are picked, never mixed. Intensities change on the crop alone, after normalisation:
their units are standard deviations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Int64, Integer, Shaped

from segmentarium.data.volume_augment import Augment3d
from segmentarium.data.volume_intensities import changed
from segmentarium.data.volume_normalise import Scaling
from segmentarium.ops.warp_volume import warp_volume
from segmentarium.values.classes import VOID
from segmentarium.values.grid import Size, Spacing

Seed = int | Sequence[int]
Anchors = tuple[Int32[np.ndarray, "_ 3"], ...]
Seen = tuple[Float32[np.ndarray, "c z y x"], Integer[np.ndarray, "z y x"]]

ANCHORS = 1024
"""So many voxels of each class are remembered as possible places for a crop."""
COARSE = 3.0
"""An axis whose voxels are so many times longer than the others' is coarse: nothing is turned out of it."""


@dataclass(frozen=True, kw_only=True)
class View3d:
    """What a crop shows: which part of the source, and how it is turned and bent.

    ``centre`` is a source voxel, ``size`` the output before the quarter ``turns``, each a pair of axes and a
    number of quarters. ``turn`` takes output to source directions, both in voxels.
    """

    centre: tuple[float, float, float]
    size: Size
    turns: tuple[tuple[tuple[int, int], int], ...] = ()
    flips: tuple[int, ...] = ()
    turn: Float32[np.ndarray, "3 3"] | None = None
    field: Float32[np.ndarray, "3 gd gh gw"] | None = None


def augmented_volume(
    voxels: Shaped[np.ndarray, "c d h w"],
    labels: Integer[np.ndarray, "d h w"],
    *,
    augment: Augment3d,
    crop: Size,
    seed: Seed,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    anchors: Anchors = (),
    scaling: Scaling | None = None,
) -> Seen:
    """One random crop of a volume and its labels.

    Args:
        voxels: normalised ones, or any together with their ``scaling``.
        labels: class indices of a signed type; voxels outside the source become ``VOID``.
        crop: depth, height and width of the result.
        anchors: from :func:`find_anchors`, for ``foreground_crop``.
        scaling: of the whole volume, see ``NormaliseVolume.scaling``.
    """
    rng = np.random.default_rng(seed)
    view = draw_view(labels.shape, augment, crop=crop, rng=rng, spacing_mm=spacing_mm, anchors=anchors)
    seen, picked = look(voxels, labels, view, scaling=scaling, mirror=augment.mirror_pad)
    return changed(seen, augment, rng=rng, spacing_mm=spacing_mm, coarse=coarse_axis(spacing_mm)), picked


def draw_view(
    source: tuple[int, ...],
    augment: Augment3d,
    *,
    crop: Size,
    rng: np.random.Generator,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    anchors: Anchors = (),
) -> View3d:
    """Decide what a crop of a source of that size shows."""
    turns = _draw_turns(spacing_mm, rng) if augment.rot90 else ()
    size = crop
    for plane, quarters in reversed(turns):
        size = _swapped(size, plane) if quarters % 2 else size
    anchor: Sequence[int | None] = (None, None, None)
    if anchors and rng.random() < augment.foreground_crop:
        places = anchors[rng.integers(len(anchors))]
        anchor = places[rng.integers(len(places))].tolist()
    flips = tuple(axis for axis in range(3) if rng.random() < augment.flip[axis])
    angles = _draw_angles(augment, spacing_mm, rng) if rng.random() < augment.rotate else None
    zoom = math.exp(rng.uniform(*np.log(augment.scale_range))) if rng.random() < augment.scale else 1.0
    bend = rng.random() < augment.elastic
    d, h, w = (
        _centre(length, side, place, rng) for length, side, place in zip(source, size, anchor, strict=True)
    )
    return View3d(
        centre=(d, h, w),
        size=size,
        turns=turns,
        flips=flips,
        turn=None if angles is None and zoom == 1 else _turn(angles, zoom, spacing_mm),
        field=_draw_bending(augment, size, spacing_mm, rng) if bend else None,
    )


def look(
    voxels: Shaped[np.ndarray, "c d h w"],
    labels: Integer[np.ndarray, "d h w"],
    view: View3d,
    *,
    scaling: Scaling | None = None,
    mirror: bool = True,
) -> Seen:
    """What ``view`` shows of voxels and labels."""
    show = _cut if view.turn is None and view.field is None else _warped
    part, picked = show(voxels, labels, view, scaling, mirror)
    return _turned(part, view), _turned(picked, view)


def find_anchors(labels: Integer[np.ndarray, "d h w"]) -> Anchors:
    """Up to 1024 evenly spread (d, h, w) places of each class in the volume but its commonest."""
    flat = labels.ravel()
    counts = np.bincount(flat[flat != VOID], minlength=1)
    found = []
    for index in np.flatnonzero(counts):
        if index == counts.argmax():
            continue
        places = np.flatnonzero(flat == index)
        chosen = places[np.linspace(0, len(places) - 1, min(ANCHORS, len(places))).astype(np.int64)]
        found.append(np.stack(np.unravel_index(chosen, labels.shape), axis=1).astype(np.int32))
    return tuple(found)


def coarse_axis(spacing_mm: Spacing) -> int | None:
    """The axis whose voxels are over three times longer than the others'; None if there is no such axis."""
    *_, second, longest = sorted(spacing_mm)
    return spacing_mm.index(longest) if longest > COARSE * second else None


def _draw_turns(spacing_mm: Spacing, rng: np.random.Generator) -> tuple[tuple[tuple[int, int], int], ...]:
    """Quarters in each plane whose spacings are equal; together they reach every orientation."""
    alike = [
        (a, b)
        for a, b in combinations(range(3), 2)
        if math.isclose(spacing_mm[a], spacing_mm[b], rel_tol=1e-3)
    ]
    return tuple((plane, int(rng.integers(4))) for plane in alike)


def _swapped(size: Size, plane: tuple[int, int]) -> Size:
    sides = list(size)
    sides[plane[0]], sides[plane[1]] = size[plane[1]], size[plane[0]]
    d, h, w = sides
    return d, h, w


def _draw_angles(
    augment: Augment3d, spacing_mm: Spacing, rng: np.random.Generator
) -> Float64[np.ndarray, " 3"]:
    """Angles about d, h and w in radians; turning about another axis than a coarse one mixes few slices."""
    angles = np.radians(rng.uniform(-augment.rotate_deg, augment.rotate_deg, 3))
    coarse = coarse_axis(spacing_mm)
    return angles if coarse is None else np.where(np.arange(3) == coarse, angles, 0.0)


def _turn(
    angles: Float64[np.ndarray, " 3"] | None, zoom: float, spacing_mm: Spacing
) -> Float32[np.ndarray, "3 3"]:
    """From output to source voxels: to millimetres, turned there, and back."""
    turn = np.eye(3) / zoom
    for axis, angle in enumerate(() if angles is None else angles):
        a, b = (other for other in range(3) if other != axis)
        about = np.eye(3)
        about[[a, b], [a, b]] = math.cos(angle)
        about[a, b], about[b, a] = -math.sin(angle), math.sin(angle)
        turn = turn @ about
    steps = np.array(spacing_mm)
    return np.asarray(turn * steps / steps[:, None], np.float32)


def _draw_bending(
    augment: Augment3d, size: Size, spacing_mm: Spacing, rng: np.random.Generator
) -> Float32[np.ndarray, "3 gd gh gw"]:
    """Displacements of control points in output voxels; both distances are meant in millimetres."""
    steps = np.array(spacing_mm)
    extent = (np.array(size) - 1) * steps
    grid = np.maximum(2, np.rint(extent / augment.elastic_grid_mm).astype(int) + 1)
    apart = np.where(extent > 0, extent / (grid - 1), augment.elastic_grid_mm)
    std_mm = np.minimum(augment.elastic_mm, apart / 4)
    noise = rng.standard_normal((3, *grid.tolist()), np.float32)
    return np.asarray(noise * (std_mm / steps).astype(np.float32)[:, None, None, None])


def _centre(length: int, side: int, anchor: int | None, rng: np.random.Generator) -> float:
    """The middle of a stretch within the volume, or around it if that is smaller."""
    low, high = min(0, length - side), max(0, length - side)
    if anchor is None:
        first = int(rng.integers(low, high + 1))
    else:
        first = int(np.clip(anchor - rng.integers(side), low, high))
    return first + (side - 1) / 2


def _cut(
    voxels: Shaped[np.ndarray, "c d h w"],
    labels: Integer[np.ndarray, "d h w"],
    view: View3d,
    scaling: Scaling | None,
    mirror: bool,
) -> Seen:
    """Voxel for voxel, without any resampling."""
    firsts = (round(middle - (side - 1) / 2) for middle, side in zip(view.centre, view.size, strict=True))
    places = [np.arange(first, first + side) for first, side in zip(firsts, view.size, strict=True)]
    outside = [(p < 0) | (p >= length) for p, length in zip(places, labels.shape, strict=True)]
    shown = [_mirrored(p, length) for p, length in zip(places, labels.shape, strict=True)]
    part = _normalised(voxels[np.ix_(np.arange(len(voxels)), *shown)], scaling)
    picked = labels[np.ix_(*shown)]
    for axis, beyond in enumerate(outside):
        where = (slice(None),) * axis + (beyond,)
        picked[where] = VOID
        if not mirror:
            part[(slice(None), *where)] = 0
    return part, picked


def _warped(
    voxels: Shaped[np.ndarray, "c d h w"],
    labels: Integer[np.ndarray, "d h w"],
    view: View3d,
    scaling: Scaling | None,
    mirror: bool,
) -> Seen:
    """Only the box that the view looks into is normalised and resampled."""
    turn = np.eye(3, dtype=np.float32) if view.turn is None else view.turn
    first, box = _box(view, turn, labels.shape)
    matrix = np.empty((3, 4), np.float32)
    matrix[:, :3] = turn
    matrix[:, 3] = np.array(view.centre) - first - turn @ ((np.array(view.size) - 1) / 2)
    part = _normalised(voxels[(slice(None), *box)], scaling)
    fill = None if mirror else 0.0
    return warp_volume(part, labels[box], size=view.size, matrix=matrix, field=view.field, fill=fill)


def _box(
    view: View3d, turn: Float[np.ndarray, "3 3"], source: tuple[int, ...]
) -> tuple[Int64[np.ndarray, " 3"], tuple[slice, slice, slice]]:
    """The part of the source that the view can look into, mirrored voxels included: its first voxel, all."""
    reach = np.abs(turn) @ ((np.array(view.size) - 1) / 2)
    if view.field is not None:
        # Catmull-Rom weights sum up to 1.25 in magnitude along each axis.
        reach = reach + np.abs(turn) @ (1.25**3 * np.abs(view.field).max(axis=(1, 2, 3)))
    middle, length = np.array(view.centre), np.array(source)
    first = np.floor(middle - reach).astype(np.int64) - 1
    last = np.ceil(middle + reach).astype(np.int64) + 2
    # Mirrored voxels lie within the source again, as far inside as the view reaches beyond.
    over = np.maximum(0, last - length), np.maximum(0, -first)
    first = np.clip(np.minimum(first, length - over[0]), 0, length - 1)
    last = np.clip(np.maximum(last, over[1]), first + 1, length)
    d, h, w = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    return first, (d, h, w)


def _normalised(
    part: Shaped[np.ndarray, "c z y x"], scaling: Scaling | None
) -> Float32[np.ndarray, "c z y x"]:
    return np.asarray(part, np.float32) if scaling is None else scaling(part)


def _mirrored(places: Int64[np.ndarray, " n"], length: int) -> Int64[np.ndarray, " n"]:
    """Places beyond the border, mirrored as often as needed, the border voxel being repeated."""
    phase = places % (2 * length)
    return np.asarray(np.minimum(phase, 2 * length - 1 - phase))


def _turned(array: np.ndarray, view: View3d) -> np.ndarray:
    lead = array.ndim - 3
    array = np.flip(array, tuple(lead + axis for axis in view.flips))
    for (a, b), quarters in view.turns:
        array = np.rot90(array, quarters, (lead + a, lead + b))
    return np.ascontiguousarray(array)
