"""Anchors, shifts, matching and pooling on boxes one can check by eye."""

from __future__ import annotations

from math import ceil, floor, log

import pytest
import torch
from torch import Tensor, nn

from segmentarium.nn import Truth
from segmentarium.nn.anchors import anchor_grid, cell_anchors
from segmentarium.nn.box_coder import clip, decode, encode
from segmentarium.nn.detection_trunk import freeze_norms, move_strides
from segmentarium.nn.fpn import FeaturePyramid
from segmentarium.nn.region_matching import GROUND, UNTRAINED, Objects, assign, choose, countable, covered
from segmentarium.nn.roi_pooling import Pooling, RegionPooling


def objects(*boxes: tuple[int, int, int, int], void: Tensor | None = None) -> Objects:
    masks = torch.zeros(len(boxes), 40, 40, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return countable(Truth(masks, torch.zeros(len(boxes), dtype=torch.long), void), things=1)


def test_anchors_stand_on_cell_corners_row_by_row() -> None:
    cell = cell_anchors((8,), (0.25, 1.0))
    assert cell.tolist() == [[-8, -2, 8, 2], [-4, -4, 4, 4]]
    grid = anchor_grid(cell, (2, 3), stride=4, like=torch.zeros(()))
    assert grid.shape == (12, 4)
    assert grid[1].tolist() == [-4, -4, 4, 4]
    assert grid[3].tolist() == [0, -4, 8, 4]  # one cell to the right
    assert grid[7].tolist() == [-4, 0, 4, 8]  # one row down


def test_shifts_by_hand_and_back() -> None:
    anchor, box = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 10]])
    shifts = encode(box, anchor, weights=(10.0, 10.0, 5.0, 5.0))
    torch.testing.assert_close(shifts, torch.tensor([[10.0, -2.5, 5 * log(2), -5 * log(2)]]))
    torch.testing.assert_close(decode(shifts, anchor, weights=(10.0, 10.0, 5.0, 5.0)), box)
    grown = decode(torch.tensor([[0.0, 0, 1e9, 0]]), anchor)
    assert grown[0, 2] - grown[0, 0] == pytest.approx(625, rel=1e-5)
    assert clip(torch.tensor([[-5.0, -5, 50, 3]]), (30, 40)).tolist() == [[0, 0, 40, 3]]


def test_boxes_are_given_to_what_they_overlap_most() -> None:
    true = objects((0, 0, 10, 10), (20, 20, 30, 30))
    boxes = torch.tensor([[0.0, 0, 10, 12], [0, 0, 10, 20], [20, 20, 26, 30], [31, 0, 40, 9]])
    matched = assign(boxes, true, positive=0.7, negative=0.3)
    assert matched.tolist() == [0, UNTRAINED, UNTRAINED, GROUND]
    rescued = assign(boxes, true, positive=0.7, negative=0.3, rescue=True)
    assert rescued.tolist() == [0, UNTRAINED, 1, GROUND]


def test_an_object_that_touches_no_box_rescues_none() -> None:
    boxes = torch.tensor([[0.0, 0, 4, 4], [4, 0, 8, 4]])
    assert assign(boxes, objects((30, 30, 36, 36)), positive=0.7, negative=0.3, rescue=True).tolist() == [
        -1,
        -1,
    ]


def test_what_lies_mostly_in_void_is_not_trained_on() -> None:
    void = torch.zeros(40, 40, dtype=torch.bool)
    void[:, 20:] = True
    true = objects((0, 0, 10, 10), (16, 0, 30, 10), (32, 0, 36, 4), void=void)
    assert true.boxes.tolist() == [[0, 0, 10, 10], [16, 0, 20, 10]]  # cut, and the third is gone
    boxes = torch.tensor([[22.0, 20, 38, 36], [16, 20, 22, 36], [0, 0, 10, 10], [-9, -9, -1, -1]])
    assert assign(boxes, true, positive=0.5, negative=0.5).tolist() == [UNTRAINED, GROUND, 0, GROUND]
    assert covered(boxes, void).tolist() == pytest.approx([1, 1 / 3, 0, 0])


def test_only_things_are_countable() -> None:
    masks = torch.ones(3, 5, 5, dtype=torch.bool)
    masks[1] = False
    kept = countable(Truth(masks, torch.tensor([0, 0, 2])), things=2)
    assert len(kept.masks) == len(kept.classes) == len(kept.boxes) == 1


