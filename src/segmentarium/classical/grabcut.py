"""GrabCut: from a box around a thing to its outline, colours and border taking turns.

Paper    Rother, Kolmogorov, Blake 2004, "GrabCut: interactive foreground extraction using iterated graph
         cuts", SIGGRAPH, sections 2 and 3

    E = sum over pixels of D(colour, Gaussians of its side)
        + gamma sum over neighbours on different sides of exp(-beta |contrast|^2) / distance,
    beta = 1 / (2 mean |contrast|^2)

D is the negative log density under the likeliest of the side's Gaussians. Each step, components, Gaussians
and cut, lowers E; it ends when E no longer falls. The mattes of the paper's section 4 are not made.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int32, Integer

from segmentarium.classical.crf.energy import contrast_weights
from segmentarium.classical.graph_cut import seeded_cut
from segmentarium.classical.levels import Picture, levels, within
from segmentarium.classical.partition import cut_out
from segmentarium.classical.seeds import BACKGROUND, FOREGROUND, Points, seed_map
from segmentarium.errors import BadArgument
from segmentarium.ops.gaussian_mixture import Mixture, learn, parted
from segmentarium.ops.neighbours import neighbours
from segmentarium.values import LabelMap

Box = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Grabbed:
    """The foreground, E after each cut, and the Gaussians of background and foreground at the end."""

    inside: Bool[np.ndarray, "h w"]
    energies: tuple[float, ...]
    mixtures: tuple[Mixture, Mixture]


def grabcut(
    picture: Picture,
    *,
    box: Box | None = None,
    foreground: Points = (),
    background: Points = (),
    seeds: Integer[np.ndarray, "h w"] | None = None,
    gamma: float = 50.0,
    components: int = 5,
    iterations: int = 50,
    seed: int = 0,
) -> LabelMap:
    """Cut out the thing in a box, learning its colours and those around it.

    Args:
        box: x0, y0, x1, y1 in pixels, the end exclusive; what lies outside is background.
        foreground: marked pixels (x, y) of the thing.
        background: marked pixels (x, y) around it.
        seeds: a map of marks: 0 unknown, 1 background, 2 foreground.
        gamma: price of a pixel of border where there is no contrast.
        components: Gaussians of a side.
        iterations: at the most.
        seed: of the first centres of the Gaussians.
    """
    taken = levels(picture, volumes=False)
    within("gamma", gamma, 0.0)
    within("components", float(components), 1.0)
    within("iterations", float(iterations), 1.0)
    outside = seed_map(taken.size) if box is None else _around(box, taken.size)
    marks = seed_map(taken.size, seeds=seeds, foreground=foreground, background=background)
    if marks.max() > FOREGROUND:
        raise BadArgument(f"the seed {marks.max()}", allowed="1 for background, 2 for foreground")
    both = np.argwhere((outside == BACKGROUND) & (marks == FOREGROUND))
    if len(both):
        raise BadArgument(f"foreground marked at {tuple(both[0][::-1].tolist())}, outside the box {box}")
    known = np.maximum(outside, marks)
    found = grab(taken.values, known, gamma=gamma, components=components, iterations=iterations, seed=seed)
    return cut_out(found.inside, taken)


def grab(
    values: Float[np.ndarray, "h w c"],
    known: Int32[np.ndarray, "h w"],
    *,
    gamma: float = 50.0,
    components: int = 5,
    iterations: int = 50,
    seed: int = 0,
) -> Grabbed:
    """The same on levels and marks: 0 unknown, 1 background, 2 foreground; the unknown begins as foreground.

    Raises:
        BadArgument: nothing is marked as background, or nothing is left to be foreground.
    """
    inside = known != BACKGROUND
    if inside.all() or not inside.any():
        raise BadArgument(
            f"marks that leave no {'background' if inside.all() else 'foreground'}",
            allowed="at least a pixel of each",
            cure="draw a box with some background around it, or mark both",
        )
    offsets = neighbours(2, 8)
    links = [gamma * weight for weight in contrast_weights(values, offsets)]
    flat, energies = values.reshape(-1, values.shape[-1]), [np.inf]
    which = np.zeros(inside.shape, np.int64)
    for side in (~inside, inside):
        which[side] = parted(values[side], components, seed)
    mixtures = _learn(values, inside, which, components)
    for _ in range(iterations):
        costs, likeliest = zip(*(mixture.costs(flat) for mixture in mixtures), strict=True)
        shaped = np.stack(costs).reshape(2, *inside.shape)
        cut, energy = seeded_cut(shaped, known, links, offsets)
        if energy >= energies[-1] - 1e-9 * abs(energy):
            break
        energies.append(energy)
        inside = cut
        if inside.all() or not inside.any():
            break
        which = np.where(inside.ravel(), likeliest[1], likeliest[0]).reshape(inside.shape)
        mixtures = _learn(values, inside, which, components)
    return Grabbed(inside, tuple(energies[1:]), mixtures)


def _learn(
    values: Float[np.ndarray, "h w c"],
    inside: Bool[np.ndarray, "h w"],
    which: Integer[np.ndarray, "h w"],
    components: int,
) -> tuple[Mixture, Mixture]:
    background, foreground = (learn(values[side], which[side], components) for side in (~inside, inside))
    return background, foreground


def _around(box: Box, size: tuple[int, ...]) -> Int32[np.ndarray, "h w"]:
    """Background outside the box, unknown inside."""
    if len(box) != 4:
        raise BadArgument(f"the box {tuple(box)}", allowed="four numbers x0, y0, x1, y1")
    x0, y0, x1, y1 = box
    if not (0 <= x0 < x1 <= size[1] and 0 <= y0 < y1 <= size[0]):
        raise BadArgument(
            f"the box {box}", allowed=f"0 <= x0 < x1 <= {size[1]} and 0 <= y0 < y1 <= {size[0]}"
        )
    known = np.full(size, BACKGROUND, np.int32)
    known[y0:y1, x0:x1] = 0
    return known
