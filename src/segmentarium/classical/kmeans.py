"""k-means of colours and places together: pixels are points (x, y, r, g, b).

Source: Lloyd, "Least squares quantization in PCM", 1982; seeding: Arthur and Vassilvitskii, "k-means++: the
advantages of careful seeding", 2007.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, Float32, Float64, Int32, Integer

from segmentarium.classical import kmeans_kernels as kernels
from segmentarium.classical.levels import Levels, Picture, levels, within
from segmentarium.classical.partition import regions
from segmentarium.errors import BadArgument
from segmentarium.ops.components import pieces
from segmentarium.ops.share import share
from segmentarium.values import LabelMap

PARTS = 128
"""Sums are taken in so many parts, always: their order, and so the last bit, does not depend on the cores."""
SAMPLE = 2**15
"""So many pixels are enough to draw starting centres from."""


def kmeans(
    picture: Picture,
    *,
    clusters: int = 50,
    weight: float = 1.0,
    iterations: int = 50,
    connected: bool = False,
    seed: int = 0,
) -> LabelMap:
    """Cluster pixels by colour and place (k-means in x, y, r, g, b).

    Args:
        clusters: k. One cluster may lie in several pieces.
        weight: how many levels of colour a pixel of distance counts as (of volumes: a millimetre); 0 leaves
            places out.
        iterations: at most; it ends before if no pixel changes.
        connected: make each piece a region of its own.

    Raises:
        BadArgument: fewer different points than clusters, or a number out of its range.
    """
    taken = levels(picture)
    start = plus_plus(taken, clusters=clusters, weight=weight, seed=seed)
    labels = lloyd(taken, start, weight=weight, iterations=iterations).labels
    return regions(pieces(labels) if connected else labels, taken)


@dataclass(frozen=True, eq=False)
class Clusters:
    """What k-means found.

    ``centers`` are rows of places, in the order of the axes, times the weight, then levels. ``inertia`` is
    the sum of squared distances to the nearest centre before each update and at the end; it never rises.
    """

    labels: Int32[np.ndarray, "*s"]
    centers: Float64[np.ndarray, "k d"]
    inertia: tuple[float, ...]


def lloyd(
    picture: Levels, start: Float[np.ndarray, "k d"], *, weight: float = 1.0, iterations: int = 50
) -> Clusters:
    """Assign pixels to the nearest centre, the first of equals, and move the centres into their means.

    A cluster without pixels keeps its centre. One copy of the levels is held, in tiles: places come from
    the index.

    Args:
        start: centres as in :class:`Clusters`.

    Raises:
        BadArgument: centres of another dimension or that are no numbers, or a number out of its range.
    """
    within("iterations", iterations, 0)
    within("weight", weight, 0, 1e6)
    axes, channels = len(picture.size), picture.channels
    if start.shape[1] != axes + channels or not len(start) or not np.isfinite(start).all():
        raise BadArgument(f"centres of shape {start.shape}", allowed=f"finite rows of {axes + channels}")
    values = picture.values.reshape((1,) * (3 - axes) + picture.values.shape)
    scale = np.array((0.0,) * (3 - axes) + tuple(weight * s for s in picture.spacing))
    centers = np.concatenate([np.zeros((len(start), 3 - axes)), start], axis=1)
    labels, centers, inertia = _lloyd(values, scale, centers, iterations)
    return Clusters(labels.reshape(picture.size), centers[:, 3 - axes :], inertia)


def _lloyd(
    values: Float32[np.ndarray, "d h w c"],
    scale: Float64[np.ndarray, "3"],
    centers: Float64[np.ndarray, "k f"],
    iterations: int,
) -> tuple[Int32[np.ndarray, "d h w"], Float64[np.ndarray, "k f"], tuple[float, ...]]:
    depth, height, width, channels = values.shape
    steps = range(depth), range(0, height, kernels.SIDE), range(0, width, kernels.SIDE)
    corners = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    tiles = np.empty((len(corners), channels, kernels.AREA), np.float32)
    share(partial(kernels.lay, values, corners, tiles), len(corners))
    tiled = np.full((len(corners), kernels.AREA), -1, np.int32)
    parts = min(PARTS, len(corners))
    sums, moved = np.zeros((parts, len(centers), 4 + channels)), np.zeros(parts, np.int64)
    given = tiles, _boxes(tiles, corners, values.shape[:3], scale), corners, values.shape[:3], scale
    square, inertia = _square(values, scale), []
    for step in range(iterations + 1):
        columns = np.ascontiguousarray(centers.T)
        share(partial(kernels.assign, *given, columns, tiled, sums, moved), parts)
        total = sums.sum(axis=0)
        sizes, points = total[:, 0], total[:, 1:] * np.concatenate([scale, np.ones(channels)])
        inertia.append(float(square + (sizes * (centers**2).sum(1)).sum() - 2 * (points * centers).sum()))
        if step == iterations or not moved.any():
            break
        filled = sizes > 0
        centers = centers.copy()
        centers[filled] = points[filled] / sizes[filled, None]
    labels = np.empty(values.shape[:3], np.int32)
    share(partial(kernels.unlay, tiled, corners, labels), len(corners))
    return labels, centers, tuple(inertia)


def _boxes(
    tiles: Float32[np.ndarray, "n c a"],
    corners: Integer[np.ndarray, "n 3"],
    size: tuple[int, ...],
    scale: Float64[np.ndarray, "3"],
) -> Float64[np.ndarray, "n 2 f"]:
    """The least and the greatest features of each tile."""
    ends = np.minimum(corners + np.array([1, kernels.SIDE, kernels.SIDE]), size) - 1
    low = np.concatenate([corners * scale, tiles.min(axis=2)], axis=1)
    return np.stack([low, np.concatenate([ends * scale, tiles.max(axis=2)], axis=1)], axis=1)


def _square(values: Float32[np.ndarray, "d h w c"], scale: Float64[np.ndarray, "3"]) -> float:
    """The sum of all squared features."""
    flat = values.reshape(len(values) * values.shape[1], -1)
    total = sum(float(np.square(row, dtype=np.float64).sum()) for row in flat)
    for axis, length in enumerate(values.shape[:3]):
        others = values.size // values.shape[3] // length
        total += others * float(np.square(scale[axis] * np.arange(length)).sum())
    return total


def plus_plus(
    picture: Levels, *, clusters: int, weight: float = 1.0, seed: int = 0
) -> Float64[np.ndarray, "k d"]:
    """Starting centres: pixels drawn with a chance that grows with the squared distance from those before.

    Raises:
        BadArgument: fewer different points than clusters.
    """
    count = int(np.prod(picture.size))
    within("clusters", clusters, 1)
    within("weight", weight, 0, 1e6)
    random = np.random.default_rng(seed)
    drawn = np.sort(random.choice(count, SAMPLE, replace=False)) if count > SAMPLE else np.arange(count)
    points = features(picture, drawn, weight)
    centers = _draw(points, clusters, random)
    if centers is None and count > SAMPLE:
        points = np.unique(features(picture, np.arange(count), weight), axis=0)
        centers = _draw(points, clusters, random)
    if centers is None:
        different = len(np.unique(points, axis=0))
        raise BadArgument(f"clusters = {clusters}", allowed=f"1 to {different}, the different points")
    return centers


def _draw(
    points: Float64[np.ndarray, "n d"], clusters: int, random: np.random.Generator
) -> Float64[np.ndarray, "k d"] | None:
    """None if all points are taken before there are as many centres."""
    centers = points[[random.integers(len(points))]]
    apart = np.square(points - centers).sum(axis=1)
    while len(centers) < clusters:
        reached = np.cumsum(apart)
        if not reached[-1]:
            return None
        at = np.searchsorted(reached, random.random() * reached[-1], side="right")
        centers = np.concatenate([centers, points[at][None]])
        apart = np.minimum(apart, np.square(points - points[at]).sum(axis=1))
    return centers


def features(picture: Levels, pixels: Integer[np.ndarray, " n"], weight: float) -> Float64[np.ndarray, "n d"]:
    """Rows of places times the weight, then levels, of pixels by their flat index."""
    places = np.stack(np.unravel_index(pixels, picture.size), axis=1) * np.multiply(picture.spacing, weight)
    return np.concatenate([places, picture.values.reshape(-1, picture.channels)[pixels]], axis=1)
