"""Masks in boxes, on grids that one can check by eye."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segmentarium.errors import UnknownName
from segmentarium.ops.rle import decode
from segmentarium.ops.tiles import Window
from segmentarium.post import PASTE, paste, paste_full

FULL = torch.full((1, 4, 4), 20.0)


def test_a_full_mask_fills_its_box() -> None:
    box = torch.tensor([[2.0, 1.0, 6.0, 5.0]])
    masks = paste_full(box, FULL, (7, 9))
    expected = np.zeros((7, 9), bool)
    expected[1:5, 2:6] = True
    assert np.array_equal(masks[0], expected)
    crops = paste(box, FULL, (7, 9))
    assert crops.boxes.tolist() == [[2, 1, 6, 5]]
    assert crops.areas.tolist() == [16]
    assert crops.masks[0] == {"size": [4, 4], "counts": "0`0"}


def test_a_box_between_pixels_holds_the_pixels_whose_middles_it_holds() -> None:
    masks = paste_full(torch.tensor([[1.3, 0.7, 3.3, 2.7]]), FULL, (4, 6))
    assert np.argwhere(masks[0]).tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]


@pytest.mark.parametrize("rule", sorted(PASTE))
def test_what_lies_beyond_the_picture_is_cut_off(rule: str) -> None:
    boxes = torch.tensor([[-4.0, -4.0, 4.0, 4.0], [50.0, 50.0, 60.0, 60.0], [-9.0, 2.0, -3.0, 4.0]])
    logits = FULL.expand(3, 4, 4)
    masks, crops = paste_full(boxes, logits, (8, 8), rule=rule), paste(boxes, logits, (8, 8), rule=rule)
    assert masks[0, :3, :3].all()
    assert not masks[1:].any()
    assert crops.areas.tolist() == [masks[0].sum(), 0, 0]
    assert crops.boxes[1:].tolist() == [[0, 0, 0, 0]] * 2
    _, _, right, lower = crops.boxes[0].tolist()
    assert np.array_equal(decode(crops.masks[0]), masks[0, :lower, :right])


def test_half_a_mask_ends_in_the_middle() -> None:
    logits = torch.full((1, 2, 2), 20.0)
    logits[:, :, 1] = -20.0
    masks = paste_full(torch.tensor([[0.0, 0.0, 8.0, 8.0]]), logits, (8, 8))
    assert masks[0, 4].tolist() == [True] * 4 + [False] * 4


def test_the_two_rules_differ_by_up_to_a_pixel() -> None:
    box = torch.tensor([[1.5, 1.5, 4.5, 4.5]])
    ours, theirs = (paste_full(box, FULL, (6, 6), rule=rule)[0] for rule in ("detectron2", "torchvision"))
    assert (ours.sum(), theirs.sum()) == (12, 16)


def test_a_window_and_a_rule_by_name() -> None:
    box = torch.tensor([[2.0, 1.0, 6.0, 5.0]])
    assert paste(box, FULL, (7, 9), window=Window(2, 3, 7, 9)).boxes.tolist() == [[0, 0, 3, 3]]
    assert paste(box, FULL, (7, 9), window=Window(6, 7, 7, 9)).areas.tolist() == [0]
    assert len(paste(box[:0], FULL[:0], (7, 9)).masks) == 0
    with pytest.raises(UnknownName, match="did you mean 'detectron2'"):
        paste(box, FULL, (7, 9), rule="detectron")


def test_many_objects_with_long_outlines_need_more_room() -> None:
    """Every second cell of a checkered grid: more runs than fit into the first buffers."""
    grid = torch.where((torch.arange(60)[:, None] + torch.arange(60)) % 2 == 0, 9.0, -9.0)
    boxes = torch.tensor([[0.0, 0.0, 240.0, 240.0]]).expand(5, 4)
    masks, crops = (
        paste_full(boxes, grid.expand(5, 60, 60), (240, 240)),
        paste(boxes, grid.expand(5, 60, 60), (240, 240)),
    )
    assert len(crops.masks[0]["counts"]) > 8000
    for mask, crop, (x0, y0, x1, y1) in zip(masks, crops.masks, crops.boxes.tolist(), strict=True):
        assert np.array_equal(decode(crop), mask[y0:y1, x0:x1])
