"""The distance-dependent Chinese restaurant: superpixels link to neighbours, and linked ones are a segment.

Each superpixel links to one of its neighbours or, with weight alpha, to itself; the mean colours of a segment
come from one Gaussian, whose mean and covariance are integrated out. Links are drawn by Gibbs sampling.

Source: Blei and Frazier, "Distance dependent Chinese restaurant processes", 2011, section 3; for pictures
Ghosh et al., "Spatial distance dependent Chinese restaurant processes for image segmentation", 2011.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64, Integer

from segmentarium.classical import ddcrp_kernels as kernels
from segmentarium.classical.levels import Levels, Picture, levels, within
from segmentarium.classical.partition import mean_levels, regions, renumbered
from segmentarium.classical.slic import superpixels
from segmentarium.ops.adjacency import adjacency, neighbour_lists
from segmentarium.values import LabelMap

KAPPA = 0.01
"""How many superpixels the prior's mean counts as."""


def ddcrp(
    picture: Picture,
    *,
    segments: int = 400,
    alpha: float = 1e-4,
    spread: float = 12.0,
    sweeps: int = 100,
    seed: int = 0,
) -> LabelMap:
    """Group superpixels into as many segments as pay (distance-dependent Chinese restaurant process).

    Args:
        segments: about so many superpixels (SLIC).
        alpha: the weight of a link to itself beside 1 for each neighbour; more makes more segments.
        spread: the standard deviation of colours that is expected within a segment, in levels.
        sweeps: of Gibbs sampling; the most probable state that was seen is the answer.

    Raises:
        BadArgument: a number out of its range.
    """
    taken = levels(picture)
    small = superpixels(taken, segments=segments).labels
    found = sample(small, taken, alpha=alpha, spread=spread, sweeps=sweeps, seed=seed)
    best = found.links[int(found.posterior.argmax())]
    return regions(parts(best)[small], taken)


@dataclass(frozen=True, eq=False)
class Samples:
    """The link of each superpixel after each sweep, and the log of their joint probability, unnormalised."""

    links: Int32[np.ndarray, "t n"]
    posterior: Float64[np.ndarray, " t"]


def sample(
    labels: Integer[np.ndarray, "*s"],
    picture: Levels,
    *,
    alpha: float = 1e-4,
    spread: float = 12.0,
    sweeps: int = 100,
    seed: int = 0,
) -> Samples:
    """Gibbs samples of the links of superpixels, which start out alone.

    The prior is normal-inverse-Wishart around the mean colour, with d + 2 degrees of freedom and an expected
    covariance of ``spread ** 2`` times the unit matrix.

    Args:
        labels: superpixels from 0, without a gap.

    Raises:
        BadArgument: a number out of its range.
    """
    within("alpha", alpha, 0, 1e12, open_low=True)
    within("spread", spread, 0, 1e6, open_low=True)
    within("sweeps", sweeps, 1)
    count = int(labels.max()) + 1
    colors = mean_levels(labels, picture, count=count)
    stats, prior = _stats(colors - colors.mean(axis=0)), (KAPPA, picture.channels + 2.0, float(spread) ** 2)
    starts, ends = neighbour_lists(adjacency(labels).pairs, count)
    links, drawn = np.arange(count), np.empty((sweeps, count), np.int64)
    chances = np.random.default_rng(seed).random((sweeps, count))
    kernels.sweep(links, starts, ends, stats, float(alpha), prior, chances, drawn)
    states, which = np.unique(drawn, axis=0, return_inverse=True)
    posterior = np.array([_posterior(state, stats, alpha, prior) for state in states])
    return Samples(drawn.astype(np.int32), posterior[which.ravel()])


def parts(links: Integer[np.ndarray, " n"]) -> Int32[np.ndarray, " n"]:
    """The segment of each superpixel: what hangs together by links."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ends = np.arange(len(links)), np.asarray(links, np.int64)
    graph = coo_array((np.ones(len(links), bool), ends), shape=(len(links),) * 2)
    return renumbered(connected_components(graph, directed=False)[1])[0]


def _stats(points: Float64[np.ndarray, "n d"]) -> Float64[np.ndarray, "n e"]:
    outer = (points[:, :, None] * points[:, None]).reshape(len(points), -1)
    return np.concatenate([np.ones((len(points), 1)), points, outer], axis=1)


def _posterior(
    links: Int64[np.ndarray, " n"],
    stats: Float64[np.ndarray, "n e"],
    alpha: float,
    prior: tuple[float, float, float],
) -> float:
    labels = parts(links)
    sums = np.zeros((int(labels.max()) + 1, stats.shape[1]))
    np.add.at(sums, labels, stats)
    alone = int((links == np.arange(len(links))).sum())
    return float(alone * np.log(alpha) + sum(kernels.evidence(row, prior) for row in sums))
