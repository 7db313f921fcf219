"""Felzenszwalb's regions equal scikit-image's and those of the algorithm written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.segmentation import felzenszwalb as peer

from segmentarium.classical.felzenszwalb import felzenszwalb, graph_regions
from segmentarium.classical.levels import levels
from segmentarium.errors import BadArgument, BadImage
from segmentarium.ops.neighbours import neighbours
from segmentarium.values import Volume


def lively(size: tuple[int, ...], channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth noise with steps in it, uint8."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal((*size, channels)), (*(2.0 for _ in size), 0))
    steps = 60 * (noise[..., :1] > 0) + 40 * (noise[..., -1:] > 0.1)
    return np.clip(80 + steps + 100 * noise + 4 * rng.standard_normal(noise.shape), 0, 255).astype(np.uint8)


def twin(values: np.ndarray, scale: float, smallest: int) -> np.ndarray:
    """Algorithm 1 with sets of pixels; ``values`` are smooth already."""
    size = values.shape[:-1]
    steps = neighbours(len(size), 8 if len(size) == 2 else 26)
    edges = []
    for at in np.ndindex(size):
        for step in steps:
            to = tuple(int(a + s) for a, s in zip(at, step, strict=True))
            if all(0 <= a < n for a, n in zip(to, size, strict=True)):
                edges.append((np.sqrt(np.square(values[at] - values[to]).sum()), at, to))
    edges.sort(key=lambda edge: edge[0])
    home = {at: {at} for at in np.ndindex(size)}
    inner = {id(one): 0.0 for one in home.values()}

    def join(one: set, other: set, weight: float) -> None:
        one |= other
        home.update(dict.fromkeys(other, one))
        inner[id(one)] = weight

    for weight, at, to in edges:
        one, other = home[at], home[to]
        if one is not other and weight <= min(inner[id(c)] + scale / len(c) for c in (one, other)):
            join(one, other, weight)
    for weight, at, to in edges:
        one, other = home[at], home[to]
        if one is not other and min(len(one), len(other)) < smallest:
            join(one, other, weight)
    names: dict[int, int] = {}
    return np.array([names.setdefault(id(home[at]), len(names)) for at in np.ndindex(size)]).reshape(size)


@pytest.mark.atlas("C15")
@pytest.mark.parametrize(("size", "channels"), [((17, 23), 3), ((20, 18), 1), ((5, 9, 8), 1), ((4, 6, 7), 2)])
@pytest.mark.parametrize("smallest", [0, 12])
def test_equals_the_algorithm_written_out(size: tuple[int, ...], channels: int, smallest: int) -> None:
    values = lively(size, channels)
    picture = values if len(size) == 2 else Volume.plain(np.moveaxis(values, -1, 0).astype(np.float32))
    taken = levels(picture)
    smooth = np.stack([ndimage.gaussian_filter(taken.values[..., c], 0.8) for c in range(channels)], -1)
    found = graph_regions(taken, scale=60.0, smallest=smallest)
    assert found.max() > 2
    assert np.array_equal(found, twin(smooth, 60.0, smallest))


@pytest.mark.atlas("C15")
@pytest.mark.parametrize(("scale", "sigma", "smallest"), [(300.0, 0.8, 20), (50.0, 0.5, 0), (100.0, 1.5, 50)])
def test_is_the_partition_of_the_peer(scale: float, sigma: float, smallest: int) -> None:
    """With the same scale: theirs is divided by 255, and so are their levels."""
    picture = lively((90, 120), seed=5)
    found = graph_regions(levels(picture), scale=scale, sigma=sigma, smallest=smallest)
    theirs = peer(picture, scale=scale, sigma=sigma, min_size=smallest)
    pairs = np.unique(np.stack([found.ravel(), theirs.ravel()]), axis=1).shape[1]
    assert pairs == found.max() + 1 == theirs.max() + 1


@pytest.mark.atlas("C15")
def test_a_larger_least_size_only_joins() -> None:
    taken = levels(lively((60, 70), seed=2))
    fine = graph_regions(taken, scale=40.0, smallest=0)
    for least in (2, 5, 20, 80, 5000):
        coarse = graph_regions(taken, scale=40.0, smallest=least)
        assert np.unique(np.stack([fine.ravel(), coarse.ravel()]), axis=1).shape[1] == fine.max() + 1
        assert np.bincount(coarse.ravel()).min() >= min(least, coarse.size)
        assert coarse.max() <= fine.max()
        fine = coarse
    assert fine.max() == 0


@pytest.mark.atlas("C15")
def test_the_scale_is_that_of_eight_bits() -> None:
    picture = lively((40, 50))
    from_bytes = felzenszwalb(picture, scale=200.0).labels
    assert np.array_equal(from_bytes, felzenszwalb((picture / 255).astype(np.float32), scale=200.0).labels)
    assert from_bytes.max() < felzenszwalb(picture, scale=50.0).labels.max()


def test_what_is_hardly_a_picture() -> None:
    assert felzenszwalb(np.full((1, 1), 3, np.uint8)).labels.tolist() == [[0]]
    assert felzenszwalb(np.full((30, 20, 3), 77, np.uint8), scale=0.0, smallest=0).labels.max() == 0
    halves = np.zeros((8, 8), np.uint8)
    halves[:, 4:] = 200
    assert np.array_equal(felzenszwalb(halves, sigma=0.0).labels, (halves > 0).astype(np.int32))
    with pytest.raises(BadArgument, match="scale = -1"):
        felzenszwalb(halves, scale=-1.0)
    with pytest.raises(BadImage):
        felzenszwalb(np.full((4, 4), np.inf, np.float32))
