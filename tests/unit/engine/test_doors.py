"""The doors to learning: every kind of network, whole batches and halves, numbers of the recipe."""

from __future__ import annotations

import pytest
import torch

from segmentarium.data.batch import Batch
from segmentarium.engine.doors import door_of, halves, masks_of_classes
from segmentarium.engine.recipe import Train
from segmentarium.errors import BadRecipe
from segmentarium.models import build
from segmentarium.nn import Truth

LABELS = torch.tensor([[[0, 0, 2], [2, -1, 2]]])


def batch(count: int = 2, side: int = 32) -> Batch:
    masks = torch.zeros(2, side, side, dtype=torch.bool)
    masks[0, 2:12, 2:12] = masks[1, 16:30, 16:30] = True
    truth = Truth(masks, torch.tensor([0, 1]))
    images = torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(1))
    return Batch(images, None, ("s",) * count, truths=(truth,) * count)


def test_labels_become_one_mask_a_class() -> None:
    truth = masks_of_classes(LABELS[0])
    assert truth.classes.tolist() == [0, 2]
    assert truth.masks.tolist() == [(LABELS[0] == 0).tolist(), (LABELS[0] == 2).tolist()]
    assert truth.void is not None
    assert truth.void.tolist() == (LABELS[0] == -1).tolist()
    assert masks_of_classes(torch.zeros(2, 2, dtype=torch.int64)).void is None


@pytest.mark.parametrize("name", ["mask_rcnn-tiny", "mask2former-tiny", "detr-tiny", "panoptic_fpn-tiny"])
def test_a_step_is_a_function_of_its_draw(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, classes=3).train()
    door = door_of(network, Train(loss={}))
    values = []
    for seed in (5, 5, 6):
        torch.manual_seed(0)
        terms = door(network, batch(), draw=torch.Generator().manual_seed(seed))
        assert all(torch.isfinite(value) for value in terms.values())
        values.append(float(terms["loss"].detach()))
    assert values[0] == values[1]
    assert "loss" in terms


def test_halves_share_by_images_or_pixels() -> None:
    parts = list(halves(batch(4), 2))
    assert [len(part.truths) for part, _ in parts] == [2, 2]
    assert [float(share) for _, share in parts] == [0.5, 0.5]
    labels = torch.cat([LABELS, torch.full_like(LABELS, -1)])
    labelled = Batch(torch.zeros(2, 3, 2, 3), labels, ("a", "b"))
    assert [float(share) for _, share in halves(labelled, 2)] == pytest.approx([1.0, 0.0])


def test_numbers_of_the_recipe_go_to_the_loss_of_queries() -> None:
    network = build("mask2former-tiny", classes=3)
    door = door_of(network, Train(loss={"points": 512.0, "mask_weight": 3.0}))
    assert door.loss.setting.points == 512
    assert isinstance(door.loss.setting.points, int)
    with pytest.raises(BadRecipe, match="points"):
        door_of(network, Train(loss={"point": 512.0}))


@pytest.mark.parametrize("name", ["mask_rcnn-tiny", "panoptic_fpn-tiny"])
def test_a_loss_of_its_own_takes_no_other(name: str) -> None:
    with pytest.raises(BadRecipe, match="loss of its own"):
        door_of(build(name, classes=2), Train(loss={"dice": 1.0}))
    with pytest.raises(BadRecipe, match="loss of its own"):
        door_of(build(name, classes=2), Train(loss={}), class_weights=torch.ones(2))
