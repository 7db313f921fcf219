"""Average precision by hand: COCO's, VOC's and Cityscapes' rules on strips of pixels; what is refused."""

import json

import numpy as np
import pytest

from segmentarium.errors import BadArgument, BadData, BadMask, UnknownName
from segmentarium.metrics import average_precision, cityscapes, cityscapes_precision, voc_precision
from segmentarium.metrics.average_precision import AveragePrecision
from segmentarium.metrics.cityscapes import InstanceIou
from segmentarium.metrics.cityscapes_precision import InstancePrecision
from segmentarium.metrics.coco_precision import coco_average_precision
from segmentarium.metrics.objects import Objects, Runs, overlaps, shared
from segmentarium.metrics.voc_precision import VocPrecision, area_under, match_once
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.instances import Instances
from segmentarium.values.runs import encode

ONE = Classes.named("cell")
TWO = Classes.named("cell", "debris")
WIDTH = 400


def strips(*spans: tuple[int, int], scores: tuple[float, ...] = (), of: tuple[int, ...] = ()) -> Instances:
    """Objects that are columns [start, end) of a picture two pixels high."""
    boxes = np.array([(a, 0, b, 2) for a, b in spans], np.int32).reshape(-1, 4)
    masks = tuple(encode(np.ones((2, b - a), bool)) for a, b in spans)
    labels = np.array(of or [0] * len(spans), np.int32)
    marks = np.array(scores or [1.0] * len(spans), np.float64)
    return Instances(masks, boxes, marks, labels, TWO if of else ONE, (2, WIDTH))


def test_masks_meet_without_being_painted() -> None:
    found, true = strips((0, 10), (20, 40)), strips((5, 15), (20, 30), (100, 110))
    sides = Objects.of(found, name="prediction"), Objects.of(true, name="truth")
    assert shared(*sides).tolist() == [[10, 0, 0], [0, 20, 0]]
    assert overlaps(*sides).tolist() == [[pytest.approx(1 / 3), 0, 0], [0, 0.5, 0]]
    assert overlaps(*sides, kind="box").tolist() == overlaps(*sides).tolist()


def test_a_mask_inside_a_crop_of_other_height() -> None:
    mask = np.array([[1, 1, 0], [1, 1, 1]], bool)
    runs = Runs.of([encode(mask)], at=np.array([[4, 3]]), size=(9, 8))
    inside = np.concatenate([np.arange(a, b) for a, b in runs.spans])
    full = np.zeros((9, 8), bool)
    full[3:5, 4:7] = mask
    np.testing.assert_array_equal(inside, np.flatnonzero(full.T.reshape(-1)))
    assert runs.areas.tolist() == [5]


@pytest.mark.atlas("M16")
def test_one_right_one_false_one_missed() -> None:
    metric = AveragePrecision(ONE)
    metric.update(strips((0, 10), (50, 60), scores=(0.5, 0.9)), strips((0, 10), (20, 30)))
    scores = metric.compute(rounds=0)
    assert scores.means["ap"] == pytest.approx(51 / 101 / 2)  # precision 1/2 at recalls 0 .. 0.5
    assert scores.means["ar100"] == 0.5
    assert scores.means["ar1"] == 0
    assert scores.recall.tolist() == [0.5]


@pytest.mark.atlas("M16")
def test_a_second_hit_is_false_and_crowd_counts_for_nothing() -> None:
    twice = AveragePrecision(ONE)
    twice.update(strips((0, 10), (0, 10), scores=(0.9, 0.8)), strips((0, 10)))
    assert twice.compute(rounds=0).means["ap"] == pytest.approx(1)
    crowd = AveragePrecision(ONE)
    found = strips((0, 10), (100, 120), (110, 130), scores=(0.1, 0.9, 0.8))
    crowd.update(found, strips((0, 10), (100, 200)), crowd=np.array([False, True]))
    assert crowd.compute(rounds=0).means["ap"] == pytest.approx(1)


