"""DP-means: the limits of lambda, an objective that never rises, and an obvious twin."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.classical.dp_means import cluster, dp_means
from segmentarium.errors import BadArgument

pytestmark = pytest.mark.atlas("C03")


def twin(points: np.ndarray, penalty: float, steps: int) -> tuple[np.ndarray, list[float]]:
    centers, objective = [points.mean(axis=0)], []
    for _ in range(steps):
        labels = []
        for point in points:
            squares = [float(((point - center) ** 2).sum()) for center in centers]
            if min(squares) > penalty:
                centers.append(point)
                squares.append(0.0)
            labels.append(int(np.argmin(squares)))
        used, numbered = np.unique(labels, return_inverse=True)
        centers = [points[numbered == k].mean(axis=0) for k in range(len(used))]
        inertia = sum(((p - centers[k]) ** 2).sum() for p, k in zip(points, numbered, strict=True))
        objective.append(float(inertia) + penalty * (len(centers) - 1))
    return numbered, objective


@pytest.mark.parametrize("penalty", [40.0, 900.0, 20000.0])
def test_equals_the_obvious_twin_and_never_rises(penalty: float) -> None:
    random = np.random.default_rng(0)
    points = random.choice([20.0, 90.0, 200.0], (120, 3)) + random.normal(0, 6, (120, 3))
    found = cluster(points, penalty=penalty)
    labels, objective = twin(points, penalty, len(found.objective))
    np.testing.assert_array_equal(found.labels, labels)
    np.testing.assert_allclose(found.objective, objective, rtol=1e-9)
    assert (np.diff(found.objective) <= 1e-9 * found.objective[0]).all()


def test_one_cluster_at_infinity_and_all_points_at_zero() -> None:
    points = np.random.default_rng(1).integers(0, 4, (60, 3)).astype(float)
    assert len(cluster(points, penalty=1e12).centers) == 1
    found = cluster(points, penalty=0.0)
    assert len(found.centers) == len(np.unique(points, axis=0))
    assert found.objective[-1] == pytest.approx(0, abs=1e-9)


def test_the_door() -> None:
    picture = np.zeros((12, 20, 3), np.uint8)
    picture[:, 10:] = (200, 30, 90)
    np.testing.assert_array_equal(dp_means(picture).labels, np.arange(20) // 10 * np.ones((12, 1)))
    assert len(dp_means(np.full((5, 5, 3), 8, np.uint8)).classes) == 1
    assert dp_means(np.zeros((1, 1), np.uint8), penalty=0.0).labels.tolist() == [[0]]
    assert len(dp_means(np.zeros((2, 3, 1), np.uint8), penalty=0.0).classes) == 6


def test_refuses_in_one_sentence() -> None:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    with pytest.raises(BadArgument, match="more than 5 clusters"):
        dp_means(picture, penalty=0.5, most=5)
    with pytest.raises(BadArgument, match="penalty = -1"):
        dp_means(picture, penalty=-1.0)
    with pytest.raises(BadArgument, match="weight = nan"):
        dp_means(picture, weight=float("nan"))
