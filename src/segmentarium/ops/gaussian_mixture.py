"""Mixtures of Gaussians with full covariances, each point belonging to one component.

Source: Rother, Kolmogorov and Blake 2004 ("GrabCut"), equations 7 to 9.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float64, Int64, Real

from segmentarium.ops import gaussian_mixture_kernels as kernels
from segmentarium.ops.share import share

LEAST_VARIANCE = 1 / 12
"""That of rounding to whole levels: a component is never narrower, along no direction."""

_SAMPLE, _ROUNDS, _TRIALS = 20_000, 10, 4  # of k-means: points looked at, rounds, candidates for a centre


@dataclass(frozen=True, eq=False)
class Mixture:
    """Of ``components``, some of which may be empty.

    ``whiten`` turns a point's distance from a mean into one of unit variance; ``constants`` hold what a
    component costs at its mean, infinite if it is empty.
    """

    means: Float64[np.ndarray, "k c"]
    whiten: Float64[np.ndarray, "k c c"]
    constants: Float64[np.ndarray, " k"]

    def costs(
        self, values: Real[np.ndarray, "n c"]
    ) -> tuple[Float64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """The negative log density of each point under its likeliest component, and which one that is."""
        costs, which = np.empty(len(values)), np.empty(len(values), np.int64)
        points = np.ascontiguousarray(values, np.float32 if values.dtype == np.float32 else np.float64)
        share(
            partial(kernels.likeliest, points, self.means, self.whiten, self.constants, costs, which),
            len(values),
        )
        return costs, which


def learn(values: Real[np.ndarray, "n c"], which: Int64[np.ndarray, " n"], components: int) -> Mixture:
    """The likeliest mixture of points whose components are known, and of variances that are not too small.

    Eigenvalues below :data:`LEAST_VARIANCE` are raised to it, which is the most likely way to obey it.
    """
    channels = values.shape[1]
    means, constants = np.zeros((components, channels)), np.full(components, np.inf)
    whiten = np.zeros((components, channels, channels))
    for k, count in enumerate(np.bincount(which, minlength=components)):
        if count:
            own = values[which == k].astype(np.float64)
            means[k] = own.mean(axis=0)
            own -= means[k]
            variances, axes = np.linalg.eigh(own.T @ own / count)
            variances = np.maximum(variances, LEAST_VARIANCE)
            whiten[k] = axes / np.sqrt(variances)
            volume = channels * np.log(2 * np.pi) + np.log(variances).sum()
            constants[k] = volume / 2 - np.log(count / len(values))
    return Mixture(means, whiten, constants)


def parted(values: Real[np.ndarray, "n c"], components: int, seed: int) -> Int64[np.ndarray, " n"]:
    """Components to begin with: the nearest centre of k-means on a sample of the points.

    Fewer where there are fewer colours than components.

    Source: Arthur and Vassilvitskii 2007 (the first centres, each the best of a few drawn ones).
    """
    draw = np.random.default_rng(seed)
    sample = values
    if len(values) > _SAMPLE:
        sample = values[np.sort(draw.choice(len(values), _SAMPLE, replace=False))]
    sample = sample.astype(np.float64)
    centres = sample[draw.integers(len(sample))][None]
    apart = _squares(sample, centres)[:, 0]
    while len(centres) < components and apart.any():
        candidates = sample[draw.choice(len(sample), _TRIALS, p=apart / apart.sum())]
        nearer = np.minimum(apart[:, None], _squares(sample, candidates))
        best = nearer.sum(axis=0).argmin()
        centres, apart = np.vstack([centres, candidates[best]]), nearer[:, best]
    for _ in range(_ROUNDS):
        nearest = _squares(sample, centres).argmin(axis=1)
        counts = np.bincount(nearest, minlength=len(centres))
        sums = [np.bincount(nearest, channel, len(centres)) for channel in sample.T]
        moved = np.stack(sums, axis=1) / np.maximum(counts, 1)[:, None]
        centres = np.where(counts[:, None] > 0, moved, centres)
    return np.asarray(_squares(values, centres).argmin(axis=1))


def _squares(
    values: Real[np.ndarray, "n c"], centres: Float64[np.ndarray, "k c"]
) -> Float64[np.ndarray, "n k"]:
    return np.stack([np.square(values - centre).sum(axis=1) for centre in centres], axis=1, dtype=np.float64)