def test_chance_is_the_generators() -> None:
    matched = torch.tensor([GROUND] * 20 + [3] * 20 + [UNTRAINED] * 20)
    draws = [choose(matched, count=12, share=0.25, draw=torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert (matched[draws[0]] == 3).tolist() == [True] * 3 + [False] * 9
    assert len(choose(matched, count=100, share=0.5, draw=None)) == 40
    assert len(choose(matched[:0], count=4, share=0.5, draw=None)) == 0


def slow_pool(own: Tensor, box: list[float], side: int, scale: float) -> Tensor:
    """RoIPool by its definition: corners rounded to cells, parts cut by floor and ceil, largest value."""
    x0, y0, x1, y1 = (floor(value * scale + 0.5) for value in box)
    width, height = max(x1 - x0 + 1, 1), max(y1 - y0 + 1, 1)
    found = torch.zeros(own.shape[0], side, side)
    for i in range(side):
        for j in range(side):
            rows = slice(y0 + floor(i * height / side), y0 + ceil((i + 1) * height / side))
            columns = slice(x0 + floor(j * width / side), x0 + ceil((j + 1) * width / side))
            found[:, i, j] = own[:, rows, columns].amax((1, 2))
    return found


def test_roi_pool_equals_its_definition() -> None:
    maps = [torch.rand(1, 2, 16, 16, generator=torch.Generator().manual_seed(1))]
    pooling = RegionPooling(Pooling(kind="pool"), strides=[4], side=3)
    boxes = [[3.0, 5.0, 30.0, 41.0], [10.0, 10.0, 11.0, 12.0]]
    pooled = pooling(maps, [torch.tensor(boxes)])
    for one, box in zip(pooled, boxes, strict=True):
        torch.testing.assert_close(one, slow_pool(maps[0][0], box, 3, 0.25))


@pytest.mark.parametrize(("aligned", "shift"), [(False, 0.0), (True, 0.5)])
def test_roi_align_reads_a_ramp_exactly(aligned: bool, shift: float) -> None:
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    pooling = RegionPooling(Pooling(aligned=aligned), strides=[4], side=2)
    read = pooling([ramp], [torch.tensor([[8.0, 8, 24, 24]])])
    torch.testing.assert_close(read[0, 0, 0], torch.tensor([3.0, 5.0]) - shift)


def test_each_box_is_read_at_its_level_and_stays_in_its_place() -> None:
    strides = [4, 8, 16, 32]
    maps = [torch.full((2, 1, 256 // s, 256 // s), float(i)) for i, s in enumerate(strides)]
    maps = [own + torch.tensor([0.0, 10.0])[:, None, None, None] for own in maps]
    sides = torch.tensor([500.0, 111, 112, 223, 224, 447, 448, 3])
    boxes = torch.stack([torch.zeros(8), torch.zeros(8), sides, sides], dim=1)
    pooling = RegionPooling(Pooling(), strides=strides, side=1)
    levels = [3, 0, 1, 1, 2, 2, 3, 0]
    assert pooling.levels(boxes).tolist() == levels
    inside = [(boxes / 8)[:0], boxes]
    # samples may leave the map, where nothing is: only small boxes keep the value
    read = pooling(maps, inside).flatten()
    assert read.shape == (8,)
    assert read[7] == 10
    assert read[1] == 10
    assert pooling(maps, [boxes[:0], boxes[:0]]).shape == (0, 1, 1, 1)


def test_the_pyramid_keeps_odd_sizes() -> None:
    pyramid = FeaturePyramid((3, 5, 7), 4, groups=2)
    maps = pyramid([torch.rand(1, 3, 9, 7), torch.rand(1, 5, 5, 4), torch.rand(1, 7, 3, 2)])
    assert [tuple(own.shape[1:]) for own in maps] == [(4, 9, 7), (4, 5, 4), (4, 3, 2), (4, 2, 1)]


def test_frozen_norms_keep_their_numbers_and_learn_nothing() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Sequential(nn.BatchNorm2d(2)))
    nn.init.uniform_(network[1][0].running_mean)
    nn.init.uniform_(network[1][0].weight)
    image = torch.rand(2, 1, 4, 4)
    expected = network.eval()(image)
    freeze_norms(network)
    torch.testing.assert_close(network.train()(image), expected)
    assert len(list(network.parameters())) == 2
    assert "1.0.running_mean" in network.state_dict()


def test_moving_strides_twice_is_moving_them_once() -> None:
    block = nn.Module()
    block.conv1, block.conv2 = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3, stride=2)
    block.conv3 = nn.Conv2d(1, 1, 1)
    for _ in range(2):
        move_strides(block)
        assert (block.conv1.stride, block.conv2.stride) == ((2, 2), (1, 1))
