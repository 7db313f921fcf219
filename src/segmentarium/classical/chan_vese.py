"""Chan-Vese: a picture of a few flat phases whose borders are short. No edges are looked for.

Paper    Chan, Vese 2001, "Active contours without edges", IEEE TIP; several channels after Chan, Sandberg,
         Vese 2000; 2^n phases after Vese, Chan 2002, "A multiphase level set framework", IJCV

n level set functions phi_i cut the picture into 2^n phases, by their signs. With H a smooth step and c_I the
mean colour of a phase, they lower

    E = sum over phases I of weight_I |g - c_I|^2 (mean of channels) + mu sum over i of length(phi_i = 0)

Means and functions take turns. A step of a function is implicit in the curvature, so that it may be long, and
is one symmetric linear system. E mostly falls, but need not do so at every step: H is smooth and the grid is
not. With n = 1 this is the model of two phases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float64, Int32

from segmentarium.classical.levels import LUMA, TOP, Levels, Picture, levels, within
from segmentarium.classical.partition import named
from segmentarium.errors import BadArgument
from segmentarium.ops.grid_solver import solve, step
from segmentarium.ops.level_sets import checkerboard, curvature_links, disk
from segmentarium.values import LabelMap

Start = Literal["checkerboard", "disk", "brightness"]
MOST_FUNCTIONS = 4


@dataclass(frozen=True, eq=False)
class Phases:
    """What :func:`vese_chan` finds.

    Attributes:
        labels: the phase of each pixel: bit i is set where phi_i is positive.
        functions: the level set functions.
        means: the colours c_I, in the levels of the picture; 0 of an empty phase.
        energies: E at the start, and after each step; levels count from 0 to 1 in it, as in ``mu``.
    """

    labels: Int32[np.ndarray, "*s"]
    functions: Float64[np.ndarray, " n *s"]
    means: Float64[np.ndarray, "k c"]
    energies: Float64[np.ndarray, " t"]


def chan_vese(
    picture: Picture,
    *,
    functions: int = 1,
    mu: float = 0.1,
    weights: tuple[float, ...] = (),
    start: Start = "brightness",
    iterations: int = 200,
) -> LabelMap:
    """Two flat phases, or four, eight, sixteen, with short borders; they are named from dark to bright.

    Args:
        functions: level set functions n; there are 2^n phases, of which some may stay empty.
        mu: price of a pixel of border, in squares of the range from black to white: the paper's
            mu = 0.1 x 255^2. More is smoother.
        weights: of the phases, if they shall count differently: lambda_2 (outside), lambda_1 (inside).
        start: brightness begins with equal shares of the pixels, from dark to bright; a checkerboard knows
            nothing of the picture; a disk tends to find what it overlaps.
        iterations: steps, at the most; it ends before if they hardly change the energy.
    """
    taken = levels(picture)
    within("functions", float(functions), 1.0, float(MOST_FUNCTIONS))
    begin = _begin(taken, functions, start)
    found = vese_chan(
        taken.values, begin, mu=mu, weights=weights, spacing=taken.spacing, iterations=iterations
    )
    weigh = np.array(LUMA) if taken.channels == 3 else np.full(taken.channels, 1 / taken.channels)
    present = np.flatnonzero(np.bincount(found.labels.ravel(), minlength=len(found.means)))
    order = present[np.argsort(found.means[present] @ weigh, kind="stable")]
    rank = np.zeros(len(found.means), np.int32)
    rank[order] = np.arange(len(order))
    return named(rank[found.labels], tuple(f"phase {i + 1}" for i in range(len(order))), taken)


def vese_chan(
    image: Float[np.ndarray, "*s c"],
    begin: Float64[np.ndarray, " n *s"],
    *,
    mu: float = 0.1,
    weights: Sequence[float] = (),
    spacing: Sequence[float] | None = None,
    length: float = 100.0,
    width: float = 1.0,
    iterations: int = 200,
    tolerance: float = 1e-3,
) -> Phases:
    """The energy of the head lowered from given functions on, for levels from 0 to 255.

    Args:
        length: of a step in time.
        width: of the smooth step H, in units of the functions.
        tolerance: it ends when three steps have changed the energy by less than this share each.

    Raises:
        BadArgument: a price below 0, or not one weight a phase.
    """
    within("mu", mu, 0)
    within("iterations", iterations, 0)
    count = 2 ** len(begin)
    factors = np.array(weights if len(weights) else (1.0,) * count)
    if len(factors) != count or not (factors >= 0).all():
        raise BadArgument(
            f"weights {tuple(weights)} for {count} phases", allowed="one number a phase, 0 or more"
        )
    spaces = tuple(spacing or (1.0,) * (image.ndim - 1))
    given, phi = image.astype(np.float64) / TOP, begin.copy()
    inside, labels, calm = _smooth_step(phi, width), signs(phi), 0
    means, gaps = _means_and_gaps(given, labels, factors)
    energies = [_energy(inside, gaps, mu, spaces)]
    for _ in range(iterations):
        for i in range(len(phi)):
            phi[i] = _next(phi[i], _pull(inside, gaps, i), mu, width, length, spaces)
            inside[i] = _smooth_step(phi[i], width)
        labels = signs(phi)
        means, gaps = _means_and_gaps(given, labels, factors)
        energies.append(_energy(inside, gaps, mu, spaces))
        calm = calm + 1 if abs(energies[-2] - energies[-1]) <= tolerance * energies[-2] else 0
        if calm == 3:
            break
    return Phases(labels, phi, means * TOP, np.array(energies))


def signs(phi: Float64[np.ndarray, " n *s"]) -> Int32[np.ndarray, "*s"]:
    """The number of each pixel's phase: bit i is set where function i is positive."""
    return np.asarray(sum((one > 0).astype(np.int32) << i for i, one in enumerate(phi)))


