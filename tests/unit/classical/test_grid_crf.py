"""The energy of a grid against a double loop over its pairs; contrast, forms and refusals."""

from itertools import product

import numpy as np
import pytest

from segmentarium.classical.crf.energy import (
    GridCRF,
    contrast_weights,
    is_metric,
    is_semimetric,
    potts,
    truncated_linear,
    truncated_quadratic,
)
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import both_ends, neighbours

GRIDS = [((7,), 2), ((4, 5), 4), ((4, 5), 8), ((2, 3, 4), 6), ((2, 3, 4), 18), ((2, 3, 4), 26)]


def drawn(size, connectivity, *, whole, labels=3, seed=0):
    rng = np.random.default_rng(seed)
    offsets = neighbours(len(size), connectivity)
    shapes = [(*size, labels), (labels, labels), *[size] * len(offsets)]
    arrays = [rng.integers(0, 50, s) if whole else rng.normal(size=s) ** 2 for s in shapes]
    return GridCRF(arrays[0], arrays[1], tuple(arrays[2:]), offsets)


def by_loops(crf, labels):
    total = 0
    for p in product(*map(range, crf.size)):
        total += crf.unary[p][labels[p]]
        for offset, weights in zip(crf.offsets, crf.weights, strict=True):
            q = tuple(np.add(p, offset))
            if all(0 <= i < n for i, n in zip(q, crf.size, strict=True)):
                total += weights[p] * crf.pairwise[labels[p], labels[q]]
    return total


@pytest.mark.atlas("R01")
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize(("size", "connectivity"), GRIDS)
def test_the_energy_is_the_sum_over_places_and_pairs(size, connectivity, whole):
    crf = drawn(size, connectivity, whole=whole)
    labels = np.random.default_rng(1).integers(3, size=size)
    energy = crf.energy(labels)
    if whole:
        assert isinstance(energy, int)
        assert energy == by_loops(crf, labels)
    else:
        assert energy == pytest.approx(by_loops(crf, labels), rel=1e-12)


@pytest.mark.atlas("R01")
@pytest.mark.parametrize(("size", "connectivity"), GRIDS)
def test_neighbourhoods_have_all_neighbours_once(size, connectivity):
    offsets = neighbours(len(size), connectivity)
    everyone = {*offsets, *(tuple(-s for s in offset) for offset in offsets)}
    assert len(everyone) == connectivity == 2 * len(offsets)
    places = np.arange(np.prod(size)).reshape(size)
    for offset in offsets:
        first, second = both_ends(offset)
        steps = np.array(np.unravel_index(places[second], size)) - np.unravel_index(places[first], size)
        assert all((axis == step).all() for axis, step in zip(steps, offset, strict=True))


@pytest.mark.atlas("R01")
@pytest.mark.parametrize(("size", "connectivity"), GRIDS)
def test_no_two_places_of_a_colour_are_neighbours(size, connectivity):
    crf = drawn(size, connectivity, whole=True)
    colour = np.empty(int(np.prod(size)), int)
    for i, places in enumerate(crf.colours):
        colour[places] = i
    assert sorted(np.concatenate(crf.colours)) == list(range(len(colour)))
    for links, step in zip(crf.links, crf.steps, strict=True):
        p = np.flatnonzero(links)
        assert (colour[p] != colour[p + step]).all()


def test_mean_energy_of_certain_labels_is_their_energy():
    crf = drawn((4, 5), 8, whole=False)
    labels = np.random.default_rng(1).integers(3, size=(4, 5))
    assert crf.expected(np.eye(3)[labels]) == pytest.approx(crf.energy(labels), rel=1e-12)


@pytest.mark.atlas("R01")
def test_forms_of_pairwise_costs():
    assert potts(3, 2).tolist() == [[0, 2, 2], [2, 0, 2], [2, 2, 0]]
    assert truncated_linear(4, 2, 5)[0].tolist() == [0, 2, 4, 5]
    assert truncated_quadratic(4, 2, 9)[0].tolist() == [0, 2, 8, 9]
    assert potts(3, 2).dtype == np.int64
    assert potts(3, 0.5).dtype == np.float64
    assert is_metric(potts(4, 3))
    assert is_metric(truncated_linear(9, 0.1, 0.35))
    quadratic = truncated_quadratic(9, 1, 12)
    assert is_semimetric(quadratic)
    assert not is_metric(quadratic)
    assert not is_semimetric(np.array([[0, 1], [2, 0]]))
    assert not is_semimetric(np.array([[0, -1], [-1, 0]]))
    assert not is_metric(-potts(3, 1))


@pytest.mark.atlas("R01")
def test_contrast_makes_edges_cheap():
    values = np.array([[0.0, 0.0, 10.0]])[..., None]
    across, down = contrast_weights(values, neighbours(2, 4), sigma=5.0)
    assert across[0].tolist() == pytest.approx([1, np.exp(-2), 0])
    assert not down.any()
    automatic = contrast_weights(values, neighbours(2, 4))
    assert automatic[0][0, 1] == pytest.approx(np.exp(-100 / (2 * 50)))
    slanting = contrast_weights(np.zeros((2, 2, 3), np.float32), neighbours(2, 8), spacing=(3.0, 4.0))
    assert [float(w.max()) for w in slanting] == pytest.approx([1 / 4, 1 / 3, 1 / 5, 1 / 5])


def test_one_place_and_one_label():
    crf = GridCRF(np.array([[[7]]]), potts(1, 3), None, neighbours(2, 8))
    assert crf.energy(np.zeros((1, 1), np.int32)) == 7
    assert [len(places) for places in crf.colours] == [1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"unary": np.zeros((0, 3, 2))}, "a place and a label at least"),
        ({"pairwise": np.zeros((3, 3))}, "for 2 labels"),
        ({"weights": (np.ones((2, 3)),)}, "2 maps"),
        ({"weights": (np.ones((3, 3)), -np.ones((3, 3)))}, "the weight -1"),
        ({"unary": np.full((3, 3, 2), np.nan)}, "finite numbers"),
        ({"weights": (np.full((3, 3), 1e308),) * 2}, "scale the costs down"),
        ({"weights": (np.full((3, 3), 2**60),) * 2, "pairwise": potts(2, 9)}, "stays below"),
        ({"offsets": ((0, 1), (-1, 0))}, "forward"),
        ({"offsets": ((0, 1, 0), (1, 0, 0))}, "2 steps"),
    ],
)
def test_refusals(change, says):
    given = {"unary": np.zeros((3, 3, 2), int), "pairwise": potts(2, 1), "weights": None}
    given |= {"offsets": neighbours(2, 4)} | change
    with pytest.raises(BadArgument, match=says):
        GridCRF(**given)


def test_refuses_labels_that_do_not_fit():
    crf = drawn((4, 5), 4, whole=True)
    for labels in (np.full((4, 5), 3), np.full((4, 5), -1)):
        with pytest.raises(BadArgument, match="from 0 to 2"):
            crf.energy(labels)
    with pytest.raises(BadArgument, match=r"shape \(4, 5\)"):
        crf.energy(np.zeros((5, 4), int))
    with pytest.raises(BadArgument, match="allowed: 4, 8"):
        neighbours(2, 5)
    with pytest.raises(BadArgument, match="sigma"):
        contrast_weights(np.zeros((2, 2, 1)), neighbours(2, 4), sigma=0.0)
