"""Geodesic active contours: a contour that shortens, except where it would leave an edge.

Paper    Caselles, Kimmel, Sapiro 1997, "Geodesic active contours", IJCV; with the balloon force of Cohen 1991

    dphi/dt = g |grad phi| (div(grad phi / |grad phi|) + nu) + grad g . grad phi
    g = 1 / (1 + (s / contrast)^2)

with s the slope of the picture under a Gaussian, in grey levels a pixel. The inside is phi > 0, so nu > 0
grows it and nu < 0 shrinks it. Curvature and the pull of edges are |grad phi| div(g grad phi / |grad phi|) in
one, and are taken implicitly, by a symmetric linear system a step; the balloon is taken by differences
towards where it comes from. When the contour is still the balloon is let go, and the edge alone decides.
phi is made a distance again every few steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Integer
from scipy import ndimage

from segmentarium.classical.levels import Levels, Picture, levels, within
from segmentarium.classical.partition import cut_out
from segmentarium.classical.seeds import FOREGROUND, Points, seed_map
from segmentarium.errors import BadArgument
from segmentarium.ops.grid_solver import solve
from segmentarium.ops.level_sets import (
    box,
    checkerboard,
    curvature_links,
    disk,
    distance_to_contour,
    slope,
    upwind_slope,
)
from segmentarium.values import LabelMap

AS_DISTANCE = 10
"""Steps after which phi is made a distance again."""
SETTLING = 100
"""Steps without balloon at the end: a force of nu pushes the contour nu sigma^2 / 2 beyond an edge."""
CALM = 25
"""Steps in which next to nothing may change before the contour counts as still."""


def geodesic_active_contour(
    picture: Picture,
    *,
    start: Literal["box", "disk", "checkerboard"] = "box",
    seeds: Integer[np.ndarray, "*s"] | None = None,
    foreground: Points = (),
    balloon: float | None = None,
    sigma: float = 1.5,
    contrast: float = 5.0,
    radius: float = 5.0,
    iterations: int = 1000,
) -> LabelMap:
    """A contour that closes around a thing, or grows from its inside, and stops on strong edges.

    Args:
        start: the contour at first: a box just inside the border, an ellipse half as large as the picture,
            or many squares.
        seeds: the contour begins around what is marked 2 (foreground) instead; so do points.
        balloon: the force nu outwards, where edges are weak; below 0 inwards. If left out, 1 from seeds and
            -1 from a box, a disk or squares.
        sigma: of the Gaussian under which slopes are measured, in pixels (mm in volumes).
        contrast: the slope at which the contour is half as fast, in grey levels a pixel; lower stops it at
            weaker edges.
        radius: of the balls around seeds, in pixels (mm in volumes).
        iterations: steps with the balloon, at the most; one moves the contour by half a pixel or less.

    Raises:
        BadArgument: a seed outside the picture, or seeds without foreground.
    """
    taken = levels(picture)
    speed = edge_stop(taken, sigma=sigma, contrast=contrast)
    if seeds is None and not foreground:
        push = -1.0 if balloon is None else balloon
        inside = _begin(taken.size, start)
    else:
        known = seed_map(taken.size, seeds=seeds, foreground=foreground) == FOREGROUND
        if not known.any():
            raise BadArgument("seeds without foreground", allowed=f"a pixel marked {FOREGROUND} at least")
        push = 1.0 if balloon is None else balloon
        inside = ndimage.distance_transform_edt(~known, sampling=taken.spacing) <= radius
    phi = evolve(inside, speed, balloon=push, spacing=taken.spacing, iterations=iterations)
    if push:
        phi = evolve(phi > 0, speed, spacing=taken.spacing, iterations=SETTLING)
    return cut_out(phi > 0, taken)


def _begin(size: tuple[int, ...], start: str) -> Bool[np.ndarray, "*s"]:
    if start == "box":
        return box(size)
    return np.asarray((disk(size) if start == "disk" else checkerboard(size, side=max(size) / 5)) > 0)


def edge_stop(picture: Levels, *, sigma: float = 1.5, contrast: float = 5.0) -> Float64[np.ndarray, "*s"]:
    """g of the head, from 0 on strong edges to 1; of colours the strongest slope counts."""
    within("sigma", sigma, 0.3)
    within("contrast", contrast, 0, open_low=True)
    strongest = np.zeros(picture.size, np.float32)
    for channel in np.moveaxis(picture.values, -1, 0):
        np.maximum(strongest, _squared_slope(channel, sigma, picture.spacing), out=strongest)
    return 1 / (1 + strongest.astype(np.float64) / contrast**2)


def _squared_slope(
    channel: Float32[np.ndarray, "*s"], sigma: float, spacing: Sequence[float]
) -> Float32[np.ndarray, "*s"]:
    smooth = ndimage.gaussian_filter(channel, sigma / np.array(spacing), mode="nearest")
    slopes = (np.gradient(smooth, space, axis=a) for a, space in enumerate(spacing) if smooth.shape[a] > 1)
    return np.asarray(sum((s**2 for s in slopes), np.zeros_like(smooth)), np.float32)


def evolve(
    inside: Bool[np.ndarray, "*s"],
    speed: Float64[np.ndarray, "*s"],
    *,
    balloon: float = 0.0,
    curvature: float = 1.0,
    spacing: Sequence[float] | None = None,
    iterations: int = 1000,
) -> Float64[np.ndarray, "*s"]:
    """phi after the equation of the head has moved the border of ``inside``, until it is still.

    Args:
        speed: g, from 0 to 1.
        curvature: factor of curvature and of the pull of edges.
    """
    within("iterations", iterations, 0)
    spaces = tuple(spacing or (1.0,) * inside.ndim)
    phi, before = distance_to_contour(inside, spaces), inside
    length = 0.5 * min(spaces) / abs(balloon) if balloon else 5 * min(spaces) ** 2
    for number in range(1, iterations + 1):
        moved = phi.copy()
        if balloon:
            moved += length * balloon * speed * upwind_slope(phi, spaces, growing=balloon > 0)
        if curvature:
            inertia = 1 / (length * curvature * np.maximum(slope(phi, spaces), 0.1))
            phi = solve(inertia, curvature_links(phi, spaces, speed), inertia * moved, moved, tolerance=0.1)
        else:
            phi = moved
        if number % AS_DISTANCE == 0:
            phi = distance_to_contour(phi > 0, spaces) if _lost(phi) else _as_distance(phi, spaces)
        if number % CALM == 0:
            if np.mean((phi > 0) != before) <= 1e-5:
                break
            before = phi > 0
    return phi


def _lost(phi: Float64[np.ndarray, "*s"]) -> bool:
    return bool((phi > 0).all() or (phi <= 0).all())


def _as_distance(phi: Float64[np.ndarray, "*s"], spacing: tuple[float, ...]) -> Float64[np.ndarray, "*s"]:
    """The distance to the contour, which stays where it is between pixels."""
    far = distance_to_contour(phi > 0, spacing)
    near = phi / np.maximum(slope(phi, spacing), 0.1)
    reach = 1.5 * max(spacing)
    return np.where(np.abs(far) < reach, np.clip(near, -2 * reach, 2 * reach), far)
