"""Components and exact distances by brute force: everything that the package builds on scipy for them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from segmentarium.errors import BadArgument
from segmentarium.ops.components import components
from segmentarium.ops.signed_distance import signed_distance

pytestmark = pytest.mark.atlas("C21")

REACH = {4: 1, 8: 2, 6: 1, 18: 2, 26: 3}


def by_walking(mask: np.ndarray, connectivity: int) -> tuple[np.ndarray, int]:
    """Numbers in the order of the scan, each part walked through from its first pixel."""
    steps = [s for s in product((-1, 0, 1), repeat=mask.ndim) if 0 < np.abs(s).sum() <= REACH[connectivity]]
    numbers, count = np.zeros(mask.shape, int), 0
    for first in map(tuple, np.argwhere(mask)):
        if numbers[first]:
            continue
        count += 1
        numbers[first], edge = count, [first]
        while edge:
            at = edge.pop()
            for step in steps:
                near = tuple(a + s for a, s in zip(at, step, strict=True))
                inside = all(0 <= a < n for a, n in zip(near, mask.shape, strict=True))
                if inside and mask[near] and not numbers[near]:
                    numbers[near] = count
                    edge.append(near)
    return numbers, count


@pytest.mark.parametrize("share", [0.15, 0.4, 0.65])
@pytest.mark.parametrize(
    ("size", "connectivity"),
    [((24, 31), 4), ((24, 31), 8), ((12, 12, 12), 6), ((12, 12, 12), 18), ((12, 12, 12), 26)],
)
def test_components_by_walking(size: tuple[int, ...], connectivity: int, share: float) -> None:
    mask = np.random.default_rng(connectivity).random(size) < share
    numbers, count = components(mask, connectivity=connectivity)
    expected, parts = by_walking(mask, connectivity)
    assert count == parts
    np.testing.assert_array_equal(numbers, expected)
    assert numbers.dtype == np.int32


def test_components_of_nothing_and_of_everything() -> None:
    assert components(np.zeros((3, 4), bool))[1] == 0
    assert components(np.ones((3, 4, 5), bool))[1] == 1
    assert components(np.eye(3, dtype=bool))[1] == 3
    with pytest.raises(BadArgument, match="6 neighbours in 2 dimensions; allowed: 4, 8"):
        components(np.eye(3, dtype=bool), connectivity=6)


def nearest_zero(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    zeros = np.argwhere(~mask) * spacing
    gaps = np.argwhere(np.ones_like(mask))[:, None] * spacing - zeros[None]
    return np.sqrt((gaps**2).sum(-1)).min(1).reshape(mask.shape)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 0.7, 1.1)])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_distances_by_brute_force(spacing: tuple[float, ...], share: float) -> None:
    mask = np.random.default_rng(3).random((12, 12, 12)) < share
    expected = nearest_zero(mask, spacing)
    exact = ndimage.distance_transform_edt(mask, sampling=spacing)
    np.testing.assert_allclose(exact, expected, rtol=1e-12)
    ours = -signed_distance(mask, spacing=spacing)
    np.testing.assert_allclose(ours[mask], expected[mask], rtol=1e-6)
    np.testing.assert_allclose(-ours[~mask], nearest_zero(~mask, spacing)[~mask], rtol=1e-6)


def test_without_a_zero_voxel_there_is_no_distance() -> None:
    """scipy answers the distance to a phantom point there; ours says 0: no border."""
    full = np.ones((4, 4, 4), bool)
    assert ndimage.distance_transform_edt(full).max() > 0
    assert not signed_distance(full).any()
    assert not signed_distance(~full).any()
