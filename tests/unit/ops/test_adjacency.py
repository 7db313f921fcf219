"""Region adjacency: hand-made maps, and the slow obvious twin in two and three dimensions."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest

from segmentarium.errors import BadArgument
from segmentarium.ops.adjacency import adjacency, neighbour_lists


def twin(labels: np.ndarray, connectivity: int) -> dict[tuple[int, int], int]:
    found: Counter[tuple[int, int]] = Counter()
    for at in np.ndindex(labels.shape):
        for step in product((-1, 0, 1), repeat=labels.ndim):
            to = tuple(a + s for a, s in zip(at, step, strict=True))
            if sum(map(abs, step)) > connectivity or any(
                not 0 <= t < n for t, n in zip(to, labels.shape, strict=True)
            ):
                continue
            a, b = int(labels[at]), int(labels[to])
            if 0 <= a < b and step != (0,) * labels.ndim:  # the other direction has a > b
                found[a, b] += 1
    return dict(sorted(found.items()))


@pytest.mark.parametrize(
    ("shape", "connectivity"), [((7, 9), 1), ((7, 9), 2), *(((4, 5, 6), c) for c in (1, 2, 3))]
)
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint8])
def test_equals_the_obvious_twin(shape: tuple[int, ...], connectivity: int, dtype: type) -> None:
    labels = np.random.default_rng(0).integers(0, 9, shape).astype(dtype)
    pairs, lengths = adjacency(labels, connectivity)
    found = {(int(a), int(b)): int(n) for (a, b), n in zip(pairs, lengths, strict=True)}
    assert found == twin(labels, connectivity)
    assert list(found) == sorted(found)


def test_pixels_below_zero_belong_to_no_region() -> None:
    labels = np.array([[0, -1, 1], [0, 2, 1]])
    assert adjacency(labels).pairs.tolist() == [[0, 2], [1, 2]]


@pytest.mark.parametrize("shape", [(1, 1), (3, 0), (4, 4)])
def test_one_region_or_none_has_no_neighbours(shape: tuple[int, int]) -> None:
    pairs, lengths = adjacency(np.zeros(shape, np.int32))
    assert pairs.shape == (0, 2)
    assert lengths.shape == (0,)


def test_numbers_may_be_large_and_have_gaps() -> None:
    high = np.iinfo(np.int32).max - 1
    assert adjacency(np.array([[5, high, 5]])).pairs.tolist() == [[5, high]]


def test_the_lists_name_each_neighbour_in_order() -> None:
    starts, found = neighbour_lists(np.array([[0, 3], [1, 3], [0, 4]], np.int32), 6)
    rows = [found[a:b].tolist() for a, b in pairwise(starts)]
    assert rows == [[3, 4], [3], [], [0, 1], [0], []]


def test_refuses_what_the_dimensions_do_not_have() -> None:
    with pytest.raises(BadArgument, match="connectivity = 3"):
        adjacency(np.zeros((3, 3), np.int32), 3)
    with pytest.raises(BadArgument, match="int32"):
        adjacency(np.array([[0, 2**40]]))
