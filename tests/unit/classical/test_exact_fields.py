"""Two ways to the exact answer agree, and both agree with sums written out."""

from itertools import product

import numpy as np
import pytest

from segmentarium.classical.crf.energy import GridCRF, contrast_weights, potts
from segmentarium.classical.crf.exact import enumeration, transfer_matrix
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import neighbours


def drawn(size, connectivity, *, labels, whole=False, seed=0):
    rng = np.random.default_rng(seed)
    offsets = neighbours(len(size), connectivity)
    if whole:
        return GridCRF(
            rng.integers(9, size=(*size, labels)), rng.integers(5, size=(labels, labels)), None, offsets
        )
    weights = contrast_weights(rng.normal(size=(*size, 1)), offsets)
    return GridCRF(rng.normal(size=(*size, labels)), rng.normal(size=(labels, labels)), weights, offsets)


@pytest.mark.atlas("R02")
def test_enumeration_is_the_sum_over_all_labelings():
    crf = drawn((2, 3), 8, labels=2)
    labelings = [np.reshape(labels, (2, 3)) for labels in product(range(2), repeat=6)]
    energies = np.array([crf.energy(labels) for labels in labelings])
    found = enumeration(crf)
    assert found.log_partition == pytest.approx(np.log(np.exp(-energies).sum()), abs=1e-12)
    chances = np.exp(-energies - found.log_partition)
    ones = sum(chance * labels for chance, labels in zip(chances, labelings, strict=True))
    assert found.marginals[..., 1] == pytest.approx(ones, abs=1e-12)
    assert np.array_equal(found.labels, labelings[int(energies.argmin())])
    assert found.energy == energies.min()


@pytest.mark.atlas("R02")
@pytest.mark.parametrize(
    ("size", "connectivity", "labels"),
    [
        ((9,), 2, 3),
        ((4, 4), 4, 2),
        ((3, 4), 8, 3),
        ((4, 3), 8, 3),
        ((6, 1), 8, 4),
        ((2, 2, 3), 6, 3),
        ((2, 2, 3), 26, 3),
        ((2, 8), 4, 2),
        ((8, 2), 8, 2),
        ((1, 1), 4, 5),
        ((2, 3), 4, 1),
    ],
)
def test_enumeration_and_transfer_matrix_agree(size, connectivity, labels):
    for whole in (True, False):
        crf = drawn(size, connectivity, labels=labels, whole=whole)
        one, other = enumeration(crf), transfer_matrix(crf)
        assert one.log_partition == pytest.approx(other.log_partition, abs=1e-10)
        assert np.abs(one.marginals - other.marginals).max() < 1e-10
        assert one.energy == pytest.approx(other.energy, abs=1e-12)
        assert whole or np.array_equal(one.labels, other.labels)
        assert one.marginals.sum(axis=-1) == pytest.approx(np.ones(size), abs=1e-12)


@pytest.mark.atlas("R02")
def test_the_model_of_the_atlas():
    """Rewards drawn from a normal distribution with the seed 1, and 0.6 for equal neighbours."""
    rewards = np.random.default_rng(1).normal(size=(3, 4, 3))
    crf = GridCRF(-rewards, -0.6 * np.eye(3), None, neighbours(2, 4))
    assert enumeration(crf).log_partition == pytest.approx(20.522153, abs=5e-7)
    costly = GridCRF(-rewards, potts(3, 0.6), None, neighbours(2, 4))
    assert transfer_matrix(costly).log_partition == pytest.approx(20.522153 - 17 * 0.6, abs=5e-7)


@pytest.mark.atlas("R02")
def test_ising_grid_of_eight_across_against_whole_rows():
    """The textbook's transfer matrix, from row to row."""
    coupling, states = 0.4, np.array(list(product((0, 1), repeat=8)))
    within = coupling * (states[:, 1:] != states[:, :-1]).sum(axis=1)
    between = coupling * (states[:, None] != states).sum(axis=-1)
    sums = np.exp(-within)
    for _ in range(7):
        sums = np.exp(-within) * (np.exp(-between) @ sums)
    crf = GridCRF(np.zeros((8, 8, 2)), potts(2, coupling), None, neighbours(2, 4))
    found = transfer_matrix(crf)
    assert found.log_partition == pytest.approx(np.log(sums.sum()), abs=1e-10)
    assert found.marginals == pytest.approx(np.full((8, 8, 2), 0.5), abs=1e-12)


def test_large_fields_are_refused():
    crf = GridCRF(np.zeros((16, 16, 3)), potts(3, 1.0), None, neighbours(2, 4))
    for method in (enumeration, transfer_matrix):
        with pytest.raises(BadArgument, match="use "):
            method(crf)
