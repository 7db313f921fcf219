"""Saliency scores by hand, at each threshold by a slow twin, and as recorded from PySODMetrics ac5b1fc."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentarium.errors import BadArgument, BadData, BadMask, UnknownName
from segmentarium.metrics.saliency import DEFINED, Saliency, e_measure, f_beta, s_measure, saliency_scores

pytestmark = pytest.mark.atlas("M37")


def maps(seed: int, images: int = 4) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Noisy 8-bit maps of boxes, and the boxes."""
    chance, found, truths = np.random.default_rng(seed), [], []
    for _ in range(images):
        truth = np.zeros((24, 20), bool)
        y, x = chance.integers(2, 10, 2)
        truth[y : y + chance.integers(4, 12), x : x + chance.integers(4, 9)] = True
        bright = 255 * (0.4 * truth + 0.6 * chance.random((24, 20)))
        noisy = np.round(bright - chance.integers(0, 40))
        found.append(np.clip(noisy, 0, 255).astype(np.uint8))
        truths.append(truth)
    return found, truths


RECORDED = {
    0: {
        "mae": 0.24458556136032095,
        "s_measure": 0.587690534240867,
        "f_adaptive": 0.7225843310847773,
        "f_max": 0.8592670666980418,
        "f_mean": 0.423197720035708,
        "e_adaptive": 0.8967706959244622,
        "e_max": 0.9140756053762178,
        "e_mean": 0.4955455560815562,
    },
    1: {
        "mae": 0.3826315072155428,
        "s_measure": 0.518835913791617,
        "f_adaptive": 0.36103875631283744,
        "f_max": 0.4818769957329834,
        "f_mean": 0.33693960076164886,
        "e_adaptive": 0.6430918244160495,
        "e_max": 0.6921931417374961,
        "e_mean": 0.49543924619325097,
    },
}
"""Of :func:`maps` of that seed; with seed 1 the first mask is empty and the second is full."""


@pytest.mark.parametrize("seed", RECORDED)
def test_recorded_numbers_of_pysodmetrics(seed: int) -> None:
    found, truths = maps(seed)
    if seed == 1:
        truths[0][:], truths[1][:] = False, True
    saliency = Saliency(protocol="pysodmetrics")
    for prediction, truth in zip(found, truths, strict=True):
        saliency.update(prediction / 255, truth)
    scores = saliency.compute()
    assert {name: getattr(scores, name) for name in RECORDED[seed]} == pytest.approx(RECORDED[seed], abs=1e-9)


def slow_f(found: np.ndarray, truth: np.ndarray) -> float:
    hits = (found & truth).sum()
    if not hits:
        return 0.0
    precision, recall = hits / found.sum(), hits / truth.sum()
    return 1.3 * precision * recall / (0.3 * precision + recall)


def slow_e(found: np.ndarray, truth: np.ndarray) -> float:
    a, b = found - found.mean(), truth - truth.mean()
    aligned = 2 * a * b / (a**2 + b**2 + np.spacing(1))
    return float(((aligned + 1) ** 2 / 4).mean())


@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_curves_equal_their_slow_twins_at_each_threshold(seed: int) -> None:
    found, truths = maps(seed, images=1)
    scores = saliency_scores(found[0] / 255, truths[0])
    for threshold in (0, 1, 77, 128, 254, 255):
        binary = np.floor(found[0] / 255 * 255) >= threshold
        assert scores.f_curve[threshold] == pytest.approx(slow_f(binary, truths[0]))
        assert scores.e_curve[threshold] == pytest.approx(slow_e(binary, truths[0]))


def test_by_hand() -> None:
    truth = np.array([[False, True], [False, True]])
    scores = saliency_scores(np.array([[0.0, 1.0], [1.0, 1.0]]), truth)
    assert scores.mae == 0.25
    assert scores.f_max == pytest.approx(1.3 * (2 / 3) / (0.3 * (2 / 3) + 1))
    perfect = saliency_scores(truth.astype(np.float64), truth)
    assert (perfect.mae, perfect.f_max, perfect.e_max) == pytest.approx((0, 1, 1))
    assert perfect.s_measure == pytest.approx(1)


def test_empty_and_full_masks() -> None:
    dark, empty = np.full((4, 4), 0.25), np.zeros((4, 4), bool)
    scores = saliency_scores(dark, empty)
    assert np.isnan([scores.f_max, scores.f_mean, scores.f_adaptive]).all()
    assert scores.undefined == 1
    assert scores.s_measure == 0.75
    assert saliency_scores(dark, ~empty).s_measure == 0.25
    assert json.loads(json.dumps(scores.as_dict(), allow_nan=False))["f_max"] is None
    both = Saliency()
    both.update(dark, empty)
    both.update((~empty).astype(np.float64), ~empty)
    assert both.compute().f_max == 1


@given(st.permutations(range(4)), st.integers(0, 4))
@settings(max_examples=10)
def test_merged_parts_in_any_order_are_one_pass(order: list[int], cut: int) -> None:
    found, truths = maps(9)
    whole, first, second = Saliency(), Saliency(), Saliency()
    for part, images in ((whole, range(4)), (first, order[:cut]), (second, order[cut:])):
        for i in images:
            part.update(found[i] / 255, truths[i])
    first.merge(second)
    ours, theirs = first.compute(rounds=50), whole.compute(rounds=50)
    for definition in DEFINED:
        assert getattr(ours, definition.name) == pytest.approx(getattr(theirs, definition.name))
    assert ours.intervals["mae"] == pytest.approx(theirs.intervals["mae"])


def test_the_functions_alone() -> None:
    truth = np.array([[True, False], [False, False]])
    assert f_beta(1, 0, positives=1) == 1
    assert np.isnan(f_beta(0, 3, positives=0))
    assert e_measure(1, 0, mask=truth) == pytest.approx(1)
    assert s_measure(truth * 1.0, truth) == pytest.approx(1)


@pytest.mark.parametrize(
    ("prediction", "truth", "error", "told"),
    [
        (np.array([[255.0]]), np.array([[True]]), BadArgument, "divide 8-bit maps by 255"),
        (np.array([[np.nan]]), np.array([[True]]), BadArgument, "from nan"),
        (np.array([[0.5, 0.5]]), np.array([[True]]), BadArgument, "equal shapes"),
        (np.array([[0.5]]), np.array([[255]]), BadMask, "0 and 1"),
    ],
)
def test_what_does_not_fit_is_refused(prediction, truth, error: type, told: str) -> None:
    with pytest.raises(error, match=told):
        saliency_scores(prediction, truth)


def test_setups_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UnknownName, match="pysodmetrics"):
        Saliency(protocol="pysod")
    with pytest.raises(BadData, match="pysodmetrics"):
        Saliency().merge(Saliency(protocol="pysodmetrics"))
    assert np.isnan(Saliency().compute().mae)
