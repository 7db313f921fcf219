"""Class weights: the hand example of the atlas, scikit-learn, and classes that do not occur."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segmentarium.errors import BadArgument
from segmentarium.ops.class_balance import (
    RULES,
    effective_number,
    enet,
    inverse_frequency,
    inverse_square_root,
    median_frequency,
    of_mean_one,
)

HAND = np.array([[900, 80, 20], [1000, 0, 0], [700, 300, 0]])


@pytest.mark.atlas("L20")
def test_median_frequency_by_hand() -> None:
    assert median_frequency(HAND) == pytest.approx([0.21923, 1, 9.5], abs=5e-6)


@pytest.mark.atlas("L21")
def test_enet_by_hand() -> None:
    exact = [1 / np.log(1.02 + pixels / 3000) for pixels in (2600, 380, 20)]
    assert enet(HAND) == pytest.approx(exact, rel=1e-12)
    # the atlas's figures are right but for the last digit: 7.306780 and 37.997807
    assert enet(HAND) == pytest.approx([1.57527, 7.30679, 37.99780], abs=1.1e-5)


@pytest.mark.atlas("L21")
def test_inverse_frequency_is_scikit_learns() -> None:
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    pixels = np.repeat([0, 1, 3], [700, 60, 5])
    theirs = sklearn.compute_class_weight("balanced", classes=np.unique(pixels), y=pixels)
    got = inverse_frequency(np.bincount(pixels, minlength=5)[None])
    np.testing.assert_allclose(got[[0, 1, 3]], theirs)
    assert not got[[2, 4]].any()


@pytest.mark.atlas("L21")
def test_effective_number() -> None:
    counts = np.array([[1, 2, 10**9]])
    assert effective_number(counts, beta=0.5) == pytest.approx([1, 0.5 / 0.75, 0.5])
    assert effective_number(counts, beta=0.0) == pytest.approx([1, 1, 1])
    scaled = of_mean_one(effective_number(counts))
    assert scaled.sum() == pytest.approx(3)  # the paper's scale: the sum is the number of classes


def test_inverse_square_root() -> None:
    assert inverse_square_root(np.array([[1, 3], [0, 12]])) == pytest.approx([4, np.sqrt(16 / 15)])


@pytest.mark.atlas("L20", "L21")
@pytest.mark.parametrize("name", RULES)
@settings(max_examples=20)
@given(counts=arrays(np.int64, (3, 4), elements=st.integers(0, 10**6)))
def test_every_rule(name: str, counts: np.ndarray) -> None:
    weights = RULES[name](counts)
    present = counts.sum(0) > 0
    assert (weights[present] > 0).all()
    assert np.isfinite(weights).all()
    assert not weights[~present].any()
    np.testing.assert_allclose(RULES[name](counts[:, ::-1]), weights[::-1])
    widened = np.insert(counts, 2, 0, axis=1)  # a class that never occurs shifts nothing
    np.testing.assert_allclose(np.delete(RULES[name](widened), 2), weights)
    if name != "median_frequency":  # there, the rarest in its own images may not be the rarest in all
        rarer = np.argsort(counts.sum(0)[present])
        assert (np.diff(weights[present][rarer]) <= 1e-12).all()
    if present.any():
        assert of_mean_one(weights)[present].mean() == pytest.approx(1)


def test_nothing_at_all() -> None:
    assert not of_mean_one(median_frequency(np.zeros((0, 3), int))).any()


@pytest.mark.parametrize("counts", [np.array([3, 4]), np.array([[3, -1]]), np.array([[0.5, 0.5]])])
def test_counts_that_do_not_fit_are_told(counts: np.ndarray) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # the hook would refuse before we do
    try:
        for rule in RULES.values():
            with pytest.raises(BadArgument, match="counts: "):
                rule(counts)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def test_numbers_that_do_not_fit_are_told() -> None:
    with pytest.raises(BadArgument, match=r"c: 1\.0"):
        enet(HAND, c=1.0)
    with pytest.raises(BadArgument, match=r"beta: 1\.0"):
        effective_number(HAND, beta=1.0)
