"""Panoptic quality on maps that one can count by eye, and what is refused."""

import json

import numpy as np
import pytest

from segmentarium.errors import BadArgument, BadMask, UnknownName
from segmentarium.metrics.panoptic import DEFINED, PROTOCOLS, PanopticQuality, Segments, panoptic_quality
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.panoptic import Panoptic, Segment

CLASSES = Classes.from_json(
    [
        {"id": 11, "name": "car", "isthing": 1},
        {"id": 12, "name": "person", "isthing": 1},
        {"id": 20, "name": "road", "isthing": 0},
    ]
)
CAR, PERSON, ROAD = range(3)


def segments(ids: list, classes: list[int], crowd: tuple[int, ...] = ()) -> Segments:
    """Segments 1, 2 .. of the given classes; ``crowd`` are numbers."""
    numbers = np.arange(1, len(classes) + 1, dtype=np.int64)
    ids = np.atleast_2d(np.array(ids, np.int32))
    of = np.array(classes, np.int64)
    return Segments(ids=ids, numbers=numbers, classes_of=of, crowd=np.isin(numbers, crowd))


def pq(found: Segments, true: Segments, protocol: str = "panopticapi") -> float:
    return panoptic_quality(found, true, classes=CLASSES, protocol=protocol).all.pq


@pytest.mark.atlas("M13")
def test_a_thing_predicted_entirely_void() -> None:
    true, found = segments([1] * 4 + [2] * 4, [CAR, PERSON]), segments([1] * 4 + [0] * 4, [CAR])
    assert (pq(found, true), pq(found, true, "torchmetrics")) == (0.5, 1.0)


@pytest.mark.atlas("M13")
def test_a_quarter_of_a_thing_predicted_void() -> None:
    true = segments([1] * 40 + [2] * 40, [CAR, PERSON])
    found = segments([1] * 30 + [0] * 10 + [2] * 40, [CAR, PERSON])
    assert (pq(found, true), pq(found, true, "torchmetrics")) == (0.875, 1.0)


@pytest.mark.atlas("M13", "M14")
def test_stuff_in_two_segments() -> None:
    true, found = segments([1] * 10, [ROAD]), segments([1] * 6 + [2] * 4, [ROAD, ROAD])
    values = [pq(found, true, p) for p in ("panopticapi", "torchmetrics", "modified")]
    assert values == pytest.approx([0.4, 1.0, 1.0])


@pytest.mark.atlas("M13")
def test_nothing_at_all_is_undefined_but_for_monai() -> None:
    empty = segments([0] * 8, [])
    values = {p: pq(empty, empty, p) for p in PROTOCOLS}
    assert values.pop("monai") == 0
    assert np.isnan(list(values.values())).all()
    assert panoptic_quality(empty, empty, classes=CLASSES).undefined == CLASSES.names


@pytest.mark.atlas("M13")
def test_an_iou_of_exactly_a_half_is_no_match() -> None:
    scores = panoptic_quality(segments([1, 1, 0], [CAR]), segments([1, 1, 1], [CAR]), classes=CLASSES)
    assert scores.all.sq == pytest.approx(2 / 3)
    scores = panoptic_quality(segments([1, 0], [CAR]), segments([1, 1], [CAR]), classes=CLASSES)
    assert (scores.all.pq, scores.all.sq, scores.false_negatives[CAR], scores.false_positives[CAR]) == (
        0,
        0,
        1,
        1,
    )


@pytest.mark.atlas("M13")
def test_more_than_half_on_void_is_forgiven_and_half_is_not() -> None:
    true = segments([0, 0, 0, 1, 1, 1], [PERSON])
    for found, wrong in (([1, 1, 1, 1, 1, 0], 0), ([0, 1, 1, 1, 1, 0], 1)):
        scores = panoptic_quality(segments(found, [CAR]), true, classes=CLASSES)
        assert scores.false_positives[CAR] == wrong
    on_void = panoptic_quality(segments([1] * 6, [PERSON]), true, classes=CLASSES)
    assert on_void.pq[PERSON] == 1  # void leaves the union


@pytest.mark.atlas("M13")
def test_crowd_is_never_missed_and_forgives_its_class_only() -> None:
    true = segments([1, 1, 1, 1, 2, 2], [CAR, PERSON], crowd=(1,))
    found = segments([1, 1, 1, 2, 2, 2], [CAR, PERSON])
    scores = panoptic_quality(found, true, classes=CLASSES)
    assert scores.undefined == ("car", "road")
    assert scores.pq[PERSON] == pytest.approx(2 / 3)
    other = panoptic_quality(segments([1, 1, 1, 2, 2, 2], [PERSON, PERSON]), true, classes=CLASSES)
    assert other.false_positives[PERSON] == 1
    ordinary = panoptic_quality(found, true, classes=CLASSES, protocol="torchmetrics")
    assert ordinary.true_positives[CAR] == 1


@pytest.mark.atlas("M13")
def test_only_the_last_crowd_of_a_class_is_looked_up() -> None:
    ids = [1, 1, 1, 2]
    found = segments([1, 1, 1, 1], [CAR])
    assert pq(found, segments(ids, [CAR, CAR], crowd=(1, 2))) == 0  # a quarter on the last one
    assert np.isnan(pq(found, segments([2, 2, 2, 1], [CAR, CAR], crowd=(1, 2))))


