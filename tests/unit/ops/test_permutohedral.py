"""The lattice equals its plain twin, in both directions; what it gives back to each feature is exact."""

from __future__ import annotations

import numpy as np
import pytest
from permutohedral_twin import TwinLattice

from segmentarium.errors import BadArgument
from segmentarium.ops import permutohedral
from segmentarium.ops.permutohedral import Lattice


def scattered(n: int, d: int, *, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(100 * d + n)
    features = (spread * rng.standard_normal((n, d))).astype(np.float32)
    return features, rng.standard_normal((n, 3)).astype(np.float32)


def largest_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / max(1.0, np.abs(theirs).max()))


@pytest.mark.atlas("R10")
@pytest.mark.parametrize("d", range(1, 9))
def test_equals_the_twin(d: int) -> None:
    features, values = scattered(250, d)
    lattice, twin = Lattice(features), TwinLattice(features)
    assert lattice.size == len(twin.keys)
    np.testing.assert_allclose(lattice.weights.sum(1), 1, atol=1e-5)
    assert largest_error(lattice.filter(values), twin.filter(values)) < 2e-6
    assert largest_error(lattice.filter(values, reverse=True), twin.filter(values, reverse=True)) < 2e-6


@pytest.mark.atlas("R10")
def test_bands_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    features, values = scattered(3000, 2)
    whole = Lattice(features)
    monkeypatch.setattr(permutohedral, "LEAST_BAND", 200)
    banded = Lattice(features)
    assert len(banded.edges) == 1 + 15
    np.testing.assert_array_equal(banded.offsets, whole.offsets)
    np.testing.assert_array_equal(banded.ahead, whole.ahead)
    np.testing.assert_array_equal(banded.behind, whole.behind)
    assert largest_error(banded.filter(values), whole.filter(values)) < 2e-6


@pytest.mark.atlas("R10")
def test_ties_go_to_the_even_multiple() -> None:
    steps = np.array([[-1.5], [-0.5], [0.5], [1.5]], np.float32) * np.float32(np.sqrt(3) / 2 * np.sqrt(2))
    features = np.concatenate([steps, np.zeros((1, 1), np.float32)])
    values = np.eye(5, dtype=np.float32)
    assert largest_error(Lattice(features).filter(values), TwinLattice(features).filter(values)) < 1e-6


@pytest.mark.atlas("R10", "R11")
@pytest.mark.parametrize("d", [2, 5])
def test_the_reverse_is_the_adjoint(d: int) -> None:
    features, a = scattered(400, d)
    b = np.random.default_rng(1).standard_normal(a.shape).astype(np.float32)
    lattice = Lattice(features)
    ahead, back = lattice.filter(a).astype(float), lattice.filter(b, reverse=True).astype(float)
    scale = np.linalg.norm(b) * np.linalg.norm(ahead)
    assert abs((b * ahead).sum() - (back * a).sum()) < 1e-6 * scale
    assert abs((b * ahead).sum() - (lattice.filter(b).astype(float) * a).sum()) > 1e-5 * scale


@pytest.mark.atlas("R12")
@pytest.mark.parametrize(("d", "spread"), [(1, 3.0), (2, 2.0), (3, 1.0), (5, 0.7), (5, 3.0)])
def test_the_diagonal_is_what_a_one_gets_back(d: int, spread: float) -> None:
    features, _ = scattered(120, d, spread=spread)
    lattice = Lattice(features)
    alone = np.diag(lattice.filter(np.eye(120, dtype=np.float32)))
    np.testing.assert_allclose(lattice.diagonal(), alone, atol=1e-6)


@pytest.mark.atlas("R10")
def test_a_dense_grid_approaches_the_gaussian() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(41.0)] * 2, indexing="ij"), -1).reshape(-1, 2) / 4
    lattice = Lattice(grid.astype(np.float32))
    middle = np.zeros((len(grid), 1), np.float32)
    middle[len(grid) // 2] = 1
    exact = np.exp(-np.square(grid - grid[len(grid) // 2]).sum(1) / 2)
    assert 0.8 < lattice.filter(middle).sum() / exact.sum() < 1.0


def test_one_feature_and_equal_features() -> None:
    same = np.zeros((7, 4), np.float32)
    assert Lattice(same).size == 5
    one = Lattice(same[:1]).filter(np.ones((1, 2), np.float32))
    assert 0.9 < one[0, 0] == one[0, 1] < 1  # points on the way round are missing
    np.testing.assert_allclose(Lattice(same).norm(), 7 * one[0, 0], rtol=1e-6)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (np.zeros((0, 2), np.float32), "at least one feature"),
        (np.zeros((2, 16), np.float32), "1 to 15 dimensions"),
        (np.full((2, 2), np.nan, np.float32), "NaN or infinite"),
        (np.array([[0, 0], [np.inf, 1]], np.float32), "NaN or infinite"),
        (np.array([[0.0], [1e8]], np.float32), "widen the Gaussian"),
        (np.array([[0] * 8, [1e4] * 8], np.float32), "widen the Gaussian"),
    ],
)
def test_what_is_refused(features: np.ndarray, said: str) -> None:
    with pytest.raises(BadArgument, match=said):
        Lattice(features)


def test_values_are_one_row_a_feature() -> None:
    for rows in (9, 11, 100_000):
        with pytest.raises(BadArgument, match="allowed: 10, one a feature"):
            Lattice(scattered(10, 2)[0]).filter(np.ones((rows, 2), np.float32))
