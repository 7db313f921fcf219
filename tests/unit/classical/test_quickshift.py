"""Quick shift is the peer's, in our units."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.segmentation import quickshift as peer

from segmentarium.classical.quickshift import quickshift
from segmentarium.errors import BadArgument, BadImage
from segmentarium.values import Volume


def blocks() -> np.ndarray:
    rng = np.random.default_rng(0)
    colours = rng.integers(20, 235, (3, 4, 3))
    noise = rng.integers(-8, 9, (24, 32, 3))
    return np.clip(np.kron(colours, np.ones((8, 8, 1))) + noise, 0, 255).astype(np.uint8)


@pytest.mark.atlas("C18")
def test_is_a_partition_with_contiguous_numbers_that_keeps_to_edges() -> None:
    found = quickshift(blocks(), bandwidth=2.0, max_distance=8.0)
    labels = found.labels
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))
    assert len(found.classes) == labels.max() + 1
    cells = np.arange(24)[:, None] // 8 * 4 + np.arange(32) // 8
    pairs = np.unique(np.stack([labels.ravel(), cells.ravel()]), axis=1)
    assert pairs.shape[1] == labels.max() + 1  # no region crosses an edge


@pytest.mark.atlas("C18")
def test_is_the_partition_of_the_peer() -> None:
    ours = quickshift(blocks(), bandwidth=2.0, max_distance=5.0, seed=3).labels
    theirs = peer(blocks(), kernel_size=2.0, max_dist=5.0, ratio=0.5, rng=3)
    agreed = np.unique(np.stack([ours.ravel(), theirs.ravel()]), axis=1).shape[1]
    assert agreed <= 1.1 * (ours.max() + 1)  # colours differ by the rounding of single precision
    assert np.array_equal(ours, quickshift(blocks(), bandwidth=2.0, max_distance=5.0, seed=3).labels)


def test_any_channels_but_no_volumes() -> None:
    assert quickshift(blocks()[..., 0]).labels.shape == (24, 32)
    assert quickshift(blocks()[..., :2].copy()).labels.shape == (24, 32)
    assert quickshift(np.full((1, 1), 5, np.uint8)).labels.tolist() == [[0]]
    with pytest.raises(BadImage, match="volume"):
        quickshift(Volume.plain(np.zeros((2, 3, 4), np.float32)))
    with pytest.raises(BadArgument, match="color = 2"):
        quickshift(blocks(), color=2.0)
