"""DETR's loss on cases that one can check by eye."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.losses.detr import DetrLoss, Setting, corners, generalised_iou, match, objects_of
from segmentarium.nn import Queries, Truth

KINDS, SIDE = 3, 16
TERMS = {"class", "box", "giou", "mask", "dice"}


def square(y: int, x: int, side: int = 4) -> Tensor:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[y : y + side, x : x + side] = True
    return mask


def guesses(*, batch: int = 2, queries: int = 4, layers: int = 2, seed: int = 0) -> Queries:
    draw = torch.Generator().manual_seed(seed)

    def layer(side: int, aux: tuple[Queries, ...] = ()) -> Queries:
        classes = torch.randn(batch, queries, KINDS + 1, generator=draw, requires_grad=True)
        masks = torch.randn(batch, queries, side, side, generator=draw, requires_grad=True)
        return Queries(classes, masks, aux, torch.rand(batch, queries, 4, generator=draw, requires_grad=True))

    return layer(SIDE, tuple(layer(0) for _ in range(layers - 1)))


def truths() -> list[Truth]:
    return [
        Truth(torch.stack([square(1, 2), square(8, 9)]), torch.tensor([0, 2])),
        Truth(torch.stack([square(5, 5)]), torch.tensor([1])),
    ]


def test_boxes_are_shares_with_their_centre() -> None:
    boxes = objects_of(truths()[0], like=torch.zeros(0)).boxes
    torch.testing.assert_close(boxes, torch.tensor([[4, 3, 4, 4], [11, 10, 4, 4]]) / SIDE)
    torch.testing.assert_close(corners(boxes[:1]), torch.tensor([[2.0, 1.0, 6.0, 5.0]]) / SIDE)


def test_generalised_iou_by_hand() -> None:
    one = torch.tensor([0.0, 0, 2, 2])
    others = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [2, 0, 4, 2], [4, 0, 6, 2], [1, 1, 1, 1]])
    expected = torch.tensor([1, 1 / 3, 0, -2 / 6, 0])
    torch.testing.assert_close(generalised_iou(one, others), expected)


def test_right_answers_cost_nothing() -> None:
    wanted = truths()
    output = guesses(layers=1)
    classes = torch.full_like(output.class_logits, -20.0)
    classes[..., -1] = 20.0
    masks, boxes = torch.full_like(output.mask_logits, -30.0), torch.full_like(output.boxes, 0.5)
    for image, truth in enumerate(wanted):
        own = objects_of(truth, like=boxes).boxes
        for place, (mask, kind, box) in enumerate(zip(truth.masks, truth.classes, own, strict=True)):
            query = 3 - place
            classes[image, query] = -20.0
            classes[image, query, kind] = 20.0
            masks[image, query][mask] = 30.0
            boxes[image, query] = box
    terms = DetrLoss()(Queries(classes, masks, boxes=boxes), wanted)
    assert set(terms) == TERMS | {"loss"}
    assert all(value.abs() < 1e-5 for value in terms.values())


def test_terms_and_their_sum() -> None:
    setting = Setting(class_weight=2.0, box_weight=3.0, giou_weight=5.0, mask_weight=7.0, dice_weight=11.0)
    terms = DetrLoss(setting)(guesses(layers=3), truths())
    assert set(terms) == TERMS | {f"{n}_{i}" for n in ("class", "box", "giou") for i in (0, 1)} | {"loss"}
    weights = {"class": 2, "box": 3, "giou": 5, "mask": 7, "dice": 11}
    total = sum(weights[name.split("_")[0]] * value for name, value in terms.items() if name != "loss")
    torch.testing.assert_close(terms["loss"], total)


def test_images_without_objects_learn_to_say_nothing() -> None:
    empty = [Truth(torch.zeros(0, SIDE, SIDE, dtype=torch.bool), torch.zeros(0, dtype=torch.long))] * 2
    output = guesses()
    terms = DetrLoss()(output, empty)
    assert all(terms[name] == 0 for name in ("box", "giou", "mask", "dice", "box_0"))
    expected = -output.class_logits.log_softmax(-1)[..., -1].mean()
    torch.testing.assert_close(terms["class"], expected)
    terms["loss"].backward()
    assert output.class_logits.grad is not None
    assert output.class_logits.grad[..., -1].max() < 0


def test_void_counts_nowhere() -> None:
    void = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    void[:, 7:] = True
    output = guesses(batch=1)
    one = Truth(torch.stack([square(2, 4, side=6)]), torch.tensor([1]), void)
    other = Truth(one.masks & ~void, one.classes, void)
    assert (one.masks != other.masks).any()
    first, second = DetrLoss()(output, [one]), DetrLoss()(output, [other])
    assert all(torch.equal(first[name], second[name]) for name in first)
    first["loss"].backward()
    assert (output.mask_logits.grad[..., void] == 0).all()
    assert (output.mask_logits.grad[..., ~void] != 0).any()


def test_an_object_all_in_void_is_left_out() -> None:
    void = square(0, 0, side=8)
    known = Truth(torch.stack([square(9, 9)]), torch.tensor([2]), void)
    both = Truth(torch.stack([square(1, 1), square(9, 9)]), torch.tensor([0, 2]), void)
    output = guesses(batch=1)
    first, second = DetrLoss()(output, [known]), DetrLoss()(output, [both])
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_more_objects_than_queries() -> None:
    many = Truth(
        torch.stack([square(y, x) for y in (0, 5, 10) for x in (0, 5)]), torch.zeros(6, dtype=torch.long)
    )
    output = guesses(batch=1)
    found = match(output, [objects_of(many, like=output.boxes)], Setting())
    assert len(found[0].queries) == 4
    assert DetrLoss()(output, [many])["loss"].isfinite()


def test_matching_weighs_class_against_place() -> None:
    truth = Truth(torch.stack([square(4, 4, side=8)]), torch.tensor([1]))
    boxes = torch.tensor([[[0.5, 0.5, 0.5, 0.5], [0.1, 0.1, 0.1, 0.1]]])
    classes = torch.tensor([[[0.0, -9, 0, 0], [-9, 9, -9, -9]]])
    output = Queries(classes, torch.zeros(1, 2, SIDE, SIDE), boxes=boxes)
    objects = [objects_of(truth, like=boxes)]
    assert match(output, objects, Setting())[0].queries.tolist() == [0]
    assert match(output, objects, Setting(box_weight=0.0, giou_weight=0.0))[0].queries.tolist() == [1]


def test_a_batch_in_two_processes_is_the_whole() -> None:
    output, wanted = guesses(), truths()

    def part(image: int) -> Queries:
        aux = tuple(
            Queries(a.class_logits[[image]], a.mask_logits[[image]], (), a.boxes[[image]]) for a in output.aux
        )
        return Queries(output.class_logits[[image]], output.mask_logits[[image]], aux, output.boxes[[image]])

    sums: list[Tensor] = []
    for image in range(2):
        DetrLoss(total=lambda own: sums.append(own) or own)(part(image), [wanted[image]])
    together = DetrLoss(total=lambda own: torch.stack(sums).sum(0))(part(0), [wanted[0]])
    whole = DetrLoss()(output, wanted)
    for name, value in whole.items():
        torch.testing.assert_close(together[name], value)


def test_half_precision_is_computed_in_single() -> None:
    def half(layer: Queries) -> Queries:
        return Queries(
            layer.class_logits.bfloat16(),
            layer.mask_logits.bfloat16(),
            tuple(half(a) for a in layer.aux),
            layer.boxes.bfloat16(),
        )

    terms = DetrLoss()(half(guesses()), truths())
    assert all(value.dtype == torch.float32 and value.isfinite() for value in terms.values())


def test_masks_may_be_larger_than_the_answers() -> None:
    output = guesses(batch=2)
    small = output._replace(mask_logits=output.mask_logits[..., ::4, ::4])
    assert DetrLoss()(small, truths())["mask"].isfinite()


def test_refuses_what_it_cannot_match() -> None:
    with pytest.raises(BadArgument, match="without boxes"):
        DetrLoss()(guesses()._replace(boxes=None), truths())
    with pytest.raises(BadArgument, match="1 truths came"):
        DetrLoss()(guesses(), truths()[:1])
    with pytest.raises(UnknownName, match="detr"):
        DetrLoss("deter")
