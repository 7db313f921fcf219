"""DP-means: k-means that finds k, the limit of a Dirichlet process mixture whose clusters get ever narrower.

Source: Kulis and Jordan, "Revisiting k-means: new algorithms via Bayesian nonparametrics", 2012, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int32

from segmentarium.classical import dp_means_kernels as kernels
from segmentarium.classical.kmeans import features
from segmentarium.classical.levels import Picture, levels, within
from segmentarium.classical.partition import regions
from segmentarium.errors import BadArgument
from segmentarium.values import LabelMap


def dp_means(
    picture: Picture,
    *,
    penalty: float = 10000.0,
    weight: float = 1.0,
    iterations: int = 50,
    most: int = 1000,
) -> LabelMap:
    """Cluster pixels by colour and place into as many clusters as pay (DP-means).

    Args:
        penalty: lambda, what a cluster costs: a pixel farther than its square root from all centres founds a
            new one.
        weight: how many levels of colour a pixel of distance counts as (of volumes: a millimetre).
        iterations: at most; it ends before if no pixel changes.
        most: it gives up beyond so many clusters.
    """
    taken = levels(picture)
    within("weight", weight, 0, 1e6)
    points = features(taken, np.arange(int(np.prod(taken.size))), weight)
    found = cluster(points, penalty=penalty, iterations=iterations, most=most)
    return regions(found.labels.reshape(taken.size), taken)


@dataclass(frozen=True, eq=False)
class Clusters:
    """``objective``: squared distances to the centres, plus lambda for each but the first; never rises."""

    labels: Int32[np.ndarray, " n"]
    centers: Float64[np.ndarray, "k d"]
    objective: tuple[float, ...]


def cluster(
    points: Float[np.ndarray, "n d"], *, penalty: float, iterations: int = 50, most: int = 1000
) -> Clusters:
    """DP-means from one cluster at the mean, points in their order.

    Raises:
        BadArgument: more than ``most`` clusters, or a number out of its range.
    """
    within("penalty", penalty, 0)
    within("iterations", iterations, 1)
    within("most", most, 1)
    labels, count = np.full(len(points), -1, np.int32), 1
    centers = np.empty((most, points.shape[1]))
    centers[0] = points.mean(axis=0)
    offset = points - centers[0]  # near zero, so that little cancels in the objective
    square, middle, objective = float(np.square(offset).sum()), centers[0].copy(), []
    for _ in range(iterations):
        count, changed = kernels.assign(points, centers, count, float(penalty), labels)
        if count < 0:
            raise BadArgument(
                f"penalty = {penalty:g} makes more than {most} clusters", allowed="most, or a greater penalty"
            )
        sizes = np.bincount(labels, minlength=count)
        kept = np.cumsum(sizes > 0) - 1
        labels, sizes = kept[labels].astype(np.int32), sizes[sizes > 0]
        count = len(sizes)
        sums = np.stack([np.bincount(labels, column, minlength=count) for column in offset.T], axis=-1)
        means = sums / sizes[:, None]
        centers[:count] = means + middle
        cost = 0.0 if count == 1 else penalty * (count - 1)  # the first is always there
        objective.append(square - float((sizes * np.square(means).sum(axis=1)).sum()) + cost)
        if not changed:
            break
    return Clusters(labels, centers[:count].copy(), tuple(objective))
