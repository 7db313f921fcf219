"""ICM never raises the energy and stops where no single change lowers it."""

import numpy as np
import pytest

from segmentarium.classical.crf.energy import GridCRF, potts
from segmentarium.classical.crf.exact import enumeration
from segmentarium.classical.crf.icm import icm
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import neighbours


def drawn(size, connectivity, *, seed=0):
    rng = np.random.default_rng(seed)
    offsets = neighbours(len(size), connectivity)
    weights = tuple(rng.integers(0, 4, size=(len(offsets), *size)))
    return GridCRF(rng.integers(0, 40, size=(*size, 4)), rng.integers(0, 9, size=(4, 4)), weights, offsets)


@pytest.mark.parametrize(("size", "connectivity"), [((9,), 2), ((6, 7), 4), ((6, 7), 8), ((3, 3, 4), 26)])
def test_ends_in_a_minimum_of_single_changes(size, connectivity):
    for seed in range(3):
        crf = drawn(size, connectivity, seed=seed)
        found = icm(crf)
        assert found.energy == crf.energy(found.labels) <= crf.energy(crf.cheapest())
        assert found.changes[-1] == 0
        for p in np.ndindex(size):
            for label in range(4):
                other = found.labels.copy()
                other[p] = label
                assert crf.energy(other) >= found.energy


def test_energy_never_rises_from_sweep_to_sweep():
    crf = drawn((6, 7), 8)
    start = np.random.default_rng(1).integers(4, size=(6, 7))
    energies = [crf.energy(start)]
    for _ in range(6):
        found = icm(crf, start=start, sweeps=1)
        energies.append(found.energy)
        start = found.labels
    assert sorted(energies, reverse=True) == energies


def test_a_start_is_not_changed_and_a_minimum_is_kept():
    crf = drawn((3, 3), 4)
    best = enumeration(crf).labels
    before = best.copy()
    found = icm(crf, start=best)
    assert found.changes == (0,)
    assert np.array_equal(found.labels, best)
    start = np.zeros((3, 3), np.int32)
    icm(crf, start=start)
    assert not start.any()
    assert np.array_equal(best, before)


def test_one_place_and_refusals():
    lone = GridCRF(np.array([[[5, 2, 7]]]), potts(3, 1), None, neighbours(2, 8))
    assert icm(lone).labels.tolist() == [[1]]
    with pytest.raises(BadArgument, match="from 9 to 9"):
        icm(lone, start=np.array([[9]]))
