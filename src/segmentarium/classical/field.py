"""A random field over a picture: classes have colour models, neighbours prefer one label except at edges.

    E(y) = sum_p -log N(I_p; mean_y, covariance_y)
         + smoothness * sum_(p,q) [y_p != y_q] exp(-|I_p - I_q|^2 / (2 sigma^2)) / |p - q|

Source: Boykov & Jolly 2001; Boykov, Veksler & Zabih 2001.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64, Int32, Integer

from segmentarium.classical.crf.energy import GridCRF, contrast_weights, potts
from segmentarium.classical.crf.solve import Averaging, Lowering, solve
from segmentarium.classical.kmeans import lloyd, plus_plus
from segmentarium.classical.levels import Levels, Picture, levels, within
from segmentarium.classical.partition import named
from segmentarium.classical.seeds import Points, require_labels, seed_map
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import neighbours
from segmentarium.values import LabelMap

CERTAIN, MOST_NEIGHBOURS = 1e6, 26
"""What another label than its own costs a seed, beside all that its neighbours can save by it."""

STARTS = 4
"""Of the clusters; the best is kept."""

NOISE = 4.0
"""Least variance of a class along any direction of colour: of two grey levels."""


def field(
    picture: Picture,
    *,
    classes: int = 3,
    seeds: Integer[np.ndarray, "*s"] | None = None,
    foreground: Points = (),
    background: Points = (),
    radius: float = 0.0,
    method: Lowering | Averaging = "expansion",
    smoothness: float = 10.0,
    sigma: float | None = None,
    diagonals: bool = True,
    seed: int = 0,
) -> LabelMap:
    """Segment a picture or volume by colour models and smooth borders, with any inference of random fields.

    Without seeds, the models are those of clusters of colours.

    Args:
        classes: how many clusters, without seeds.
        seeds: a map of labels 1, 2, ... where they are known, 0 elsewhere.
        foreground: points that belong to the thing (label 2).
        background: points that do not (label 1).
        radius: of the dabs that points are, in pixels; wide ones tell more of the colours.
        method: sum_product, mean_field and the samplers also tell how probable each class is.
        smoothness: what a border costs between two pixels of one colour, in nats.
        sigma: contrast at which borders become cheap, in grey levels; taken from the picture if left out.
        diagonals: pixels that touch at corners are neighbours, too.

    Raises:
        BadArgument: seeds that do not fit, or more classes than colours.
    """
    taken = levels(picture)
    marks = seed_map(taken.size, seeds=seeds, foreground=foreground, background=background, radius=radius)
    marked = seeds is not None or bool(marks.any())
    examples = marks if marked else _clusters(taken, classes, seed)
    count = require_labels(examples, least=2 if marked else 1)
    unary = colour_costs(taken.values, examples, count=count)
    certain = CERTAIN + 2 * MOST_NEIGHBOURS * smoothness
    unary[marks > 0] = certain * (marks[marks > 0][:, None] != np.arange(1, count + 1))
    crf = colour_field(taken, unary, smoothness=smoothness, sigma=sigma, diagonals=diagonals)
    found = solve(crf, method=method, seed=seed)
    probs = None if found.marginals is None else np.moveaxis(found.marginals, -1, 0).astype(np.float32)
    plain = marked and seeds is None
    names = ("background", "foreground") if plain else tuple(f"class {i + 1}" for i in range(count))
    return named(found.labels, names, taken, probs=probs)


def colour_field(
    picture: Levels,
    unary: Float64[np.ndarray, "*s k"],
    *,
    smoothness: float = 10.0,
    sigma: float | None = None,
    diagonals: bool = True,
) -> GridCRF:
    """Unary costs on the picture's grid, with Potts costs that are low where the contrast is high.

    Of a volume the nearest neighbours are at distance 1, whatever its spacing.
    """
    within("smoothness", smoothness, 0)
    axes = len(picture.size)
    offsets = neighbours(axes, 3**axes - 1 if diagonals else 2 * axes)
    spacing = tuple(step / min(picture.spacing) for step in picture.spacing)
    weights = contrast_weights(picture.values, offsets, sigma=sigma, spacing=spacing)
    return GridCRF(unary, potts(unary.shape[-1], smoothness), weights, offsets)


def colour_costs(
    values: Float32[np.ndarray, "*s c"], examples: Int32[np.ndarray, "*s"], *, count: int
) -> Float64[np.ndarray, "*s k"]:
    """Negative logarithms of the densities of colours, up to a constant: one normal distribution a class.

    Args:
        examples: labels 1 .. ``count`` of the pixels to learn from; 0 teaches nothing.
    """
    costs = []
    for label in range(1, count + 1):
        seen = values[examples == label].astype(np.float64)
        spread = np.atleast_2d(np.cov(seen.T, bias=True)) + NOISE * np.eye(values.shape[-1])
        whiten = np.linalg.inv(np.linalg.cholesky(spread))
        away = (values - seen.mean(axis=0)) @ whiten.T
        costs.append(np.einsum("...c,...c->...", away, away) / 2 - np.log(whiten.diagonal()).sum())
    return np.stack(costs, axis=-1)


def _clusters(picture: Levels, classes: int, seed: int) -> Int32[np.ndarray, "*s"]:
    """Labels from 1 by the best of some clusterings of colours; all 1 if there is one colour only."""
    within("classes", classes, 1)
    colours = picture.values.reshape(-1, picture.channels)
    if not np.ptp(colours, axis=0).any():
        return np.ones(picture.size, np.int32)
    try:
        starts = [plus_plus(picture, clusters=classes, weight=0.0, seed=seed + i) for i in range(STARTS)]
    except BadArgument:
        known = len(np.unique(colours, axis=0))
        raise BadArgument(f"{classes} classes for {known} colours", allowed=f"at most {known}") from None
    found = min((lloyd(picture, start, weight=0.0) for start in starts), key=lambda one: one.inertia[-1])
    _, labels = np.unique(found.labels, return_inverse=True)  # without those that lost all pixels
    return np.asarray(labels.reshape(picture.size) + 1, np.int32)
