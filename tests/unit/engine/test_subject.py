"""What a network is to learn: the task that says most of those that both sides know."""

from __future__ import annotations

import pytest

from segmentarium.data import DataSet, open_data, write_data_set
from segmentarium.engine.subject import subject_of
from segmentarium.errors import BadData, BadRecipe


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, DataSet]:
    folder = tmp_path_factory.mktemp("subject")
    return {
        layout: open_data(
            write_data_set(folder / layout, train=2, val=1, size=(64, 64), layout=layout, classes=3)
        )
        for layout in ("folders", "coco", "coco-panoptic")
    }


def test_takes_what_says_most(sets: dict[str, DataSet]) -> None:
    assert subject_of(sets["coco-panoptic"], model="mask2former-tiny").task == "panoptic"
    assert subject_of(sets["coco"], model="mask2former-tiny").task == "instance"
    assert subject_of(sets["folders"], model="mask2former-tiny").task == "semantic"
    assert subject_of(sets["coco-panoptic"], model="unet-tiny").task == "semantic"


def test_instances_are_learnt_of_things_alone(sets: dict[str, DataSet]) -> None:
    data = sets["coco-panoptic"]
    subject = subject_of(data, model="mask_rcnn-tiny")
    assert subject.classes.names == tuple(data.classes[i].name for i in data.things)
    assert [i for i, place in enumerate(subject.index) if place >= 0] == list(data.things)


def test_panoptic_classes_stand_things_first(sets: dict[str, DataSet]) -> None:
    subject = subject_of(sets["coco-panoptic"], model="panoptic_fpn-tiny")
    flags = [c.thing for c in subject.classes]
    assert flags == sorted(flags, reverse=True)
    assert subject.things == sum(flags)
    assert sorted(subject.index) == list(range(len(flags)))


def test_refuses_what_network_or_data_cannot(sets: dict[str, DataSet]) -> None:
    with pytest.raises(BadRecipe, match="cannot learn instance"):
        subject_of(sets["coco"], model="unet-tiny", task="instance")
    with pytest.raises(BadData, match="teaches semantic"):
        subject_of(sets["folders"], model="mask_rcnn-tiny")
    with pytest.raises(BadRecipe, match="for volumes"):
        subject_of(sets["folders"], model="unet_3d-tiny")


def test_parts_without_names_are_not_scored_against_classes(sets: dict[str, DataSet]) -> None:
    with pytest.raises(BadRecipe, match=r"parts without names.*examples/train_wnet\.py"):
        subject_of(sets["folders"], model="wnet-tiny")
