"""The confusion matrix on maps that one can count by eye."""

import json

import numpy as np
import pytest

from segmentarium.errors import BadData, BadMask
from segmentarium.metrics import ConfusionMatrix, SemanticScores, count_pairs
from segmentarium.values.classes import VOID

TRUTH = np.array([[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 1, VOID], [2, 2, VOID, VOID]], np.int32)
FOUND = np.array([[0, 0, 1, 1], [0, 1, 1, 1], [2, 0, 1, 9], [2, 2, 0, 1]], np.uint8)
COUNTS = [[3, 1, 0], [0, 5, 0], [1, 0, 3]]


def test_truth_is_in_rows_and_void_is_nowhere() -> None:
    assert count_pairs(FOUND, TRUTH, classes=3).tolist() == COUNTS


@pytest.mark.parametrize("found", [np.uint8, np.uint16, np.int32, np.uint64])
@pytest.mark.parametrize("truth", [np.int32, np.int8])
def test_every_integer_type_counts_the_same(found: type, truth: type) -> None:
    assert count_pairs(FOUND.astype(found), TRUTH.astype(truth), classes=3).tolist() == COUNTS


def test_another_ignore_value_than_void() -> None:
    eight_bit = np.where(TRUTH == VOID, 255, TRUTH).astype(np.uint8)
    assert count_pairs(FOUND, eight_bit, classes=3, ignore=255).tolist() == COUNTS


def test_an_ignored_class_is_left_out() -> None:
    truth = np.where(TRUTH == VOID, 2, TRUTH)
    assert count_pairs(np.minimum(FOUND, 2), truth, classes=3, ignore=2)[2].tolist() == [0, 0, 0]


def test_bool_masks_views_and_volumes() -> None:
    truth, found = np.zeros((2, 4, 6), bool), np.zeros((2, 4, 6), bool)
    truth[:, :2], found[:, :, :3] = True, True
    assert count_pairs(found, truth, classes=2).tolist() == [[12, 12], [12, 12]]
    assert count_pairs(found[:, ::2, ::-1], truth[:, ::2, ::-1], classes=2).sum() == 24


def test_empty_maps_count_nothing() -> None:
    assert count_pairs(np.zeros((0, 4), np.uint8), np.zeros((0, 4), np.int32), classes=2).sum() == 0


@pytest.mark.parametrize(
    ("found", "truth", "told"),
    [
        ([[0, 3]], [[0, 1]], r"prediction holds 3 at \(0, 1\) and 1 such"),
        ([[0, -1]], [[0, 1]], r"prediction holds -1 at \(0, 1\)"),
        ([[0, 1]], [[5, 7]], r"truth holds 5 at \(0, 0\) and 2 such"),
        ([[0, 1]], [[-2, 1]], r"truth holds -2 at \(0, 0\)"),
        ([[0, 1]], [[2**40, 1]], r"truth holds 1099511627776"),
        ([[0, 1, 1]], [[0, 1]], "shape"),
    ],
)
def test_what_is_no_class_is_refused_and_nothing_is_counted(found: list, truth: list, told: str) -> None:
    counts = ConfusionMatrix(3)
    with pytest.raises(BadMask, match=told):
        counts.update(np.array(found), np.array(truth))
    assert not counts.matrix.any()


def test_update_merge_reset() -> None:
    whole, top, bottom = (ConfusionMatrix(3, names=["a", "b", "c"]) for _ in range(3))
    whole.update(FOUND, TRUTH)
    top.update(FOUND[:2], TRUTH[:2])
    bottom.update(FOUND[2:], TRUTH[2:])
    bottom.merge(top)
    assert (bottom.matrix == whole.matrix).all()
    scores = bottom.compute()
    bottom.reset()
    assert not bottom.matrix.any()
    assert scores.matrix.tolist() == COUNTS


def test_other_classes_are_not_merged() -> None:
    with pytest.raises(BadData, match="same classes in the same order"):
        ConfusionMatrix(2, names=["a", "b"]).merge(ConfusionMatrix(2, names=["b", "a"]))


def test_names_and_number_of_classes_must_fit() -> None:
    with pytest.raises(BadData, match="2 names for 3 classes"):
        ConfusionMatrix(3, names=["a", "b"])
    with pytest.raises(BadData, match="0 classes"):
        ConfusionMatrix(0)


def test_as_dict_is_json_without_nan() -> None:
    scores = SemanticScores.of(np.array([[3, 1, 0], [0, 5, 0], [0, 0, 0]]), names=["a", "b", "absent"])
    told = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert told["undefined"] == ["absent"]
    assert told["per_class"]["absent"] == {
        "iou": None, "dice": None, "precision": None, "recall": None, "pixels": 0
    }  # fmt: skip
    assert told["per_class"]["a"]["iou"] == 0.75
    assert told["mean_iou"] == pytest.approx((3 / 4 + 5 / 6) / 2)
