"""A Dirichlet process mixture of Gaussians over colours and places: it takes as many as the picture asks for.

The stick is broken into a given number of pieces at most, and the posterior is approached by variational
inference on a sample of the pixels.
Source: Blei and Jordan, "Variational inference for Dirichlet process mixtures", 2006; as in scikit-learn.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32

from segmentarium.classical.kmeans import features
from segmentarium.classical.levels import Levels, Picture, levels, within
from segmentarium.classical.partition import regions
from segmentarium.values import LabelMap

OCCUPIED = 1e-3
"""A component of at least that weight counts."""
ROUNDING = 1 / 12
"""The variance of rounding to whole levels, which every component may have."""
CHUNK = 2**16


def dirichlet_mixture(
    picture: Picture,
    *,
    components: int = 30,
    concentration: float = 1.0,
    weight: float = 1.0,
    iterations: int = 200,
    sample: int = 10000,
    seed: int = 0,
) -> LabelMap:
    """Cluster pixels by colour and place with a mixture that decides how many clusters it needs.

    Args:
        components: the most there can be.
        concentration: of the Dirichlet process; more makes more components.
        weight: how many levels of colour a pixel of distance counts as (of volumes: a millimetre).
        sample: pixels that the mixture is fitted to; all are labelled.
    """
    taken = levels(picture)
    found = fit(taken, components, concentration, weight, iterations=iterations, sample=sample, seed=seed)
    return regions(found.labels, taken)


@dataclass(frozen=True, eq=False)
class Mixture:
    """``elbo``: the lower bound of the evidence of the sample after each step; never falls."""

    labels: Int32[np.ndarray, "*s"]
    weights: Float64[np.ndarray, " k"]
    elbo: tuple[float, ...]
    converged: bool

    @property
    def occupied(self) -> int:
        return int((self.weights > OCCUPIED).sum())


def fit(
    picture: Levels,
    components: int = 30,
    concentration: float = 1.0,
    weight: float = 1.0,
    *,
    iterations: int = 200,
    sample: int = 10000,
    seed: int = 0,
) -> Mixture:
    """:func:`dirichlet_mixture` with all that it knows.

    Raises:
        BadArgument: a number out of its range.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture

    within("components", components, 1)
    within("concentration", concentration, 0, open_low=True)
    within("weight", weight, 0, 1e6)
    within("iterations", iterations, 1)
    within("sample", sample, 2)
    count = int(np.prod(picture.size))
    random = np.random.default_rng(seed)
    drawn = np.sort(random.choice(count, sample, replace=False)) if count > sample else np.arange(count)
    skipped = 0 if weight else len(picture.size)  # columns of zeros are no dimensions
    points = features(picture, drawn, weight)[:, skipped:]
    most = min(components, len(np.unique(points, axis=0)))
    if most == 1:
        return Mixture(np.zeros(picture.size, np.int32), np.ones(1), (), True)
    mixture = BayesianGaussianMixture(
        n_components=most,
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=concentration,
        init_params="k-means++",
        max_iter=iterations,
        covariance_prior=np.cov(points.T).reshape((points.shape[1],) * 2)
        + ROUNDING * np.eye(points.shape[1]),
        random_state=seed,
    )
    with warnings.catch_warnings():  # whether it converged is part of the answer
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(points)
    parts = np.array_split(np.arange(count), -(-count // CHUNK))
    labels = np.concatenate([mixture.predict(features(picture, part, weight)[:, skipped:]) for part in parts])
    elbo = tuple(float(bound) for bound in mixture.lower_bounds_)
    return Mixture(
        labels.reshape(picture.size).astype(np.int32), mixture.weights_, elbo, bool(mixture.converged_)
    )
