"""What the readers refuse: each time with the file, the place, what is allowed and a cure."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from segmentarium.data import open_data, write_data_set
from segmentarium.data.translate import Legend, from_ids
from segmentarium.errors import BadData, BadMask, SegError, UnknownName
from segmentarium.values.classes import Classes


@pytest.fixture
def drawn(tmp_path):
    return write_data_set(tmp_path / "drawn", train=4, val=2, size=(24, 32), classes=3)


def change_mask(root, change, *, every=False):
    """Write a mask (or all) anew after ``change``; returns the pair of the first."""
    data = open_data(root)
    for pair in (*data.train, *data.val) if every else data.train[:1]:
        Pil.fromarray(change(np.array(Pil.open(pair.mask)))).save(pair.mask)
    return data.train[0]


def set_pixel(value):
    def change(mask):
        mask[5, 7] = value
        return mask

    return change


def test_an_unknown_id_is_named_with_its_place(drawn):
    pair = change_mask(drawn, set_pixel(9))
    with pytest.raises(BadMask) as caught:
        open_data(drawn).labels(pair)
    message = str(caught.value)
    assert "scene_0000.png has value 9 at row 5, column 7" in message
    assert "class ids 0-2" in message
    assert "seg check" in message


def test_0_and_255_open_but_give_no_labels(drawn):
    pair = change_mask(drawn, lambda mask: (255 * (mask > 0)).astype(np.uint8), every=True)
    for described in (True, False):
        data = open_data(drawn)
        with pytest.raises(BadMask, match=r"holds 0 and 255.*seg check .* --fix"):
            data.labels(pair)
        assert any("masks hold 0 and 255" in note for note in data.notes)
        if described:
            (drawn / "meta.json").unlink()


def test_a_mask_of_another_size(drawn):
    pair = change_mask(drawn, lambda mask: mask[:-1])
    with pytest.raises(BadMask, match=r"is 32x23 pixels .* 32x24; allowed: equal sizes"):
        open_data(drawn).labels(pair)


def test_a_stack_of_pages_is_no_mask(drawn):
    import tifffile

    data = open_data(drawn)
    data.train[0].mask.unlink()
    path = data.train[0].mask.with_suffix(".tif")
    tifffile.imwrite(path, np.zeros((4, 24, 32), np.uint8), photometric="minisblack")
    data = open_data(drawn)
    with pytest.raises(BadMask, match="stack of 4 pages"):
        data.labels(data.train[0])


def test_a_colour_outside_the_legend(tmp_path):
    root = write_data_set(tmp_path / "drawn", train=4, val=2, size=(24, 32), classes=3, layout="colour")
    pair = change_mask(root, set_pixel((1, 2, 3)))
    with pytest.raises(BadMask, match=r"has colour \(1, 2, 3\) at row 5, column 7"):
        open_data(root).labels(pair)


def test_colours_where_numbers_are_expected(drawn):
    pair = change_mask(drawn, lambda mask: np.stack([mask, mask, 9 + mask], axis=-1))
    with pytest.raises(BadMask, match="one class id per pixel"):
        open_data(drawn).labels(pair)


def test_numbers_where_colours_are_expected(tmp_path):
    root = write_data_set(tmp_path / "drawn", train=4, val=2, size=(24, 32), classes=3, layout="colour")
    pair = change_mask(root, lambda mask: mask[..., 0])
    with pytest.raises(BadMask, match="one number per pixel"):
        open_data(root).labels(pair)


def test_a_missing_mask(drawn):
    open_data(drawn).train[0].mask.unlink()
    data = open_data(drawn)
    with pytest.raises(BadMask, match="has no mask"):
        data.labels(data.train[0])


def test_a_segment_that_panoptic_json_does_not_know(tmp_path):
    root = write_data_set(tmp_path / "drawn", train=2, val=1, size=(24, 32), layout="segmentarium")
    for split in ("train", "val"):
        (root / split / "masks").rename(root / split / "unused")
    (root / "meta.json").unlink()
    pair = change_mask(root, set_pixel((77, 1, 0)))
    with pytest.raises(BadMask, match="has segment 333 at row 5, column 7"):
        open_data(root).labels(pair)


def test_a_missing_folder_offers_the_nearest(drawn):
    with pytest.raises(BadData, match=r"did you mean .*drawn"):
        open_data(drawn.parent / "drawm")
    with pytest.raises(BadData, match="there is no folder"):
        open_data(drawn / "no" / "such")
    with pytest.raises(BadData, match="is a file"):
        open_data(drawn / "meta.json")


def test_an_unknown_layout_lists_those_that_are_known(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(BadData, match=r"holds notes.txt.*Pascal VOC; Cityscapes; ADE20K"):
        open_data(tmp_path)


def test_empty_folders(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    with pytest.raises(BadData, match="holds no image"):
        open_data(tmp_path)


def test_two_files_of_one_stem(drawn):
    image = open_data(drawn).train[0].image
    Pil.open(image).save(image.with_suffix(".jpg"))
    with pytest.raises(BadData, match="share one stem"):
        open_data(drawn)


def test_an_unknown_split(drawn):
    with pytest.raises(UnknownName, match="did you mean 'train'"):
        open_data(drawn).split("trian")


@pytest.mark.parametrize(
    "text",
    [
        "{broken",
        '"only text"',
        '{"classes": 3}',
        '{"classes": [{"name": "no id"}]}',
        '{"classes": [{"id": 0, "name": "a"}, {"id": 0, "name": "b"}]}',
        '{"classes": [], "ignore_index": "eleven"}',
        '{"classes": [], "mask_reading": "guess"}',
        '{"classes": [{"id": 0, "name": "a", "color": "red"}]}',
    ],
)
def test_broken_descriptions_are_refused_in_one_sentence(drawn, text):
    (drawn / "meta.json").write_text(text)
    with pytest.raises(SegError) as caught:
        open_data(drawn)
    assert isinstance(caught.value, BadData)
    assert "\n" not in str(caught.value)


def test_a_voc_list_that_names_no_image(tmp_path):
    root = write_data_set(tmp_path / "drawn", train=2, val=1, size=(24, 32), layout="voc")
    (root / "ImageSets" / "Segmentation" / "val.txt").write_text("nobody\n")
    with pytest.raises(BadData, match="names 'nobody'"):
        open_data(root)


def test_a_damaged_mask_does_not_keep_the_set_from_opening(drawn):
    (drawn / "meta.json").unlink()
    open_data(drawn).train[0].mask.write_bytes(b"no png")
    data = open_data(drawn)
    assert len(data.classes) == 3
    with pytest.raises(BadMask):
        data.labels(data.train[0])


def test_an_instance_set_with_ignored_numbers(drawn):
    rows = [{"id": 0, "name": "ground"}, {"id": 1, "name": "object"}]
    meta = {"classes": rows, "ignore_index": 2, "mask_reading": "instances"}
    (drawn / "meta.json").write_text(json.dumps(meta))
    data = open_data(drawn)
    labels, raw = data.labels(data.train[0]), data.raw_mask(data.train[0]).values
    assert ((labels == -1) == (raw == 2)).all()


def test_look_up_is_quick():
    mask = np.random.default_rng(0).integers(0, 11, (360, 480), dtype=np.uint8)
    legend = Legend(Classes.named(*map(str, range(11))), (255,), (), Path("data"))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        from_ids(mask, Path("mask.png"), legend)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02  # 0.2 ms on a quiet machine
