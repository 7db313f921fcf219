"""Over-segment, then let similar neighbours grow together: k-means in x, y, r, g, b, pieces, merging.

The oldest recipe of the lectures, in arrays: a heap of pairs of neighbours by the distance of their mean
colours, which change as regions grow.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Int32, Integer

from segmentarium.classical import merging_kernels as kernels
from segmentarium.classical.kmeans import lloyd, plus_plus
from segmentarium.classical.levels import Levels, Picture, levels, within
from segmentarium.classical.partition import regions, renumbered
from segmentarium.classical.slic import superpixels
from segmentarium.ops.adjacency import adjacency, neighbour_lists
from segmentarium.ops.components import pieces
from segmentarium.values import LabelMap


def merging(
    picture: Picture,
    *,
    threshold: float = 20.0,
    smallest: int = 20,
    start: Literal["kmeans", "slic"] = "kmeans",
    clusters: int = 50,
    weight: float = 1.0,
    segments: int = 1000,
    seed: int = 0,
) -> LabelMap:
    """Over-segment and merge regions of similar colour, the most similar neighbours first.

    Args:
        threshold: regions merge while their mean colours are nearer than that; 0 merges none.
        smallest: then regions of fewer pixels go to the neighbour of nearest colour.
        start: what is merged: the connected pieces of k-means clusters, or superpixels.
        clusters: of k-means.
        weight: of k-means: how many levels of colour a pixel of distance counts as (of volumes: a
            millimetre).
        segments: about so many superpixels.

    Raises:
        BadArgument: a number out of its range, or fewer different points than clusters.
    """
    taken = levels(picture)
    if start == "slic":
        labels = superpixels(taken, segments=segments).labels
    else:
        centers = plus_plus(taken, clusters=clusters, weight=weight, seed=seed)
        labels = lloyd(taken, centers, weight=weight).labels
    return regions(merge(pieces(labels), taken, threshold=threshold, smallest=smallest), taken)


def merge(
    labels: Integer[np.ndarray, "*s"],
    picture: Levels,
    *,
    threshold: float,
    smallest: int = 0,
    connectivity: int = 1,
) -> Int32[np.ndarray, "*s"]:
    """Merge regions that touch and whose mean colours are alike.

    The nearest pair first; of pairs equally near, the one whose regions come first in a scan.

    Args:
        threshold: regions merge while the distance of their mean colours is less.
        smallest: then regions of fewer pixels, the smallest first, go to the neighbour of nearest colour.
        connectivity: which pixels touch, as in :func:`segmentarium.ops.adjacency.adjacency`.

    Returns:
        Labels from 0 in the order of a scan.

    Raises:
        BadArgument: a threshold or a size below 0.
    """
    within("threshold", threshold, 0)
    within("smallest", smallest, 0)
    numbered, count = renumbered(labels)
    flat = numbered.ravel()
    sizes = np.bincount(flat, minlength=count).astype(np.int64)
    channels = (picture.values[..., c].ravel() for c in range(picture.channels))
    sums = np.stack([np.bincount(flat, channel, minlength=count) for channel in channels], axis=-1)
    starts, ends = neighbour_lists(adjacency(numbered, connectivity).pairs, count)
    home = kernels.merge(starts, ends, sums, sizes, float(threshold), int(smallest))
    return renumbered(home[numbered])[0]
