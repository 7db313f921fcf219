"""The doctor's report, its pictures, its corrected copies, and its answers to bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil
from tests.faults import planter
from tests.faults.planter import Bed

from segmentarium.data import open_data, write_data_set
from segmentarium.engine.check import check
from segmentarium.errors import BadData, CannotWrite


def planted(folder: Path, plant: Callable[[Bed], list[str]], **facts: object) -> Path:
    """A drawn set with one fault."""
    root = folder / "set"
    write_data_set(root, **{"train": 6, "val": 3, "size": (112, 136), **facts})  # type: ignore[arg-type]
    plant(Bed(root, np.random.default_rng(3)))
    return root


def test_clean_set_is_clean_and_described(tmp_path: Path) -> None:
    report = check(write_data_set(tmp_path / "set", train=3, val=2, size=(64, 80)))
    assert report.exit_code == 0
    assert report.facts["splits"] == {"train": 3, "val": 2}
    assert report.facts["image_sizes"] == [[64, 80], [64, 80]]
    assert sum(report.facts["class_shares"].values()) == pytest.approx(1, abs=1e-3)  # type: ignore[attr-defined]


def test_report_is_json_and_says_where(tmp_path: Path) -> None:
    report = check(planted(tmp_path, planter.ids_beyond))
    table = json.loads(json.dumps(report.as_dict()))
    finding = table["findings"][0]
    assert table["exit_code"] == 2
    assert finding["fault"] == "ids-undeclared"
    assert finding["count"] == 2
    assert finding["where"].startswith("x=")
    assert "77" in finding["message"]


def test_place_of_an_undeclared_value_is_exact(tmp_path: Path) -> None:
    def dot(bed: Bed) -> list[str]:
        def with_dot(mask: np.ndarray) -> np.ndarray:
            mask = mask.copy()
            mask[40, 17] = 99
            return mask

        return bed.masks(bed.some(), with_dot)

    report = check(planted(tmp_path, dot))
    assert report.errors[0].where == "x=17, y=40"


def test_warnings_alone_exit_with_one(tmp_path: Path) -> None:
    report = check(planted(tmp_path, planter.mask_missing))
    assert report.exit_code == 1
    assert not report.errors


def test_progress_is_told(tmp_path: Path) -> None:
    heard: list[tuple[int, int]] = []
    check(
        write_data_set(tmp_path / "set", train=3, val=2, size=(64, 64)),
        progress=lambda done, total: heard.append((done, total)),
    )
    assert heard == [(n, 5) for n in range(1, 6)]


@pytest.mark.parametrize(
    "plant", [planter.ids_beyond, planter.shifted_in_one, planter.duplicate, planter.image_truncated]
)
def test_pictures_are_small_and_one_per_finding(tmp_path: Path, plant: Callable[[Bed], list[str]]) -> None:
    report = check(planted(tmp_path, plant), pictures=tmp_path / "pictures")
    for finding in report.findings:
        if finding.files:
            assert finding.picture is not None
            with Pil.open(finding.picture) as picture:
                assert picture.width <= 400
                assert np.ptp(np.asarray(picture)) > 100


CURES = {
    "zero-255": (planter.zero_255_everywhere, {"classes": 2}),
    "off-by-one-ids": (planter.off_by_one_everywhere, {}),
    "interpolated-labels": (planter.interpolated, {}),
    "jpeg-mask": (planter.jpeg_masks, {}),
    "ignore-undeclared": (planter.void_undeclared, {}),
    "palette-order": (planter.palette_sorted, {}),
    "colour-mask": (planter.colour_among_ids, {}),
    "mask-flipped": (planter.mirrored, {}),
    "exif-disagreement": (planter.exif_quarter, {}),
    "image-without-mask": (planter.mask_missing, {}),
    "mask-without-image": (planter.image_missing, {}),
    "undecodable": (planter.file_empty, {}),
    "duplicate-across-splits": (planter.duplicate, {}),
    "alpha-channel": (planter.with_alpha, {}),
    "value-range": (planter.unit_range, {}),
    "nan-in-image": (planter.not_a_number, {"dtype": "float32"}),
}
RESTORED = {
    "interpolated-labels": 0.93,
    "jpeg-mask": 0.6,
}  # share of pixels that come back; others come back whole
LEFT_OUT = {"image-without-mask", "mask-without-image", "undecodable", "duplicate-across-splits"}


@pytest.mark.parametrize("fault", CURES)
def test_corrected_copy_is_clean(tmp_path: Path, fault: str) -> None:
    plant, facts = CURES[fault]
    root = planted(tmp_path, plant, **facts)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    report = check(root, fix=tmp_path / "copy")
    assert fault in {repair.fault for repair in report.repairs}
    assert report.after is not None
    assert fault not in {finding.fault for finding in report.after.findings}
    assert not report.after.errors
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("fault", sorted(set(CURES) - LEFT_OUT - {"ignore-undeclared", "exif-disagreement"}))
def test_corrected_labels_are_the_true_ones(tmp_path: Path, fault: str) -> None:
    plant, facts = CURES[fault]
    true = open_data(
        write_data_set(tmp_path / "true", **{"train": 6, "val": 3, "size": (112, 136), **facts})  # type: ignore[arg-type]
    )
    check(planted(tmp_path, plant, **facts), fix=tmp_path / "copy")
    copy = open_data(tmp_path / "copy")
    for split, pairs in true.splits.items():
        for one, other in zip(pairs, copy.splits[split], strict=True):
            same = float((true.labels(one) == copy.labels(other)).mean())
            assert same >= RESTORED.get(fault, 1.0), (fault, one.stem)


def test_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="there is no folder"):
        check(tmp_path / "nowhere")


def test_empty_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no data set"):
        check(tmp_path)


def test_images_without_any_mask_are_said(tmp_path: Path) -> None:
    root = write_data_set(tmp_path / "set", train=2, val=2, size=(64, 64), layout="plain")
    for path in (root / "masks").iterdir():
        path.unlink()
    with pytest.raises(BadData, match="not one mask"):
        check(root)


def test_copy_into_a_full_folder_is_refused(tmp_path: Path) -> None:
    root = write_data_set(tmp_path / "set", train=2, val=2, size=(64, 64))
    with pytest.raises(BadData, match="not empty"):
        check(root, fix=root)


def test_pictures_under_a_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    root = planted(tmp_path, planter.ids_beyond)
    with pytest.raises(CannotWrite):
        check(root, pictures=tmp_path / "file" / "pictures")


def test_one_pixel_is_examined(tmp_path: Path) -> None:
    for name, value in (("images", 120), ("masks", 1)):
        (tmp_path / "set" / name).mkdir(parents=True)
        Pil.fromarray(np.full((1, 1), value, np.uint8)).save(tmp_path / "set" / name / "dot.png")
    assert not check(tmp_path / "set").errors


def test_names_with_blanks_and_accents(tmp_path: Path) -> None:
    root = write_data_set(tmp_path / "Zähl daten", train=2, val=2, size=(64, 64))
    for part in ("images", "masks"):
        path = next((root / "train" / part).iterdir())
        path.rename(path.with_name(f"größe 1{path.suffix}"))
    assert not check(root).errors
