"""Fully connected field over a first guess of the labels, which may leave pixels open.

Source: Krähenbühl and Koltun, "Efficient inference in fully connected CRFs with Gaussian edge potentials",
2011.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer

from segmentarium.classical.crf.dense import DenseCRF, Kernel
from segmentarium.classical.crf.unaries import from_labels
from segmentarium.classical.levels import Picture, levels, within
from segmentarium.classical.partition import marked
from segmentarium.classical.seeds import require_labels, seed_map
from segmentarium.values import LabelMap


def dense_crf(
    picture: Picture,
    *,
    seeds: Integer[np.ndarray, "*s"],
    unknown: int = 0,
    sure: float = 0.7,
    sigma: float = 80.0,
    contrast: float = 13.0,
    weight: float = 10.0,
    spatial_sigma: float = 3.0,
    spatial_weight: float = 3.0,
    iterations: int = 10,
) -> LabelMap:
    """Clean a rough label map by a fully connected random field.

    Every pixel asks all others to share its label, the more so the nearer they are and the more alike they
    look. ``classical.crf.dense`` takes a network's probabilities, other kernels and label costs.

    Args:
        seeds: a first guess of the labels 1, 2, ...; 0 where there is none.
        unknown: what says in their place that there is no guess: with 255, as in masks of classes, labels
            begin at 0.
        sure: how likely a label of the guess is right.
        sigma: how far pixels of like colours see each other, in pixels, in volumes in mm.
        contrast: how much their colours may differ, in levels from 0 to 255.
        weight: how much they count.
        spatial_sigma: how far pixels see each other whatever their colours.
        spatial_weight: how much these count.
        iterations: steps of the mean field.

    Raises:
        BadArgument: a guess of another size, with fewer than two labels or a gap between them; or a number
            out of its range.
    """
    taken = levels(picture)
    known = seed_map(taken.size, seeds=seeds)
    first = 0 if unknown else 1
    if unknown:
        known = np.where(known == unknown, 0, known + 1)
    classes = require_labels(known, first=first)
    within("weight", weight, 0)
    within("spatial_weight", spatial_weight, 0)
    kernels = Kernel(spatial_sigma, None, spatial_weight), Kernel(sigma, contrast, weight)
    unary = from_labels(known, classes=classes, sure=sure)
    probs = DenseCRF(kernels, iterations).infer(unary, taken.values, spacing=taken.spacing)
    return marked(probs.argmax(0), classes, taken, first=first, probs=probs)
