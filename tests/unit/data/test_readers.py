"""The readers on small sets made by hand, in every layout and with every kind of mask."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image as Pil

from segmentarium.data import open_data, write_data_set
from segmentarium.data.dataset import MaskReading


def put(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Pil.fromarray(np.asarray(values)).save(path)
    return path


def picture(path, height=2, width=3):
    return put(path, np.full((height, width, 3), 90, np.uint8))


def numbers(*rows):
    return np.array(rows, np.uint8)


def plain(root, masks, *, image="{}.png", mask="{}.png"):
    for stem, values in masks.items():
        picture(root / "images" / image.format(stem), *np.shape(values)[:2])
        put(root / "masks" / mask.format(stem), values)
    return root


def ten(root, values, **names):
    return plain(root, {f"p{i}": values for i in range(10)}, **names)


def describe(root, **meta):
    (root / "meta.json").write_text(json.dumps(meta))
    return root


def said(data, words):
    return any(words in note for note in data.notes)


def test_plain_folders_guess_classes_aloud(tmp_path):
    data = open_data(ten(tmp_path / "mine", numbers((0, 1, 2), (7, 7, 255))))
    assert data.classes.names == ("class_0", "class_1", "class_2", "class_7")
    assert data.classes.ids == (0, 1, 2, 7)
    assert data.ignore_ids == (255,)
    assert said(data, "found ids 0, 1, 2, 7")
    assert said(data, "255 is taken as void")
    assert data.labels(data.train[0]).tolist() == [[0, 1, 2], [3, 3, -1]]


def test_a_fifth_validates_and_this_is_said(tmp_path):
    root = ten(tmp_path / "mine", numbers((0, 1)))
    data = open_data(root)
    assert (len(data.train), len(data.val)) == (8, 2)
    assert said(data, "of 10 images, 8 train and 2 validate")
    assert not set(data.train) & set(data.val)
    assert open_data(root).val == data.val


def test_one_image_serves_as_both_and_this_is_said_loudly(tmp_path):
    data = open_data(plain(tmp_path / "mine", {"alone": numbers((0, 1))}))
    assert data.train == data.val
    assert said(data, "ONLY ONE IMAGE (alone)")


@pytest.mark.parametrize("inside_first", [True, False])
def test_both_orders_of_split_and_kind(tmp_path, inside_first):
    for split in ("train", "valid"):
        for stem in ("a", "b"):
            where = ("images", split) if inside_first else (split, "images")
            picture(tmp_path.joinpath(*where, f"{stem}.png"), 1, 2)
            where = ("masks", split) if inside_first else (split, "masks")
            put(tmp_path.joinpath(*where, f"{stem}.png"), numbers((0, 1)))
    data = open_data(tmp_path)
    assert set(data.splits) == {"train", "val"}
    assert said(data, "'valid' is taken as the val split")


def test_other_split_names_stay(tmp_path):
    for split in ("train", "val", "rainy"):
        picture(tmp_path / split / "images" / "a.png", 1, 2)
        put(tmp_path / split / "masks" / "a.png", numbers((0, 1)))
    assert len(open_data(tmp_path).split("rainy")) == 1


@pytest.mark.parametrize(
    ("image", "mask", "suffix"),
    [
        ("{}.jpg", "{}_mask.png", "_mask"),
        ("{}.png", "{}-GT.png", "-GT"),
        ("{}_leftImg8bit.png", "{}_gtFine_labelIds.png", "_gtFine_labelIds"),
        ("{}_sat.jpg", "{}_mask.png", "_sat"),
    ],
)
def test_usual_suffixes_are_taken_off_and_said(tmp_path, image, mask, suffix):
    data = open_data(ten(tmp_path / "mine", numbers((0, 1)), image=image, mask=mask))
    assert all(pair.mask is not None for pair in data.train)
    assert said(data, f"taking {suffix!r} off 10 file names")


def test_equal_stems_win_over_suffixes(tmp_path):
    root = ten(tmp_path / "mine", numbers((0, 1)))
    put(root / "masks" / "p0_mask.png", numbers((1, 1)))
    data = open_data(root)
    pair = next(pair for pair in (*data.train, *data.val) if pair.stem == "p0")
    assert pair.mask.name == "p0.png"
    assert [path.name for path in data.lonely_masks] == ["p0_mask.png"]


def test_missing_partners_are_kept_and_said(tmp_path):
    root = ten(tmp_path / "mine", numbers((0, 1)))
    (root / "masks" / "p3.png").unlink()
    put(root / "masks" / "stranger.png", numbers((0, 1)))
    data = open_data(root)
    assert [pair.stem for pair in (*data.train, *data.val) if pair.mask is None] == ["p3"]
    assert said(data, "1 images have no mask, such as p3")
    assert [path.name for path in data.lonely_masks] == ["stranger.png"]


def test_ignore_id_wins_over_a_class_of_that_id(tmp_path):
    root = ten(tmp_path / "mine", numbers((0, 1, 2)))
    rows = [{"id": i, "name": name} for i, name in enumerate(("sky", "road", "unlabelled"))]
    data = open_data(describe(root, classes=rows, ignore_index=2))
    assert data.classes.names == ("sky", "road")
    assert said(data, "'unlabelled' has the ignore id 2: it stays ignored")
    assert data.labels(data.train[0]).tolist() == [[0, 1, -1]]


def test_ids_with_gaps_become_indices(tmp_path):
    root = describe(
        ten(tmp_path / "mine", numbers((5, 200))), classes=[{"id": 200, "name": "a"}, {"id": 5, "name": "b"}]
    )
    data = open_data(root)
    assert data.labels(data.train[0]).tolist() == [[1, 0]]


def test_sixteen_bit_ids(tmp_path):
    values = np.array([[0, 300], [1000, 65535]], np.uint16)
    rows = [{"id": i, "name": f"n{i}"} for i in (0, 300, 1000)]
    data = open_data(describe(ten(tmp_path / "mine", values), classes=rows, ignore_index=65535))
    assert data.labels(data.train[0]).tolist() == [[0, 1], [2, -1]]


def test_palette_masks_hold_indices_not_colours(tmp_path):
    root = ten(tmp_path / "mine", numbers((0, 1, 2)))
    for path in (root / "masks").iterdir():
        mask = Pil.open(path)
        mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
        mask.save(path)
    data = open_data(root)
    assert data.labels(data.train[0]).tolist() == [[0, 1, 2]]


def test_grey_masks_saved_as_rgb_hold_numbers(tmp_path):
    data = open_data(ten(tmp_path / "mine", np.repeat(numbers((0, 1, 2))[..., None], 3, axis=-1)))
    assert data.reading is MaskReading.INDEX
    assert data.labels(data.train[0]).tolist() == [[0, 1, 2]]


COLORED = np.array([[[10, 20, 30], [200, 0, 0]], [[224, 224, 192], [10, 20, 30]]], np.uint8)


@pytest.mark.parametrize("described", ["meta.json", "classes.json", "labelmap.txt"])
def test_colour_masks_by_their_legend(tmp_path, described):
    root = ten(tmp_path / "mine", COLORED)
    rows = [{"id": 0, "name": "wall", "color": [10, 20, 30]}, {"id": 1, "name": "roof", "color": [200, 0, 0]}]
    void = {"id": 255, "name": "void", "color": [224, 224, 192]}
    text = {
        "meta.json": json.dumps({"classes": rows, "ignore_index": 255, "ignore_color": [224, 224, 192]}),
        "classes.json": json.dumps({"classes": [*rows, void], "ignore_index": 255}),
        "labelmap.txt": "# name:color:parts:actions\nwall:10,20,30::\nroof:200,0,0::\nvoid:224,224,192::\n",
    }[described]
    (root / described).write_text(text)
    data = open_data(root)
    assert data.reading is MaskReading.COLOUR
    last = 2 if described == "labelmap.txt" else -1  # nothing there says that the third is void
    assert data.labels(data.train[0]).tolist() == [[0, 1], [last, 0]]


def test_colour_masks_without_legend_are_guessed_aloud(tmp_path):
    data = open_data(ten(tmp_path / "mine", COLORED))
    assert len(data.classes) == 3
    assert said(data, "no legend: found 3 colours (10, 20, 30)")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "sky\nroad\n"),
        ("classes.txt", "0 sky\n1 road\n"),
        ("classes.json", '["sky", "road"]'),
        ("classes.json", '{"0": "sky", "1": "road"}'),
        ("classes.json", '{"sky": 0, "road": 1}'),
    ],
)
def test_short_descriptions(tmp_path, name, text):
    root = ten(tmp_path / "mine", numbers((0, 1)))
    (root / name).write_text(text)
    assert open_data(root).classes.names == ("sky", "road")


def test_objects_numbered_without_description(tmp_path):
    masks = {f"p{i}": np.arange(i + 2, dtype=np.uint16)[None] for i in range(5)}
    data = open_data(plain(tmp_path / "mine", masks))
    assert data.reading is MaskReading.INSTANCES
    assert said(data, "number objects")
    assert all(
        data.labels(pair)[0].tolist() == [0] + [1] * (data.labels(pair).size - 1) for pair in data.train
    )


def test_turned_mask_and_image_are_turned_alike(tmp_path):
    root = plain(tmp_path / "mine", {"p": numbers((0, 1, 2))})
    for kind in ("images", "masks"):
        stored = Pil.open(root / kind / "p.png")
        exif = Pil.Exif()
        exif[0x0112] = 6
        stored.save(root / kind / "p.png", exif=exif)
    data = open_data(root)
    assert data.labels(data.train[0]).tolist() == [[0], [1], [2]]
    assert data.image(data.train[0]).size == (3, 1)


def test_voc_takes_its_21_classes_and_its_lists(tmp_path):
    root = write_data_set(tmp_path / "VOC2012", train=3, val=2, size=(32, 32), layout="voc", void_share=0.1)
    (root / "meta.json").unlink()
    data = open_data(root)
    assert "Pascal VOC" in data.describe()
    assert (len(data.train), len(data.val), len(data.classes)) == (3, 2, 21)
    assert data.classes[15].name == "person"
    assert data.classes[15].color == (192, 128, 128)
    assert (data.labels(data.val[0]) == -1).any()


def test_voc_in_colours(tmp_path):
    root = write_data_set(tmp_path / "voc", train=2, val=1, size=(32, 32), classes=2, layout="voc")
    (root / "meta.json").unlink()
    for path in (root / "SegmentationClass").iterdir():
        put(
            path,
            np.where(np.arange(32)[:, None, None] < 8, (128, 0, 0), (224, 224, 192))
            .repeat(32, 1)
            .astype(np.uint8),
        )
    data = open_data(root)
    assert data.reading is MaskReading.COLOUR
    assert set(np.unique(data.labels(data.train[0]))) == {-1, 1}


def test_an_unpacked_archive_is_looked_into(tmp_path):
    write_data_set(tmp_path / "VOCdevkit" / "VOC2012", train=2, val=1, size=(32, 32), layout="voc")
    data = open_data(tmp_path)
    assert said(data, "the data lie in VOCdevkit/VOC2012")


def test_cityscapes_ids_become_its_19_classes(tmp_path):
    root = write_data_set(tmp_path / "city", train=2, val=1, size=(32, 32), classes=3, layout="cityscapes")
    (root / "meta.json").unlink()
    pair = open_data(root).train[0]
    put(pair.mask, np.tile(numbers((7, 33, 0, 29, 255, 26, 26, 26)), (32, 4)))
    data = open_data(root)
    assert len(data.classes) == 19
    assert data.labels(pair)[0, :6].tolist() == [0, 18, -1, -1, -1, 13]


def test_cityscapes_train_ids(tmp_path):
    root = write_data_set(tmp_path / "city", train=2, val=1, size=(32, 32), classes=2, layout="cityscapes")
    (root / "meta.json").unlink()
    for path in root.glob("gtFine/*/*/*_labelIds.png"):
        put(
            path.with_name(path.name.replace("labelIds", "labelTrainIds")),
            np.tile(numbers((0, 18, 255, 3)), (32, 8)),
        )
        path.unlink()
    data = open_data(root)
    assert said(data, "labelTrainIds")
    assert data.labels(data.train[0])[0, :4].tolist() == [0, 18, -1, 3]


def segnet(root, *, listed=""):
    for split in ("train", "val", "test"):
        picture(root / split / "0001TP.png")
        put(root / f"{split}annot" / "0001TP.png", numbers((0, 1, 2), (3, 10, 11)))
    (root / "train.txt").write_text(listed)
    return root


def test_segnets_camvid_is_known_by_name(tmp_path):
    data = open_data(segnet(tmp_path / "CamVid"))
    assert data.layout == "SPLIT + SPLITannot"
    assert {name: len(pairs) for name, pairs in data.splits.items()} == {"train": 1, "val": 1, "test": 1}
    assert data.train[0].mask == tmp_path / "CamVid" / "trainannot" / "0001TP.png"
    assert data.classes.names[:4] == ("sky", "building", "pole", "road")
    assert data.labels(data.val[0]).tolist() == [[0, 1, 2], [3, 10, -1]]
    assert said(data, "11 is void")


def test_segnets_camvid_is_known_by_its_list(tmp_path):
    data = open_data(segnet(tmp_path / "mine", listed="/SegNet/CamVid/train/0001TP.png"))
    assert data.ignore_ids == (11,)


def test_other_sets_in_segnets_layout_keep_their_classes(tmp_path):
    data = open_data(segnet(tmp_path / "roads"))
    assert data.classes.ids == (0, 1, 2, 3, 10, 11)
    assert said(data, "found ids 0, 1, 2, 3, 10, 11")
    described_ = open_data(
        describe(segnet(tmp_path / "camvid"), classes=[{"id": i, "name": f"c{i}"} for i in range(12)])
    )
    assert len(described_.classes) == 12


def test_ade20k_zero_is_void_and_classes_start_at_one(tmp_path):
    root = write_data_set(tmp_path / "ade", train=2, val=1, size=(32, 32), classes=3, layout="ade20k")
    (root / "meta.json").unlink()
    pair = open_data(root).train[0]
    put(pair.mask, np.tile(numbers((0, 1, 150, 13)), (32, 8)))
    data = open_data(root)
    assert len(data.classes) == 150
    assert data.labels(pair)[0, :4].tolist() == [-1, 0, 149, 12]
    assert data.classes[12].name == "person"
    assert said(data, "reduce-zero rule")


def test_names_beyond_ascii_and_with_spaces(tmp_path):
    data = open_data(ten(tmp_path / "Größe 图像", numbers((0, 1)), image="été {}.png", mask="été {}.png"))
    assert data.labels(data.train[0]).tolist() == [[0, 1]]
    assert "Größe 图像" in data.describe()


def test_describe_is_one_line(tmp_path):
    data = open_data(ten(tmp_path / "mine", numbers((0, 1))))
    assert data.describe() == "mine: looks like images + masks, 10 images (8 train, 2 val), 2 classes"


def test_any_edit_changes_the_fingerprint(tmp_path):
    root = ten(tmp_path / "mine", numbers((0, 1)))
    before = open_data(root)
    key, other = before.fingerprint("train"), before.fingerprint("val")
    put(before.train[0].mask, numbers((1, 1)))
    assert open_data(root).fingerprint("train") != key
    assert open_data(root).fingerprint("val") == other
    moved = shutil.copytree(root, tmp_path / "copy")
    assert open_data(moved).fingerprint("train") == open_data(root).fingerprint("train")


def test_hidden_and_foreign_files_are_not_seen(tmp_path):
    root = ten(tmp_path / "mine", numbers((0, 1)))
    (root / "images" / "Thumbs.db").write_bytes(b"x")
    (root / "images" / "._p0.png").write_bytes(b"x")
    assert sum(map(len, open_data(root).splits.values())) == 10
