"""Contours as the zero line of a function: where it is positive, there is the inside.

What the level set methods share: functions to begin with, and the links by which a step of mean curvature
motion becomes a linear system (:mod:`segmentarium.ops.grid_solver`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64

from segmentarium.ops.grid_solver import along, midway, step
from segmentarium.ops.signed_distance import signed_distance

FLAT = 1e-6
"""Squared slope below which a function has no direction."""


def checkerboard(
    size: tuple[int, ...], *, side: float = 5.0, shift: float = 0.0
) -> Float64[np.ndarray, "*s"]:
    """Squares of ``side`` pixels, positive and negative in turn, from -1 to 1.

    Args:
        shift: of the board along each axis, in squares.
    """
    board = np.ones(size)
    for axis, length in enumerate(size):
        wave = np.sin(np.pi * ((np.arange(length) + 0.5) / side + shift))
        board *= wave.reshape(-1, *(1,) * (len(size) - 1 - axis))
    return board


def disk(size: tuple[int, ...], *, share: float = 0.5) -> Float64[np.ndarray, "*s"]:
    """Positive inside the ellipse whose axes are a ``share`` of the sides; about the distance, in pixels."""
    inner = np.zeros(size)
    for axis, length in enumerate(size):
        at = (np.arange(length) + 0.5 - length / 2) / (max(length, 1) * share / 2)
        inner = inner + at.reshape(-1, *(1,) * (len(size) - 1 - axis)) ** 2
    return (1 - np.sqrt(inner)) * min(size) * share / 2


def box(size: tuple[int, ...], *, margin: int = 2) -> Bool[np.ndarray, "*s"]:
    """All but a frame of ``margin`` pixels; thinner in a small picture, so that something is inside."""
    inside = np.zeros(size, bool)
    inside[tuple(slice(m, n - m) for n in size for m in [min(margin, (n - 1) // 2)])] = True
    return inside


def distance_to_contour(
    inside: Bool[np.ndarray, "*s"], spacing: Sequence[float] | None = None
) -> Float64[np.ndarray, "*s"]:
    """The level set function of a mask: the distance to its border, positive inside.

    Without a border it is one positive or negative number.
    """
    if inside.all() or not inside.any():
        return np.where(inside, 1.0, -1.0) * sum(inside.shape)
    return -signed_distance(inside, spacing=spacing, shift=0.5).astype(np.float64)


def curvature_links(
    phi: Float64[np.ndarray, "*s"],
    spacing: Sequence[float],
    weight: Float64[np.ndarray, "*s"] | None = None,
) -> Float64[np.ndarray, " a *s"]:
    """Links with which the solver's sum over neighbours is ``-div(weight grad phi / |grad phi|)``.

    The slope between two pixels is their difference along the axis, and the mean of their central
    differences across it.
    """
    steps = [step(phi, axis) / space for axis, space in enumerate(spacing)]
    across = [_central(phi, axis) / space for axis, space in enumerate(spacing)]
    links = np.empty((len(steps), *phi.shape))
    for axis, space in enumerate(spacing):
        squared = steps[axis] ** 2 + FLAT
        for other in range(len(steps)):
            if other != axis:
                squared += midway(across[other], axis) ** 2
        links[axis] = (1.0 if weight is None else midway(weight, axis)) / (np.sqrt(squared) * space**2)
    return links


def slope(phi: Float64[np.ndarray, "*s"], spacing: Sequence[float]) -> Float64[np.ndarray, "*s"]:
    """|grad phi| by central differences."""
    return np.sqrt(sum((_central(phi, axis) / space) ** 2 for axis, space in enumerate(spacing)))


def upwind_slope(
    phi: Float64[np.ndarray, "*s"], spacing: Sequence[float], *, growing: bool
) -> Float64[np.ndarray, "*s"]:
    """|grad phi| by the differences towards where the contour comes from: stable for fronts that move.

    Args:
        growing: the inside gains; otherwise it loses.

    Source: Osher and Sethian 1988.
    """
    squared = np.zeros(phi.shape)
    for axis, space in enumerate(spacing):
        ahead = step(phi, axis) / space
        behind = np.zeros_like(ahead)
        behind[along(axis, slice(1, None))] = ahead[along(axis, slice(-1))]
        up, down = (ahead, behind) if growing else (behind, ahead)
        squared += np.maximum(up, 0) ** 2 + np.minimum(down, 0) ** 2
    return np.sqrt(squared)


def _central(phi: Float64[np.ndarray, "*s"], axis: int) -> Float64[np.ndarray, "*s"]:
    """Half of the difference of both neighbours; beyond the border the function goes on as it is there."""
    ahead = step(phi, axis)
    both = ahead.copy()
    both[along(axis, slice(1, None))] += ahead[along(axis, slice(-1))]
    return both / 2
