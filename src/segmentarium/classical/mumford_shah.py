"""Mumford-Shah: a picture that is smooth but for a few edges, whose length costs.

Paper    Ambrosio, Tortorelli 1990, "Approximation of functionals depending on jumps by elliptic functionals
         via Gamma-convergence", CPAM; of Mumford, Shah 1989, CPAM

Over the smooth picture u and the map v of what is no edge (1; 0 on edges) of a picture g it lowers

    E(u, v) = alpha v^2 |grad u|^2 + beta (u - g)^2 + rho (epsilon |grad v|^2 + (1 - v)^2 / (4 epsilon))

summed over pixels. A difference of neighbours bears the mean of their two v^2. For a fixed v the best u
solves a linear system, for a fixed u the best v does: the two take turns, and no half step raises E. A step
of height J becomes an edge if J^2 > 2 rho / sqrt(alpha beta), about; by default that is 25 grey levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int32
from scipy import ndimage

from segmentarium.classical.levels import Picture, levels, within
from segmentarium.classical.partition import regions
from segmentarium.errors import BadArgument
from segmentarium.ops.components import components
from segmentarium.ops.grid_solver import along, midway, solve, step
from segmentarium.ops.share import share
from segmentarium.values import LabelMap


@dataclass(frozen=True, eq=False)
class PiecewiseSmooth:
    """What :func:`ambrosio_tortorelli` finds.

    Attributes:
        smooth: u, in the levels of the picture.
        uncut: v, from 0 on edges to 1 far from any.
        energies: E at the start, and after each half step.
    """

    smooth: Float64[np.ndarray, "*s c"]
    uncut: Float64[np.ndarray, "*s"]
    energies: Float64[np.ndarray, " n"]


def mumford_shah(
    picture: Picture,
    *,
    alpha: float = 64.0,
    beta: float = 1.0,
    rho: float = 2500.0,
    epsilon: float = 1.0,
    level: float = 0.5,
    smallest: int = 20,
    iterations: int = 50,
) -> LabelMap:
    """Regions between the edges of the Mumford-Shah model, which is smooth inside each region.

    Args:
        alpha: price of slopes: noise is smoothed over sqrt(alpha / beta) pixels (mm in volumes).
        beta: price of leaving the picture, for a grey level squared.
        rho: price of an edge, for a pixel of its length.
        epsilon: half width of an edge, in pixels (mm in volumes).
        level: where v is less, there is an edge; its pixels go to the nearest region.
        smallest: pixels of the smallest region.
        iterations: turns, at the most; it ends before if one changes the energy by less than 1 in 1000.
    """
    within("level", level, 0, 1)
    taken = levels(picture)
    found = ambrosio_tortorelli(
        taken.values,
        alpha=alpha,
        beta=beta,
        rho=rho,
        epsilon=epsilon,
        spacing=taken.spacing,
        iterations=iterations,
    )
    return regions(cut_along(found.uncut, level=level, smallest=smallest), taken)


def ambrosio_tortorelli(
    image: Float[np.ndarray, "*s c"],
    *,
    alpha: float = 64.0,
    beta: float = 1.0,
    rho: float = 2500.0,
    epsilon: float = 1.0,
    spacing: Sequence[float] | None = None,
    iterations: int = 50,
    tolerance: float = 1e-3,
    accuracy: float = 1e-3,
) -> PiecewiseSmooth:
    """The energy of the head lowered by turns, from v = 1 on: then noise makes no edges.

    Args:
        tolerance: the share of the energy that a turn must win to be followed by another.
        accuracy: of each linear system, as the share of the residual that is left.

    Raises:
        BadArgument: a price below 0; a width, or a price without which there is no unique answer, of 0.
    """
    within("alpha", alpha, 0)
    within("iterations", iterations, 0)
    for name, value in (("beta", beta), ("rho", rho), ("epsilon", epsilon)):
        within(name, value, 0, open_low=True)
    spaces = tuple(spacing or (1.0,) * (image.ndim - 1))
    if len(spaces) != image.ndim - 1:
        raise BadArgument(f"spacing {spaces} for {image.ndim - 1} axes", allowed="one number an axis")
    given = image.astype(np.float64)
    prices = alpha, beta, rho, epsilon
    u, v = given.copy(), np.ones(image.shape[:-1])
    energies = [energy(u, v, given, prices, spaces)]
    for _ in range(iterations):
        u = _best_u(u, v, given, prices, spaces, accuracy)
        energies.append(energy(u, v, given, prices, spaces))
        v = _best_v(u, v, prices, spaces, accuracy)
        energies.append(energy(u, v, given, prices, spaces))
        if energies[-3] - energies[-1] <= tolerance * energies[-3]:
            break
    return PiecewiseSmooth(u, v, np.array(energies))


Prices = tuple[float, float, float, float]
"""alpha, beta, rho and epsilon."""


def energy(
    u: Float64[np.ndarray, "*s c"],
    v: Float64[np.ndarray, "*s"],
    given: Float64[np.ndarray, "*s c"],
    prices: Prices,
    spacing: tuple[float, ...],
) -> float:
    """E(u, v) of the head, for a picture ``given``."""
    alpha, beta, rho, epsilon = prices
    total = beta * ((u - given) ** 2).sum() + rho * ((1 - v) ** 2).sum() / (4 * epsilon)
    for axis, space in enumerate(spacing):
        slopes = _squared_slopes(u, axis, space)
        total += alpha * (midway(v**2, axis) * slopes).sum()
        total += rho * epsilon * (step(v, axis) ** 2).sum() / space**2
    return float(total)


def _squared_slopes(u: Float64[np.ndarray, "*s c"], axis: int, space: float) -> Float64[np.ndarray, "*s"]:
    slopes = np.zeros(u.shape[:-1])
    for channel in range(u.shape[-1]):
        slopes += step(u[..., channel], axis) ** 2
    return slopes / space**2


def _best_u(
    u: Float64[np.ndarray, "*s c"],
    v: Float64[np.ndarray, "*s"],
    given: Float64[np.ndarray, "*s c"],
    prices: Prices,
    spacing: tuple[float, ...],
    accuracy: float,
) -> Float64[np.ndarray, "*s c"]:
    alpha, beta, *_ = prices
    links = np.stack([alpha * midway(v**2, axis) / space**2 for axis, space in enumerate(spacing)])
    diagonal, best = np.full(v.shape, float(beta)), np.empty_like(u)

    def channels(start: int, stop: int) -> None:
        for c in range(start, stop):
            best[..., c] = solve(diagonal, links, beta * given[..., c], u[..., c], tolerance=accuracy)

    share(channels, u.shape[-1])
    return best


def _best_v(
    u: Float64[np.ndarray, "*s c"],
    v: Float64[np.ndarray, "*s"],
    prices: Prices,
    spacing: tuple[float, ...],
    accuracy: float,
) -> Float64[np.ndarray, "*s"]:
    alpha, _, rho, epsilon = prices
    pull = rho / (4 * epsilon)
    diagonal = np.full(v.shape, pull)
    for axis, space in enumerate(spacing):
        half = alpha * _squared_slopes(u, axis, space) / 2  # of a difference, for each of its two pixels
        diagonal += half
        diagonal[along(axis, slice(1, None))] += half[along(axis, slice(-1))]
    links = np.stack([np.full(v.shape, rho * epsilon / space**2) for space in spacing])
    return solve(diagonal, links, np.full(v.shape, pull), v, tolerance=accuracy)


def cut_along(
    uncut: Float64[np.ndarray, "*s"], *, level: float = 0.5, smallest: int = 1
) -> Int32[np.ndarray, "*s"]:
    """Parts where v is ``level`` or more, from 0; the other pixels belong to the nearest part.

    Parts of fewer pixels than ``smallest`` count as edges. One part, if nothing else is left.
    """
    parts, count = components(uncut >= level)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    parts[sizes[parts] < smallest] = 0
    if not parts.any():
        return np.zeros(uncut.shape, np.int32)
    nearest = ndimage.distance_transform_edt(parts == 0, return_distances=False, return_indices=True)
    return np.asarray(parts[tuple(nearest)])
