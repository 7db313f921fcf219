"""Results: saved as class ids, counted, drawn and handed to COCO."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pil

from segmentarium.errors import BadMask, CannotWrite
from segmentarium.values import (
    VOID,
    Class,
    Classes,
    Image,
    Instances,
    LabelMap,
    Panoptic,
    Segment,
    read_mask,
)
from segmentarium.values.runs import decode

CLASSES = Classes(
    [
        Class(id=0, name="background", color=(0, 0, 0)),
        Class(id=7, name="cat", color=(200, 10, 10), thing=True),
        Class(id=3, name="grass", color=(10, 200, 10)),
    ]
)
LABELS = np.array([[0, 1, 1], [2, VOID, 1]], np.int32)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64])
def test_saved_as_ids_with_colours(tmp_path: Path, dtype: type) -> None:
    path = LabelMap(LABELS.astype(dtype), CLASSES).save(tmp_path / "grüne Wiese.png")
    mask = read_mask(path)
    assert (mask.mode, mask.values.tolist()) == ("P", [[0, 7, 7], [3, 255, 7]])
    assert mask.palette is not None
    assert mask.palette[7].tolist() == [200, 10, 10]
    assert mask.palette[3].tolist() == [10, 200, 10]
    with Pil.open(path) as picture:
        assert (picture.mode, picture.size) == ("P", (3, 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_predictions_are_unsigned_and_are_saved_too(tmp_path: Path, dtype: type) -> None:
    labels = np.array([[0, 1], [2, 1]], dtype)
    assert read_mask(LabelMap(labels, CLASSES).save(tmp_path / "m.png")).values.tolist() == [[0, 7], [3, 7]]


def test_large_ids_need_sixteen_bits(tmp_path: Path) -> None:
    classes = Classes([Class(id=0, name="a", color=(0, 0, 0)), Class(id=4000, name="b", color=(9, 9, 9))])
    labels = np.array([[0, 1, VOID]], np.int32)
    mask = read_mask(LabelMap(labels, classes, ignore_id=65535).save(tmp_path / "m.png"))
    assert mask.values.dtype == np.uint16
    assert mask.values.tolist() == [[0, 4000, 65535]]


def test_volumes_become_slices(tmp_path: Path) -> None:
    volume = np.random.default_rng(0).integers(-1, 3, (4, 6, 5)).astype(np.int32)
    path = LabelMap(volume, CLASSES).save(tmp_path / "v.tif")
    expected = np.array([0, 7, 3, 255])[volume]
    assert (read_mask(path).values == expected).all()
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "ZYX"


def test_what_cannot_be_saved(tmp_path: Path) -> None:
    for labels, name, error, said in (
        (LABELS, "m.jpg", CannotWrite, "allowed: a name in .png"),
        (LABELS[None], "m.png", CannotWrite, ".tif or .tiff"),
        (LABELS + 5, "m.png", BadMask, "class index 7"),
        (LABELS - 1, "m.png", BadMask, "class index -2"),
    ):
        with pytest.raises(error, match=said):
            LabelMap(labels, CLASSES).save(tmp_path / name)
    with pytest.raises(BadMask, match="also means void"):
        LabelMap(LABELS, CLASSES, ignore_id=3).save(tmp_path / "m.png")
    LabelMap(np.zeros((1, 1), np.int32), CLASSES, ignore_id=3).save(tmp_path / "m.png")


def test_shares_leave_void_out() -> None:
    assert LabelMap(LABELS, CLASSES).area_share() == {"background": 0.2, "cat": 0.6, "grass": 0.2}
    assert LabelMap(np.full((2, 2), VOID), CLASSES).area_share() == {"background": 0, "cat": 0, "grass": 0}
    assert LabelMap(np.ones((2, 2, 2), np.uint8), CLASSES).area_share()["cat"] == 1


def test_label_map_to_coco() -> None:
    rows = LabelMap(LABELS, CLASSES).to_coco()
    assert [(row["category_id"], row["area"], row["bbox"]) for row in rows] == [
        (0, 1, [0, 0, 1, 1]),
        (7, 3, [1, 0, 2, 2]),
        (3, 1, [0, 1, 1, 1]),
    ]
    assert (decode(rows[1]["segmentation"]) == (LABELS == 1)).all()
    with pytest.raises(BadMask, match="volume"):
        LabelMap(LABELS[None], CLASSES).to_coco()


NUMBERS = np.array([[0, 5, 5, 0], [9, 0, 5, 0], [9, 9, 0, 70000]], np.int32)


def test_instances_from_numbers(tmp_path: Path) -> None:
    objects = Instances.from_labels(NUMBERS, CLASSES, class_of={5: 1, 9: 2, 70000: 1})
    assert len(objects) == 3
    assert objects.boxes.tolist() == [[1, 0, 3, 2], [0, 1, 2, 3], [3, 2, 4, 3]]
    assert objects.classes_of.tolist() == [1, 2, 1]
    for index, number in enumerate((5, 9, 70000)):
        assert (objects.mask(index) == (number == NUMBERS)).all()
    assert (objects.numbers() == np.searchsorted([0, 5, 9, 70000], NUMBERS)).all()
    for row, number in zip(objects.to_coco(), (5, 9, 70000), strict=True):
        assert (decode(row["segmentation"]) == (number == NUMBERS)).all()
        assert row["area"] == (number == NUMBERS).sum()
    assert objects.save(tmp_path / "o.json").stat().st_size > 100
    with pytest.raises(CannotWrite, match=r"\.json"):
        objects.save(tmp_path / "o.png")


def test_no_instance_and_nothing_but_one() -> None:
    none = Instances.from_labels(np.zeros((3, 4), np.int32), CLASSES, class_of=1)
    assert (len(none), none.to_coco(), none.boxes.shape) == (0, [], (0, 4))
    assert none.numbers().max() == 0
    one = Instances.from_labels(np.full((3, 4), 2, np.int32), CLASSES, class_of=1)
    assert one.mask(0).all()


def test_more_objects_than_sixteen_bits_hold() -> None:
    count = 70_000
    corners = np.stack(np.unravel_index(np.arange(count), (350, 200)), axis=1)
    one = Instances.from_labels(np.ones((1, 1), np.int32), CLASSES, class_of=1)
    objects = Instances(
        one.masks * count,
        np.hstack([corners, corners + 1]).astype(np.int32),
        np.ones(count, np.float32),
        np.ones(count, np.int32),
        CLASSES,
        (200, 350),
    )
    assert len(objects) == count
    assert np.argwhere(objects.mask(count - 1)).tolist() == [[199, 349]]


def test_better_scores_lie_on_top() -> None:
    one = Instances.from_labels(np.ones((1, 2), np.int32), CLASSES, class_of=1)
    both = Instances(
        one.masks * 2,
        np.repeat(one.boxes, 2, axis=0),
        np.array([0.9, 0.5], np.float32),
        np.array([1, 2], np.int32),
        CLASSES,
        (1, 2),
    )
    assert both.numbers().tolist() == [[1, 1]]
    with pytest.raises(BadMask, match="object 0 has a mask"):
        Instances(
            one.masks,
            one.boxes + np.array([0, 0, 1, 0], np.int32),
            one.scores,
            one.classes_of,
            CLASSES,
            (1, 2),
        )


def test_panoptic(tmp_path: Path) -> None:
    ids = np.array([[0, 1, 1], [70000, 2, 1]], np.int32)
    segments = (Segment(1, 1), Segment(2, 1, 0.5), Segment(70000, 2))
    panoptic = Panoptic(ids, segments, CLASSES)
    assert panoptic.labels().tolist() == [[VOID, 1, 1], [2, 1, 1]]
    path = panoptic.save(tmp_path / "p.png")
    colors = read_mask(path).values.astype(np.int64)
    assert (colors @ (1, 256, 65536) == ids).all()
    assert path.with_suffix(".json").exists()
    assert [row["category_id"] for row in panoptic.to_coco()] == [7, 7, 3]
    with pytest.raises(BadMask, match="number 70000"):
        Panoptic(ids, segments[:2], CLASSES)
    with pytest.raises(BadMask, match="one number"):
        Panoptic(ids, (*segments, Segment(1, 2)), CLASSES)


def test_every_result_can_be_drawn() -> None:
    gray = np.full((3, 4, 3), 100, np.uint8)
    objects = Instances.from_labels(NUMBERS, CLASSES, class_of=1)
    panoptic = Panoptic(np.minimum(NUMBERS, 9), (Segment(5, 1), Segment(9, 2)), CLASSES)
    volume = LabelMap(np.ones((3, 3, 4), np.int32), CLASSES)
    for drawn in (objects.overlay(gray), panoptic.overlay(gray), volume.overlay(Image(np.stack([gray] * 3)))):
        assert drawn.height > 3
        assert (np.array(drawn)[:3, :4] != 100).any()


def test_unsure_objects_are_left_out_on_request() -> None:
    numbers = np.array([[1, 1, 0, 2], [0, 0, 0, 2]])
    classes = Classes.named("cell")
    found = replace(
        Instances.from_labels(numbers, classes, class_of=0), scores=np.array([0.4, 0.5], np.float32)
    )
    sure = found.above(0.5)
    assert len(sure) == 1
    assert sure.boxes.tolist() == [[3, 0, 4, 2]]
    assert sure.mask(0).sum() == 2
    assert len(found.above(0.0)) == 2
    assert len(found.above(1.0)) == 0
