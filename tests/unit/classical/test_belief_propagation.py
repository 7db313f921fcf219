"""Messages against their definition, beliefs against exact answers: equal on trees, near on grids."""

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from segmentarium.classical.crf import belief_propagation as bp
from segmentarium.classical.crf import belief_propagation_kernels as kernels
from segmentarium.classical.crf.energy import GridCRF, potts, truncated_linear, truncated_quadratic
from segmentarium.classical.crf.exact import enumeration
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import neighbours

SCHEDULES = ["flood", "checkerboard", "scanline"]


def drawn_tree(size, connectivity, *, labels=3, whole=False, seed=0):
    """A spanning tree of the grid: pairs that would close a ring get the weight 0."""
    rng = np.random.default_rng(seed)
    offsets = neighbours(len(size), connectivity)
    bare = GridCRF(np.zeros((*size, 1)), np.zeros((1, 1)), None, offsets)
    weights = np.zeros(bare.links.shape, int if whole else float)
    tree = np.arange(weights.shape[1])
    for n, p in rng.permutation(np.argwhere(bare.links)):
        q = p + bare.steps[n]
        if tree[p] != tree[q]:
            tree[tree == tree[q]] = tree[p]
            weights[n, p] = rng.integers(1, 4) if whole else rng.uniform(0.2, 2)
    assert np.count_nonzero(weights) == weights.shape[1] - 1
    shapes = (*size, labels), (labels, labels)
    unary, pairwise = (rng.integers(20, size=s) if whole else rng.normal(size=s) for s in shapes)
    return GridCRF(unary, pairwise, tuple(weights.reshape(-1, *size)), offsets)


def atlas_model():
    rewards = np.random.default_rng(1).normal(size=(3, 4, 3))
    return GridCRF(-rewards, potts(3, 0.6), None, neighbours(2, 4))


@pytest.mark.atlas("R03")
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("size", "connectivity"), [((9,), 2), ((3, 4), 4), ((4, 3), 8), ((2, 2, 3), 26)])
def test_sum_product_is_exact_on_chains_and_trees(size, connectivity, schedule):
    tree = drawn_tree(size, connectivity)
    for crf in (tree, GridCRF(tree.unary, potts(3, 0.7), tree.weights, tree.offsets)):
        exact = enumeration(crf)
        found = bp.sum_product(crf, schedule=schedule, tolerance=0.0)
        assert np.abs(found.marginals - exact.marginals).max() < 1e-8
        assert found.log_partition == pytest.approx(exact.log_partition, abs=1e-8)
        assert found.residuals[-1] < 1e-12


@pytest.mark.atlas("R04")
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("size", "connectivity"), [((9,), 2), ((3, 4), 4), ((4, 3), 8), ((2, 2, 3), 26)])
def test_min_sum_is_exact_on_chains_and_trees(size, connectivity, schedule):
    for whole in (True, False):
        crf = drawn_tree(size, connectivity, whole=whole)
        exact, found = enumeration(crf), bp.min_sum(crf, schedule=schedule, tolerance=0.0)
        least = found.costs.min(axis=-1)
        assert found.energy == (exact.energy if whole else pytest.approx(exact.energy, abs=1e-9))
        assert not whole or (least == least.round()).all()


@pytest.mark.atlas("R03")
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_distance_to_exact_on_a_grid(schedule):
    """The atlas found 0.0026 on this model."""
    crf = atlas_model()
    exact, found = enumeration(crf), bp.sum_product(crf, schedule=schedule, tolerance=1e-10)
    assert np.abs(found.marginals - exact.marginals).max() == pytest.approx(0.0026, abs=5e-5)
    assert found.log_partition == pytest.approx(exact.log_partition, abs=0.03)
    assert found.residuals[-1] <= 1e-10


@pytest.mark.atlas("R03")
def test_without_coupling_marginals_are_the_softmax_of_the_unary_costs():
    unary = np.random.default_rng(0).normal(size=(5, 6, 4))
    for pairwise in (np.zeros((4, 4)), np.full((4, 4), 3.0)):
        found = bp.sum_product(GridCRF(unary, pairwise, None, neighbours(2, 8)))
        assert found.marginals == pytest.approx(softmax(-unary, axis=-1), abs=1e-12)


@pytest.mark.atlas("R03")
def test_schedules_and_damping_have_one_fixed_point():
    crf = atlas_model()
    plain = bp.sum_product(crf, schedule="flood", tolerance=1e-12, iterations=100)
    for schedule in SCHEDULES:
        damped = bp.sum_product(crf, schedule=schedule, damping=0.5, tolerance=1e-12, iterations=200)
        assert damped.marginals == pytest.approx(plain.marginals, abs=1e-10)
        assert len(damped.residuals) > 20
    assert len(bp.sum_product(crf).residuals) < len(bp.sum_product(crf, schedule="flood").residuals)


