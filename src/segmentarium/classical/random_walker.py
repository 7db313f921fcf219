"""Random walker: a pixel belongs to the seed that a walk from it reaches first, edges being hard to cross.

Paper    Grady 2006, "Random walks for image segmentation", IEEE TPAMI

The probabilities of a label are 1 on its seeds, 0 on others', and harmonic between: each is the mean of its
neighbours' by the weights exp(-beta |g_p - g_q|^2 / (10 s sqrt(c))), for levels from 0 to 1, s being their
standard deviation and c the number of channels: scikit-image's scale, so that its ``beta`` fits.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int32, Integer

from segmentarium.classical.levels import TOP, Levels, Picture, levels, within
from segmentarium.classical.partition import marked
from segmentarium.classical.seeds import Points, require_labels, seed_map
from segmentarium.ops.grid_solver import along, solve, step
from segmentarium.ops.share import share
from segmentarium.values import LabelMap

LEAST = 1e-10
"""The weight of the hardest step: no pixel is cut off, and one that hardly is not gets nearly even odds."""


def random_walker(
    picture: Picture,
    *,
    seeds: Integer[np.ndarray, "*s"] | None = None,
    foreground: Points = (),
    background: Points = (),
    radius: float = 0.0,
    beta: float = 130.0,
    accuracy: float = 1e-5,
) -> LabelMap:
    """The label of the seed that a random walk reaches first, with the probability of each label.

    Args:
        seeds: labels 1, 2, ..., 0 where unknown; with points, 1 is background and 2 is foreground.
        radius: of the dabs that points are, in pixels.
        beta: how much harder a step is over an edge; 0 looks at distances only.
        accuracy: of the linear systems, as the share of the residual that is left.

    Raises:
        BadArgument: a seed outside the picture, a pixel with two, fewer than two labels, or a gap between
            them.
    """
    within("beta", beta, 0)
    taken = levels(picture)
    known = seed_map(taken.size, seeds=seeds, foreground=foreground, background=background, radius=radius)
    count = require_labels(known)
    probs = first_reached(walk_weights(taken, beta=beta), known, accuracy=accuracy)
    return marked(probs.argmax(0).astype(np.int32), count, taken, probs=probs.astype(np.float32))


def walk_weights(picture: Levels, *, beta: float = 130.0) -> Float64[np.ndarray, " a *s"]:
    """How easy the step from each pixel to the next one along each axis is, 0 to 1; 0 at the far end.

    A difference is one over the distance of the two, in parts of the smallest spacing.
    """
    weights = np.zeros((len(picture.size), *picture.size))
    spread = float(picture.values.std(dtype=np.float64)) / TOP
    scale = beta / (10 * spread * np.sqrt(picture.channels)) if spread else 0.0
    for axis, space in enumerate(picture.spacing):
        for channel in np.moveaxis(picture.values, -1, 0):
            weights[axis] += (
                step(channel.astype(np.float64) / TOP, axis) * min(picture.spacing) / space
            ) ** 2
        weights[axis] = np.exp(-scale * weights[axis]) + LEAST
        weights[axis][along(axis, slice(-1, None))] = 0
    return weights


def first_reached(
    weights: Float64[np.ndarray, " a *s"], known: Int32[np.ndarray, "*s"], *, accuracy: float = 1e-5
) -> Float64[np.ndarray, " k *s"]:
    """The probability of each label at each pixel; over labels they sum to 1.

    Args:
        known: labels from 1 without a gap, 0 where unknown.
    """
    count, free = int(known.max()), known == 0
    between, anchor = weights.copy(), np.zeros(known.shape)
    pull = np.zeros((count, *known.shape))
    for axis in range(known.ndim):
        near, far = along(axis, slice(-1)), along(axis, slice(1, None))
        weight = weights[axis][near]
        for here, there in ((near, far), (far, near)):
            to_seed = np.where(free[here] & ~free[there], weight, 0)
            anchor[here] += to_seed
            for label in range(count):
                pull[label][here] += to_seed * (known[there] == label + 1)
        between[axis][near] *= free[near] & free[far]
    anchor[~free] = 1
    probs = np.empty_like(pull)

    def labels(start: int, stop: int) -> None:
        for label in range(start, stop):
            pull[label][known == label + 1] = 1
            even = np.where(free, 1 / count, pull[label])
            probs[label] = solve(anchor, between, pull[label], even, tolerance=accuracy, most=20_000)

    share(labels, count)
    np.clip(probs, 0, 1, out=probs)
    return np.asarray(probs / probs.sum(0))
