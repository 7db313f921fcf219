"""Marks of a person: where they lie, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.classical.seeds import require_labels, seed_map
from segmentarium.errors import BadArgument


def test_points_are_x_and_y() -> None:
    found = seed_map((2, 4), foreground=[(3, 0)], background=[(0, 1), (1, 1)])
    assert found.tolist() == [[0, 0, 0, 2], [1, 1, 0, 0]]
    deep = seed_map((2, 3, 4), foreground=[(3, 2, 1)])
    assert deep[1, 2, 3] == 2


def test_points_join_a_map_which_stays_as_it_is() -> None:
    scribbles = np.array([[1, 0], [0, 0]], np.uint8)
    assert seed_map((2, 2), seeds=scribbles, foreground=[(1, 1)]).tolist() == [[1, 0], [0, 2]]
    assert scribbles.tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize("point", [(4, 0), (0, 2), (-1, 0), (1, 1, 1)])
def test_a_point_outside_is_refused(point: tuple[int, ...]) -> None:
    with pytest.raises(BadArgument, match="lies outside the picture; allowed: x from 0 to 3, y from 0 to 1"):
        seed_map((2, 4), foreground=[point])


def test_marks_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(BadArgument, match=r"\(1, 0\) is marked as 2 and as 1"):
        seed_map((2, 4), foreground=[(1, 0)], background=[(1, 0)])


def test_maps_of_another_size_or_below_nought_are_refused() -> None:
    with pytest.raises(BadArgument, match="as large as the picture"):
        seed_map((2, 4), seeds=np.zeros((4, 2), np.int32))
    with pytest.raises(BadArgument, match="the seed -1"):
        seed_map((1, 1), seeds=np.array([[-1]]))


def test_labels_come_without_a_gap() -> None:
    assert require_labels(np.array([[1, 2, 3, 0]], np.int32)) == 3
    for marks in ([0, 0], [1, 1], [1, 3]):
        with pytest.raises(BadArgument, match="without a gap"):
            require_labels(np.array([marks], np.int32))


def test_dabs_are_discs_that_leave_known_and_contested_pixels_alone() -> None:
    scribbles = np.zeros((9, 12), np.int32)
    scribbles[4, 1] = 1
    known = seed_map((9, 12), seeds=scribbles, foreground=[(3, 4)], background=[(8, 4)], radius=2.0)
    rows, columns = np.indices((9, 12))
    near = (rows - 4) ** 2 + (columns - 3) ** 2 <= 4
    assert known[4, 1] == 1
    assert ((known == 2) == (near & (scribbles == 0))).all()
    close = seed_map((9, 12), foreground=[(3, 4)], background=[(6, 4)], radius=2.0)
    assert close[4, :9].tolist() == [0, 2, 2, 2, 0, 0, 1, 1, 1]
    with pytest.raises(BadArgument, match="radius = -1"):
        seed_map((9, 12), foreground=[(3, 4)], radius=-1.0)
