"""Mean field's bound, its descent, and the fixed point it claims."""

import numpy as np
import pytest
from scipy.special import softmax

from segmentarium.classical.crf.energy import GridCRF, contrast_weights, potts
from segmentarium.classical.crf.exact import enumeration, transfer_matrix
from segmentarium.classical.crf.mean_field import free_energy, mean_field
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import both_ends, neighbours


def drawn(size, connectivity, *, labels=3, seed=0):
    rng = np.random.default_rng(seed)
    offsets = neighbours(len(size), connectivity)
    weights = contrast_weights(rng.normal(size=(*size, 1)), offsets)
    return GridCRF(rng.normal(size=(*size, labels)), 2 * rng.normal(size=(labels, labels)), weights, offsets)


def by_arrays(crf, probs):
    """One parallel update, a view of the whole grid for each pair of ends."""
    costs = crf.unary.astype(float)
    for offset, weights in zip(crf.offsets, crf.weights, strict=True):
        first, second = both_ends(offset)
        costs[first] += weights[first][..., None] * (probs[second] @ crf.pairwise.T)
        costs[second] += weights[first][..., None] * (probs[first] @ crf.pairwise)
    return softmax(-costs, axis=-1)


@pytest.mark.atlas("R09", "R20")
@pytest.mark.parametrize(("size", "connectivity"), [((9,), 2), ((3, 4), 4), ((3, 4), 8), ((2, 2, 3), 26)])
def test_free_energy_falls_and_bounds_the_partition(size, connectivity):
    for seed in range(3):
        crf = drawn(size, connectivity, seed=seed)
        found = mean_field(crf, iterations=200, tolerance=1e-12)
        assert np.diff(found.free_energies).max() <= 1e-12
        assert -found.free_energies[-1] <= enumeration(crf).log_partition
        assert found.free_energies[-1] == pytest.approx(free_energy(crf, found.marginals), abs=1e-10)
        assert found.residuals[-1] <= 1e-12
        assert by_arrays(crf, found.marginals) == pytest.approx(found.marginals, abs=1e-10)


@pytest.mark.atlas("R09")
def test_parallel_updates_are_the_plain_formula():
    crf = drawn((4, 5), 8)
    probs = softmax(-crf.unary, axis=-1)
    for _ in range(3):
        probs = by_arrays(crf, probs)
    found = mean_field(crf, updates="parallel", iterations=3, tolerance=0.0)
    assert found.marginals == pytest.approx(probs, abs=1e-12)


@pytest.mark.atlas("R09")
def test_parallel_updates_may_oscillate_and_coloured_ones_do_not():
    """Every place wants another label than its neighbours had: together they change for ever."""
    unary = np.zeros((4, 4, 2))
    unary[..., 0] = 0.1
    crf = GridCRF(unary, -potts(2, 3.0), None, neighbours(2, 4))
    parallel = mean_field(crf, updates="parallel", iterations=100)
    assert parallel.residuals[-1] > 0.5
    assert np.diff(parallel.free_energies).max() > 1
    coloured = mean_field(crf, iterations=100)
    assert coloured.residuals[-1] <= 1e-6
    assert np.diff(coloured.free_energies).max() <= 1e-12
    assert coloured.free_energies[-1] < parallel.free_energies[-1] - 10


@pytest.mark.atlas("R09", "R20")
def test_the_model_of_the_atlas():
    """The atlas found marginals 0.046 from exact ones; the free energy is exact where nothing is coupled."""
    unary = -np.random.default_rng(1).normal(size=(3, 4, 3))
    crf = GridCRF(unary, potts(3, 0.6), None, neighbours(2, 4))
    exact, found = transfer_matrix(crf), mean_field(crf, iterations=200, tolerance=1e-10)
    assert np.abs(found.marginals - exact.marginals).max() == pytest.approx(0.046, abs=5e-4)
    loose = GridCRF(unary, np.zeros((3, 3)), None, neighbours(2, 4))
    assert -mean_field(loose).free_energies[-1] == pytest.approx(enumeration(loose).log_partition, abs=1e-10)


@pytest.mark.atlas("R20")
def test_free_energy_is_the_divergence_up_to_the_partition():
    """Summed over all labelings: F(Q) + log Z = KL(Q || P)."""
    crf = drawn((2, 3), 4, labels=2)
    probs = np.random.default_rng(7).dirichlet((1, 1), size=(2, 3))
    labelings = np.indices((2,) * 6).reshape(6, -1).T.reshape(-1, 2, 3)
    log_p = np.array([-crf.energy(labels) for labels in labelings]) - enumeration(crf).log_partition
    q = np.array([np.take_along_axis(probs, labels[..., None], -1).prod() for labels in labelings])
    divergence = (q * (np.log(q) - log_p)).sum()
    assert free_energy(crf, probs) + enumeration(crf).log_partition == pytest.approx(divergence, abs=1e-10)


def test_one_place_and_refusals():
    lone = GridCRF(np.array([[[1.0, 2.0]]]), potts(2, 5.0), None, neighbours(2, 4))
    assert mean_field(lone).marginals[0, 0] == pytest.approx(softmax([-1.0, -2.0]))
    assert mean_field(lone).labels.tolist() == [[0]]
    with pytest.raises(BadArgument, match="iterations"):
        mean_field(lone, iterations=0)
