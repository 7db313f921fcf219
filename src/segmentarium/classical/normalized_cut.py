"""Normalised cuts: parts of a picture that hold together more than they are tied to the rest.

Source: Shi and Malik 2000, "Normalized cuts and image segmentation", sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import ceil, exp

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, Integer
from scipy import linalg, sparse

from segmentarium.classical import normalized_cut_kernels as kernels
from segmentarium.classical.levels import Levels, Picture, levels, within
from segmentarium.classical.partition import regions, renumbered
from segmentarium.classical.slic import superpixels as slic_superpixels
from segmentarium.values import LabelMap

DENSE = 600
"""Up to here all eigenvectors at once are quicker than the first two alone."""


@dataclass(frozen=True, eq=False)
class Split:
    """A graph cut in two: ``side`` is True for the nodes whose value in ``vector`` is above the threshold.

    ``value`` is its normalised cut, from 0 to 2; infinite where there is nothing to split.
    """

    side: Bool[np.ndarray, " n"]
    value: float
    vector: Float64[np.ndarray, " n"]


def normalized_cut(
    picture: Picture,
    *,
    segments: int = 10,
    threshold: float = 1.0,
    superpixels: int = 600,
    radius: float = 5.0,
    sigma_intensity: float = 25.0,
    sigma_distance: float = 4.0,
    seed: int = 0,
) -> LabelMap:
    """Normalised cuts, one after the other, of the part whose cut is the cheapest.

    Pixels less than ``radius`` apart are tied by exp(-(F / sigma_intensity)^2 - (X / sigma_distance)^2), F
    being how far their colours are apart and X how far their places. A part is cut where the second
    generalised eigenvector says, at that of all thresholds whose normalised cut is least.

    Args:
        segments: at most so many parts.
        threshold: parts are cut only while the normalised cut stays below it: from 0 to 2. With the other
            numbers as they are, 0.02 leaves about 40 parts of a photograph.
        superpixels: into how many SLIC superpixels the picture is put first; parts are made of whole ones,
            while the ties between them remain those of all their pixels. 0 cuts pixels: slow for more than
            100 x 100 of them.
        radius: in pixels, as is ``sigma_distance``, of volumes too.
        seed: of the eigensolver's first guess; it matters only beyond 600 nodes.
    """
    taken = levels(picture)
    within("segments", segments, 1)
    within("superpixels", superpixels, 0)
    count = int(np.prod(taken.size))
    if superpixels and superpixels < count:
        nodes = slic_superpixels(taken, superpixels).labels
    else:
        nodes = np.arange(count, dtype=np.int32).reshape(taken.size)
    weights = pixel_ties(
        taken, nodes, radius=radius, sigma_intensity=sigma_intensity, sigma_distance=sigma_distance
    )
    return regions(cut_graph(weights, segments=segments, threshold=threshold, seed=seed)[nodes], taken)


def pixel_ties(
    picture: Levels,
    nodes: Integer[np.ndarray, "*s"],
    *,
    radius: float = 5.0,
    sigma_intensity: float = 25.0,
    sigma_distance: float = 4.0,
) -> sparse.csr_array:
    """The symmetric matrix of the ties between nodes, each the sum of those of its pixels.

    A pixel is tied to itself by 1. What a cut of nodes costs is what the cut of their pixels costs.

    Raises:
        BadArgument: a number is not above 0.
    """
    for name, value in (
        ("radius", radius),
        ("sigma_intensity", sigma_intensity),
        ("sigma_distance", sigma_distance),
    ):
        within(name, value, 0, open_low=True)
    count = int(nodes.max()) + 1
    flat = picture.values.ndim == 3
    values, labels = (picture.values[None], nodes[None]) if flat else (picture.values, nodes)
    half = sparse.csr_array((count, count), dtype=np.float64)
    one, other = np.empty(nodes.size, np.int32), np.empty(nodes.size, np.int32)
    ties = np.empty(nodes.size)
    for offset in _offsets(radius, flat=flat):
        near = exp(-sum(step**2 for step in offset) / sigma_distance**2)
        n = kernels.tie(values, offset, near, float(sigma_intensity), labels, one, other, ties)
        half = half + sparse.coo_array((ties[:n], (one[:n], other[:n])), (count, count)).tocsr()
    own = sparse.diags_array(np.bincount(nodes.ravel(), minlength=count).astype(np.float64))
    return sparse.csr_array(half + half.T + own)


def _offsets(radius: float, *, flat: bool) -> Iterator[tuple[int, int, int]]:
    """The places less than ``radius`` away, one of each two opposite ones."""
    reach = ceil(radius) - 1
    along = range(-reach, reach + 1)
    for offset in product((0,) if flat else along, along, along):
        if offset > (0, 0, 0) and sum(step**2 for step in offset) < radius**2:
            yield offset


def cut_graph(
    weights: sparse.csr_array, *, segments: int, threshold: float = 2.0, seed: int = 0
) -> Int32[np.ndarray, " n"]:
    """Cut in two the part whose cut is the cheapest, until it costs ``threshold`` or there are ``segments``.

    Without a limit to the parts this is the paper's recursion, whose order does not matter.
    """
    parts = [np.arange(weights.shape[0])]
    cuts = [split(weights, seed=seed)]
    while len(parts) < segments:
        cheapest = min(range(len(parts)), key=lambda part: cuts[part].value)
        if cuts[cheapest].value >= threshold:
            break
        part, side = parts[cheapest], cuts[cheapest].side
        halves = [part[~side], part[side]]
        parts[cheapest : cheapest + 1] = halves
        cuts[cheapest : cheapest + 1] = [split(weights[half][:, half], seed=seed) for half in halves]
    labels = np.empty(weights.shape[0], np.int32)
    for number, part in enumerate(parts):
        labels[part] = number
    return renumbered(labels)[0]


def split(weights: sparse.csr_array, *, seed: int = 0) -> Split:
    """Split a graph by its second generalised eigenvector, at the cheapest of all thresholds.

    A graph in several pieces is split between them, for nothing.
    """
    count = weights.shape[0]
    nothing = np.zeros(count)
    if count < 2:
        return Split(nothing > 0, np.inf, nothing)
    pieces, piece = sparse.csgraph.connected_components(weights, directed=False)
    vector = (piece > 0).astype(np.float64) if pieces > 1 else second_eigenvector(weights, seed=seed)
    order = np.argsort(vector, kind="stable")
    costs = threshold_costs(weights, order)
    costs[np.diff(vector[order]) <= 0] = np.inf  # a threshold parts no equals
    best = int(costs.argmin())
    side = np.zeros(count, bool)
    side[order[best + 1 :]] = True
    return Split(side, float(costs[best]), vector)


def second_eigenvector(weights: sparse.csr_array, *, seed: int = 0) -> Float64[np.ndarray, " n"]:
    """The y of (D - W) y = lambda D y with the second least lambda; its first entry is not positive.

    Found as the second largest of D^-1/2 W D^-1/2, whose vectors are D^1/2 y.
    """
    scale = 1 / np.sqrt(weights.sum(axis=0))
    balanced = sparse.diags_array(scale) @ weights @ sparse.diags_array(scale)
    count = weights.shape[0]
    if count <= DENSE:
        _, vectors = linalg.eigh(balanced.toarray(), subset_by_index=(count - 2, count - 1))
        second = vectors[:, 0]
    else:
        guess = np.random.default_rng(seed).standard_normal(count)
        values, vectors = sparse.linalg.eigsh(balanced, k=2, which="LA", v0=guess, tol=1e-6)
        second = vectors[:, values.argmin()]
    y = second * scale
    return np.asarray(-y if y[0] > 0 else y)


def threshold_costs(weights: sparse.csr_array, order: Int64[np.ndarray, " n"]) -> Float64[np.ndarray, " m"]:
    """The normalised cut between the first nodes of an order and the others, for 1, 2, ... n - 1 of them."""
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    ties = weights.tocoo()
    one, other = rank[ties.row], rank[ties.col]
    across = one < other
    change = np.bincount(one[across], ties.data[across], len(order))
    change -= np.bincount(other[across], ties.data[across], len(order))
    cut = np.maximum(np.cumsum(change)[:-1], 0)
    before = np.cumsum(weights.sum(axis=0)[order])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(cut / before[:-1] + cut / (before[-1] - before[:-1]))


def cut_value(weights: sparse.csr_array, labels: Integer[np.ndarray, " n"]) -> float:
    """The normalised cut of a partition: the sum over its parts of cut(A, V - A) / assoc(A, V).

    >>> cut_value(sparse.csr_array(np.array([[1.0, 1.0], [1.0, 3.0]])), np.array([0, 1]))
    0.75
    """
    ties = weights.tocoo()
    across = labels[ties.row] != labels[ties.col]
    count = int(labels.max()) + 1
    cut = np.bincount(labels[ties.row[across]], ties.data[across], count)
    tied = np.bincount(labels[ties.row], ties.data, count)
    return float((cut[tied > 0] / tied[tied > 0]).sum())
