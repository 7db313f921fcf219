"""Frequencies of samples against exact marginals, within the error that the chains themselves admit."""

import numpy as np
import pytest

from segmentarium.classical.crf import sampling
from segmentarium.classical.crf import sampling_kernels as kernels
from segmentarium.classical.crf.convergence import effective_size, r_hat
from segmentarium.classical.crf.energy import GridCRF, contrast_weights, potts
from segmentarium.classical.crf.exact import enumeration
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import neighbours

SAMPLERS = [sampling.gibbs, sampling.metropolis_hastings, sampling.swendsen_wang]


def drawn(size, connectivity, *, labels=3, seed=0):
    """Any pairwise costs, weak enough for single places to mix."""
    rng = np.random.default_rng(seed)
    offsets = neighbours(len(size), connectivity)
    weights = contrast_weights(rng.normal(size=(*size, 1)), offsets)
    return GridCRF(rng.normal(size=(*size, labels)), rng.normal(size=(labels, labels)) / 2, weights, offsets)


def atlas_model():
    rewards = np.random.default_rng(1).normal(size=(3, 4, 3))
    return GridCRF(-rewards, potts(3, 0.6), None, neighbours(2, 4))


def deviations(crf, samples):
    """Of frequencies from the exact marginals, in Monte Carlo standard errors.

    Labels that are expected less than ten times are left out: their counts are no normal numbers.
    """
    seen = samples.draws[..., None] == np.arange(crf.labels)
    assert seen.mean(axis=(0, 1)) == pytest.approx(samples.marginals, abs=1e-12)
    exact, worth = enumeration(crf).marginals, effective_size(seen)
    error = np.sqrt(exact * (1 - exact) / worth)
    return (np.abs(samples.marginals - exact) / error)[worth * exact >= 10]


@pytest.mark.atlas("R05", "R06")
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_frequencies_are_exact_up_to_three_standard_errors(sampler):
    crf = atlas_model()
    sweeps = 300 if sampler is sampling.swendsen_wang else 1500
    samples = sampler(crf, sweeps=sweeps, burn_in=50, keep=True, seed=2)
    assert deviations(crf, samples).max() < 3
    assert samples.r_hat == pytest.approx(1, abs=0.01)
    assert sweeps / 2 < samples.effective <= 4 * sweeps
    energies = [[crf.energy(draw.astype(np.int32)) for draw in chain[:20]] for chain in samples.draws]
    assert samples.energies[:, :20] == pytest.approx(np.array(energies), abs=1e-9)


@pytest.mark.atlas("R05", "R06")
@pytest.mark.parametrize("sampler", SAMPLERS[:2])
@pytest.mark.parametrize(("size", "connectivity"), [((7,), 2), ((3, 3), 8), ((2, 2, 2), 26)])
def test_any_costs_on_any_grid(sampler, size, connectivity):
    crf = drawn(size, connectivity)
    samples = sampler(crf, sweeps=1600, thin=2, keep=True, seed=5)
    assert samples.draws.shape == (4, 800, *size)
    assert deviations(crf, samples).max() < 3


@pytest.mark.atlas("R05")
@pytest.mark.parametrize("kernel", [kernels.gibbs, kernels.metropolis])
def test_a_sweep_keeps_the_distribution(kernel):
    """The matrix of all transitions of a place, by many equal chances: pi P = pi, and detailed balance."""
    crf = drawn((1, 2), 4)
    field, chances = crf.arrays(), (np.arange(9000) + 0.5) / 9000
    moves = np.zeros((9, 9))
    for state in range(9):
        chains = np.tile(np.array(divmod(state, 3), np.int32), (9000, 1))
        kernel(chains, field, 1.0, np.array([0]), chances, 0, 9000)
        moves[state] = np.bincount(chains @ [3, 1], minlength=9) / 9000
    energies = [crf.energy(np.array([divmod(state, 3)])) for state in range(9)]
    flow = np.exp(-np.array(energies))[:, None] * moves
    flow /= np.exp(-np.array(energies)).sum()
    assert flow == pytest.approx(flow.T, abs=5e-4)
    assert flow.sum(axis=0) == pytest.approx(flow.sum(axis=1), abs=1e-3)


@pytest.mark.atlas("R06")
def test_swendsen_wang_mixes_where_gibbs_is_stuck():
    """A strong magnet without a field: both labels are as probable, and single places cannot turn it over."""
    magnet = GridCRF(np.zeros((6, 6, 2)), potts(2, 2.0), None, neighbours(2, 4))
    clusters = sampling.swendsen_wang(magnet, sweeps=100, seed=1)
    assert clusters.marginals[..., 0] == pytest.approx(np.full((6, 6), 0.5), abs=0.1)
    single = sampling.gibbs(magnet, sweeps=400, chains=1, seed=1)
    assert np.abs(single.marginals[..., 0] - 0.5).max() > 0.4
    with pytest.raises(BadArgument, match="not Potts"):
        sampling.swendsen_wang(drawn((3, 3), 4))


@pytest.mark.atlas("R06")
def test_annealing_finds_the_optimum_in_20_of_20():
    crf = atlas_model()
    best = enumeration(crf)
    for seed in range(20):
        found = sampling.simulated_annealing(crf, sweeps=500, seed=seed)
        assert found.energy == pytest.approx(best.energy, abs=1e-9)
        assert np.array_equal(found.labels, best.labels)
    assert len(found.energies) == 500


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_same_seed_same_samples(sampler):
    crf = atlas_model()
    one, same, other = (sampler(crf, sweeps=40, burn_in=5, keep=True, seed=seed) for seed in (4, 4, 5))
    assert np.array_equal(one.draws, same.draws)
    assert not np.array_equal(one.draws, other.draws)
    assert np.array_equal(one.labels, one.marginals.argmax(axis=-1))


@pytest.mark.atlas("R05")
def test_effective_size_of_a_known_process():
    """Autoregressive draws x' = a x + noise are worth (1 - a) / (1 + a) of their number."""
    rng = np.random.default_rng(0)
    for a in (0.0, 0.5, 0.9):
        noise = rng.normal(size=(4, 20_000))
        traces = np.zeros_like(noise)
        traces[:, 0] = noise[:, 0] / np.sqrt(1 - a**2)
        for i in range(1, noise.shape[1]):
            traces[:, i] = a * traces[:, i - 1] + noise[:, i]
        assert float(effective_size(traces)) == pytest.approx(traces.size * (1 - a) / (1 + a), rel=0.12)
        assert float(r_hat(traces)) == pytest.approx(1, abs=0.005)
    apart = traces + np.arange(4)[:, None] * 10
    assert float(r_hat(apart)) > 1.5
    assert float(effective_size(apart)) < 20
    assert float(r_hat(np.ones((2, 10)))) == 1
    assert float(effective_size(np.ones((2, 10)))) == 20


def test_one_place_and_refusals():
    lone = GridCRF(np.array([[[0, 1]]]), potts(2, 1), None, neighbours(2, 4))
    for sampler in SAMPLERS:
        found = sampler(lone, sweeps=400)
        assert found.marginals[0, 0, 0] == pytest.approx(1 / (1 + np.exp(-1)), abs=0.05)
    with pytest.raises(BadArgument, match="sweeps"):
        sampling.gibbs(lone, sweeps=3)
    with pytest.raises(BadArgument, match="chains"):
        sampling.gibbs(lone, chains=0)
    with pytest.raises(BadArgument, match="cold"):
        sampling.simulated_annealing(lone, cold=0.0)
