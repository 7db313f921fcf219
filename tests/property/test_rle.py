"""Run-length code: there and back for any mask, and the same text as COCO's own tools write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from segmentarium.errors import BadMask
from segmentarium.ops.rle import area, areas, box, boxes, decode, encode, place

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, max_side=40))
BLOCKS = st.builds(lambda small, by: small.repeat(by, 0).repeat(by, 1), MASKS, st.integers(1, 30))


def _slow_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return (0, 0, 0, 0)
    return (int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1)


@settings(deadline=None)
@given(BLOCKS)
def test_there_and_back(mask: np.ndarray) -> None:
    rle = encode(mask)
    assert (decode(rle) == mask).all()
    assert area(rle) == mask.sum()
    assert box(rle) == _slow_box(mask)


@settings(deadline=None)
@given(MASKS, st.tuples(*[st.integers(0, 9)] * 4))
def test_placed_in_a_larger_picture(mask: np.ndarray, margins: tuple[int, int, int, int]) -> None:
    left, right, top, bottom = margins
    larger = np.pad(mask, ((top, bottom), (left, right)))
    height, width = larger.shape
    assert place(encode(mask), (left, top), (height, width)) == encode(larger)


def _ring() -> np.ndarray:
    mask = np.zeros((7, 9), bool)
    mask[1:6, 1:8] = True
    mask[3, 3:5] = False
    return mask


@pytest.mark.parametrize(
    ("mask", "counts"),
    [
        (np.zeros((3, 4), bool), "<"),
        (np.ones((3, 4), bool), "0<"),
        (np.ones((1, 1), bool), "01"),
        (np.eye(5, dtype=bool), "0150000000"),
        (_ring(), "85200MO010O01300006"),
    ],
)
def test_known_text(mask: np.ndarray, counts: str) -> None:
    """The texts were written by pycocotools 2.0 from the same masks."""
    assert encode(mask)["counts"] == counts


def test_many_at_once() -> None:
    masks = [encode(np.zeros((3, 4), bool)), encode(np.ones((3, 4), bool)), encode(_ring())]
    assert areas(masks) == [0, 12, 33]
    assert boxes(masks) == [(0, 0, 0, 0), (0, 0, 4, 3), (1, 1, 8, 6)]


@pytest.mark.parametrize("counts", ["", "Z", "\x01", "é", "5", "P" * 30])
def test_broken_text_is_refused(counts: str) -> None:
    with pytest.raises(BadMask, match="run-length"):
        decode({"size": [3, 4], "counts": counts})
