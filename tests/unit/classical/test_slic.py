"""SLIC equals a slow twin of itself; its regions are connected, cover all and are as many as asked for."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np
import pytest
from skimage.color import rgb2lab
from skimage.measure import label, perimeter
from skimage.segmentation import slic as peer

from segmentarium.classical.levels import levels
from segmentarium.classical.slic import cluster, connected, grid, slic, superpixels
from segmentarium.errors import BadArgument, BadImage
from segmentarium.metrics.superpixels import score_superpixels
from segmentarium.ops.lab import lab_planes
from segmentarium.values import Volume


def patches(size: tuple[int, ...], seed: int = 0, noise: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy colours of a dozen cells around random points, uint8, and the cells."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)
    middles = rng.random((12, len(size))) * size
    cells = np.square(places[..., None, :] - middles).sum(-1).argmin(-1)
    colours = rng.integers(20, 235, (12, 3))[cells] + noise * rng.standard_normal((*size, 3))
    return np.clip(colours, 0, 255).astype(np.uint8), cells


def twin(
    planes: np.ndarray, spacing: tuple[float, ...], segments: int, m: float, iterations: int
) -> np.ndarray:
    """Every pixel asks every centre."""
    size = planes.shape[1:]
    cells = grid(size, spacing, segments)
    side = (np.prod(np.multiply(size, spacing)) / np.prod(cells)) ** (1 / len(size))
    axes = [(np.arange(n) + 0.5) * length / n - 0.5 for n, length in zip(cells, size, strict=True)]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(size))
    places = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1).reshape(-1, len(size))
    colours = planes.reshape(len(planes), -1).T.astype(np.float64)
    at = np.floor(centres + 0.5).astype(int)
    means = planes[(slice(None), *at.T)].T.astype(np.float64)
    reach = np.maximum(side / np.array(spacing), 1)
    for _ in range(iterations):
        order = np.argsort(centres[:, 0], kind="stable")
        centres, means = centres[order], means[order]
        apart = places[:, None] - centres
        far = np.square(apart * spacing / side).sum(-1) * m**2
        unlike = np.square(colours[:, None] - means).sum(-1)
        reached = (np.abs(apart) <= reach).all(-1)
        distance = np.where(reached, far + unlike, np.where(reached.any(1)[:, None], np.inf, far + unlike))
        labels = distance.argmin(1)
        for k in np.unique(labels):
            centres[k], means[k] = places[labels == k].mean(0), colours[labels == k].mean(0)
    return labels.reshape(size)


@pytest.mark.atlas("C17")
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize(("size", "spacing"), [((37, 50), (1.0, 1.0)), ((9, 16, 14), (2.0, 1.0, 1.5))])
def test_equals_the_slow_twin(size: tuple[int, ...], spacing: tuple[float, ...], channels: int) -> None:
    planes = np.moveaxis(patches(size)[0], -1, 0)[:channels].astype(np.float32).copy()
    labels, centres = cluster(planes, spacing, segments=20, m=30.0, iterations=4)
    expected = twin(planes, spacing, 20, 30.0, 4)
    assert (labels == expected).mean() > 0.999  # ties of single precision
    assert centres.shape[1] == len(size) + channels


@pytest.mark.atlas("C17")
def test_covers_all_connected_and_as_many_as_asked() -> None:
    picture, _ = patches((80, 120))
    for asked in (1, 40, 200):
        found = superpixels(levels(picture), asked)
        assert found.asked == asked
        assert abs(len(found.centres) - asked) <= 0.05 * asked
        assert found.found == found.labels.max() + 1 >= 0.95 * asked
        assert found.pieces >= found.found
        assert 0 <= found.moved < 0.5
        assert label(found.labels, background=-1, connectivity=1).max() == found.found


@pytest.mark.atlas("C17")
def test_compactness_rises_with_m() -> None:
    taken = levels(patches((90, 110), noise=20.0)[0])
    rounds = []
    for m in (5.0, 20.0, 80.0):
        labels = superpixels(taken, 60, m).labels
        areas = np.bincount(labels.ravel())
        borders = np.array([perimeter(np.pad(labels == k, 1)) for k in range(len(areas))])
        rounds.append(float((areas * np.minimum(1, 4 * np.pi * areas / borders**2)).sum() / areas.sum()))
    assert rounds == sorted(rounds)
    assert rounds[-1] > 1.2 * rounds[0]


@pytest.mark.atlas("C17")
def test_holds_boundaries_as_well_as_the_peer() -> None:
    picture, cells = patches((120, 160), seed=3, noise=20.0)
    theirs = peer(picture, 150, start_label=0)
    ours = superpixels(levels(picture), int(theirs.max()) + 1).labels
    mine, other = (
        score_superpixels(labels, cells, ignore=None) for labels in (ours, theirs.astype(np.int32))
    )
    assert mine.regions <= 1.05 * other.regions
    assert mine.boundary_recall >= other.boundary_recall - 0.01
    assert mine.undersegmentation_error <= other.undersegmentation_error + 0.01


def test_the_number_of_cores_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = levels(patches((80, 120))[0])
    expected = superpixels(taken, 40)

    def one_by_one(work: Callable[[int, int], object], count: int) -> None:
        for part in reversed(range(count)):
            work(part, part + 1)

    monkeypatch.setattr(import_module("segmentarium.classical.slic"), "share", one_by_one)
    found = superpixels(taken, 40)
    assert np.array_equal(found.labels, expected.labels)
    assert np.array_equal(found.centres, expected.centres)


def test_lab_is_that_of_the_peer() -> None:
    colours = np.random.default_rng(0).random((40, 50, 3)).astype(np.float32) * 255
    colours[0, :2] = [[0, 0, 0], [255, 255, 255]]
    assert np.abs(np.moveaxis(lab_planes(colours), 0, -1) - rgb2lab(colours / 255)).max() < 0.01


def test_loose_pieces_go_to_the_longest_border() -> None:
    labels = np.array([[0, 0, 0, 1, 1], [0, 1, 0, 1, 1], [0, 0, 0, 1, 0], [2, 2, 2, 1, 1]])
    whole, pieces = connected(labels)
    assert pieces == 5
    assert whole.tolist() == [[0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 1, 1], [2, 2, 2, 1, 1]]


def test_a_volume_keeps_its_spacing() -> None:
    voxels = patches((6, 24, 24))[0][..., 0]
    found = slic(Volume.plain(voxels.astype(np.float32), (3.0, 1.0, 1.0)), segments=30)
    assert found.labels.shape == voxels.shape
    assert found.spacing_mm == (3.0, 1.0, 1.0)
    assert 20 < found.labels.max() + 1 < 40


def test_what_is_hardly_a_picture() -> None:
    assert slic(np.full((1, 1, 3), 9, np.uint8)).labels.tolist() == [[0]]
    assert slic(np.full((40, 40), 7, np.uint8), segments=16).labels.max() == 15
    assert slic(np.arange(6, dtype=np.uint8).reshape(2, 3), segments=99).labels.max() == 5
    with pytest.raises(BadImage):
        slic(np.full((4, 4), np.nan, np.float32))
    with pytest.raises(BadArgument, match="segments = 0"):
        slic(np.zeros((4, 4), np.uint8), segments=0)
    with pytest.raises(BadArgument, match="compactness"):
        slic(np.zeros((4, 4), np.uint8), compactness=0.0)