def _begin(picture: Levels, functions: int, start: Start) -> Float64[np.ndarray, " n *s"]:
    """Functions that differ from one another, so that all phases are there at the start."""
    size = picture.size
    if start == "brightness":
        grey = picture.grey()
        rank = np.argsort(np.argsort(grey, axis=None, kind="stable"), kind="stable").reshape(size)
        share = rank * 2**functions // grey.size
        gray_code = share ^ (share >> 1)  # neighbours in brightness differ in one function only
        return np.stack([np.where(gray_code >> i & 1, 1.0, -1.0) for i in range(functions)])
    if start == "checkerboard":
        return np.stack([checkerboard(size, side=5.0, shift=i / functions) for i in range(functions)])
    return np.stack([disk(size, share=(i + 1) / (functions + 1)) for i in range(functions)])


def _smooth_step(phi: Float64[np.ndarray, "*s"], width: float) -> Float64[np.ndarray, "*s"]:
    return np.asarray(0.5 + np.arctan(phi / width) / np.pi)


def _share(inside: Float64[np.ndarray, " n *s"], phase: int, *, but: int = -1) -> Float64[np.ndarray, "*s"]:
    """How much each pixel belongs to a phase, 0 to 1; ``but`` is a function that has no say."""
    share = np.ones(inside.shape[1:])
    for i, one in enumerate(inside):
        if i != but:
            share *= one if phase >> i & 1 else 1 - one
    return share


def _means_and_gaps(
    given: Float64[np.ndarray, "*s c"], labels: Int32[np.ndarray, "*s"], factors: Float64[np.ndarray, " k"]
) -> tuple[Float64[np.ndarray, "k c"], Float64[np.ndarray, " k *s"]]:
    """The mean colour of each phase, and how far each pixel is from it: squared, weighted."""
    sizes = np.bincount(labels.ravel(), minlength=len(factors))
    sums = [
        np.bincount(labels.ravel(), channel.ravel(), len(factors)) for channel in np.moveaxis(given, -1, 0)
    ]
    means = np.stack(sums, axis=-1) / np.maximum(sizes, 1)[:, None]
    gaps = np.empty((len(factors), *given.shape[:-1]))
    for phase, factor in enumerate(factors):
        off = given - means[phase]
        gaps[phase] = np.einsum("...c,...c->...", off, off) * (factor / given.shape[-1])
    return means, gaps


def _energy(
    inside: Float64[np.ndarray, " n *s"],
    gaps: Float64[np.ndarray, " k *s"],
    mu: float,
    spacing: tuple[float, ...],
) -> float:
    total = sum(float(np.vdot(_share(inside, phase), gap)) for phase, gap in enumerate(gaps))
    for one in inside:
        slopes = np.zeros(one.shape)
        for axis, space in enumerate(spacing):
            slopes += (step(one, axis) / space) ** 2
        total += mu * float(np.sqrt(slopes).sum())
    return total


def _pull(
    inside: Float64[np.ndarray, " n *s"], gaps: Float64[np.ndarray, " k *s"], i: int
) -> Float64[np.ndarray, "*s"]:
    """By how much the colours are farther from what function i has inside than from what it has outside."""
    pull = np.zeros(inside.shape[1:])
    for phase, gap in enumerate(gaps):
        pull += (1 if phase >> i & 1 else -1) * _share(inside, phase, but=i) * gap
    return pull


def _next(
    phi: Float64[np.ndarray, "*s"],
    pull: Float64[np.ndarray, "*s"],
    mu: float,
    width: float,
    length: float,
    spacing: tuple[float, ...],
) -> Float64[np.ndarray, "*s"]:
    """A function after a step: ``(phi' - phi) / (length delta) = mu div(grad phi' / |grad phi|) - pull``.

    delta is the slope of the smooth step.
    """
    inertia = np.pi * (width**2 + phi**2) / (width * length)
    return solve(inertia, mu * curvature_links(phi, spacing), inertia * phi - pull, phi, tolerance=0.1)
