"""Scores against numbers worked out by hand, and their rules for what is not there."""

import numpy as np
import pytest

from segmentarium import metrics
from segmentarium.metrics import DEFINITIONS, Tally

COUNTS = np.array([[3, 1, 0], [0, 5, 0], [1, 0, 3]])
"""t = 4, 5, 4; predicted = 4, 6, 3; unions 5, 6, 4."""


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (metrics.iou, [3 / 5, 5 / 6, 3 / 4]),
        (metrics.dice, [6 / 8, 10 / 11, 6 / 7]),
        (metrics.precision, [3 / 4, 5 / 6, 1]),
        (metrics.recall, [3 / 4, 1, 3 / 4]),
        (metrics.class_accuracy, [3 / 4, 1, 3 / 4]),
        (metrics.mean_iou, (3 / 5 + 5 / 6 + 3 / 4) / 3),
        (metrics.mean_dice, (6 / 8 + 10 / 11 + 6 / 7) / 3),
        (metrics.pixel_accuracy, 11 / 13),
        (metrics.mean_accuracy, (3 / 4 + 1 + 3 / 4) / 3),
        (metrics.frequency_weighted_iou, (4 * 3 / 5 + 5 * 5 / 6 + 4 * 3 / 4) / 13),
    ],
)
def test_by_hand(score, expected) -> None:
    np.testing.assert_allclose(score(COUNTS), expected, rtol=1e-15)
    np.testing.assert_array_equal(score(np.stack([COUNTS, 2 * COUNTS])), [score(COUNTS)] * 2)


def test_absent_from_both_is_undefined_and_in_no_mean() -> None:
    padded = np.pad(COUNTS, (0, 1))
    assert np.isnan(metrics.iou(padded)[3])
    assert np.isnan(metrics.dice(padded)[3])
    for score in (metrics.mean_iou, metrics.mean_dice, metrics.mean_accuracy, metrics.frequency_weighted_iou):
        assert score(padded) == pytest.approx(float(score(COUNTS)))


def test_predicted_but_absent_from_truth_is_zero_and_lowers_the_mean() -> None:
    counts = np.array([[3, 1], [0, 0]])
    assert metrics.iou(counts).tolist() == [0.75, 0.0]
    assert metrics.precision(counts)[1] == 0
    assert np.isnan(metrics.recall(counts)[1])
    assert metrics.mean_iou(counts) == 0.375
    assert metrics.mean_accuracy(counts) == 0.75


def test_in_truth_but_never_predicted() -> None:
    counts = np.array([[4, 0], [2, 0]])
    assert metrics.iou(counts).tolist() == [4 / 6, 0]
    assert metrics.recall(counts)[1] == 0
    assert np.isnan(metrics.precision(counts)[1])


@pytest.mark.parametrize(
    "name", ["mean_iou", "mean_dice", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou"]
)
def test_of_nothing_every_score_is_undefined(name: str) -> None:
    assert np.isnan(getattr(metrics, name)(np.zeros((3, 3), np.int64)))


def test_dice_and_iou_tell_the_same() -> None:
    overlap = metrics.iou(COUNTS)
    np.testing.assert_allclose(metrics.dice(COUNTS), 2 * overlap / (1 + overlap))


def test_a_tally_scores_as_its_matrix() -> None:
    tally = Tally.of(COUNTS)
    assert Tally.of(tally) is tally
    assert tally.union.tolist() == [5, 6, 4]
    assert metrics.mean_iou(Tally.stack([tally, tally])).tolist() == [metrics.mean_iou(COUNTS)] * 2


def test_the_published_example_where_libraries_disagree() -> None:
    """Long et al. define mean IU over classes; scikit-learn's jaccard_score on the same labels agrees."""
    truth, found = np.array([[0, 0, 1, 1, 2, 2]]), np.array([[0, 1, 1, 1, 2, 0]])
    counts = metrics.count_pairs(found, truth, classes=3)
    assert metrics.iou(counts).tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 2])
    assert metrics.mean_iou(counts) == pytest.approx(0.5)


def test_every_score_is_defined_in_words() -> None:
    scores = {
        name
        for name in metrics.__all__
        if getattr(getattr(metrics, name), "__module__", "") == metrics.iou.__module__
    }
    assert {name for name in scores if name.islower()} - {"class_accuracy"} <= set(DEFINITIONS)
