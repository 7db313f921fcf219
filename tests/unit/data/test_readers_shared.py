"""The readers on the real sets beside the repository; skipped where those are not at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segmentarium.data import open_data
from segmentarium.errors import BadData

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the real data sets (../shared/data) are not here"
)

SETS = {
    "camvid": (367, 34, 11, "index"),
    "coco128_instances": (30, 10, 81, "index"),
    "coco_panoptic_sample": (1, 1, 133, "panoptic_rgb"),
    "coco_person_fg": (11, 3, 2, "index"),
    "crackforest": (44, 8, 2, "index"),
    "cwfid_panoptic": (8, 3, 3, "index"),
    "drive": (16, 4, 2, "index"),
    "drosophila_vnc_em": (9, 3, 5, "index"),
    "dsb2018_nuclei": (55, 14, 2, "instances"),
    "gsi_roads": (7, 2, 2, "index"),
    "hc18_fetal_head": (32, 8, 2, "index"),
    "isbi2012_em": (16, 4, 2, "index"),
    "labelmefacade": (28, 8, 8, "index"),
}


@pytest.mark.parametrize("name", SETS)
def test_every_picture_set_opens_and_yields_labels(name):
    train, val, classes, reading = SETS[name]
    data = open_data(SHARED / name)
    assert (len(data.train), len(data.val), len(data.classes), data.reading) == (train, val, classes, reading)
    assert data.name == name
    assert data.terms
    for pair in (data.train[0], data.val[-1]):
        labels = data.labels(pair)
        assert labels.dtype == np.int32
        assert labels.shape == data.image(pair).size
        assert set(np.unique(labels)) <= set(range(-1, classes))
        assert (labels >= 0).any()


def test_camvid_keeps_its_void_ignored():
    data = open_data(SHARED / "camvid")
    assert data.ignore_ids == (11,)
    raw = data.raw_mask(data.val[0]).values
    assert ((data.labels(data.val[0]) == -1) == (raw == 11)).all()


def test_cwfid_ids_start_at_one():
    data = open_data(SHARED / "cwfid_panoptic")
    raw, labels = data.raw_mask(data.val[0]).values, data.labels(data.val[0])
    assert (labels[raw == 3] == data.classes.index_of("soil")).all()
    assert (labels[raw == 255] == -1).all()


def test_cwfid_panoptic_files_say_the_same_as_its_masks():
    from segmentarium.data.translate import Legend, from_panoptic
    from segmentarium.values.mask import read_mask

    data = open_data(SHARED / "cwfid_panoptic")
    path = SHARED / "cwfid_panoptic" / "val" / "panoptic" / data.val[0].mask.name
    labels = from_panoptic(read_mask(path).values, path, Legend(data.classes, (), (), data.root))
    assert (labels == data.labels(data.val[0])).mean() > 0.999


def test_drive_counts_only_inside_the_field_of_view():
    data = open_data(SHARED / "drive")
    assert any("fov" in note for note in data.notes)
    labels = data.labels(data.val[0])
    assert labels[0, 0] == -1
    assert 0.2 < (labels == -1).mean() < 0.5


def test_one_split_of_a_set_finds_its_description_above():
    data = open_data(SHARED / "camvid" / "val")
    assert len(data.classes) == 11
    assert any("described by meta.json" in note for note in data.notes)


@pytest.mark.parametrize("name", ["msd_hippocampus", "la2018"])
def test_volumes_open_with_their_classes(name):
    data = open_data(SHARED / name)
    assert data.reading == "volume"
    assert data.tasks == ("semantic",)
    assert len(data.classes) > 1
    with pytest.raises(BadData, match="is a volume"):
        data.image(data.train[0])
    with pytest.raises(BadData, match="labels of a volume"):
        data.raw_mask(data.train[0])


def test_regions_without_classes_open_but_give_no_labels():
    data = open_data(SHARED / "bsds500")
    assert data.image(data.train[0]).channels == 3
    with pytest.raises(BadData, match="several people"):
        data.labels(data.train[0])