def test_pictures_classes_and_intervals() -> None:
    metric = AveragePrecision(TWO)
    metric.update(strips((0, 10), of=(0,)), strips((0, 10), of=(0,)), image="good")
    metric.update(strips((50, 60), of=(0,)), strips((0, 10), of=(0,)), image="bad")
    metric.update(strips((50, 60), of=(0,)), strips((0, 10), of=(1,)), image="worse")
    scores = metric.compute(rounds=50)
    assert scores.per_image == {"bad": 0, "good": pytest.approx(1), "worse": 0}
    low, high = scores.intervals["ap"]
    assert 0 <= low <= scores.means["ap"] <= high <= 1
    told = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert told["per_class"]["debris"]["ap"] == 0
    assert told["ap_large"] is None


def test_nothing_at_all_is_undefined() -> None:
    metric = AveragePrecision(ONE)
    assert np.isnan(metric.compute().means["ap"])
    metric.update(strips((0, 10)), strips())
    assert metric.compute().undefined == ("cell",)
    metric.update(strips(), strips((0, 10)))
    assert metric.compute().means["ap"] == 0
    metric.reset()
    assert metric.compute().per_image == {}


def test_what_is_kept_of_a_picture_is_no_mask() -> None:
    metric = AveragePrecision(ONE)
    found = strips(*[(i, i + 5) for i in range(50)])
    metric.update(found, found)
    kept = sum(
        v.nbytes for v in vars(next(iter(metric._pictures.values()))).values() if isinstance(v, np.ndarray)
    )
    assert kept <= 50 * 80


def test_settings_and_objects_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UnknownName, match="boundary"):
        AveragePrecision(ONE, kind="boundry")
    with pytest.raises(BadArgument, match="limits"):
        AveragePrecision(ONE, limits=(10, 1))
    with pytest.raises(BadArgument, match="areas"):
        AveragePrecision(ONE, areas={"small": (0, 9)})
    metric = AveragePrecision(ONE)
    with pytest.raises(BadArgument, match="truth: objects of cell, debris"):
        metric.update(strips((0, 1)), strips((0, 1), of=(1,)))
    with pytest.raises(BadArgument, match="score"):
        metric.update(strips((0, 1), scores=(float("nan"),)), strips((0, 1)))
    with pytest.raises(BadArgument, match="truth: columns"):
        metric.update(strips((0, 1)), strips((0, 1)), crowd=np.zeros(2, bool))
    metric.update(strips((0, 1)), strips((0, 1)), image=5)
    with pytest.raises(BadArgument, match="image: 5 was added before"):
        metric.update(strips((0, 1)), strips((0, 1)), image=5)
    with pytest.raises(BadArgument, match="other"):
        metric.merge(AveragePrecision(ONE, kind="box"))
    smaller = Instances((), np.zeros((0, 4), np.int32), np.zeros(0), np.zeros(0, np.int32), ONE, (2, 3))
    with pytest.raises(BadMask, match="size"):
        metric.update(strips((0, 1)), smaller)
    assert len(metric._pictures) == 1


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        ({"size": [2, 2], "counts": "5"}, "broken"),
        ({"size": [2, 2], "counts": "T"}, "broken"),
        ({"size": [2, 2], "counts": "\x7f"}, "broken"),
        ({"size": [3, 2], "counts": "6"}, "inside the picture"),
    ],
)
def test_broken_masks_are_refused(mask: dict, told: str) -> None:
    with pytest.raises(BadMask, match=told):
        Runs.of([mask], at=np.zeros((1, 2), np.int64), size=(2, 2))


