"""Scores of crops are put together by the largest of each class and pixel."""

from __future__ import annotations

import pytest
import torch

from segmentarium.errors import BadArgument
from segmentarium.nn.upsampling import bilinear
from segmentarium.post.proposals import aggregate


def boxes(*corners: tuple[int, int, int, int]) -> torch.Tensor:
    return torch.tensor(corners, dtype=torch.long).reshape(-1, 4)


def test_the_largest_score_wins_and_none_is_below_zero() -> None:
    crops = torch.tensor([[[[1.0]], [[-2.0]]], [[[3.0]], [[-1.0]]], [[[2.0]], [[4.0]]]])
    found = aggregate(crops, boxes((0, 0, 2, 2), (1, 1, 3, 3), (1, 1, 2, 2)), size=(3, 4))
    assert found[0].tolist() == [[1, 1, 0, 0], [1, 3, 3, 0], [0, 3, 3, 0]]
    assert found[1].tolist() == [[0, 0, 0, 0], [0, 4, 0, 0], [0, 0, 0, 0]]


def test_without_boxes_nothing_is_known() -> None:
    found = aggregate(torch.zeros(0, 3, 7, 7), boxes(), size=(2, 5))
    assert torch.equal(found, torch.zeros(3, 2, 5))


def test_parts_beyond_the_picture_are_left_out() -> None:
    draw = torch.Generator().manual_seed(4)
    crops = torch.rand(3, 2, 8, 8, generator=draw, dtype=torch.float64)
    around = boxes((-3, -2, 5, 6), (2, 1, 18, 13), (30, 30, 40, 40))
    whole = aggregate(crops, around + 10, size=(60, 60))
    found = aggregate(crops, around, size=(9, 12))
    torch.testing.assert_close(found, whole[:, 10:19, 10:22])


def test_crops_are_resized_to_their_boxes() -> None:
    crops = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(5))
    found = aggregate(crops, boxes((0, 0, 21, 40), (21, 0, 26, 7)), size=(40, 30))
    torch.testing.assert_close(found[:, :, :21], bilinear(crops[:1], (40, 21))[0])
    torch.testing.assert_close(found[:, :7, 21:26], bilinear(crops[1:], (7, 5), antialias=True)[0])
    assert not found[:, 7:, 21:].any()


@pytest.mark.parametrize("box", [(3, 0, 3, 5), (0, 4, 2, 1)])
def test_a_box_has_pixels(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(BadArgument, match="x0 < x1"):
        aggregate(torch.zeros(1, 1, 4, 4), boxes(box), size=(9, 9))
