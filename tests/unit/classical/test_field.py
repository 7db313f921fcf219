"""A field over a picture: noise goes, edges stay, seeds are kept, and every inference comes through."""

from typing import get_args

import numpy as np
import pytest

from segmentarium.classical.crf.energy import GridCRF, potts
from segmentarium.classical.crf.exact import enumeration
from segmentarium.classical.crf.solve import Averaging, Lowering, solve
from segmentarium.classical.field import colour_costs, field
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import neighbours
from segmentarium.values import Volume


@pytest.fixture(scope="module")
def noisy():
    """Three flat parts under noise, and the truth."""
    rng = np.random.default_rng(0)
    truth = np.zeros((24, 30), int)
    truth[:, 10:] = 1
    truth[12:, 15:] = 2
    levels = np.array([[60, 60, 60], [120, 100, 60], [100, 140, 160]])[truth]
    return np.clip(levels + rng.normal(scale=26, size=levels.shape), 0, 255).astype(np.uint8), truth


def agreement(labels, truth):
    """The share of pixels right, when each found class is named by the truth it covers most."""
    return sum(np.bincount(truth[labels == label]).max() for label in np.unique(labels)) / truth.size


@pytest.mark.parametrize("method", [*get_args(Lowering), *get_args(Averaging)])
def test_every_inference_removes_the_noise(noisy, method):
    picture, truth = noisy
    result = field(picture, classes=3, method=method)
    assert agreement(result.labels, truth) > (0.9 if method == "swendsen_wang" else 0.99)
    assert (result.probs is not None) == (method in get_args(Averaging))
    if result.probs is not None:
        assert result.probs.sum(axis=0) == pytest.approx(np.ones(truth.shape), abs=1e-5)
        assert np.array_equal(result.probs.argmax(axis=0), result.labels)


def test_without_smoothness_each_pixel_is_on_its_own(noisy):
    picture, truth = noisy
    assert agreement(field(picture, smoothness=0.0).labels, truth) < 0.95


def test_seeds_teach_and_are_kept(noisy):
    picture, truth = noisy
    seeds = np.zeros(truth.shape, np.int32)
    seeds[2:6, 2:6], seeds[2:6, 20:24], seeds[18:22, 20:24] = 1, 2, 3
    seeds[20, 3] = 3
    result = field(picture, seeds=seeds)
    assert result.labels[20, 3] == 2
    assert (result.labels == truth).mean() > 0.98
    assert [c.name for c in result.classes] == ["class 1", "class 2", "class 3"]


def test_points_cut_a_thing_out():
    picture = np.full((9, 12, 3), 40, np.uint8)
    picture[3:6, 4:8] = 200
    result = field(picture, foreground=[(5, 4), (6, 4)], background=[(0, 0)])
    assert np.array_equal(result.labels == 1, picture[..., 0] == 200)
    assert [c.name for c in result.classes] == ["background", "foreground"]


@pytest.mark.parametrize("diagonals", [True, False])
def test_volumes_and_grey_pictures(diagonals):
    grey = np.zeros((6, 7), np.uint8)
    grey[:, 4:] = 90
    assert agreement(field(grey, classes=2, diagonals=diagonals).labels, (grey > 0).astype(int)) == 1
    bands = np.zeros((3, 5, 6), np.float32)
    bands[:, 2:] = 0.5
    volume = Volume.plain(bands, (5.0, 1.0, 1.0))
    result = field(volume, classes=2, diagonals=diagonals)
    assert result.spacing_mm == (5.0, 1.0, 1.0)
    assert agreement(result.labels, (bands > 0).astype(int)) == 1


def test_colour_costs_are_normal_densities():
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 6, 3)).astype(np.float32) * 30
    examples = rng.integers(0, 3, size=(5, 6)).astype(np.int32)
    costs = colour_costs(values, examples, count=2)
    for label in (1, 2):
        seen = values[examples == label].astype(float)
        model = multivariate_normal(seen.mean(0), np.cov(seen.T, bias=True) + 4 * np.eye(3))
        expected = -model.logpdf(values) - 1.5 * np.log(2 * np.pi)
        assert costs[..., label - 1] == pytest.approx(expected, rel=1e-5)


def test_one_door_to_all_inference():
    unary = np.random.default_rng(0).normal(size=(3, 3, 3))
    crf = GridCRF(unary, potts(3, 0.4), None, neighbours(2, 4))
    exact = enumeration(crf)
    for method in (*get_args(Lowering), *get_args(Averaging)):
        found = solve(crf, method=method)
        assert found.energy == crf.energy(found.labels) >= exact.energy - 1e-12
        if found.marginals is not None:
            assert found.marginals == pytest.approx(exact.marginals, abs=0.06)


def test_meaningless_pictures_and_refusals():
    assert not field(np.full((4, 5, 3), 7, np.uint8)).labels.any()
    assert field(np.zeros((1, 1, 3), np.uint8)).labels.tolist() == [[0]]
    two = np.zeros((4, 4), np.uint8)
    two[0] = 9
    with pytest.raises(BadArgument, match="3 classes for 2 colours"):
        field(two, classes=3)
    with pytest.raises(BadArgument, match="outside the picture"):
        field(two, foreground=[(9, 9)], background=[(0, 0)])
    with pytest.raises(BadArgument, match="marked as"):
        field(two, foreground=[(1, 1)], background=[(1, 1)])
    with pytest.raises(BadArgument, match="smoothness"):
        field(two, classes=2, smoothness=-1.0)
