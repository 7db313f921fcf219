"""What holds for all label maps: the fast kernel is its slow twin, order and cutting make no difference."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentarium.metrics import (
    ConfusionMatrix,
    count_pairs,
    dice,
    frequency_weighted_iou,
    iou,
    pixel_accuracy,
)
from segmentarium.values.classes import VOID


@st.composite
def maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """A prediction, a truth with void, and the number of classes."""
    classes, pixels = draw(st.integers(1, 7)), draw(st.integers(0, 60))
    truth = draw(st.lists(st.integers(VOID, classes - 1), min_size=pixels, max_size=pixels))
    found = draw(st.lists(st.integers(0, classes - 1), min_size=pixels, max_size=pixels))
    return np.array(found, np.uint8), np.array(truth, np.int32), classes


def slow_count(found: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    matrix = np.zeros((classes, classes), np.int64)
    for p, t in zip(found.tolist(), truth.tolist(), strict=True):
        if t != VOID:
            matrix[t, p] += 1
    return matrix


def slow_iou(found: np.ndarray, truth: np.ndarray, c: int) -> float:
    valid = truth != VOID
    union = (((found == c) | (truth == c)) & valid).sum()
    return float("nan") if not union else float(((found == c) & (truth == c)).sum() / union)


@given(maps())
def test_counts_equal_their_slow_twin(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    found, truth, classes = case
    np.testing.assert_array_equal(
        count_pairs(found, truth, classes=classes), slow_count(found, truth, classes)
    )


@given(maps())
def test_iou_and_dice_equal_their_definition_on_sets(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    found, truth, classes = case
    counts = count_pairs(found, truth, classes=classes)
    expected = np.array([slow_iou(found, truth, c) for c in range(classes)])
    np.testing.assert_allclose(iou(counts), expected)
    np.testing.assert_allclose(dice(counts), 2 * expected / (1 + expected))


@given(maps(), st.integers(0, 60), st.booleans())
def test_merged_parts_are_one_pass(case: tuple[np.ndarray, np.ndarray, int], cut: int, swapped: bool) -> None:
    found, truth, classes = case
    whole, *parts = (ConfusionMatrix(classes) for _ in range(3))
    whole.update(found, truth)
    for part, piece in zip(parts, (slice(None, cut), slice(cut, None)), strict=True):
        part.update(found[piece], truth[piece])
    first, second = parts[::-1] if swapped else parts
    first.merge(second)
    np.testing.assert_array_equal(first.matrix, whole.matrix)


@given(maps())
def test_bounded_and_perfect_on_the_truth(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    found, truth, classes = case
    counts = count_pairs(found, truth, classes=classes)
    for score in (iou, dice, pixel_accuracy, frequency_weighted_iou):
        values = np.atleast_1d(score(counts))
        assert np.isnan(values[~((values >= 0) & (values <= 1))]).all()
    same = iou(count_pairs(np.maximum(truth, 0), truth, classes=classes))
    assert (same[~np.isnan(same)] == 1).all()


@given(maps())
def test_iou_is_symmetric(case: tuple[np.ndarray, np.ndarray, int]) -> None:
    found, truth, classes = case
    valid = truth != VOID
    there = count_pairs(found[valid], truth[valid], classes=classes)
    back = count_pairs(truth[valid], found[valid].astype(np.int32), classes=classes)
    np.testing.assert_array_equal(there, back.T)
    np.testing.assert_array_equal(iou(there), iou(back))


@settings(max_examples=30)
@given(maps(), st.randoms(use_true_random=False))
def test_renaming_classes_moves_scores_along(case: tuple[np.ndarray, np.ndarray, int], random) -> None:
    found, truth, classes = case
    order = list(range(classes))
    random.shuffle(order)
    names = np.array([*order, VOID])
    renamed = iou(count_pairs(names[found], names[truth], classes=classes))
    np.testing.assert_array_equal(renamed[order], iou(count_pairs(found, truth, classes=classes)))
