"""The U-Net paper's weight map."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from segmentarium.ops.border_weights import border_weights

pytestmark = pytest.mark.atlas("L22")


def slow_twin(instances: np.ndarray, w0: float, sigma: float) -> np.ndarray:
    """The formula as it stands, one whole distance map a cell."""
    cells = [number for number in np.unique(instances) if number > 0]
    distances = np.sort([ndimage.distance_transform_edt(instances != number) for number in cells], axis=0)
    gap = w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    return np.where(instances > 0, 1.0, 1.0 + gap)


@pytest.mark.parametrize("seed", range(4))
def test_equals_its_slow_twin(seed: int) -> None:
    draw = np.random.default_rng(seed)
    instances = np.zeros((60, 70), np.int32)
    for number in (3, 7, 8, 4000, 12):
        y, x = draw.integers(0, (52, 62))
        instances[y : y + draw.integers(2, 9), x : x + draw.integers(2, 9)] = number
    for sigma in (1.0, 5.0):
        np.testing.assert_allclose(
            border_weights(instances, sigma=sigma), slow_twin(instances, 10, sigma), atol=2e-4
        )


def test_by_eye() -> None:
    instances = np.zeros((1, 7), np.uint16)
    instances[0, 0], instances[0, 4] = 1, 2
    expected = 10 * np.exp(-(4.0**2) / (2 * 2.0**2))
    weights = border_weights(instances, sigma=2.0, class_weights=(0.5, 3.0))
    np.testing.assert_allclose(
        weights[0, :5], [3, 0.5 + expected, 0.5 + expected, 0.5 + expected, 3], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("near", "far", "gap"), [(1, 1, 9.23116), (1, 3, 7.26149), (5, 5, 1.35335), (10, 10, 0.0033546)]
)
def test_the_gap_by_hand(near: int, far: int, gap: float) -> None:
    instances = np.zeros((3, near + far + 1), np.int32)
    instances[:, 0], instances[:, -1] = 1, 2
    assert border_weights(instances)[1, near] == pytest.approx(1 + gap, abs=6e-6)


@pytest.mark.parametrize("cells", [0, 1])
def test_without_a_neighbour_there_is_no_gap(cells: int) -> None:
    instances = np.zeros((9, 9), np.int32)
    instances[4, 4] = cells
    assert (border_weights(instances) == 1).all()


def test_a_picture_full_of_cells() -> None:
    assert (border_weights(np.array([[1, 1, 2], [5, 5, 2]])) == 1).all()


def test_void_is_ground() -> None:
    assert border_weights(np.array([[1, -1, 2]], np.int32))[0, 1] > 1
