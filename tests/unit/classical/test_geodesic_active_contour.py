"""Geodesic active contours: drawn disks and balls from both sides, the signs, the speed of curvature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from segmentarium.classical.geodesic_active_contour import edge_stop, evolve, geodesic_active_contour
from segmentarium.classical.levels import levels
from segmentarium.errors import BadArgument, BadImage
from segmentarium.ops.level_sets import box, checkerboard, distance_to_contour, slope, upwind_slope
from segmentarium.values import Volume

pytestmark = pytest.mark.atlas("C07")


def ball(size: tuple[int, ...], radius: float) -> np.ndarray:
    at = np.indices(size)
    return sum((x - n / 2 + 1) ** 2 for x, n in zip(at, size, strict=True)) < radius**2


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"start": "disk", "balloon": 1.0},
        {"foreground": ((23, 22),)},
        {"foreground": ((30, 28),), "balloon": 0.5},
    ],
)
def test_stops_on_the_edge_of_a_disk(how: dict[str, Any]) -> None:
    truth = ball((52, 56), 15)
    noise = np.random.default_rng(0).normal(0, 2, truth.shape)
    picture = np.rint(np.where(truth, 190, 60) + noise).astype(np.uint8)
    assert dice(geodesic_active_contour(picture, **how).labels == 1, truth) > 0.98


def test_a_dark_thing_in_colours() -> None:
    truth = ball((40, 44), 11)
    picture = np.where(truth[..., None], (40, 90, 60), (160, 90, 60)).astype(np.uint8)
    assert dice(geodesic_active_contour(picture, start="box").labels == 1, truth) > 0.97


def test_stops_on_the_edge_of_a_ball() -> None:
    truth = ball((18, 30, 32), 8.5)
    picture = np.where(truth, 200, 40).astype(np.uint8)
    found = geodesic_active_contour(Volume.plain(picture), foreground=((15, 14, 8),), radius=4.0, sigma=1.0)
    assert dice(found.labels == 1, truth) > 0.95


def test_agrees_with_simpleitk() -> None:
    sitk = pytest.importorskip("SimpleITK")
    truth = ball((52, 56), 15)
    picture = np.where(truth, 190, 60).astype(np.uint8)
    speed = edge_stop(levels(picture))
    begin = -distance_to_contour(ball((52, 56), 21))  # negative inside, there
    images = [sitk.GetImageFromArray(values.astype(np.float32)) for values in (begin, speed)]
    theirs = sitk.GeodesicActiveContourLevelSet(
        *images,
        propagationScaling=-1.0,
        curvatureScaling=1.0,
        advectionScaling=1.0,
        numberOfIterations=800,
        maximumRMSError=1e-4,
    )
    ours = evolve(ball((52, 56), 21), speed, balloon=-1.0)
    assert dice(ours > 0, sitk.GetArrayFromImage(theirs) <= 0) > 0.95


def test_the_sign_of_the_balloon() -> None:
    begin, calm = ball((40, 40), 8), np.ones((40, 40))
    sizes = [
        int((evolve(begin, calm, balloon=force, curvature=0.0, iterations=10) > 0).sum())
        for force in (-1.0, 0.0, 1.0)
    ]
    assert sizes[0] < sizes[1] == begin.sum() < sizes[2]
    radii = np.sqrt(np.array(sizes) / np.pi)
    np.testing.assert_allclose(radii - radii[1], [-5, 0, 5], atol=0.4)  # ten steps of half a pixel


def test_a_circle_shrinks_as_curvature_has_it() -> None:
    """dr/dt = -1 / r, so the area falls by 2 pi each unit of time; a step is five."""
    begin, calm = ball((64, 64), 24), np.ones((64, 64))
    areas = [int((evolve(begin, calm, iterations=n) > 0).sum()) for n in (0, 10, 20)]
    assert areas[0] > areas[1] > areas[2]
    np.testing.assert_allclose(np.diff(areas), -2 * np.pi * 50, rtol=0.15)


def test_distance_has_slope_one() -> None:
    phi = distance_to_contour(ball((30, 30), 9))
    ring = (np.abs(phi) < 6) & (np.abs(phi) > 1)
    for found in (slope(phi, (1.0, 1.0)), upwind_slope(phi, (1.0, 1.0), growing=True)):
        np.testing.assert_allclose(found[ring].mean(), 1, atol=0.05)
    assert (distance_to_contour(np.ones((3, 3), bool)) > 0).all()
    assert (distance_to_contour(np.zeros((3, 3), bool)) < 0).all()


def test_what_it_begins_with() -> None:
    assert box((6, 7)).sum() == 2 * 3
    assert box((1, 2)).any()
    assert np.sign(checkerboard((4, 4), side=2.0)).tolist() == [[1, 1, -1, -1]] * 2 + [[-1, -1, 1, 1]] * 2


def test_one_colour_and_one_pixel() -> None:
    assert not geodesic_active_contour(np.full((12, 10), 9, np.uint8)).labels.any()
    assert geodesic_active_contour(np.full((12, 10), 9, np.uint8), foreground=((4, 4),)).labels.all()
    assert geodesic_active_contour(np.full((1, 1), 9, np.uint8)).labels.shape == (1, 1)
    assert geodesic_active_contour(np.full((9, 9), 9, np.uint8), start="checkerboard").labels.shape == (9, 9)


def test_what_is_refused() -> None:
    picture = np.zeros((6, 6), np.uint8)
    with pytest.raises(BadArgument, match="outside the picture"):
        geodesic_active_contour(picture, foreground=((6, 0),))
    with pytest.raises(BadArgument, match="without foreground"):
        geodesic_active_contour(picture, seeds=np.ones((6, 6), np.int32))
    with pytest.raises(BadArgument, match="contrast"):
        geodesic_active_contour(picture, contrast=0.0)
    with pytest.raises(BadImage):
        geodesic_active_contour(np.full((3, 3), np.nan))
