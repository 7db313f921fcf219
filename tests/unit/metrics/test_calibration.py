"""Calibration on numbers worked out by hand, beside torchmetrics and scikit-learn, and in parts."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from segmentarium.errors import BadArgument, BadData, BadMask, SegError, UnknownName
from segmentarium.metrics.calibration import DEFINED, Calibration, calibration_scores
from segmentarium.values.classes import VOID


def softmax(seed: int, classes: int, *shape: int, sharp: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels that partly follow them."""
    chance = np.random.default_rng(seed)
    logits = sharp * chance.normal(size=(classes, *shape))
    probs = np.exp(logits) / np.exp(logits).sum(0)
    guessed = chance.random(shape) < 0.6
    return probs, np.where(guessed, probs.argmax(0), chance.integers(0, classes, shape))


def slow_errors(probs: np.ndarray, truth: np.ndarray, bins: int) -> tuple[float, float, float]:
    """ECE, MCE and ACE, pixel by pixel."""
    gathered: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for values, label in zip(probs.reshape(len(probs), -1).T, truth.ravel(), strict=True):
        if label != VOID:
            top = float(values.max())
            index = next(b for b in range(bins) if top <= (b + 1) / bins or b == bins - 1)
            gathered[index].append((top, int(values.argmax()) == label))
    gaps = [(abs(np.mean([r for _, r in g]) - np.mean([c for c, _ in g])), len(g)) for g in gathered if g]
    pixels = sum(n for _, n in gaps)
    return sum(gap * n for gap, n in gaps) / pixels, max(g for g, _ in gaps), np.mean([g for g, _ in gaps])


TABLE = (
    np.concatenate([np.full(10_000, 0.25), np.full(10_000, 0.75)]),
    np.concatenate([np.arange(10_000) < 1698, np.arange(10_000) < 6287]).astype(np.int64),
)
"""Probabilities of class 1 that are too high on both sides: in confidence the two errors nearly cancel."""


@pytest.mark.atlas("M31")
@pytest.mark.parametrize(("protocol", "told"), [("confidence", 0.02055), ("torchmetrics", 0.10075)])
def test_two_values_of_one_binary_map(protocol: str, told: float) -> None:
    assert calibration_scores(*TABLE, classes=2, protocol=protocol).ece == pytest.approx(told, abs=1e-9)
    probs, truth = (torch.from_numpy(each) for each in TABLE)
    if protocol == "torchmetrics":
        theirs = binary_calibration_error(probs, truth, n_bins=15)
    else:
        theirs = multiclass_calibration_error(torch.stack([1 - probs, probs], 1), truth, 2, n_bins=15)
    assert float(theirs) == pytest.approx(told, abs=1e-6)


@pytest.mark.atlas("M31")
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_torchmetrics_by_chance(seed: int) -> None:
    probs, truth = softmax(seed, 4, 30, 20)
    flat, labels = torch.from_numpy(probs.reshape(4, -1).T), torch.from_numpy(truth.ravel())
    for protocol in ("confidence", "torchmetrics"):
        scores = calibration_scores(probs, truth, classes=4, protocol=protocol)
        for norm, ours in (("l1", scores.ece), ("max", scores.mce)):
            theirs = multiclass_calibration_error(flat, labels, 4, n_bins=15, norm=norm)
            assert ours == pytest.approx(float(theirs), abs=1e-6)
    one, label = probs[0].astype(np.float32), (truth == 0).astype(np.int64)
    one[0, :3] = 1, 0, 0.2
    for norm, name in (("l1", "ece"), ("max", "mce")):
        theirs = binary_calibration_error(
            torch.from_numpy(one), torch.from_numpy(label), n_bins=15, norm=norm
        )
        scores = calibration_scores(one, label, classes=2, protocol="torchmetrics")
        assert getattr(scores, name) == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.atlas("M31")
@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(1, 20))
def test_equal_to_the_slow_twin(seed: int, classes: int, bins: int) -> None:
    probs, truth = softmax(seed, classes, 4, 5)
    truth[0] = VOID
    scores = calibration_scores(probs, truth, classes=classes, bins=bins)
    assert (scores.ece, scores.mce, scores.ace) == pytest.approx(slow_errors(probs, truth, bins), abs=1e-12)


@pytest.mark.atlas("M31")
def test_bins_are_closed_on_the_right() -> None:
    for kind in (np.float32, np.float64):
        edge = np.array([[0.4], [0.6]], kind)  # 0.6 is 9/15: in (8/15, 9/15]
        filled = calibration_scores(edge, np.array([1]), classes=2).reliability.pixels
        assert np.flatnonzero(filled).tolist() == [8]
        sure = calibration_scores(np.array([[0], [1]], kind), np.array([1]), classes=2).reliability.pixels
        assert np.flatnonzero(sure).tolist() == [14]


@pytest.mark.atlas("M31")
def test_by_hand() -> None:
    probs = np.array([[0.95, 0.9, 0.3, 0.45], [0.05, 0.1, 0.7, 0.55]])
    scores = calibration_scores(probs, np.array([0, 1, 1, VOID]), classes=2, bins=10)
    # (0.8, 0.9]: 0.9, wrong; (0.9, 1]: 0.95, right; (0.6, 0.7]: 0.7, right
    assert scores.ece == pytest.approx((0.9 + 0.05 + 0.3) / 3)
    assert scores.mce == pytest.approx(0.9)
    assert scores.ace == pytest.approx((0.9 + 0.05 + 0.3) / 3)
    assert scores.ece_per_class.tolist() == pytest.approx([(0.9 + 0.05) / 2, 0.3])
    assert scores.pixels == 3


