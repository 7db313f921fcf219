"""Drawn shapes: what they look like from outside, and that sets of them show every class."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from segmentarium.data import draw_scene, draw_volume, open_data, write_data_set
from segmentarium.data.shapes_forms import FORMS, TEXTURES
from segmentarium.errors import BadData, UnknownName

LAYOUTS = ("folders", "segmentarium", "plain", "colour", "voc", "cityscapes", "ade20k")


def test_more_objects_than_a_byte_can_count():
    scene = draw_scene(0, size=(160, 160), objects=400)
    assert len(scene.classes_of) > 255
    assert scene.numbers.max() == len(scene.classes_of)


def test_one_pixel():
    scene = draw_scene(1, size=(1, 1), objects=3)
    assert scene.image.pixels.shape == (1, 1, 3)
    assert len(scene.classes_of) <= 1


def test_no_objects_leave_the_ground():
    scene = draw_scene(1, objects=0)
    assert (scene.labels == 0).all()
    assert len(scene.instances) == 0


def test_enough_objects_draw_every_class():
    shown = {int(i) for seed in range(4) for i in np.unique(draw_scene(seed, classes=10, objects=18).labels)}
    assert shown == set(range(10))


def test_classes_that_share_a_form_differ_in_texture_and_name():
    classes = draw_scene(0, classes=20, objects=1).classes
    assert len(set(classes.names)) == 20
    assert len(FORMS) % len(TEXTURES) != 0
    assert classes.names[:3] == ("ground", "disc", "rectangle")
    assert draw_volume(0, size=(2, 2, 2)).classes.names[1] == "ball"


def test_rings_show_what_lies_in_their_hole():
    """Class 4 is the ring: the middle of a whole one is something else."""
    for seed in range(30):
        scene = draw_scene(seed, size=(96, 96), classes=5, objects=4)
        rings = [n for n, index in enumerate(scene.classes_of, 1) if index == 4]
        for number in rings:
            rows, columns = np.nonzero(scene.numbers == number)
            whole = rows.min() > 0 and columns.min() > 0 and rows.max() < 95 and columns.max() < 95
            if whole and np.ptp(rows) > 20 and abs(np.ptp(rows) - np.ptp(columns)) < 3:
                middle = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
                assert scene.numbers[middle] != number
                return
    pytest.fail("no whole ring in thirty scenes")


def test_neighbouring_seeds_and_split_seeds_differ():
    pictures = [draw_scene(seed, size=(16, 16)).image.pixels.tobytes() for seed in (0, 1, (0, 1), (1, 1))]
    assert len(set(pictures)) == 4


def test_a_scene_is_quick():
    draw_scene(0)
    start = time.perf_counter()
    for seed in range(10):
        draw_scene(seed)
    assert (time.perf_counter() - start) / 10 < 0.2  # 5 to 10 ms on a quiet machine


@pytest.mark.parametrize(
    ("wrong", "came"),
    [
        ({"classes": 1}, "1 classes"),
        ({"size": (0, 4)}, "size (0, 4)"),
        ({"dtype": "int8"}, "dtype 'int8'"),
        ({"channels": 0}, "0 channels"),
        ({"objects": -1}, "-1 objects"),
        ({"void_share": 1.5}, "void_share 1.5"),
    ],
)
def test_impossible_wishes_are_refused(wrong, came):
    with pytest.raises(BadData, match="drawn shapes of") as caught:
        draw_scene(0, **wrong)
    assert came in str(caught.value)


def test_a_volume_has_arrays_only():
    with pytest.raises(BadData, match="segment_ids"):
        _ = draw_volume(0, size=(4, 4, 4)).panoptic


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_class_is_in_every_split_of_every_layout(tmp_path, layout):
    root = write_data_set(tmp_path / "drawn", train=3, val=2, size=(48, 48), classes=5, layout=layout)
    data = open_data(root)
    assert len(data.classes) == 5
    if layout != "plain":  # splits are drawn by lot there
        for split in ("train", "val"):
            shown = {int(i) for pair in data.split(split) for i in np.unique(data.labels(pair))}
            assert shown == set(range(5))


def test_written_files_do_not_depend_on_the_day(tmp_path):
    once, again = (write_data_set(tmp_path / name, train=1, val=1, size=(32, 32)) for name in "ab")
    assert open_data(once).fingerprint() == open_data(again).fingerprint()


def test_panoptic_files_agree_with_the_masks(tmp_path):
    root = write_data_set(
        tmp_path / "drawn", train=2, val=1, size=(40, 40), layout="segmentarium", void_share=0.1
    )
    semantic = open_data(root)
    expected = [semantic.labels(pair) for pair in semantic.train]
    for split in ("train", "val"):
        (root / split / "masks").rename(root / split / "unused")
    meta = json.loads((root / "meta.json").read_text())
    (root / "meta.json").write_text(json.dumps({**meta, "classes": "see panoptic.json"}))
    panoptic = open_data(root)
    assert panoptic.reading == "panoptic_rgb"
    assert panoptic.classes.names == semantic.classes.names
    for pair, labels in zip(panoptic.train, expected, strict=True):
        assert (panoptic.labels(pair) == labels).all()


def test_instance_files_hold_the_objects(tmp_path):
    root = write_data_set(tmp_path / "drawn", train=1, val=1, size=(40, 40), classes=2, layout="segmentarium")
    meta = json.loads((root / "meta.json").read_text())
    semantic = open_data(root)
    expected = [semantic.labels(pair) for pair in semantic.train]
    for split in ("train", "val"):
        (root / split / "masks").rename(root / split / "unused")
        (root / split / "instances").rename(root / split / "masks")
    (root / "meta.json").write_text(json.dumps({**meta, "task": "instance segmentation"}))
    data = open_data(root)
    assert data.reading == "instances"
    assert all((data.labels(p) == e).all() for p, e in zip(data.train, expected, strict=True))


@pytest.mark.parametrize(
    ("channels", "dtype"), [(1, "uint8"), (1, "uint16"), (3, "uint16"), (5, "uint8"), (5, "float32")]
)
def test_deep_and_many_banded_pictures_come_back_unchanged(tmp_path, channels, dtype):
    root = write_data_set(
        tmp_path / "drawn", train=1, val=1, size=(24, 20), classes=2, channels=channels, dtype=dtype
    )
    data = open_data(root)
    pixels = data.image(data.train[0]).pixels
    assert pixels.shape == (24, 20, channels)
    assert (
        pixels
        == draw_scene((0, 0, 0, 0), size=(24, 20), classes=2, channels=channels, dtype=dtype).image.pixels
    ).all()


def test_too_little_room_for_every_class_is_said(tmp_path):
    with pytest.raises(BadData, match="do not show all 5 classes"):
        write_data_set(tmp_path / "drawn", train=1, val=1, size=(1, 1), classes=5)


def test_unknown_layout_offers_the_nearest(tmp_path):
    with pytest.raises(UnknownName, match="did you mean 'voc'"):
        write_data_set(tmp_path / "drawn", train=1, val=0, size=(16, 16), classes=2, layout="vocs")