@pytest.mark.atlas("M14")
def test_dagger_takes_stuff_without_threshold_and_things_with_it() -> None:
    true = segments([1, 1, 1, 1, 2, 2, 2, 2], [ROAD, CAR])
    found = segments([1, 2, 2, 2, 2, 3, 3, 3], [ROAD, CAR, PERSON])
    scores = panoptic_quality(found, true, classes=CLASSES, protocol="modified")
    assert scores.stuff.pq == 0.25
    assert scores.pq[CAR] == 0
    assert panoptic_quality(found, true, classes=CLASSES).stuff.pq == 0


@pytest.mark.atlas("M15")
def test_cells_in_label_maps() -> None:
    true = np.array([[1, 1, 1, 1, 0, 2, 2, 0, 3]])
    found = np.array([[9, 9, 9, 9, 9, 0, 7, 7, 5]])
    scores = panoptic_quality(found, true, protocol="instances")
    assert (scores.true_positives[0], scores.false_positives[0], scores.false_negatives[0]) == (2, 1, 1)
    assert (scores.all.pq, scores.all.sq, scores.all.rq) == pytest.approx((1.8 / 3, 0.9, 2 / 3))


@pytest.mark.atlas("M15")
def test_void_of_a_label_map_counts_for_nothing() -> None:
    true = np.array([[1, 1, VOID, VOID, 0]])
    assert panoptic_quality(np.array([[3, 3, 3, 4, 0]]), true, protocol="instances").all.pq == 1
    assert panoptic_quality(np.array([[3, 3, 0, 0, 4]]), true, protocol="instances").all.pq == pytest.approx(
        2 / 3
    )


def test_no_match_among_cells_has_no_segmentation_quality() -> None:
    scores = panoptic_quality(np.array([[0, 1]]), np.array([[1, 0]]), protocol="instances")
    assert scores.all.pq == 0
    assert np.isnan(scores.all.sq)


def test_results_volumes_and_coco_tables_are_taken() -> None:
    ids = np.array([[1, 1, 2], [1, 1, 0]], np.int32)
    result = Panoptic(ids, (Segment(1, CAR), Segment(2, ROAD, 0.5)), CLASSES)
    assert panoptic_quality(result, result).per_class["car"].pq == 1
    rows = [{"id": 2, "category_id": 20}, {"id": 1, "category_id": 11, "iscrowd": 0}]
    assert panoptic_quality(result, Segments.of_coco(ids, rows, classes=CLASSES), classes=CLASSES).all.pq == 1
    volume = np.stack([ids, ids])
    assert panoptic_quality(volume, volume, protocol="instances").all.pq == 1
    with pytest.raises(BadMask, match="category 5"):
        Segments.of_coco(ids, [{"id": 1, "category_id": 5}], classes=CLASSES)


def test_images_are_kept_apart_and_pooled() -> None:
    metric = PanopticQuality(protocol="instances")
    metric.update(np.array([[1, 0]]), np.array([[1, 0]]))
    metric.update(np.array([[0, 0]]), np.array([[1, 0]]))
    metric.update(np.array([[0, 0]]), np.array([[0, 0]]))
    scores = metric.compute()
    assert scores.all.pq == pytest.approx(2 / 3)
    np.testing.assert_array_equal(scores.per_image, [1, 0, np.nan])
    low, high = scores.intervals["all"]
    assert 0 <= low < scores.all.pq < high <= 1
    told = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert told["per_image"] == [1, 0, None]
    assert told["per_class"]["object"]["true_positives"] == 1
    assert told["stuff"]["pq"] is None
    metric.reset()
    assert np.isnan(metric.compute().all.pq)


@pytest.mark.parametrize(
    ("found", "true", "told"),
    [
        (segments([1, 2], [CAR]), segments([1, 1], [CAR]), "number 2 in the map of prediction"),
        (segments([1, 1], [CAR]), segments([1, 7], [CAR]), "number 7 in the map of truth"),
        (segments([1, 1], [CAR, CAR]), segments([1, 1], [CAR]), "predicted segment 2 has no pixel"),
        (segments([1, 1], [3]), segments([1, 1], [CAR]), "prediction has segments without class"),
        (segments([1, 1, 1], [CAR]), segments([1, 1], [CAR]), "shape"),
        (np.array([[-1, 1]]), np.array([[1, 1]]), "prediction holds -1"),
        (np.array([[1, 1]]), np.array([[1, -2]]), "truth holds -2"),
        (np.array([[2**40, 1]]), np.array([[1, 2]]), "31 bits"),
    ],
)
def test_what_does_not_fit_is_refused(found: Segments, true: Segments, told: str) -> None:
    with pytest.raises(BadMask, match=told):
        panoptic_quality(found, true, classes=CLASSES)


def test_a_missed_segment_without_pixels_counts_as_missed() -> None:
    scores = panoptic_quality(segments([1, 1], [CAR]), segments([1, 1], [CAR, CAR]), classes=CLASSES)
    assert scores.false_negatives[CAR] == 1


def test_unknown_protocols_other_setups_and_double_numbers_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'panopticapi'"):
        PanopticQuality(protocol="panopticap")
    with pytest.raises(BadArgument, match="monai"):
        PanopticQuality(protocol="instances").merge(PanopticQuality(protocol="monai"))
    with pytest.raises(BadMask, match="one number"):
        Segments(
            ids=np.ones((1, 1), np.int32),
            numbers=np.array([1, 1]),
            classes_of=np.array([0, 0]),
            crowd=np.zeros(2, bool),
        )


def test_every_protocol_is_explained() -> None:
    assert set(DEFINED[0].protocols) == set(PROTOCOLS)
