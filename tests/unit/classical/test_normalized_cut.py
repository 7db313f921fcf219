"""Normalised cuts against dense eigenvectors, all thresholds, and the quotient of the paper."""

from __future__ import annotations

from importlib import import_module
from itertools import product

import numpy as np
import pytest
from scipy import linalg, sparse

from segmentarium.classical.levels import levels
from segmentarium.classical.normalized_cut import (
    cut_graph,
    cut_value,
    normalized_cut,
    pixel_ties,
    second_eigenvector,
    split,
    threshold_costs,
)
from segmentarium.errors import BadArgument
from segmentarium.values import Volume


def noise(size: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(90, 130, size).astype(np.uint8)


def every_pixel(size: tuple[int, ...]) -> np.ndarray:
    return np.arange(np.prod(size), dtype=np.int32).reshape(size)


def halves(size: tuple[int, int] = (12, 16)) -> np.ndarray:
    picture = noise(size)
    picture[:, size[1] // 2 :] += 90
    return picture


@pytest.mark.atlas("C14")
@pytest.mark.parametrize("size", [(8, 8), (5, 6, 2), (3, 4, 5)])
def test_ties_are_those_of_the_formula(size: tuple[int, ...]) -> None:
    voxels = noise(size)
    picture = Volume.plain(voxels.astype(np.float32)) if len(size) == 3 and size[-1] == 5 else voxels
    taken = levels(picture)
    found = pixel_ties(taken, every_pixel(taken.size), radius=3.0, sigma_intensity=20.0, sigma_distance=2.0)
    places = list(np.ndindex(taken.size))
    values = taken.values.astype(np.float64)
    expected = np.zeros((len(places),) * 2)
    for (i, p), (j, q) in product(enumerate(places), repeat=2):
        far = np.square(np.subtract(p, q)).sum()
        if far < 9:
            expected[i, j] = np.exp(-np.square(values[p] - values[q]).sum() / 400 - far / 4)
    assert (
        np.abs(found.toarray() - expected).max() < 1e-7
    )  # volumes are stretched to levels in single precision


@pytest.mark.atlas("C14")
def test_the_eigenvector_is_that_of_the_dense_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = pixel_ties(levels(noise((8, 8))), every_pixel((8, 8)))
    dense = weights.toarray()
    degrees = np.diag(dense.sum(0))
    values, vectors = linalg.eigh(degrees - dense, degrees)
    for limit in (600, 2):  # all eigenvectors, and the first two by Lanczos
        monkeypatch.setattr(import_module("segmentarium.classical.normalized_cut"), "DENSE", limit)
        y = second_eigenvector(weights)
        quotient = y @ (degrees - dense) @ y / (y @ degrees @ y)
        assert quotient == pytest.approx(values[1], rel=1e-6)
        cosine = y @ vectors[:, 1] / np.linalg.norm(y) / np.linalg.norm(vectors[:, 1])
        assert abs(cosine) > 1 - 1e-6
        assert y[0] <= 0


@pytest.mark.atlas("C14")
def test_the_cut_is_the_quotient_of_the_paper() -> None:
    weights = pixel_ties(levels(noise((6, 7))), every_pixel((6, 7)))
    dense = weights.toarray()
    degrees = dense.sum(0)
    for seed in range(5):
        side = np.random.default_rng(seed).random(42) < 0.4
        y = np.where(side, 1.0, -degrees[side].sum() / degrees[~side].sum())
        quotient = y @ (np.diag(degrees) - dense) @ y / (y @ (degrees * y))
        assert cut_value(weights, side.astype(np.int32)) == pytest.approx(quotient, rel=1e-12)


@pytest.mark.atlas("C14")
def test_every_threshold_costs_what_its_partition_costs() -> None:
    weights = pixel_ties(levels(noise((6, 7))), every_pixel((6, 7)))
    order = np.random.default_rng(1).permutation(42)
    costs = threshold_costs(weights, order)
    for k, cost in enumerate(costs, 1):
        labels = np.ones(42, np.int32)
        labels[order[:k]] = 0
        assert cost == pytest.approx(cut_value(weights, labels), rel=1e-9)
    best = split(weights)
    assert best.value == pytest.approx(cut_value(weights, best.side.astype(np.int32)))
    assert best.value <= threshold_costs(weights, np.argsort(best.vector)).min() + 1e-12


@pytest.mark.atlas("C14")
def test_two_cliques_split_exactly() -> None:
    dense = np.zeros((12, 12))
    dense[:5, :5] = dense[5:, 5:] = 1
    order = np.random.default_rng(0).permutation(12)
    for bridge in (0.1, 0.0):
        dense[4, 5] = dense[5, 4] = bridge
        mixed = dense[order][:, order]
        labels = cut_graph(sparse.csr_array(mixed), segments=2)
        truth = order < 5
        assert len(np.unique(labels)) == 2
        assert len(np.unique(labels[truth])) == len(np.unique(labels[~truth])) == 1
        assert cut_value(sparse.csr_array(mixed), labels) == pytest.approx(
            bridge / (25 + bridge) + bridge / (49 + bridge)
        )


@pytest.mark.atlas("C14")
def test_superpixels_cost_what_their_pixels_cost() -> None:
    taken = levels(halves())
    fine = pixel_ties(taken, every_pixel((12, 16)))
    nodes = (np.arange(12)[:, None] // 3 * 4 + np.arange(16) // 4).astype(np.int32)
    coarse = pixel_ties(taken, nodes)
    labels = np.arange(16, dtype=np.int32) % 3
    assert cut_value(coarse, labels) == pytest.approx(cut_value(fine, labels[nodes].ravel()), rel=1e-12)


@pytest.mark.parametrize("superpixels", [0, 24])
def test_halves_are_found_and_no_more_than_asked(superpixels: int) -> None:
    picture = halves()
    found = normalized_cut(picture, segments=2, superpixels=superpixels)
    assert np.array_equal(found.labels, np.broadcast_to(np.arange(16) >= 8, (12, 16)).astype(np.int32))
    again = normalized_cut(picture, segments=2, superpixels=superpixels)
    assert np.array_equal(found.labels, again.labels)
    few = normalized_cut(picture, threshold=0.05, superpixels=superpixels)
    assert few.labels.max() == 1
    assert normalized_cut(picture, segments=7, threshold=2.0, superpixels=superpixels).labels.max() == 6


def test_what_is_hardly_a_picture() -> None:
    assert normalized_cut(np.full((1, 1), 3, np.uint8)).labels.tolist() == [[0]]
    assert normalized_cut(np.full((9, 9, 3), 3, np.uint8), segments=1).labels.max() == 0
    assert normalized_cut(np.full((9, 9), 3, np.uint8), segments=3, threshold=2.0).labels.max() == 2
    with pytest.raises(BadArgument, match="radius = 0"):
        normalized_cut(np.zeros((4, 4), np.uint8), radius=0.0)
    with pytest.raises(BadArgument, match="segments"):
        normalized_cut(np.zeros((4, 4), np.uint8), segments=0)
