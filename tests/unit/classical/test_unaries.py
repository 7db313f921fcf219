"""Unary energies from probabilities and from labels."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.classical.crf.unaries import from_labels, from_softmax
from segmentarium.errors import BadArgument


@pytest.mark.atlas("R17")
def test_probabilities_become_energies() -> None:
    probs = np.array([[0.0, 0.25, 1.0], [1.0, 0.75, 0.0]])
    energies = from_softmax(probs)
    assert energies.dtype == np.float32
    np.testing.assert_allclose(energies, -np.log(np.clip(probs, 1e-5, 1)), atol=1e-6)
    np.testing.assert_allclose(from_softmax(probs, trust=0.5), -np.log(0.5 * probs + 0.25), atol=1e-6)
    assert probs[0, 0] == 0  # what came in stays


@pytest.mark.atlas("R17")
def test_single_precision_is_not_overwritten() -> None:
    probs = np.full((2, 3, 4), 0.5, np.float32)
    from_softmax(probs)
    assert (probs == 0.5).all()


@pytest.mark.atlas("R17")
def test_labels_become_energies() -> None:
    powers = np.exp(-from_labels(np.array([[0, 1], [2, 3]]), classes=3, sure=0.8))
    np.testing.assert_allclose(powers[:, 0, 0], 1 / 3, rtol=1e-6)
    np.testing.assert_allclose(powers[:, 0, 1], [0.8, 0.1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(powers[:, 1, 1], [0.1, 0.1, 0.8], rtol=1e-6)
    plain = np.exp(-from_labels(np.array([0, 2]), classes=3, sure=0.8, zero_unsure=False))
    np.testing.assert_allclose(plain.T, [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("values", [np.zeros((2, 0)), np.full((2, 3), 1.5), np.full((2, 3), np.nan)])
def test_what_is_no_probability_is_refused(values: np.ndarray) -> None:
    with pytest.raises(BadArgument, match="from 0 to 1"):
        from_softmax(values)


def test_parameters_outside_their_range_are_refused() -> None:
    with pytest.raises(BadArgument, match="trust"):
        from_softmax(np.ones((1, 2)), trust=0.0)
    for labels, classes, sure in (([1, 4], 3, 0.7), ([-1, 1], 3, 0.7), ([1, 2], 2, 1.0), ([1], 1, 0.5)):
        with pytest.raises(BadArgument, match=r"sure|labels"):
            from_labels(np.array(labels), classes=classes, sure=sure)
