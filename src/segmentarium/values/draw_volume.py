"""Volumes for people: three orthogonal slices, or many of one direction, with the labels over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Integer, Shaped, UInt8
from PIL import Image as Pil

from segmentarium.errors import BadImage
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.draw import background_of, entries_of, framed, tint

SIDE = 320
"""Slices are enlarged to about so many pixels, by a whole factor, so that voxels stay sharp."""
_GAP = 4
_SAMPLES = 1_000_000  # voxels looked at to choose the shown range


def draw_planes(
    voxels: Shaped[np.ndarray, "d h w c"],
    labels: Integer[np.ndarray, "n m l"],
    classes: Classes,
    spacing_mm: Sequence[float],
    *,
    alpha: float = 0.5,
) -> Pil.Image:
    """The slices across d, h and w through the middle of what is labelled, side by side, with a legend.

    Raises:
        BadImage: volume and labels differ in size.
    """
    _same_size(voxels, labels)
    limits, seen = shown_range(voxels), shown(labels, classes)
    places = [_middle(seen, axis) for axis in range(3)]
    tiles = [
        _drawn(voxels, labels, classes, spacing_mm, axis, place, limits, alpha)
        for axis, place in enumerate(places)
    ]
    present = np.concatenate([labels.take(place, axis).ravel() for axis, place in enumerate(places)])
    return framed(_grid(tiles, columns=3), entries_of(classes, present[None]))


def draw_montage(
    voxels: Shaped[np.ndarray, "d h w c"],
    labels: Integer[np.ndarray, "n m l"],
    classes: Classes,
    spacing_mm: Sequence[float],
    *,
    slices: int = 12,
    alpha: float = 0.5,
) -> Pil.Image:
    """Evenly spaced slices across d, from the first to the last that holds a label, row after row.

    Raises:
        BadImage: volume and labels differ in size.
    """
    _same_size(voxels, labels)
    limits = shown_range(voxels)
    held = np.flatnonzero(shown(labels, classes).any(axis=(1, 2)))
    first, last = (int(held[0]), int(held[-1])) if len(held) else (0, len(labels) - 1)
    places = np.unique(np.linspace(first, last, min(slices, last - first + 1)).round().astype(int)).tolist()
    tiles = [_drawn(voxels, labels, classes, spacing_mm, 0, place, limits, alpha) for place in places]
    return framed(_grid(tiles, columns=4), entries_of(classes, labels[places].reshape(len(places), -1)))


def shown(labels: Integer[np.ndarray, "*s"], classes: Classes) -> Shaped[np.ndarray, "*s"]:
    """Which voxels are tinted: neither void nor background."""
    return labels > (VOID if background_of(classes) is None else 0)


def shown_range(voxels: Shaped[np.ndarray, "d h w c"]) -> tuple[float, float]:
    """What is shown black and white: the 0.5 and 99.5 percentiles of the whole volume."""
    flat = voxels.reshape(-1)
    low, high = np.percentile(flat[:: max(1, flat.size // _SAMPLES)], (0.5, 99.5))
    return float(low), float(high)


def grey(plane: Shaped[np.ndarray, "h w c"], limits: tuple[float, float]) -> UInt8[np.ndarray, "h w 3"]:
    """A slice as eight-bit colours: three channels or more as red, green and blue, else the first."""
    low, high = limits
    bands = plane[..., :3] if plane.shape[2] >= 3 else np.repeat(plane[..., :1], 3, axis=2)
    stretched: Float32[np.ndarray, "h w 3"] = (bands.astype(np.float32) - low) * (
        255 / max(high - low, 1e-12)
    )
    return stretched.clip(0, 255).round().astype(np.uint8)


def _same_size(voxels: Shaped[np.ndarray, "d h w c"], labels: Integer[np.ndarray, "d2 h2 w2"]) -> None:
    if voxels.shape[:-1] != labels.shape:
        raise BadImage(
            f"a volume of {voxels.shape[:-1]} voxels under labels of {labels.shape}", allowed="equal sizes"
        )


def _middle(seen: Shaped[np.ndarray, "d h w"], axis: int) -> int:
    """The slice with most labelled voxels; the middle one if there are none."""
    counts = seen.sum(axis=tuple(a for a in range(3) if a != axis))
    return int(counts.argmax()) if counts.any() else len(counts) // 2


def _drawn(
    voxels: Shaped[np.ndarray, "d h w c"],
    labels: Integer[np.ndarray, "d h w"],
    classes: Classes,
    spacing_mm: Sequence[float],
    axis: int,
    place: int,
    limits: tuple[float, float],
    alpha: float,
) -> UInt8[np.ndarray, "h2 w2 3"]:
    """One slice in true proportions; the one across w or h shows the head above."""
    rgb, picked = grey(voxels.take(place, axis), limits), labels.take(place, axis)
    if axis:
        rgb, picked = rgb[::-1], picked[::-1]
    # One scale for all directions, at which the finest voxels are whole pixels.
    extents = [length * step for length, step in zip(labels.shape, spacing_mm, strict=True)]
    scale = max(1, round(SIDE * min(spacing_mm) / max(extents))) / min(spacing_mm)
    size = [max(1, round(extent * scale)) for a, extent in enumerate(extents) if a != axis]
    down, right = (np.arange(wanted) * n // wanted for wanted, n in zip(size, picked.shape, strict=True))
    rgb, picked = rgb[np.ix_(down, right)], picked[np.ix_(down, right)]
    return tint(rgb, picked, classes.palette(), shown(picked, classes), alpha=alpha)


def _grid(tiles: Sequence[UInt8[np.ndarray, "_ _ 3"]], *, columns: int) -> UInt8[np.ndarray, "h w 3"]:
    """Tiles on black, row after row."""
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    width = max(sum(tile.shape[1] + _GAP for tile in row) - _GAP for row in rows)
    height = sum(max(tile.shape[0] for tile in row) + _GAP for row in rows) - _GAP
    sheet, top = np.zeros((height, width, 3), np.uint8), 0
    for row in rows:
        left = 0
        for tile in row:
            sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
            left += tile.shape[1] + _GAP
        top += max(tile.shape[0] for tile in row) + _GAP
    return sheet
