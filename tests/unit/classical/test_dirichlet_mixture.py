"""The Dirichlet mixture: it finds the number of colours, its bound never falls, all pixels are labelled."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.classical.dirichlet_mixture import dirichlet_mixture, fit
from segmentarium.classical.levels import levels
from segmentarium.errors import BadArgument

pytestmark = pytest.mark.atlas("C03")


def patches(side: int = 60) -> tuple[np.ndarray, np.ndarray]:
    truth = np.repeat([[0, 1, 2]], side, axis=0).repeat(side // 3, axis=1)
    colors = np.array([[40, 60, 200], [210, 60, 40], [60, 200, 80]])
    noise = np.random.default_rng(0).normal(0, 6, (*truth.shape, 3))
    return np.clip(colors[truth] + noise, 0, 255).astype(np.uint8), truth


def test_finds_three_colours_and_climbs() -> None:
    picture, truth = patches()
    found = fit(levels(picture), 12, weight=0.0, iterations=300)
    assert found.occupied == 3
    assert found.converged
    for label in range(3):
        values, counts = np.unique(found.labels[truth == label], return_counts=True)
        assert counts.max() > 0.99 * counts.sum(), values
    assert (np.diff(found.elbo) >= -1e-6 * abs(found.elbo[0])).all()


def test_a_sample_labels_all_pixels() -> None:
    picture, truth = patches()
    found = dirichlet_mixture(picture, components=8, weight=0.0, sample=200)
    assert found.labels.shape == truth.shape
    np.testing.assert_array_equal(
        found.labels, dirichlet_mixture(picture, components=8, weight=0.0, sample=200).labels
    )


def test_one_pixel_and_one_colour() -> None:
    assert dirichlet_mixture(np.zeros((1, 1), np.uint8)).labels.tolist() == [[0]]
    assert len(dirichlet_mixture(np.full((9, 9, 3), 50, np.uint8), weight=0.0).classes) == 1
    assert dirichlet_mixture(np.full((9, 9, 3), 50, np.uint8), components=3).labels.shape == (9, 9)


@pytest.mark.parametrize("bad", [{"components": 0}, {"concentration": 0.0}, {"weight": -1.0}, {"sample": 1}])
def test_refuses_in_one_sentence(bad: dict[str, float]) -> None:
    with pytest.raises(BadArgument, match=next(iter(bad))):
        dirichlet_mixture(np.zeros((4, 4), np.uint8), **bad)  # type: ignore[arg-type]
