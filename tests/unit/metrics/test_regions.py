"""Region scores gathered image by image: by hand, in parts, with a class ignored, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex, MulticlassSpecificity

from segmentarium.errors import BadArgument, BadData, BadMask
from segmentarium.metrics import bootstrap, frequency_weighted_iou, mean_iou, pixel_accuracy
from segmentarium.metrics.region_protocols import PROTOCOLS
from segmentarium.metrics.regions import (
    DEFINED,
    Regions,
    RegionScores,
    region_scores,
    sensitivity,
    specificity,
)
from segmentarium.metrics.scores import Tally


def image(seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    truth = chance.integers(-1, classes - 1, (5, 6))
    found = np.where(chance.random((5, 6)) < 0.4, chance.integers(0, classes, (5, 6)), np.maximum(truth, 0))
    return found, truth


def gathered(seeds: list[int], **setup) -> Regions:
    regions = Regions(4, **setup)
    for seed in seeds:
        regions.update(*image(seed))
    return regions


@pytest.mark.atlas("M08")
def test_precision_sensitivity_specificity_by_hand() -> None:
    truth = np.repeat([0, 1], [4, 6])
    found = np.array([0, 0, 0, 1, 1, 1, 1, 1, 0, 0])
    scores = region_scores(found, truth, classes=3)
    np.testing.assert_allclose(scores.precision, [3 / 5, 4 / 5, np.nan])
    np.testing.assert_allclose(scores.sensitivity, [3 / 4, 4 / 6, np.nan])
    np.testing.assert_allclose(scores.specificity, [4 / 6, 3 / 4, 1])
    assert np.isnan(specificity(np.array([[3, 0], [0, 0]]))[0])


@pytest.mark.atlas("M08")
@pytest.mark.parametrize("seed", range(5))
def test_precision_recall_of_scikit_learn_and_specificity_of_torchmetrics(seed: int) -> None:
    import torch

    found, truth = image(seed)
    valid = truth != -1
    expected = precision_recall_fscore_support(
        truth[valid], found[valid], labels=range(4), zero_division=np.nan
    )
    scores = region_scores(found, truth, classes=4)
    np.testing.assert_allclose(scores.precision, expected[0])
    np.testing.assert_allclose(scores.sensitivity, expected[1])
    theirs = MulticlassSpecificity(4, average="none", ignore_index=-1)
    np.testing.assert_allclose(
        scores.specificity, theirs(torch.from_numpy(found), torch.from_numpy(truth)), atol=1e-6
    )


@pytest.mark.atlas("M01", "M02", "M03", "M06")
@pytest.mark.parametrize("seed", range(3))
def test_accuracies_and_weighted_iou_of_torchmetrics(seed: int) -> None:
    import torch

    found, truth = image(seed)
    there, back = torch.from_numpy(found), torch.from_numpy(truth)
    scores = region_scores(found, truth, classes=4)
    micro = MulticlassAccuracy(4, average="micro", ignore_index=-1)(there, back)
    weighted = MulticlassJaccardIndex(4, average="weighted", ignore_index=-1)(there, back)
    each = MulticlassAccuracy(4, average="none", ignore_index=-1)(there, back).numpy()
    assert scores.pixel_accuracy == pytest.approx(float(micro), abs=1e-6)
    assert scores.frequency_weighted_iou == pytest.approx(float(weighted), abs=1e-6)
    # torchmetrics' macro takes in classes that are predicted but not in truth; the paper's mean does not
    assert scores.mean_accuracy == pytest.approx(each[np.isin(range(4), truth)].mean(), abs=1e-6)


@pytest.mark.atlas("M01", "M05", "M07")
@settings(max_examples=25)
@given(st.permutations(range(6)), st.integers(0, 6), st.sampled_from(sorted(PROTOCOLS)))
def test_merged_parts_in_any_order_are_one_pass(order: list[int], cut: int, protocol: str) -> None:
    whole = gathered(list(range(6)), protocol=protocol).compute(rounds=5)
    first, second = gathered(order[:cut], protocol=protocol), gathered(order[cut:], protocol=protocol)
    first.merge(second)
    merged = first.compute(rounds=5)
    ours, theirs = merged.as_dict(), whole.as_dict()
    for name in ("mean_iou", "mean_dice", "intervals", "undefined"):
        assert ours[name] == theirs[name]
    if whole.iou is not None:
        np.testing.assert_array_equal(merged.iou_per_image, whole.iou_per_image[order])


@pytest.mark.atlas("M05")
def test_the_default_is_the_score_of_the_matrix_with_its_interval() -> None:
    scores = gathered(list(range(6))).compute()
    tallies = Tally.stack([Tally.of(confusion(*image(seed))) for seed in range(6)])
    total = sum(confusion(*image(seed)) for seed in range(6))
    assert scores.mean_iou == float(mean_iou(total))
    assert scores.pixel_accuracy == float(pixel_accuracy(total))
    assert scores.frequency_weighted_iou == float(frequency_weighted_iou(total))
    low, high = bootstrap(tallies, mean_iou)
    assert scores.intervals["mean_iou"] == pytest.approx((float(low), float(high)), abs=0.02)


def confusion(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    matrix = np.zeros((4, 4), np.int64)
    for p, t in zip(found.ravel(), truth.ravel(), strict=True):
        if t >= 0:
            matrix[t, p] += 1
    return matrix


@pytest.mark.atlas("M42")
def test_points_voxels_and_pixels_count_alike() -> None:
    found, truth = image(3)
    flat = region_scores(found.ravel(), truth.ravel(), classes=4)
    boxed = region_scores(found.reshape(5, 3, 2), truth.reshape(5, 3, 2), classes=4)
    assert flat.mean_iou == boxed.mean_iou == region_scores(found, truth, classes=4).mean_iou


@pytest.mark.atlas("M42")
def test_an_ignored_class_is_in_no_mean_but_its_predictions_miss() -> None:
    truth, found = np.array([0, 0, 1, 1, 2, 2]), np.array([1, 2, 1, 0, 2, 2])
    scores = region_scores(found, truth, classes=3, ignore=0)
    assert scores.mean_iou == pytest.approx((1 / 2 + 1) / 2)
    assert scores.iou.tolist() == [0, 0.5, 1]


def test_one_pass_answers_for_every_protocol() -> None:
    regions = gathered(list(range(4)))
    for protocol in PROTOCOLS:
        asked, own = regions.compute(protocol=protocol), gathered(list(range(4)), protocol=protocol).compute()
        assert asked.as_dict() == own.as_dict()
        json.dumps(asked.as_dict(), allow_nan=False)


def test_infinite_and_undefined_in_plain_numbers() -> None:
    empty = np.zeros((3, 3), np.int64)
    regions = Regions(2, protocol="simpleitk")
    regions.update(empty, empty)
    regions.update(empty, empty)
    told = regions.compute().as_dict()
    assert told["mean_dice"] == "inf"
    assert told["intervals"]["mean_dice"] == [None, None]
    assert told["undefined"] == ["1"]
    lacking = region_scores(empty, empty, classes=2, protocol="semantickitti").as_dict()
    assert lacking["mean_dice"] is None
    assert lacking["dice_per_image"] is None


def test_no_image_at_all() -> None:
    for protocol in PROTOCOLS:
        scores = Regions(3, protocol=protocol).compute()
        assert isinstance(scores, RegionScores)
        assert scores.images == 0
        assert scores.undefined == ("0", "1", "2")
    assert np.isnan(Regions(3).compute().mean_iou)


def test_reset_forgets() -> None:
    regions = gathered([1, 2])
    regions.reset()
    assert regions.compute().images == 0


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadMask, match="shape"):
        region_scores(np.zeros((2, 2), np.int64), np.zeros((2, 3), np.int64), classes=2)
    with pytest.raises(BadMask, match="prediction holds 5"):
        region_scores(np.full((2, 2), 5), np.zeros((2, 2), np.int64), classes=2)
    with pytest.raises(BadArgument, match="classes=0"):
        Regions(0)
    with pytest.raises(BadArgument, match="names: 1 for 2"):
        Regions(2, names=["a"])
    with pytest.raises(BadData, match="the same void"):
        Regions(2).merge(Regions(2, ignore=255))


def test_every_score_is_defined_and_every_protocol_explained() -> None:
    scores = gathered([0, 1]).compute()
    for definition in DEFINED:
        assert definition.name == "matrix" or hasattr(scores, definition.name)
    words = {d.name: d.protocols for d in DEFINED}
    assert next(iter(words["mean_iou"])) == next(iter(words["mean_dice"])) == "dataset"
    assert set(words["mean_iou"]) | set(words["mean_dice"]) == set(PROTOCOLS)
    assert sensitivity(np.eye(2, dtype=np.int64)).tolist() == [1, 1]
