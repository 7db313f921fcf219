"""The compact watershed: one connected region a seed, rounder the more compactness counts."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.measure import label
from skimage.segmentation import watershed

from segmentarium.classical.compact_watershed import compact_watershed, slope
from segmentarium.classical.levels import levels
from segmentarium.errors import BadArgument
from segmentarium.values import Volume


def noisy_disc(size: int = 60) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[:size, :size] - size / 2
    inside = x**2 + y**2 < (size / 3) ** 2
    noise = np.random.default_rng(0).integers(-10, 11, (size, size))
    return (60 + 120 * inside + noise).astype(np.uint8), inside


@pytest.mark.atlas("C18")
@pytest.mark.parametrize("compactness", [0.0, 0.5, 50.0])
def test_one_connected_region_a_seed(compactness: float) -> None:
    picture, _ = noisy_disc()
    labels = compact_watershed(picture, segments=36, compactness=compactness).labels
    assert np.array_equal(np.unique(labels), np.arange(36))
    assert label(labels, background=-1, connectivity=1).max() == 36


@pytest.mark.atlas("C18")
def test_compactness_leads_from_edges_to_squares() -> None:
    picture, inside = noisy_disc()

    def bleeding(compactness: float) -> int:
        labels = compact_watershed(picture, segments=36, compactness=compactness).labels
        within = np.bincount(labels[inside], minlength=36)
        return int(np.minimum(within, np.bincount(labels.ravel()) - within).sum())

    assert bleeding(0.5) < bleeding(1e6)
    squares = compact_watershed(picture, segments=36, compactness=1e6).labels
    sides = np.bincount(squares.ravel())
    assert sides.max() - sides.min() <= 60


def test_without_compactness_it_is_the_watershed_of_the_peer() -> None:
    picture, _ = noisy_disc()
    seeds = np.zeros((60, 60), np.int32)
    seeds[5::10, 5::10] = np.arange(1, 37).reshape(6, 6)
    expected = watershed(slope(levels(picture)), seeds)
    ours = compact_watershed(picture, segments=36, compactness=0.0).labels
    assert np.unique(np.stack([ours.ravel(), expected.ravel()]), axis=1).shape[1] == 36


def test_the_slope_of_a_ramp_is_its_rise() -> None:
    ramp = np.broadcast_to(np.arange(0, 90, 3, dtype=np.uint8), (20, 30))
    assert np.allclose(slope(levels(ramp))[:, 1:-1], 3.0)
    volume = Volume.plain(np.broadcast_to(np.linspace(0, 255, 18, dtype=np.float32), (5, 6, 18)).copy())
    assert np.allclose(slope(levels(volume))[..., 1:-1], 15.0, atol=1e-3)


def test_volumes_and_what_is_hardly_a_picture() -> None:
    voxels = np.random.default_rng(0).random((6, 12, 12)).astype(np.float32)
    found = compact_watershed(Volume.plain(voxels, (2.0, 1.0, 1.0)), segments=8)
    assert found.labels.max() == 7
    assert compact_watershed(np.full((1, 1), 3, np.uint8)).labels.tolist() == [[0]]
    assert compact_watershed(np.full((20, 20), 3, np.uint8), segments=4).labels.max() == 3
    with pytest.raises(BadArgument, match="compactness = inf"):
        compact_watershed(voxels[0], compactness=float("inf"))