@pytest.mark.atlas("R03")
def test_sum_messages_are_their_definition_and_do_not_underflow():
    rng = np.random.default_rng(0)
    for scale in (1.0, 300.0, 3000.0):
        costs, sent = rng.normal(size=6) * scale, np.empty(6)
        for pairwise, form in ((potts(6, 0.9), kernels.POTTS), (rng.random((6, 6)), kernels.ANY)):
            kernels.sum_message(costs, scale, pairwise, form, 0.9, sent)
            slow = -logsumexp(-(costs[:, None] + scale * pairwise), axis=0)
            assert sent == pytest.approx(slow, rel=1e-10, abs=1e-10)


@pytest.mark.atlas("R04")
def test_linear_time_messages_equal_quadratic_ones_exactly():
    rng = np.random.default_rng(0)
    for _ in range(200):
        k, weight = int(rng.integers(2, 40)), float(rng.integers(1, 4))
        cost, bound = int(rng.integers(1, 9)), int(rng.integers(9, 300))
        costs = rng.integers(0, rng.integers(1, 400), size=k).astype(float)
        fast, slow, owner, start = np.empty(k), np.empty(k), np.empty(k, int), np.empty(k, int)
        for make in (potts, truncated_linear, truncated_quadratic):
            table = make(k, *((cost,) if make is potts else (cost, bound))).astype(float)
            crf = GridCRF(np.zeros((1, k)), table, None, neighbours(1, 2))
            shape = bp.form(crf)
            assert shape[0] != kernels.ANY
            kernels.min_message(costs, weight, table, *shape, fast, owner, start)
            kernels.min_message(costs, weight, table, kernels.ANY, 0.0, 0.0, slow, owner, start)
            assert np.array_equal(fast, slow)


@pytest.mark.atlas("R04")
def test_linear_time_messages_of_fractions():
    rng = np.random.default_rng(0)
    for _ in range(100):
        k, cost = int(rng.integers(3, 60)), float(rng.uniform(0.01, 2))
        table = truncated_quadratic(k, cost, float(rng.uniform(4 * cost, 100 * cost)))
        shape = bp.form(GridCRF(np.zeros((1, k)), table, None, neighbours(1, 2)))
        assert shape[0] == kernels.QUADRATIC
        fast, slow, owner, start = np.empty(k), np.empty(k), np.empty(k, int), np.empty(k, int)
        costs = rng.normal(size=k) * rng.choice([0.0, 1.0, 100.0])
        kernels.min_message(costs, 0.7, table, *shape, fast, owner, start)
        kernels.min_message(costs, 0.7, table, kernels.ANY, 0.0, 0.0, slow, owner, start)
        assert fast == pytest.approx(slow, rel=1e-12, abs=1e-12)


@pytest.mark.atlas("R04")
@pytest.mark.parametrize("make", [truncated_linear, truncated_quadratic])
def test_whole_fields_with_fast_messages_equal_those_without(make, monkeypatch):
    rng = np.random.default_rng(3)
    unary = rng.integers(0, 60, size=(6, 7, 9))
    crf = GridCRF(unary, make(9, 3, 20), (rng.integers(0, 3, (6, 7)),) * 2, neighbours(2, 4))
    fast = bp.min_sum(crf, iterations=12, tolerance=-1.0)
    monkeypatch.setattr(bp, "form", lambda crf: (kernels.ANY, 0.0, 0.0))
    slow = bp.min_sum(crf, iterations=12, tolerance=-1.0)
    assert np.array_equal(fast.costs, slow.costs)
    assert fast.energies == slow.energies
    assert fast.energy == crf.energy(fast.labels) == min(fast.energies)


def test_forms_are_recognised_only_when_equal():
    offsets = neighbours(1, 2)

    def shape(pairwise):
        return bp.form(GridCRF(np.zeros((1, len(pairwise))), pairwise, None, offsets))

    assert shape(potts(5, 2)) == (kernels.POTTS, 2, 2)
    assert shape(truncated_linear(5, 2, 7)) == (kernels.LINEAR, 2, 7)
    assert shape(truncated_quadratic(5, 2, 9)) == (kernels.QUADRATIC, 2, 9)
    for other in (-potts(5, 2), np.eye(5), potts(5, 2) + 1, np.arange(25.0).reshape(5, 5), np.ones((1, 1))):
        assert shape(other)[0] == kernels.ANY


def test_refusals():
    with pytest.raises(BadArgument, match="damping"):
        bp.sum_product(atlas_model(), damping=1.0)
    with pytest.raises(BadArgument, match="iterations"):
        bp.min_sum(atlas_model(), iterations=0)
