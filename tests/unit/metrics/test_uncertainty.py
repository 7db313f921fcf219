"""Uncertainty maps: the identity of entropies, extremes by hand, one by one or all at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentarium.errors import BadArgument, BadData
from segmentarium.metrics.uncertainty import DEFINED, Uncertainty, uncertainty_maps

pytestmark = pytest.mark.atlas("M33")


def predictions(seed: int, samples: int, classes: int) -> np.ndarray:
    return np.moveaxis(np.random.default_rng(seed).dirichlet(np.full(classes, 0.5), (samples, 3, 4)), -1, 1)


def slow_entropy(probs: np.ndarray) -> float:
    return -sum(p * np.log(p) for p in probs.tolist() if p > 0)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 5))
def test_entropy_is_expected_entropy_and_information(seed: int, samples: int, classes: int) -> None:
    probs = predictions(seed, samples, classes)
    maps = uncertainty_maps(probs)
    np.testing.assert_allclose(
        maps.predictive_entropy, maps.expected_entropy + maps.mutual_information, atol=1e-12
    )
    assert (maps.mutual_information >= 0).all()
    assert (maps.predictive_entropy <= np.log(classes) + 1e-12).all()


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_equal_to_the_slow_twin(seed: int) -> None:
    probs = predictions(seed, 4, 3)
    maps = uncertainty_maps(probs)
    here = probs[:, :, 1, 2]
    mean = here.mean(0)
    assert maps.predictive_entropy[1, 2] == pytest.approx(slow_entropy(mean))
    assert maps.expected_entropy[1, 2] == pytest.approx(np.mean([slow_entropy(p) for p in here]))
    divergences = [sum(a * np.log(a / b) for a, b in zip(p, mean, strict=True) if a > 0) for p in here]
    assert maps.mutual_information[1, 2] == pytest.approx(np.mean(divergences), abs=1e-12)
    assert maps.variance[1, 2] == pytest.approx(((here - mean) ** 2).mean(0).sum())


def test_sure_but_at_odds_and_at_one_but_unsure() -> None:
    odds = uncertainty_maps(np.array([[1.0, 0.0], [0.0, 1.0]]), normalised=True)
    unsure = uncertainty_maps(np.array([[0.5, 0.5], [0.5, 0.5]]), normalised=True)
    assert (odds.predictive_entropy, odds.expected_entropy, odds.mutual_information) == pytest.approx(
        (1, 0, 1)
    )
    assert (unsure.predictive_entropy, unsure.expected_entropy) == pytest.approx((1, 1))
    assert float(unsure.mutual_information) == pytest.approx(0)
    assert float(odds.variance) == pytest.approx(0.5)
    assert float(unsure.variance) == 0


@given(st.permutations(range(5)), st.integers(0, 5))
@settings(max_examples=15)
def test_merged_parts_in_any_order_are_one_pass(order: list[int], cut: int) -> None:
    probs = predictions(3, 5, 4)
    first, second = Uncertainty(), Uncertainty()
    for part, indices in ((first, order[:cut]), (second, order[cut:])):
        for i in indices:
            part.update(probs[i])
    first.merge(second)
    ours, whole = first.compute(), uncertainty_maps(probs)
    assert ours.samples == 5
    for definition in DEFINED:
        np.testing.assert_allclose(
            getattr(ours, definition.name), getattr(whole, definition.name), atol=1e-12
        )


def test_reset_and_dict() -> None:
    uncertainty = Uncertainty()
    uncertainty.update(predictions(0, 1, 3)[0])
    uncertainty.reset()
    uncertainty.update(np.array([0.5, 0.5]))
    assert uncertainty.compute().as_dict() == pytest.approx(
        {
            "samples": 1,
            "predictive_entropy": np.log(2),
            "expected_entropy": np.log(2),
            "mutual_information": 0,
            "variance": 0,
        }
    )


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadArgument, match="soft-max"):
        uncertainty_maps(np.array([[3.0, -1.0]]))
    with pytest.raises(BadArgument, match="soft-max"):
        uncertainty_maps(np.array([[np.nan, 1.0]]))
    with pytest.raises(BadData, match="no prediction"):
        Uncertainty().compute()
    other = Uncertainty()
    other.update(np.array([0.5, 0.5]))
    with pytest.raises(BadArgument, match="first prediction"):
        other.update(np.array([0.2, 0.3, 0.5]))
    with pytest.raises(BadData, match="units"):
        Uncertainty(normalised=True).merge(other)
