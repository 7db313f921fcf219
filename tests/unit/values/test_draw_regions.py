"""Pictures of partitions."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.errors import BadImage
from segmentarium.values import Classes
from segmentarium.values.draw_regions import BORDER, draw_regions, upper_borders

LABELS = np.array([[0, 0, 1], [0, 0, 1], [2, 2, 2]])


def test_borders_are_one_pixel_wide() -> None:
    assert upper_borders(LABELS).astype(int).tolist() == [[0, 1, 0], [1, 1, 1], [0, 0, 0]]


def test_the_picture_stands_beside_its_regions() -> None:
    classes = Classes.named("region 1", "region 2", "region 3")
    drawn = np.asarray(draw_regions(np.full((3, 3, 3), 9, np.uint8), LABELS, classes))
    assert drawn.shape == (3, 3 + 6 + 3, 3)
    assert tuple(drawn[0, 1]) == BORDER
    assert drawn[0, 0].tolist() == [9, 9, 9]
    assert np.array_equal(drawn[:, -3:], classes.palette()[LABELS])
    wide = draw_regions(np.zeros((3, 30), np.uint8), np.zeros((3, 30), np.int32), classes)
    assert wide.size == (30, 12)


def test_another_size_is_refused() -> None:
    with pytest.raises(BadImage, match="the same size"):
        draw_regions(np.zeros((3, 4), np.uint8), LABELS, Classes.named("a", "b", "c"))
