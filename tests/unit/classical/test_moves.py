"""Expansion and swap moves against all labels there are, and against PyMaxflow."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest

from segmentarium.classical.crf.energy import GridCRF, potts, truncated_linear, truncated_quadratic
from segmentarium.classical.crf.moves import expansion, swap
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import neighbours


def field(
    size: tuple[int, ...],
    pairwise: np.ndarray,
    *,
    seed: int = 0,
    connectivity: int | None = None,
    weighted: bool = True,
    floats: bool = False,
) -> GridCRF:
    draw = np.random.default_rng(seed)
    offsets = neighbours(len(size), connectivity or 2 * len(size))
    unary = draw.integers(0, 100, (*size, len(pairwise)))
    weights = tuple(draw.integers(0, 4, size) for _ in offsets) if weighted else None
    if floats:
        unary = unary * draw.random(unary.shape)
    return GridCRF(unary, pairwise, weights, offsets)


def least(crf: GridCRF) -> float:
    """The least energy of all labels there are."""
    count = int(np.prod(crf.size))
    return min(
        crf.energy(np.array(labels, np.int32).reshape(crf.size))
        for labels in product(range(crf.labels), repeat=count)
    )


@pytest.mark.atlas("R07")
@pytest.mark.parametrize("seed", range(4))
def test_two_labels_reach_the_least_energy(seed: int) -> None:
    crf = field((3, 3), potts(2, 20), seed=seed, connectivity=8)
    assert expansion(crf).energy == swap(crf).energy == least(crf)


@pytest.mark.atlas("R07")
@pytest.mark.parametrize("seed", range(3))
def test_expansion_stays_within_its_bound(seed: int) -> None:
    crf = field((2, 3), truncated_linear(3, 10, 15), seed=seed)
    best = least(crf)
    assert best <= expansion(crf).energy <= 2 * 15 / 10 * best


@pytest.mark.atlas("R07")
@pytest.mark.parametrize("seed", range(3))
def test_no_single_expansion_lowers_the_end(seed: int) -> None:
    crf = field((2, 3), potts(3, 12), seed=seed)
    found = expansion(crf)
    for label in range(3):
        for taken in product([False, True], repeat=6):
            moved = np.where(np.reshape(taken, (2, 3)), label, found.labels).astype(np.int32)
            assert crf.energy(moved) >= found.energy


@pytest.mark.atlas("R08")
def test_no_single_swap_lowers_the_end() -> None:
    crf = field((2, 3), truncated_quadratic(3, 6, 20), seed=5)
    found = swap(crf)
    for a, b in [(0, 1), (0, 2), (1, 2)]:
        free = np.isin(found.labels, [a, b])
        for chosen in product([a, b], repeat=int(free.sum())):
            moved = found.labels.copy()
            moved[free] = chosen
            assert crf.energy(moved) >= found.energy


@pytest.mark.atlas("R07", "R08")
@pytest.mark.parametrize(
    ("size", "connectivity"), [((9,), 2), ((12, 9), 4), ((12, 9), 8), ((4, 5, 6), 6), ((4, 5, 6), 26)]
)
@pytest.mark.parametrize("floats", [False, True])
def test_energy_never_rises(size: tuple[int, ...], connectivity: int, floats: bool) -> None:
    crf = field(size, potts(5, 20), connectivity=connectivity, floats=floats)
    for found in (expansion(crf), swap(crf)):
        assert found.energy == crf.energy(found.labels) < found.energies[0]
        assert all(b <= a + 1e-9 for a, b in pairwise(found.energies))
        assert found.settled
        assert isinstance(found.energy, float if floats else int)
        assert found.labels.dtype == np.int32


@pytest.mark.atlas("R07", "R08")
@pytest.mark.parametrize("seed", range(4))
def test_energies_equal_those_of_pymaxflow(seed: int) -> None:
    fast = pytest.importorskip("maxflow.fastmin")
    crf = field((24, 24), potts(4, 25), seed=seed, weighted=False)  # ties are broken alike
    for ours, theirs in ((expansion, fast.aexpansion_grid), (swap, fast.abswap_grid)):
        labels = theirs(crf.unary.copy(), crf.pairwise.copy(), None)
        assert ours(crf).energy == crf.energy(labels.astype(np.int32))


@pytest.mark.atlas("R07")
def test_expansion_refuses_what_is_no_metric() -> None:
    crf = field((5, 5), truncated_quadratic(4, 5, 40))
    with pytest.raises(BadArgument, match=r"no metric.*take swap"):
        expansion(crf)


@pytest.mark.atlas("R07")
@pytest.mark.parametrize("seed", range(4))
def test_truncated_expansion_never_raises_the_energy(seed: int) -> None:
    crf = field((9, 8), truncated_quadratic(5, 5, 60), seed=seed)
    energies = expansion(crf, truncate=True).energies
    assert all(b <= a for a, b in pairwise(energies))
    assert energies[-1] < energies[0]


@pytest.mark.atlas("R08")
def test_swap_refuses_what_is_no_semimetric() -> None:
    with pytest.raises(BadArgument, match="no semimetric"):
        swap(field((3, 3), np.array([[0, 1], [2, 0]])))


def test_starts_where_it_is_told() -> None:
    crf = field((8, 8), potts(3, 15))
    start = np.full((8, 8), 2, np.int32)
    found = expansion(crf, start=start)
    assert found.energies[0] == crf.energy(start)
    assert (start == 2).all()
    assert expansion(crf, start=found.labels).energies == (found.energy, found.energy)


def test_one_place_and_one_label() -> None:
    single = GridCRF(np.array([[[7, 3, 5]]]), potts(3, 9), None, neighbours(2, 4))
    assert expansion(single).energy == swap(single).energy == 3
    only = GridCRF(np.full((2, 2, 1), 4), potts(1, 9), None, neighbours(2, 4))
    assert expansion(only).energy == swap(only).energy == 16


def test_stops_after_the_sweeps_it_may_take() -> None:
    crf = field((12, 12), potts(6, 30), seed=2)
    found = expansion(crf, sweeps=1)
    assert len(found.energies) == 2
    assert not found.settled