def test_results_of_unknown_pictures_and_categories_are_refused() -> None:
    file = {
        "images": [{"id": 1, "height": 2, "width": 2}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [],
    }
    mask = {"size": [2, 2], "counts": "04"}
    for image, category in ((2, 1), (1, 2)):
        row = {"image_id": image, "category_id": category, "segmentation": mask, "score": 1.0}
        with pytest.raises(BadData, match=f"picture {image} and category {category}"):
            coco_average_precision([row], file)


@pytest.mark.atlas("M19")
def test_voc_by_hand() -> None:
    """Right, false, right of three objects: precision 1, 1/2, 2/3 at recall 1/3, 1/3, 2/3."""
    for protocol, expected in (("voc2010", (1 + 2 / 3) / 3), ("voc2007", (4 * 1 + 3 * 2 / 3) / 11)):
        metric = VocPrecision(ONE, protocol=protocol)
        metric.update(strips((0, 10), (90, 99), scores=(0.9, 0.8)), strips((0, 10), (20, 30)))
        metric.update(strips((40, 50), scores=(0.7,)), strips((40, 50)))
        scores = metric.compute(rounds=20)
        assert scores.means[0.5] == pytest.approx(expected)
        assert scores.intervals[0.7][0] <= expected <= scores.intervals[0.7][1]
        assert json.dumps(scores.as_dict(), allow_nan=False)


@pytest.mark.atlas("M19")
def test_voc_thresholds_duplicates_and_difficult_ones() -> None:
    metric = VocPrecision(TWO)
    found = strips((0, 6), (20, 30), (20, 30), (60, 70), scores=(0.9, 0.8, 0.7, 0.6), of=(0, 0, 0, 1))
    metric.update(
        found, strips((0, 10), (20, 30), (60, 70), of=(0, 0, 1)), difficult=np.array([False, False, True])
    )
    scores = metric.compute(rounds=0)
    assert scores.ap[0, 0] == 1  # both objects before the duplicate
    assert scores.ap[1, 0] == pytest.approx(0.25)  # the first has IoU 0.6
    assert scores.undefined == ("debris",)


@pytest.mark.atlas("M19")
def test_voc_does_not_look_for_a_second_object() -> None:
    iou = np.array([[0.8, 0.0], [0.7, 0.6]])
    assert match_once(iou, np.zeros(2, bool), threshold=0.5).tolist() == [1, 0]
    assert area_under(np.array([1.0]), np.array([0.0]), 1, protocol="voc2007") == 1
    with pytest.raises(UnknownName, match="voc2010"):
        VocPrecision(ONE, protocol="voc2011")


@pytest.mark.atlas("M38")
def test_iiou_weighs_instances_alike() -> None:
    truth = np.array([[0, 0, 0, 0, 1, VOID]])
    prediction = np.array([[0, 0, 0, 1, 1, 1]])
    numbers = np.array([[1, 1, 1, 2, 0, 0]])
    metric = InstanceIou(TWO, mean_sizes={"cell": 6.0})
    metric.update(prediction, truth, numbers)
    scores = metric.compute()
    assert scores.iiou[0] == 0.5  # one of two instances: 6 / (6 + 0 + 6)
    assert scores.undefined == ("debris",)
    assert scores.mean == 0.5
    with pytest.raises(BadArgument, match="several classes"):
        metric.update(prediction, truth, np.ones_like(numbers))
    metric.reset()
    assert np.isnan(metric.compute().mean)


@pytest.mark.atlas("M38")
def test_cityscapes_takes_no_iou_at_the_threshold_and_forgives_void() -> None:
    true = strips((0, 100), (200, 300))
    metric = InstancePrecision(ONE)
    metric.update(strips((0, 50), scores=(0.9,)), true)  # IoU of exactly a half
    assert metric.compute(rounds=0).ap == 0
    void = np.zeros((2, WIDTH), bool)
    void[:, 100:200] = True
    forgiving = InstancePrecision(ONE, thresholds=(0.5,))
    found = strips((0, 90), (110, 190), (200, 290), scores=(0.5, 0.9, 0.5))
    forgiving.update(found, true, void=void)
    assert forgiving.compute(rounds=0).ap50 == 1
    grouped = InstancePrecision(ONE, thresholds=(0.5,))
    grouped.update(found, true, group=np.array([False, True]), void=void)
    assert grouped.compute(rounds=0).ap50 == 1
    with pytest.raises(BadArgument, match="matches are unique"):
        InstancePrecision(ONE, thresholds=(0.3,))


def test_every_number_is_defined_in_words() -> None:
    modules = (average_precision, voc_precision, cityscapes, cityscapes_precision)
    rows = [row for module in modules for definition in module.DEFINED for row in definition.atlas]
    assert set(rows) == {"M16", "M17", "M18", "M19", "M20", "M38"}
