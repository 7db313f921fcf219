"""Partitions, boundaries and video against the tools whose names the protocols bear."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import skimage.metrics
import skimage.morphology
import sklearn.metrics
from partition_fixtures import MASKS, PARTITIONS, strength, video, voronoi
from scipy import ndimage

from segmentarium.metrics.boundaries import band_width, boundary_f, boundary_overlap
from segmentarium.metrics.bsds import boundary_counts, thin
from segmentarium.metrics.contingency import joint_histogram
from segmentarium.metrics.partitions import (
    adapted_rand_error,
    adjusted_rand_index,
    rand_index,
    variation_of_information,
)
from segmentarium.metrics.video import VideoObjects

RECORDED = tomllib.loads((Path(__file__).parent / "partition_protocols.toml").read_text(encoding="utf-8"))


def random_partitions(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 25, 2))
    return random.integers(0, random.integers(1, 9), shape), random.integers(0, random.integers(1, 9), shape)


CASES = [*PARTITIONS.values(), *map(random_partitions, range(40))]


@pytest.mark.atlas("M24", "M25")
@pytest.mark.parametrize("case", CASES)
def test_rand_indices_are_those_of_scikit_learn(case: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, truth = case
    if truth.size < 2:
        return
    table = joint_histogram(prediction, truth)
    pair = truth.ravel(), prediction.ravel()
    assert rand_index(table) == pytest.approx(sklearn.metrics.rand_score(*pair), abs=1e-12)
    assert adjusted_rand_index(table) == pytest.approx(sklearn.metrics.adjusted_rand_score(*pair), abs=1e-12)


@pytest.mark.atlas("M26")
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("case", CASES)
def test_adapted_rand_error_of_scikit_image(case: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, truth = case
    ours = adapted_rand_error(joint_histogram(prediction, truth), protocol="skimage")
    theirs = skimage.metrics.adapted_rand_error(truth, prediction)
    np.testing.assert_allclose([ours.error, ours.precision, ours.recall], theirs, atol=1e-12)


@pytest.mark.atlas("M27")
@pytest.mark.parametrize("case", CASES)
def test_variation_of_information_of_scikit_image(case: tuple[np.ndarray, np.ndarray]) -> None:
    prediction, truth = case
    ours = variation_of_information(joint_histogram(prediction, truth))
    theirs = skimage.metrics.variation_of_information(truth, prediction)
    np.testing.assert_allclose([ours.split, ours.merge], theirs, atol=1e-12)


@pytest.mark.atlas("M26", "M27")
@pytest.mark.parametrize("name", PARTITIONS)
def test_cremi(name: str) -> None:
    table = joint_histogram(*PARTITIONS[name])
    adapted = adapted_rand_error(table, protocol="cremi")
    variation = variation_of_information(table.without(truth=0))
    ours = [adapted.error, adapted.precision, adapted.recall, variation.split, variation.merge]
    np.testing.assert_allclose(ours, RECORDED["cremi"][name], atol=1e-10)


@pytest.mark.atlas("M26")
def test_adapted_rand_error_has_three_values_on_one_pair_of_maps() -> None:
    """Row 18 of the disagreements: another error, precision and recall exchanged, singletons nan or 0."""
    table = joint_histogram(*PARTITIONS["half unlabelled"])
    snemi, cremi, skimage_ = (
        adapted_rand_error(table, protocol=name) for name in ("snemi", "cremi", "skimage")
    )
    assert [round(x.error, 4) for x in (snemi, cremi, skimage_)] == [0.3606, 0.3614, 0.5021]
    assert [round(x, 4) for x in (cremi.precision, cremi.recall)] == [0.9930, 0.4706]
    whole = joint_histogram(*PARTITIONS["borders in truth"])
    named, exchanged = (adapted_rand_error(whole, protocol=name) for name in ("cremi", "skimage"))
    assert named.precision == pytest.approx(exchanged.recall, abs=2e-3)
    assert named.recall == pytest.approx(exchanged.precision, abs=2e-3)
    assert named.precision > 3 * named.recall
    alone = np.arange(1, 17).reshape(4, 4)
    singles = joint_histogram(alone, alone)
    assert adapted_rand_error(singles, protocol="cremi").error == 0
    assert np.isnan(adapted_rand_error(singles, protocol="skimage").error)


@pytest.mark.atlas("M20")
@pytest.mark.parametrize("name", MASKS)
def test_boundary_iou_api(name: str) -> None:
    assert list(boundary_overlap(*MASKS[name])) == RECORDED["boundary_iou"][name]


@pytest.mark.atlas("M20")
def test_a_euclidean_band_is_another_number() -> None:
    """Row 23 of the disagreements: erosion by squares is a Chebyshev band."""

    def euclidean(mask: np.ndarray) -> np.ndarray:
        inside = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
        return mask & (inside <= band_width(mask.shape))

    prediction, truth = MASKS["square and disc"]
    intersection, union = boundary_overlap(prediction, truth)
    ours, theirs = euclidean(prediction), euclidean(truth)
    assert intersection / union == pytest.approx(226 / 966)
    assert (ours & theirs).sum() / (ours | theirs).sum() == pytest.approx(0.1872, abs=5e-5)


@pytest.mark.atlas("M21")
@pytest.mark.parametrize("name", MASKS)
def test_davis_f(name: str) -> None:
    assert boundary_f(*MASKS[name]).f == pytest.approx(RECORDED["davis_f"][name], abs=1e-10)


@pytest.mark.atlas("M35")
def test_davis_video() -> None:
    objects = VideoObjects()
    objects.update(*video(24), name="drive")
    scores = objects.compute()
    keys = ("j_mean", "j_recall", "j_decay", "f_mean", "f_recall", "f_decay")
    assert scores.names == ("drive_1", "drive_2")
    for i in (1, 2):
        ours = [scores.per_image[key][i - 1] for key in keys]
        np.testing.assert_allclose(ours, RECORDED["davis_video"][f"object_{i}"], atol=1e-10)


@pytest.mark.atlas("M23")
@pytest.mark.parametrize("seed", range(12))
def test_thinning_of_scikit_image(seed: int) -> None:
    random = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(random.normal(size=(40, 50)), random.uniform(0.3, 3))
    np.testing.assert_array_equal(thin(noise > 0), skimage.morphology.thin(noise > 0))


@pytest.mark.atlas("M23")
@pytest.mark.parametrize("number", range(3))
def test_bsds_counts_within_its_randomness(number: int) -> None:
    """As many pairs as the Berkeley program or a few more: its random outlier edges lose some."""
    prediction, truths = strength(number)
    ours = boundary_counts(prediction, truths, thresholds=np.arange(1, 14, 2) / 16, tolerance=0.02)
    theirs = np.array(RECORDED["bsds_counts"][f"image_{number}"])
    np.testing.assert_array_equal(ours[:, [1, 3]], theirs[:, [1, 3]])
    assert (ours[:, 0] >= theirs[:, 0]).all()
    assert (np.abs(ours - theirs) <= 2 + 0.01 * theirs).all()


def test_the_pictures_are_partitions() -> None:
    assert set(np.unique(voronoi((20, 20), 5, (7, 3)))) == {1, 2, 3, 4, 5}
