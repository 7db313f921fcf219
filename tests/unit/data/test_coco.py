"""COCO instances and COCO panoptic as data sets: layouts, kinds of masks, crowds, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pil

from segmentarium.data import coco_json, open_data, write_data_set
from segmentarium.data.dataset import MaskReading, Segmenting
from segmentarium.errors import BadData, BadMask
from segmentarium.values.classes import VOID

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
real = pytest.mark.skipif(not SHARED.is_dir(), reason="the real data sets (../shared/data) are not here")

SQUARE = [[1.0, 1.0, 4.0, 1.0, 4.0, 3.0, 1.0, 3.0]]
CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 90, "name": "dog"}]


def annotation(segmentation: Any, **more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 5, "category_id": 90, "iscrowd": 0, "segmentation": segmentation, **more}


def write(
    root: Path,
    *annotations: dict[str, Any],
    name: str = "instances.json",
    images: str = "images",
    split: str = "train",
) -> Path:
    """A set of one picture of 4x6 pixels."""
    folder = root / split / images
    folder.mkdir(parents=True, exist_ok=True)
    Pil.fromarray(np.zeros((4, 6, 3), np.uint8)).save(folder / "a.png")
    image = {"id": 5, "file_name": "a.png", "height": 4, "width": 6}
    table = {"images": [image], "annotations": list(annotations), "categories": CATEGORIES}
    (root / split / name).write_text(json.dumps(table))
    return root


def only(root: Path) -> Any:
    data = open_data(root)
    return data.segments(data.train[0])


def test_polygons_of_several_parts_and_ids_with_gaps(tmp_path: Path) -> None:
    root = write(tmp_path, annotation([*SQUARE, [5.0, 0.0, 6.0, 0.0, 6.0, 4.0, 5.0, 4.0]], area=9.5))
    data = open_data(root)
    assert (data.reading, data.segmented_by) == (MaskReading.COCO, Segmenting.COCO)
    assert data.classes.names == ("cat", "dog")
    assert data.things == (0, 1)
    assert data.tasks == ("semantic", "instance")
    segments = data.segments(data.train[0])
    assert segments.classes.tolist() == [1]
    assert segments.areas.tolist() == [9.5]
    assert segments.atoms.tolist() == [[0, 0, 0, 0, 0, 1], *[[0, 1, 1, 1, 0, 1]] * 2, [0, 0, 0, 0, 0, 1]]
    assert data.labels(data.train[0])[1].tolist() == [VOID, 1, 1, 1, VOID, 1]


@pytest.mark.parametrize("counts", [[5, 2, 2, 2, 13], None])
def test_run_length_code_of_both_kinds(tmp_path: Path, counts: list[int] | None) -> None:
    from segmentarium.ops.rle import encode

    mask = np.zeros((4, 6), bool)
    mask[1:3, 1:3] = True
    code = dict(encode(mask)) if counts is None else {"size": [4, 6], "counts": counts}
    assert ((only(write(tmp_path, annotation(code))).atoms == 1) == mask).all()


def test_crowds_are_void_and_kept_apart(tmp_path: Path) -> None:
    whole = {"size": [4, 6], "counts": [0, 24]}
    root = write(tmp_path, annotation(SQUARE), annotation(whole, id=2, iscrowd=1, category_id=7))
    segments = only(root)
    assert len(segments) == 1
    assert [crowd.class_index for crowd in segments.crowds] == [0]
    assert (segments.atoms == VOID).sum() == 24 - 6
    assert segments.for_average_precision(open_data(root).classes)["crowd"].tolist() == [False, True]


def test_overlaps_and_pictures_without_annotations(tmp_path: Path) -> None:
    inner = [[2.0, 1.0, 3.0, 1.0, 3.0, 3.0, 2.0, 3.0]]
    root = write(tmp_path, annotation(SQUARE), annotation(inner, id=2, category_id=7))
    data = open_data(root)
    assert data.labels(data.train[0])[1].tolist() == [VOID, 1, 0, 1, VOID, VOID]
    assert data.segments(data.train[0]).pixels.tolist() == [6, 2]
    bare = only(write(tmp_path / "bare"))
    assert len(bare) == 0
    assert not bare.atoms.any()


def test_a_background_class_takes_what_nobody_drew(tmp_path: Path) -> None:
    root = write(tmp_path, annotation(SQUARE))
    rows = [{"id": 0, "name": "background"}, {"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    (root / "meta.json").write_text(json.dumps({"classes": rows}))
    data = open_data(root)
    assert data.labels(data.train[0])[1].tolist() == [0, 1, 1, 1, 0, 0]
    assert data.things == (1, 2)


@pytest.mark.parametrize("images", ["images", "."])
@pytest.mark.parametrize("name", ["instances.json", "_annotations.coco.json"])
def test_annotations_beside_images(tmp_path: Path, images: str, name: str) -> None:
    for split in ("train", "valid"):
        write(tmp_path, annotation(SQUARE), name=name, images=images, split=split)
    data = open_data(tmp_path)
    assert set(data.splits) == {"train", "val"}
    assert [pair.stem for pair in data.segmented("val")] == ["a"]


@pytest.mark.parametrize("layout", ["coco", "coco-panoptic"])
@pytest.mark.parametrize("inside", [False, True])
def test_layouts_of_coco_itself(tmp_path: Path, layout: str, inside: bool) -> None:
    root = write_data_set(
        tmp_path / "set", layout=layout, train=3, val=2, size=(48, 64), objects=6, classes=3
    )
    if inside:
        (root / "images").mkdir()
        for split in ("train2017", "val2017"):
            (root / split).rename(root / "images" / split)
    data = open_data(root)
    assert {name: len(pairs) for name, pairs in data.splits.items()} == {"train": 3, "val": 2}
    assert ("panoptic" in data.tasks) == (layout == "coco-panoptic")
    drawn = write_data_set(
        tmp_path / "drawn", layout="segmentarium", train=3, val=2, size=(48, 64), objects=6, classes=3
    )
    others = open_data(drawn)
    for pair, other in zip(data.train, others.train, strict=True):
        one, two = data.segments(pair), others.segments(other)
        ours = [c.mask.tobytes() for c in one.crops()]
        theirs = [c.mask.tobytes() for c in two.crops() if c.mask.size]
        assert set(ours) <= set(theirs)
        assert len(ours) == len(theirs) - (layout == "coco")  # the ground is no object


def test_splits_may_share_one_folder_of_images(tmp_path: Path) -> None:
    root = write_data_set(
        tmp_path / "set", layout="coco", train=3, val=2, size=(40, 48), objects=6, classes=3
    )
    (root / "images").mkdir()
    for split in ("train2017", "val2017"):
        for path in (root / split).iterdir():
            path.rename(root / "images" / path.name)
        (root / split).rmdir()
    data = open_data(root)
    assert {name: len(pairs) for name, pairs in data.splits.items()} == {"train": 3, "val": 2}
    assert all(pair.mask for pair in data.train)


def test_pictures_that_nobody_annotated_are_kept_and_said(tmp_path: Path) -> None:
    root = write(tmp_path, annotation(SQUARE))
    shutil.copyfile(root / "train" / "images" / "a.png", root / "train" / "images" / "b.png")
    data = open_data(root)
    pairs = [*data.train, *data.val]
    assert sorted((pair.stem, pair.mask is None) for pair in pairs) == [("a", False), ("b", True)]
    assert any("1 images are not annotated in instances.json, such as b" in note for note in data.notes)


def test_numbers_beside_masks_of_classes(tmp_path: Path) -> None:
    root = write_data_set(tmp_path / "set", layout="segmentarium", train=3, val=2, size=(48, 64), objects=6)
    whole = open_data(root)
    known = whole.segments(whole.train[0])
    for split in ("train", "val"):
        (root / split / "panoptic.json").unlink()
    data = open_data(root)
    assert data.segmented_by is Segmenting.NUMBERS
    assert data.tasks == ("semantic", "instance")
    segments = data.segments(data.train[0])
    assert sorted(segments.classes) == sorted(known.classes)[1:]
    assert (segments.labels(background=0) == data.labels(data.train[0])).all()


def test_sixteen_bits_number_objects_of_one_class(tmp_path: Path) -> None:
    numbers = np.arange(260 * 250, dtype=np.uint16).reshape(260, 250)
    for kind, pixels in (("images", np.zeros((260, 250), np.uint8)), ("masks", numbers)):
        (tmp_path / kind).mkdir()
        for name in "ab":
            Pil.fromarray(pixels).save(tmp_path / kind / f"{name}.png")
    rows = [{"id": 0, "name": "background"}, {"id": 1, "name": "cell"}]
    (tmp_path / "meta.json").write_text(json.dumps({"task": "instance segmentation", "classes": rows}))
    data = open_data(tmp_path)
    assert data.things == (1,)
    assert len(data.segments(data.train[0])) == 260 * 250 - 1


def test_annotations_are_read_once_and_never_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, times = write(tmp_path, annotation(SQUARE)), []
    load = coco_json._load
    monkeypatch.setattr(coco_json, "_load", lambda path: times.append(path) or load(path))
    data = open_data(root)
    for _ in range(3):
        data.segments(data.train[0])
    assert len(times) == 1
    before = data.fingerprint()
    write(root, annotation(SQUARE, category_id=7))
    assert data.segments(data.train[0]).classes.tolist() == [0]
    assert len(times) == 2
    assert data.fingerprint() != before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not JSON"),
        ("[]", "has no list of images"),
        ('{"images": [], "annotations": []}', "has no list of categories"),
        ('{"images": [], "annotations": [], "categories": [{"name": "x"}]}', "describes category 0"),
        (
            '{"images": [{"id": 1, "file_name": "gone.png"}], "annotations": [], "categories": []}',
            "none of the 1 images",
        ),
    ],
)
def test_files_that_cannot_be_opened(tmp_path: Path, text: str, words: str) -> None:
    (write(tmp_path) / "train" / "instances.json").write_text(text)
    with pytest.raises(BadData, match=words) as caught:
        open_data(tmp_path)
    assert "instances.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_json, "MAX_BYTES", 10)
    with pytest.raises(BadData, match=r"instances.json has .* GiB; allowed: 1 GiB"):
        open_data(write(tmp_path))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (annotation([[1.0, 2.0, 3.0, 4.0]]), "annotation 1 has a polygon of 2 points"),
        (annotation([[1.0, 2.0, 3.0, float("nan"), 5.0, 6.0]]), "annotation 1 has a polygon with a corner"),
        (annotation([[1.0, 2.0, 3.0, "x", 5.0, 6.0]]), "annotation 1 has a polygon that is no list"),
        (annotation([1.0, 1.0, 4.0, 1.0, 4.0, 3.0]), "annotation 1 has a polygon that is no list"),
        (annotation([[1e300, 1.0, 4.0, 1.0, 4.0, 3.0]]), r"annotation 1 of a.png: .*coordinate 1e\+300"),
        (annotation([]), "annotation 1 has no segmentation"),
        (annotation(None), "annotation 1 has no segmentation"),
        (annotation({"size": [6, 4], "counts": [24]}), "annotation 1 of a.png: .* of 4x6 pixels"),
        (annotation({"size": [4, 6], "counts": [23]}), "annotation 1 of a.png: runs of 23 pixels"),
        (annotation({"size": [4, 6], "counts": [30, -6]}), "annotation 1 of a.png: a run of -6"),
        (annotation({"size": [4, 6], "counts": "ééé"}), "annotation 1 of a.png: a run-length mask"),
        (annotation({"size": [4, 6], "counts": 5}), "neither a list nor text"),
        (annotation({"counts": [24]}), "without a size"),
        (annotation(SQUARE, category_id=3), "is of category 3, which the file does not list"),
        (annotation(SQUARE, category_id=[3]), "has no category_id"),
        (annotation(SQUARE, iscrowd=[1]), "has iscrowd"),
    ],
)
def test_annotations_that_cannot_be_used(tmp_path: Path, wrong: dict[str, Any], words: str) -> None:
    data = open_data(write(tmp_path, wrong))
    with pytest.raises(BadMask, match=words) as caught:
        data.segments(data.train[0])
    assert "instances.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_that_are_no_annotations_do_not_stop_the_rest(tmp_path: Path) -> None:
    strange: list[Any] = [None, 5, {"id": [1]}, {"image_id": [5]}, {"id": 3, "image_id": 99}]
    segments = only(write(tmp_path, annotation(SQUARE), *strange))
    assert len(segments) == 1


def test_a_size_that_is_not_the_images(tmp_path: Path) -> None:
    path = write(tmp_path, annotation(SQUARE)) / "train" / "instances.json"
    table = json.loads(path.read_text())
    table["images"][0] |= {"height": 6, "width": 4}
    path.write_text(json.dumps(table))
    data = open_data(tmp_path)
    with pytest.raises(BadMask, match=r"says 4x6 pixels .* of a.png, which has 6x4"):
        data.segments(data.train[0])


def test_annotations_that_vanish_are_named(tmp_path: Path) -> None:
    data = open_data(write(tmp_path, annotation(SQUARE)))
    shutil.move(tmp_path / "train" / "instances.json", tmp_path / "elsewhere.json")
    with pytest.raises(BadData, match=r"there is no .*instances.json"):
        data.segments(data.train[0])


def test_classes_alone_have_no_segments(tmp_path: Path) -> None:
    data = open_data(write_data_set(tmp_path / "set", train=2, val=1, size=(40, 40)))
    assert data.tasks == ("semantic",)
    assert data.segmented("train") == ()
    with pytest.raises(BadData, match="not which objects"):
        data.segments(data.train[0])


@real
@pytest.mark.parametrize(
    ("name", "tasks", "things"),
    [
        ("dsb2018_nuclei", ("semantic", "instance"), 1),
        ("coco128_instances", ("semantic", "instance"), 80),
        ("coco_person_fg", ("semantic", "instance"), 1),
        ("coco_panoptic_sample", ("semantic", "instance", "panoptic"), 80),
        ("cwfid_panoptic", ("semantic", "instance", "panoptic"), 2),
    ],
)
def test_real_sets(name: str, tasks: tuple[str, ...], things: int) -> None:
    data = open_data(SHARED / name)
    assert (data.tasks, len(data.things)) == (tasks, things)
    for split in data.splits:
        assert data.segmented(split) == data.split(split)
    for pair in data.val[:3]:
        segments, labels = data.segments(pair), data.labels(pair)
        ground = next((i for i, c in enumerate(data.classes) if c.name == "background"), VOID)
        both = (labels != VOID) & (segments.atoms != VOID)
        assert (segments.labels(background=ground) == labels)[both].mean() > 0.98


@real
def test_real_instances_are_those_of_their_annotations(tmp_path: Path) -> None:
    """The 16-bit numbers of the nuclei, and their annotations without the masks."""
    source = SHARED / "dsb2018_nuclei"
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "images").symlink_to(source / split / "images")
        shutil.copyfile(source / split / "instances.json", tmp_path / split / "instances.json")
    data, masks = open_data(tmp_path), open_data(source)
    assert data.reading is MaskReading.COCO
    for pair, other in zip(data.val[::5], masks.val[::5], strict=True):
        ours, theirs = data.segments(pair), masks.segments(other)
        assert len(ours) == len(theirs)
        assert ((ours.atoms > 0) == (theirs.atoms > 0)).all()
        assert sorted(ours.pixels) == sorted(theirs.pixels)
