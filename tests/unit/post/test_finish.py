"""The one door: what it takes, what it refuses, and the parts of a batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.nn.outputs import Queries, Regions, Semantic, SemanticRegions
from segmentarium.ops.tiles import Window
from segmentarium.post import finish, part
from segmentarium.values.classes import Class, Classes, distinct_color
from segmentarium.values.results import Instances, LabelMap, Panoptic

CLASSES = Classes(Class(id=10 + i, name=f"c{i}", color=distinct_color(i), thing=i < 2) for i in range(4))
SIZE = (8, 12)


def queries() -> Queries:
    """Two things and a stuff that part the picture in columns; a query without object."""
    labels = torch.full((1, 4, 5), -9.0)
    labels[0, [0, 1, 2, 3], [0, 1, 3, 4]] = 9.0
    masks = torch.full((1, 4, 4, 6), -8.0)
    for query, columns in enumerate((slice(0, 2), slice(2, 4), slice(4, 6), slice(0, 6))):
        masks[0, query, :, columns] = 8.0
    return Queries(labels, masks)


def regions(count: int = 2, image: int = 0) -> Regions:
    boxes = torch.tensor([[1.0, 1.0, 5.0, 7.0], [6.0, 0.0, 11.0, 4.0]])[:count]
    return Regions(
        torch.full((count,), image),
        boxes,
        torch.tensor([0.6, 0.9])[:count],
        torch.tensor([0, 1])[:count],
        torch.full((count, 4, 4), 9.0),
    )


def test_each_output_gives_what_it_can() -> None:
    semantic = Semantic(torch.randn(1, 4, 4, 6))
    both = SemanticRegions(Semantic(torch.randn(1, 3, 4, 6)), regions())
    for output, tasks in (
        (semantic, {"semantic"}),
        (queries(), {"semantic", "instance", "panoptic"}),
        (regions(), {"instance"}),
        (both, {"semantic", "instance", "panoptic"}),
    ):
        for task, kind in {"semantic": LabelMap, "instance": Instances, "panoptic": Panoptic}.items():
            if task in tasks:
                assert isinstance(finish(output, task=task, size=SIZE, classes=CLASSES), kind)
            else:
                with pytest.raises(BadArgument, match="no"):
                    finish(output, task=task, size=SIZE, classes=CLASSES)


def test_queries_are_read_in_all_three_ways() -> None:
    told = {"size": SIZE, "classes": CLASSES}
    for rule in ("detr", "maskformer", "mask2former", "kmax_deeplab"):
        labels = finish(queries(), task="semantic", rule=rule, **told).labels
        assert labels[0].tolist()[::4] == [0, 1, 3]
        found = finish(
            queries(),
            task="instance",
            rule=rule,
            settings={"score": 0.5} if rule == "detr" else {"top": 2},
            **told,
        )
        assert sorted(found.classes_of.tolist()) == [0, 1]
        assert found.mask(0)[:, :3].all()
        whole = finish(queries(), task="panoptic", rule=rule, **told)
        assert sorted(s.class_index for s in whole.segments) == [0, 1, 3]
    small = {"thing_area": 1, "stuff_area": 1}
    whole = finish(queries(), task="panoptic", rule="max_deeplab", settings=small, **told)
    assert len(whole.segments) == 3
    assert not finish(queries(), task="panoptic", rule="max_deeplab", **told).segments


def test_nothing_found_is_a_result_too() -> None:
    none = queries()._replace(class_logits=torch.tensor([[[-9.0, -9, -9, -9, 9]] * 4]))
    for rule in ("detr", "maskformer", "mask2former", "kmax_deeplab", "max_deeplab"):
        whole = finish(none, task="panoptic", size=SIZE, classes=CLASSES, rule=rule)
        assert whole.segments == ()
        assert not whole.ids.any()
    assert len(finish(regions(0), task="instance", size=SIZE, classes=CLASSES)) == 0
    both = SemanticRegions(Semantic(torch.zeros(1, 3, 4, 6)), regions(0))
    assert finish(both, task="panoptic", size=SIZE, classes=CLASSES).segments == ()
    empty = queries()._replace(mask_logits=torch.full((1, 4, 4, 6), -9.0))
    assert len(finish(empty, task="instance", size=SIZE, classes=CLASSES)) == 0


def test_the_first_of_equal_queries_wins_and_keeps_its_score() -> None:
    labels = torch.full((1, 2, 5), -9.0)
    labels[0, :, 0], masks = 9.0, torch.full((1, 2, 4, 6), 20.0)
    for rule in ("maskformer", "mask2former"):
        whole = finish(Queries(labels, masks), task="panoptic", size=SIZE, classes=CLASSES, rule=rule)
        assert (whole.ids == 1).all()
        assert [(s.id, s.class_index) for s in whole.segments] == [(1, 0)]
        assert whole.segments[0].score == pytest.approx(1, abs=1e-6)


def test_stuff_of_one_class_is_one_segment() -> None:
    labels = torch.full((1, 2, 5), -9.0)
    labels[0, :, 3], masks = 9.0, torch.full((1, 2, 4, 6), -9.0)
    masks[0, 0, :, :3], masks[0, 1, :, 3:] = 9.0, 9.0
    for rule in ("detr", "maskformer", "kmax_deeplab"):
        whole = finish(Queries(labels, masks), task="panoptic", size=SIZE, classes=CLASSES, rule=rule)
        assert len(whole.segments) == 1
        assert whole.ids.all()


def test_an_object_below_another_loses_its_pixels_and_too_small_stuff_is_void() -> None:
    found = regions()._replace(boxes=torch.tensor([[0.0, 0.0, 6.0, 8.0], [4.0, 0.0, 12.0, 8.0]]))
    stuff = torch.zeros(1, 3, 4, 6)
    stuff[:, 1] = 1
    both = SemanticRegions(Semantic(stuff), found)
    told = {"size": SIZE, "classes": CLASSES}
    whole = finish(both, task="panoptic", settings={"stuff_area": 8}, **told)
    assert [(s.class_index, round(s.score, 1)) for s in whole.segments] == [(1, 0.9), (0, 0.6)]
    assert whole.labels()[0].tolist() == [0] * 4 + [1] * 8
    assert len(finish(both, task="panoptic", settings={"overlap": 0.2}, **told).segments) == 1
    apart = SemanticRegions(Semantic(stuff), found._replace(boxes=found.boxes / 2))
    assert {
        s.class_index for s in finish(apart, task="panoptic", settings={"stuff_area": 8}, **told).segments
    } == {
        0,
        1,
        3,
    }
    assert {s.class_index for s in finish(apart, task="panoptic", **told).segments} == {0, 1}
    labels = finish(apart, task="semantic", **told).labels
    assert set(np.unique(labels)) == {0, 1, 3}
    things = SemanticRegions(Semantic(torch.eye(3)[2].reshape(1, 3, 1, 1).expand(1, 3, 4, 6)), regions(0))
    assert (finish(things, task="semantic", **told).labels == -1).all()


def test_classes_of_objects_count_things_wherever_they_stand() -> None:
    mixed = Classes(Class(id=i, name=f"c{i}", color=distinct_color(i), thing=i % 2 == 1) for i in range(4))
    assert finish(regions(), task="instance", size=SIZE, classes=mixed).classes_of.tolist() == [1, 3]
    plain = Classes.named("a", "b")
    assert finish(regions(), task="instance", size=SIZE, classes=plain).classes_of.tolist() == [0, 1]
    with pytest.raises(BadArgument, match="class 1"):
        finish(regions(), task="instance", size=SIZE, classes=Classes.named("a"))


def test_a_window_moves_boxes() -> None:
    found = finish(regions(), task="instance", size=SIZE, classes=CLASSES, window=Window(1, 2, 8, 12))
    assert found.size == (7, 10)
    assert found.boxes.tolist() == [[0, 0, 3, 6], [4, 0, 9, 3]]


def test_parts_of_a_batch() -> None:
    two = queries()
    two = Queries(*(torch.cat([t, -t]) for t in two[:2]), boxes=torch.rand(2, 4, 4))
    assert torch.equal(part(two, 1).class_logits, -queries().class_logits)
    assert part(two, 1).boxes.shape == (1, 4, 4)
    assert len(part(Semantic(torch.zeros(3, 2, 4, 4)), 2).logits) == 1
    both = regions(1, 0), regions(2, 1)
    joined = Regions(*(torch.cat(fields) for fields in zip(*(r[:5] for r in both), strict=True)))
    assert len(part(joined, 1).boxes) == 2
    assert part(joined, 1).image.tolist() == [0, 0]
    pair = part(SemanticRegions(Semantic(torch.zeros(2, 3, 4, 6)), joined), 0)
    assert (len(pair.semantic.logits), len(pair.regions.boxes)) == (1, 1)
    for output, task in ((two, "panoptic"), (two, "semantic"), (joined, "instance")):
        with pytest.raises(BadArgument, match=r"post\.part"):
            finish(output, task=task, size=SIZE, classes=CLASSES)


def test_what_is_refused() -> None:
    told = {"size": SIZE, "classes": CLASSES}
    for more, error, said in (
        ({"task": "panoptic", "rule": "maskform"}, UnknownName, "did you mean 'maskformer'"),
        ({"task": "panoptc"}, UnknownName, "panoptic"),
        ({"task": "panoptic", "settings": {"overlp": 1.0}}, UnknownName, "overlap"),
        ({"task": "semantic", "probs": True}, BadArgument, "Semantic alone"),
        (
            {"task": "panoptic", "classes": Classes.named("a")},
            BadArgument,
            "1 classes for queries that know 4",
        ),
    ):
        with pytest.raises(error, match=said):
            finish(queries(), **{**told, **more})
    with pytest.raises(UnknownName, match="torchvision"):
        finish(regions(), task="instance", rule="torchvison", **told)
    with pytest.raises(BadArgument, match="finite"):
        finish(regions()._replace(boxes=torch.full((2, 4), float("nan"))), task="instance", **told)
    with pytest.raises(BadArgument, match="volume"):
        finish(queries(), task="panoptic", size=(4, 8, 12), classes=CLASSES)
    with pytest.raises(BadArgument, match="5 scores a pixel for 2 classes of stuff"):
        finish(SemanticRegions(Semantic(torch.zeros(1, 5, 4, 6)), regions()), task="panoptic", **told)


def test_void_has_the_number_that_was_asked_for() -> None:
    for output in (Semantic(torch.randn(1, 4, 4, 6)), queries()):
        assert finish(output, task="semantic", size=SIZE, classes=CLASSES, ignore_id=99).ignore_id == 99


@pytest.mark.parametrize("size", [(6, 10, 14), (3, 5, 7), (9, 5, 20), (2, 3, 4)])
def test_volumes(size: tuple[int, int, int]) -> None:
    logits = torch.randn(1, 4, 3, 5, 7, generator=torch.Generator().manual_seed(3))
    resized = interpolate(logits, size=size, mode="trilinear")
    found = finish(Semantic(logits), task="semantic", size=size, classes=CLASSES, probs=True)
    assert found.labels.shape == size
    assert (found.labels != resized.argmax(1)[0].numpy()).sum() <= 1
    assert np.allclose(found.probs, resized.softmax(1)[0].numpy(), atol=2e-3)
    window = (slice(1, 2), slice(0, 3), slice(2, 4))
    some = finish(Semantic(logits), task="semantic", size=size, classes=CLASSES, window=window)
    assert np.array_equal(some.labels, found.labels[window])


def test_half_precision_and_gradients_are_taken() -> None:
    output = Queries(*(t.to(torch.bfloat16).requires_grad_() for t in queries()[:2]))
    for task in ("semantic", "instance", "panoptic"):
        for rule in ("mask2former", "detr", "kmax_deeplab"):
            assert finish(output, task=task, size=SIZE, classes=CLASSES, rule=rule) is not None