@pytest.mark.atlas("M32")
def test_likelihood_and_brier_score_of_scikit_learn() -> None:
    probs, truth = softmax(5, 3, 200)
    scores = calibration_scores(probs, truth, classes=3)
    assert scores.nll == pytest.approx(log_loss(truth, probs.T))
    assert scores.brier == pytest.approx(((probs - np.eye(3)[truth].T) ** 2).sum(0).mean())
    one, label = probs[0], (truth == 0).astype(np.int64)
    halves = calibration_scores(one, label, classes=2)
    both = calibration_scores(np.stack([1 - one, one]), label, classes=2)
    assert halves.brier_half == pytest.approx(brier_score_loss(label, one))
    assert halves.brier == pytest.approx(2 * halves.brier_half)
    assert (halves.brier, halves.nll, halves.ece) == pytest.approx((both.brier, both.nll, both.ece))


@pytest.mark.atlas("M32")
def test_a_true_class_of_probability_zero_is_infinitely_unlikely() -> None:
    calibration = Calibration(2)
    calibration.update(np.array([1.0, 0.5]), np.array([0, 1]))
    calibration.update(np.array([1.0, 0.5]), np.array([1, 0]))
    told = json.loads(json.dumps(calibration.compute().as_dict(), allow_nan=False))
    assert told["nll"] == "inf"
    assert told["intervals"]["nll"] == [None, None]
    assert told["intervals"]["ece"][0] is not None


@given(st.permutations(range(5)), st.integers(1, 4))
@settings(max_examples=15)
@pytest.mark.atlas("M31")
def test_merged_parts_in_any_order_are_one_pass(order: list[int], cut: int) -> None:
    whole, first, second = (Calibration(3) for _ in range(3))
    for image in range(5):
        whole.update(*softmax(image, 3, 6, 7))
    for part, images in ((first, order[:cut]), (second, order[cut:])):
        for image in images:
            part.update(*softmax(image, 3, 6, 7))
    first.merge(second)
    ours, theirs = first.compute(rounds=50), whole.compute(rounds=50)
    for name in ("ece", "mce", "ace", "nll", "brier"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.intervals == theirs.intervals
    np.testing.assert_array_equal(ours.ece_per_image, theirs.ece_per_image[order])


@pytest.mark.atlas("M31", "M32")
def test_nothing_is_undefined_and_void_may_hold_anything() -> None:
    nothing = Calibration(2, names=["ground", "cell"]).compute()
    assert np.isnan([nothing.ece, nothing.mce, nothing.ace, nothing.nll, nothing.brier]).all()
    assert nothing.undefined == ("ground", "cell")
    probs, truth = softmax(1, 3, 8)
    spoiled = np.concatenate([probs, np.full((3, 2), np.nan)], 1)
    padded = calibration_scores(spoiled, np.append(truth, [VOID, VOID]), classes=3)
    assert padded.ece == calibration_scores(probs, truth, classes=3).ece


@pytest.mark.parametrize(
    ("probs", "truth", "error", "told"),
    [
        (np.array([[2.0], [-1.0]]), [0], BadArgument, r"probabilities: 2, -1 at \(0,\).*soft-max"),
        (np.array([[0.9], [0.9]]), [0], BadArgument, "summing to 1.8"),
        (np.array([[np.nan], [0.9]]), [0], BadArgument, "probabilities: nan"),
        (np.array([1.5]), [1], BadArgument, "probabilities: 1.5"),
        (np.array([[0.5], [0.5]]), [2], BadMask, "truth holds 2"),
        (np.array([[0.2], [0.3], [0.5]]), [2], BadArgument, r"shape \(3, 1\)"),
        (np.array([0.5, 0.5]), [1], BadArgument, r"allowed: \(2, 1\), classes first, or \(1,\)"),
    ],
)
def test_what_is_no_probability_is_refused(probs: np.ndarray, truth: list, error: type, told: str) -> None:
    calibration = Calibration(2)
    with pytest.raises(error, match=told):
        calibration.update(probs, np.array(truth))
    assert calibration.compute().pixels == 0


def test_setups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'torchmetrics'"):
        Calibration(2, protocol="torchmetric")
    for setup in ({"classes": 1}, {"classes": 2, "bins": 0}, {"classes": 2, "names": ["a"]}):
        with pytest.raises(SegError):
            Calibration(**setup)
    with pytest.raises(BadData, match="same classes, bins"):
        Calibration(2).merge(Calibration(2, bins=10))


def test_half_precision_is_taken() -> None:
    probs, truth = softmax(3, 4, 10, 10)
    halves = calibration_scores(probs.astype(np.float16), truth, classes=4)
    assert halves.brier == pytest.approx(calibration_scores(probs, truth, classes=4).brier, abs=2e-3)


def test_every_number_is_defined() -> None:
    scores = calibration_scores(*softmax(0, 2, 9), classes=2).as_dict()
    assert {definition.name for definition in DEFINED} <= set(scores)
    table = scores["reliability"]
    assert len(table["edges"]) == 16
    assert sum(table["pixels"]) == 9
