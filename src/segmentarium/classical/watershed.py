"""Watershed: water rises from markers over a relief, and regions end where waters meet.

Source: Beucher and Lantuejoul 1979; the flooding by queues of Meyer 1991; basins by their depth ("dynamics")
after Grimaud 1992.

The relief is always of whole numbers: the edge strength from 0 to 255, or the distance in sixteenths of a
pixel. Its flats are flooded from their border inwards, at the same speed from all sides. The same relief in
floating point has other flats, hence other regions (a third of all pixels differ on a photograph).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Int32, Integer, UInt8, UInt16
from scipy import ndimage

from segmentarium.classical import watershed_kernels as kernels
from segmentarium.classical.levels import TOP, Levels, Picture, levels, within
from segmentarium.classical.partition import marked, named, regions
from segmentarium.classical.seeds import Points, require_labels, seed_map
from segmentarium.classical.threshold import global_cuts
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import strides_of
from segmentarium.values import VOID, LabelMap

Relief = UInt8[np.ndarray, "*s"] | UInt16[np.ndarray, "*s"]
FINE = 16
"""Steps of the relief to the smallest spacing, where it is a distance."""


def watershed(
    picture: Picture,
    *,
    split: Literal["edges", "distance"] = "edges",
    seeds: Integer[np.ndarray, "*s"] | None = None,
    foreground: Points = (),
    background: Points = (),
    depth: float | None = None,
    sigma: float = 1.0,
    bright: bool = True,
    connectivity: int | None = None,
    line: bool = False,
) -> LabelMap:
    """Regions whose borders run along edges, or touching objects parted at their necks.

    Args:
        split: edges floods the strength of edges; distance cuts objects out by Otsu's threshold and floods
            them from their middles.
        seeds: labels 1, 2, ... from which water comes instead; with foreground and background points, 1 is
            background and 2 is foreground. Of edges only.
        depth: of the shallowest basin that is a region of its own: in grey levels of edge strength (10 if
            left out), or in the unit of distances (1 pixel).
        sigma: of the Gaussian under which edges are measured, in pixels.
        bright: whether objects are brighter than their background.
        connectivity: 4 or 8 neighbours, in a volume 6, 18 or 26; the fewest if left out.
        line: leave a line of void between regions.

    Raises:
        BadArgument: seeds outside the picture, contradicting, or of fewer than two labels; seeds with
            distances.
    """
    taken = levels(picture)
    given = seeds is not None or bool(foreground) or bool(background)
    if depth is not None:
        within("depth", depth, 0)
    if split == "distance":
        if given:
            raise BadArgument("seeds with split = distance", allowed="seeds with split = edges")
        return _objects(taken, depth, bright, connectivity, line)
    relief = edge_relief(taken, sigma=sigma)
    if not given:
        wanted = 10 if depth is None else int(np.ceil(depth))
        labels = flooded(
            relief,
            markers(relief, depth=wanted, connectivity=connectivity),
            connectivity=connectivity,
            line=line,
        )
        if not line:
            return regions(labels, taken)
        nearest = ndimage.distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
        result = regions(labels[tuple(nearest)], taken)
        result.labels[labels == 0] = VOID
        return result
    known = seed_map(taken.size, seeds=seeds, foreground=foreground, background=background)
    count = require_labels(known)
    labels = flooded(relief, known, connectivity=connectivity, line=line) - 1
    return marked(labels, count, taken)


def edge_relief(picture: Levels, *, sigma: float = 1.0) -> UInt8[np.ndarray, "*s"]:
    """The strength of edges in whole grey levels: that of a step is its height, of colours the strongest.

    In a volume slopes are measured in voxels of the smallest spacing.
    """
    within("sigma", sigma, 0.3)
    spaces = np.array(picture.spacing) / min(picture.spacing)
    strongest = np.zeros(picture.size, np.float32)
    for channel in np.moveaxis(picture.values, -1, 0):
        squared = np.zeros(picture.size, np.float32)
        for axis, space in enumerate(spaces):
            order = [int(axis == other) for other in range(len(spaces))]
            slope = ndimage.gaussian_filter(
                channel, sigma / spaces, order=order, mode="nearest", truncate=3.0
            )
            squared += (slope / space) ** 2
        np.maximum(strongest, squared, out=strongest)
    height = np.sqrt(strongest, out=strongest) * np.float32(sigma * np.sqrt(2 * np.pi))
    return np.minimum(np.rint(height), TOP).astype(np.uint8)


def distance_relief(
    inside: Bool[np.ndarray, "*s"], spacing: tuple[float, ...]
) -> tuple[UInt16[np.ndarray, "*s"], float]:
    """Depth below the farthest point from the border, and how many units of it are a unit of ``spacing``."""
    # Without a border scipy would measure to a point that is not there.
    border = not inside.all()
    distance = ndimage.distance_transform_edt(inside, sampling=spacing) if border else np.zeros(inside.shape)
    farthest = float(distance.max(initial=0))
    scale = min(FINE / min(spacing), 65535 / max(farthest, 1e-9))
    return np.rint((farthest - distance) * scale).astype(np.uint16), scale


def markers(
    relief: Relief,
    *,
    depth: int = 1,
    inside: Bool[np.ndarray, "*s"] | None = None,
    connectivity: int | None = None,
) -> Int32[np.ndarray, "*s"]:
    """A pixel in each basin that is ``depth`` or deeper, numbered from 1 in the order of the scan.

    Args:
        inside: where there is relief; everywhere if left out. Each part of it has a marker at least.
    """
    walls = np.ones([n + 2 for n in relief.shape], bool)
    walls[_core(relief.ndim)] = False if inside is None else ~inside
    framed = np.pad(relief, 1).ravel()
    kept = kernels.basins(
        framed, walls.ravel(), strides_of(walls.shape, connectivity), int(relief.max()), depth
    )
    kept = kept.reshape(walls.shape)[_core(relief.ndim)]
    numbers = np.zeros(relief.shape, np.int32)
    numbers[kept] = np.arange(1, int(kept.sum()) + 1)
    return numbers


def flooded(
    relief: Relief,
    known: Int32[np.ndarray, "*s"],
    *,
    inside: Bool[np.ndarray, "*s"] | None = None,
    connectivity: int | None = None,
    line: bool = False,
) -> Int32[np.ndarray, "*s"]:
    """The marker of each pixel; 0 on lines, outside of ``inside``, and where no water comes.

    Args:
        known: markers from 1, 0 elsewhere.
    """
    labels = np.full([n + 2 for n in relief.shape], kernels.WALL, np.int32)
    labels[_core(relief.ndim)] = known if inside is None else np.where(inside, known, kernels.WALL)
    flat = labels.ravel()
    kernels.flood(
        np.pad(relief, 1).ravel(), flat, strides_of(labels.shape, connectivity), int(relief.max()), line
    )
    return np.maximum(labels[_core(relief.ndim)], 0)


def _objects(
    picture: Levels, depth: float | None, bright: bool, connectivity: int | None, line: bool
) -> LabelMap:
    whole = np.clip(np.rint(picture.grey()), 0, TOP).astype(np.uint8)
    cuts = global_cuts(whole)
    inside = (whole > cuts[0]) == bright if cuts else np.zeros(whole.shape, bool)
    relief, scale = distance_relief(inside, picture.spacing)
    wanted = int(np.ceil((min(picture.spacing) if depth is None else depth) * scale))
    known = markers(relief, depth=wanted, inside=inside, connectivity=connectivity) if inside.any() else 0
    labels = flooded(
        relief, known + np.zeros(whole.shape, np.int32), inside=inside, connectivity=connectivity, line=line
    )
    names = ("background", *(f"object {i + 1}" for i in range(int(labels.max()))))
    return named(labels, names, picture)


def _core(axes: int) -> tuple[slice, ...]:
    return (slice(1, -1),) * axes
