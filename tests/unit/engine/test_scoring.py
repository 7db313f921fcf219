"""Scorers of objects, segments and volumes: numbers that one can work out, and parts that add up."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segmentarium.data.segments import Segments
from segmentarium.engine.scoring import scorer_for
from segmentarium.errors import BadData, BadMask
from segmentarium.values.classes import Class, Classes
from segmentarium.values.grid import Grid
from segmentarium.values.instances import Instances
from segmentarium.values.panoptic import Panoptic, Segment
from segmentarium.values.results import LabelMap

CELLS = Classes([Class(id=1, name="cell", color=(255, 0, 0), thing=True)])
SCENE = Classes(
    [
        Class(id=1, name="car", color=(255, 0, 0), thing=True),
        Class(id=2, name="road", color=(90, 90, 90)),
    ]
)
TRUE = np.array([[1, 1, 0, 2], [1, 1, 0, 2]])


def found(numbers: np.ndarray) -> Instances:
    return Instances.from_labels(numbers, CELLS, class_of=0)


def test_instances_are_scored_by_average_precision() -> None:
    scorer = scorer_for("instance", CELLS)
    truth = Segments.from_numbers(TRUE, 0)
    scorer.update("whole", found(TRUE), truth)
    scorer.update("half", found(np.where(TRUE == 2, 0, TRUE)), truth)
    brief = scorer.brief()
    assert brief.headline == "ap"
    assert brief.score == pytest.approx(76 / 101)  # three of four found: recall 0.75, precision 1 up to there
    evaluation = scorer.evaluation("val", seconds=0.0)
    assert [case.stem for case in evaluation.worst(1)] == ["half"]
    facts = evaluation.as_dict()
    assert (facts["task"], facts["headline"], facts["images"]) == ("instance", "ap", 2)
    assert facts["mean"]["ap50"] == pytest.approx(76 / 101)
    json.dumps(facts, allow_nan=False)


def test_segments_are_scored_by_panoptic_quality() -> None:
    scorer = scorer_for("panoptic", SCENE)
    ids = np.array([[1, 1, 2, 2]], np.int32)
    truth = Segments.from_numbers(ids, {1: 0, 2: 1})
    missed = Panoptic(np.array([[0, 0, 2, 2]], np.int32), (Segment(2, 1),), SCENE)
    scorer.update("a", missed, truth)
    brief = scorer.brief()
    assert brief.per_class == {"car": 0.0, "road": 1.0}
    assert brief.score == 0.5
    facts = scorer.evaluation("val", seconds=0.0).as_dict()
    assert facts["mean"]["pq_things"] == 0
    assert facts["per_class"]["car"]["false_negatives"] == 1
    json.dumps(facts, allow_nan=False)


def volume(labels: np.ndarray, spacing: tuple[float, float, float]) -> LabelMap:
    d, h, w = labels.shape
    return LabelMap(labels, Classes.named("ground", "organ"), grid=Grid.plain((d, h, w), spacing))


def test_volumes_are_scored_case_by_case_in_millimetres() -> None:
    truth = np.zeros((1, 1, 8), np.int32)
    truth[..., 2:6] = 1
    shifted = np.zeros_like(truth)
    shifted[..., 3:7] = 1
    scorer = scorer_for("semantic", Classes.named("ground", "organ"), dimensions=3)
    scorer.update("a", volume(shifted, (1.0, 1.0, 2.5)), truth)
    scorer.update("b", volume(truth, (1.0, 1.0, 2.5)), truth)
    scorer.update("c", volume(np.zeros_like(truth), (1.0, 1.0, 2.5)), truth)
    evaluation = scorer.evaluation("val", seconds=0.0)
    assert [case.score for case in evaluation.cases] == pytest.approx([0.75, 1.0, 0.0])
    assert evaluation.means()["mean_dice"] == pytest.approx(1.75 / 3)
    facts = evaluation.as_dict()
    first, second, missed = (case["hd95_mm"]["organ"] for case in facts["cases"])
    assert 2.0 < first <= 2.5  # one voxel of 2.5 mm at either end; the percentile interpolates
    assert (second, missed) == (0.0, "inf")
    assert "c" in facts["notes"][0]
    json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize("task", ["instance", "panoptic"])
def test_parts_add_up(task: str) -> None:
    classes = CELLS if task == "instance" else SCENE
    rng = np.random.default_rng(3)
    whole, parts = scorer_for(task, classes), [scorer_for(task, classes) for _ in range(2)]
    for index in range(6):
        numbers = rng.integers(0, 3, (6, 6)).astype(np.int32)
        truth = Segments.from_numbers(rng.integers(0, 3, (6, 6)), 0)
        segments = tuple(Segment(int(n), 0) for n in np.unique(numbers) if n)
        answer = found(numbers) if task == "instance" else Panoptic(numbers, segments, classes)
        for scorer in (whole, parts[index % 2]):
            scorer.update(f"p{index}", answer, truth)
    parts[0].merge(parts[1])
    assert parts[0].brief().mean == pytest.approx(whole.brief().mean)


@pytest.mark.parametrize(("task", "dimensions"), [("instance", 2), ("panoptic", 2), ("semantic", 3)])
def test_nothing_is_no_score(task: str, dimensions: int) -> None:
    with pytest.raises(BadData, match="no image"):
        scorer_for(task, SCENE, dimensions=dimensions).evaluation("val", seconds=0.0)


def test_other_shapes_are_refused_by_name() -> None:
    scorer = scorer_for("semantic", Classes.named("ground", "organ"), dimensions=3)
    narrow = volume(np.zeros((1, 2, 2), np.int32), (1.0, 1.0, 1.0))
    with pytest.raises(BadMask, match="case7"):
        scorer.update("case7", narrow, np.zeros((1, 2, 3), int))
    with pytest.raises(BadMask, match="p1"):
        scorer_for("instance", CELLS).update("p1", found(TRUE), Segments.from_numbers(TRUE[:1], 0))
