"""The field without a lattice: all pairs, and pairs in a window."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.classical.crf.dense import DenseCRF, Kernel, Normalise
from segmentarium.classical.crf.exact_dense import all_pairs, infer_exactly, window
from segmentarium.errors import BadArgument

RNG = np.random.default_rng(7)
SIZE = (6, 7)
PICTURE = 255 * RNG.random((*SIZE, 2))
UNARY = RNG.random((3, *SIZE))


def by_loops(unary: np.ndarray, kernels: tuple[Kernel, ...], steps: int, *, include_self: bool) -> np.ndarray:
    """The paper's equations, a pixel at a time; normalised after."""
    k, n = len(unary), unary[0].size
    places = np.indices(SIZE).reshape(2, n).T
    colors = PICTURE.reshape(n, 2)
    q = np.exp(-unary.reshape(k, n))
    q /= q.sum(0)
    for _ in range(steps):
        scores = -unary.reshape(k, n).copy()
        for i in range(n):
            for kernel in kernels:
                far = np.square((places - places[i]) / kernel.sigma).sum(1)
                if kernel.contrast is not None:
                    far = far + np.square((colors - colors[i]) / kernel.contrast).sum(1)
                weights = np.exp(-far / 2)
                weights[i] *= include_self
                scores[:, i] += kernel.compatibility * (q @ weights) / weights.sum()
        powers = np.exp(scores - scores.max(0))
        q = powers / powers.sum(0)
    return q.reshape(unary.shape)


@pytest.mark.atlas("R12", "R15")
@pytest.mark.parametrize("include_self", [True, False])
def test_all_pairs_equal_loops(include_self: bool) -> None:
    kernels = Kernel(2.0, None, 1.0, "after"), Kernel(3.0, 60.0, 2.0, "after")
    ours = infer_exactly(DenseCRF(kernels, 3, include_self), UNARY, PICTURE)
    np.testing.assert_allclose(ours, by_loops(UNARY, kernels, 3, include_self=include_self), atol=1e-6)


@pytest.mark.atlas("R15", "R19")
@pytest.mark.parametrize("mode", ["before", "after", "symmetric", "none"])
@pytest.mark.parametrize("include_self", [True, False])
def test_a_window_over_everything_equals_all_pairs(mode: Normalise, include_self: bool) -> None:
    crf = DenseCRF((Kernel(2.0, None, 0.3, mode), Kernel(3.0, 60.0, 0.2, mode)), 3, include_self)
    whole = infer_exactly(crf, UNARY, PICTURE)
    np.testing.assert_allclose(infer_exactly(crf, UNARY, PICTURE, radius=9), whole, atol=1e-9)


@pytest.mark.atlas("R19")
def test_a_window_truncates_the_kernel() -> None:
    places = np.indices(SIZE).reshape(2, -1).T.astype(float)
    matrix = all_pairs(places / 2)(np.eye(len(places)))
    apart = np.abs(places[:, None] - places).max(-1)
    cut = window(places.reshape(*SIZE, 2) / 2, 2)(np.eye(len(places)))
    np.testing.assert_allclose(cut, np.where(apart <= 2, matrix, 0), atol=1e-12)


@pytest.mark.atlas("R19")
def test_a_window_in_a_volume() -> None:
    volume, unary = 255 * RNG.random((3, 4, 5, 1)), RNG.random((2, 3, 4, 5))
    crf = DenseCRF((Kernel(1.5, 80.0),), 2)
    whole = infer_exactly(crf, unary, volume, spacing=(2.0, 1.0, 1.0))
    windowed = infer_exactly(crf, unary, volume, spacing=(2.0, 1.0, 1.0), radius=4)
    np.testing.assert_allclose(windowed, whole, atol=1e-9)


def test_too_many_pixels_are_refused() -> None:
    with pytest.raises(BadArgument, match="give a radius"):
        infer_exactly(DenseCRF(), np.zeros((2, 65, 64)), np.zeros((65, 64, 1)))
    with pytest.raises(BadArgument, match="equal sizes"):
        infer_exactly(DenseCRF(), np.zeros((2, 6, 4)), np.zeros((6, 5, 1)))
