"""Snakes: a circle without picture, the edge of a disk, and points as (x, y)."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.classical.snake import ellipse, resampled, settle, snake
from segmentarium.errors import BadArgument, BadImage
from segmentarium.values import Volume

pytestmark = pytest.mark.atlas("C06")


def disk(size: tuple[int, int] = (64, 76), at: tuple[int, int] = (36, 30), radius: float = 18) -> np.ndarray:
    y, x = np.indices(size)
    return (x - at[0]) ** 2 + (y - at[1]) ** 2 < radius**2


def radii(points: np.ndarray, at: tuple[float, float]) -> np.ndarray:
    return np.hypot(*(points - at).T)


def test_a_circle_without_a_picture_shrinks() -> None:
    points = np.array([31.5, 31.5]) + 20 * (ellipse((3, 3), 60, share=1.0) - 1)
    flat, last = np.zeros((64, 64, 1)), 20.0
    for _ in range(15):
        points = settle(flat, points, alpha=0.01, beta=0.1, iterations=1)
        now = radii(points, (31.5, 31.5))
        assert np.ptp(now) < 0.05  # the step is capped along x and y apart
        assert now.mean() < last
        last = now.mean()


def test_settles_on_the_edge_of_a_disk() -> None:
    picture = np.where(disk(), 190, 60).astype(float)[..., None]
    points = settle(picture, ellipse((64, 76), 200))
    edge = np.sqrt(disk().sum() / np.pi)
    assert np.abs(radii(points, (36, 30)) - edge).max() < 1


@pytest.mark.parametrize("channels", [1, 3])
def test_cuts_a_disk_out(channels: int) -> None:
    truth = disk()
    picture = np.repeat(np.where(truth, 190, 60).astype(np.uint8)[..., None], channels, axis=2)
    corners = ((10, 4), (62, 4), (62, 56), (10, 56))
    for polygon in ((), corners):
        found = snake(picture, polygon=polygon).labels == 1
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.96


def test_a_polygon_in_equal_steps() -> None:
    points = resampled(((0, 0), (4, 0), (4, 2), (0, 2)), 12)
    assert points.tolist()[:6] == [[0, 0], [1, 0], [2, 0], [3, 0], [4, 0], [4, 1]]
    np.testing.assert_allclose(np.hypot(*(np.roll(points, -1, 0) - points).T), 1)


def test_an_ellipse_lies_in_the_middle() -> None:
    points = ellipse((11, 21), 8, share=0.5)
    np.testing.assert_allclose(points.mean(0), [10, 5], atol=1e-12)
    np.testing.assert_allclose(np.ptp(points, axis=0), [10, 5])


def test_one_colour_leaves_nothing_or_little() -> None:
    assert snake(np.full((20, 20), 5, np.uint8), iterations=5).labels.mean() < 0.8


def test_what_is_refused() -> None:
    picture = np.zeros((9, 9), np.uint8)
    with pytest.raises(BadArgument, match="three different"):
        snake(picture, polygon=((1, 1), (5, 5), (1, 1)))
    with pytest.raises(BadArgument, match="gamma"):
        snake(picture, gamma=0.0)
    with pytest.raises(BadArgument, match="vertices"):
        snake(picture, vertices=2)
    with pytest.raises(BadImage, match="3 x 3"):
        snake(picture[:1, :1])
    with pytest.raises(BadImage, match="choose a slice"):
        snake(Volume.plain(np.zeros((3, 9, 9), np.uint8)))
