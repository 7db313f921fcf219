"""Mean shift: density climbs, an obvious twin, scikit-learn, two bumps, translation, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.classical.levels import levels
from segmentarium.classical.mean_shift import REACH, climb, link, mean_shift
from segmentarium.errors import BadArgument, BadImage
from segmentarium.values import Volume

pytestmark = pytest.mark.atlas("C05")


def points(values: np.ndarray, place: float, color: float) -> np.ndarray:
    """Rows of y, x, levels in bandwidths."""
    at = np.concatenate([np.moveaxis(np.indices(values.shape[:2]), 0, -1), values], axis=-1)
    return at.reshape(-1, at.shape[-1]) / np.array([place] * 2 + [color] * values.shape[2])


def squares(at: np.ndarray, cloud: np.ndarray) -> np.ndarray:
    return ((at[:, None] - cloud) ** 2).sum(axis=2)


def density(at: np.ndarray, cloud: np.ndarray, kernel: str) -> np.ndarray:
    u, end = squares(at, cloud), REACH[kernel] ** 2
    shadow = 1 - u if kernel == "flat" else np.exp(-u / 2) - np.exp(-end / 2)
    return (shadow * (u <= end)).sum(axis=1)


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("kernel", ["flat", "gaussian"])
def test_each_step_is_the_weighted_mean_and_climbs(kernel: str) -> None:
    place, color, picture = 3.3, 90.0, levels(noise(9, 11, 3))
    cloud = points(picture.values, place, color)
    at, unit = cloud, np.array([place] * 2 + [color] * 3)
    height = density(at, cloud, kernel)
    for steps in range(1, 8):
        u = squares(at, cloud)
        weights = (np.ones_like(u) if kernel == "flat" else np.exp(-u / 2)) * (u <= REACH[kernel] ** 2)
        at = weights @ cloud / weights.sum(axis=1, keepdims=True)
        ours = climb(picture, place=place, color=color, kernel=kernel, iterations=steps, least=0.0)  # type: ignore[arg-type]
        np.testing.assert_allclose(ours.reshape(-1, 5) / unit, at, atol=1e-9)
        before, height = height, density(at, cloud, kernel)
        assert (height >= before * (1 - 1e-12)).all()
    assert (height > before - 1e-9).all()


def test_the_modes_of_scikit_learn_are_among_ours() -> None:
    from sklearn.cluster import MeanShift

    place, color, picture = 4.0, 60.0, levels(noise(10, 10, 1) // 64 * 64)
    ours = climb(picture, place=place, color=color, iterations=300, least=0.0).reshape(-1, 3)
    cloud = points(picture.values, place, color)
    theirs = MeanShift(bandwidth=1.0, max_iter=300).fit(cloud).cluster_centers_
    nearest = squares(theirs, ours / np.array([place, place, color])).min(axis=1)
    assert np.sqrt(nearest.max()) < 1e-2


def test_two_bumps_have_two_modes() -> None:
    random = np.random.default_rng(0)
    line = np.concatenate([random.normal(70, 8, 40), random.normal(180, 8, 40)])
    picture = levels(line.round().astype(np.uint8)[None])
    modes = climb(picture, place=1000.0, color=40.0, kernel="gaussian")[0, :, 2]
    assert np.ptp(modes[:40]) < 1
    assert np.ptp(modes[40:]) < 1
    assert modes[0] == pytest.approx(70, abs=4)
    assert modes[40] == pytest.approx(180, abs=4)
    assert len(mean_shift(line.round().astype(np.uint8)[None], place=50.0, color=40.0).classes) == 2


def test_moves_with_the_picture() -> None:
    inner = noise(8, 9, 3) // 2

    def framed(y: int, x: int) -> np.ndarray:
        canvas = np.full((24, 26, 3), 255, np.uint8)
        canvas[y : y + 8, x : x + 9] = inner
        return canvas

    one, two = (mean_shift(framed(*at), place=3.0, color=40.0, smallest=0).labels for at in ((5, 4), (9, 11)))
    np.testing.assert_array_equal(one[5:13, 4:13], two[9:17, 11:20])


def test_links_need_both_bandwidths() -> None:
    modes = np.array([[[0.0, 0, 10], [0, 1, 13], [0, 2, 30], [0, 9, 31]]])
    assert link(modes, place=5.0, color=10.0).tolist() == [[0, 0, 1, 2]]


def test_finds_patches_in_noise_and_drops_the_small() -> None:
    truth = np.repeat(np.repeat([[0, 1], [2, 3]], 16, axis=0), 16, axis=1)
    random = np.random.default_rng(0)
    picture = np.array([40, 100, 160, 220])[truth] + random.normal(0, 5, truth.shape)
    picture[3, 3] = 130
    found = mean_shift(picture.clip(0, 255).astype(np.uint8), place=5.0, color=25.0, smallest=5)
    np.testing.assert_array_equal(found.labels, truth)


def test_one_pixel_and_one_colour() -> None:
    assert mean_shift(np.zeros((1, 1, 3), np.uint8)).labels.tolist() == [[0]]
    assert len(mean_shift(np.full((20, 20, 3), 33, np.uint8)).classes) == 1


def test_refuses_in_one_sentence() -> None:
    picture = noise(4, 4, 3)
    for bad in ({"place": 0.0}, {"color": float("nan")}, {"smallest": -1}, {"iterations": -1}):
        with pytest.raises(BadArgument, match=next(iter(bad))):
            mean_shift(picture, **bad)  # type: ignore[arg-type]
    with pytest.raises(BadImage, match="a volume"):
        mean_shift(Volume.plain(np.zeros((3, 4, 5), np.float32)))
