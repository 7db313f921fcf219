"""Every fault of COCO's formats is found with its files and a picture; clean sets are silent; cures cure."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from tests.faults import segment_planter as planter
from tests.faults.segment_planter import Annotations

from segmentarium.data import open_data, write_data_set
from segmentarium.engine.check import check
from segmentarium.errors import BadMask

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
LAYOUTS = ("coco", "coco-panoptic")
Plant = Callable[[Annotations], list[str]]

INSTANCES: dict[str, tuple[str, Plant]] = {
    "no category": ("annotation-broken", planter.without_key("category_id")),
    "no segmentation": ("annotation-broken", planter.without_key("segmentation")),
    "strange category": ("category-unknown", planter.strange_category),
    "two points": ("polygon-too-short", planter.two_points),
    "odd coordinates": ("polygon-broken", planter.odd_coordinates),
    "NaN": ("polygon-broken", planter.not_a_number),
    "runs of other size": ("rle-broken", planter.runs_of_other_size),
    "runs cut off": ("rle-broken", planter.runs_cut_off),
    "runs too long": ("rle-broken", planter.runs_too_long),
    "crowd polygon": ("crowd-misuse", planter.crowd_polygon),
    "strange crowd": ("crowd-misuse", planter.strange_crowd),
    "twice": ("annotation-twice", planter.twice),
    "id zero": ("annotation-id-zero", planter.id_zero),
    "id twice": ("annotation-id-twice", planter.id_twice),
    "outside": ("segment-without-pixels", planter.outside),
    "corners as box": ("box-contradicts-mask", planter.corners_as_box),
    "box elsewhere": ("box-contradicts-mask", planter.box_elsewhere),
    "image gone": ("annotated-image-missing", planter.image_gone),
    "nobody's": ("annotation-without-image", planter.nobodys),
    "size told wrong": ("size-mismatch", planter.size_told_wrong),
}
PANOPTIC: dict[str, tuple[str, Plant]] = {
    "unlisted": ("segment-unlisted", planter.pixels_unlisted),
    "no pixels": ("segment-without-pixels", planter.segment_without_pixels),
    "painted over": ("segment-area", planter.painted_over),
    "number zero": ("segment-id-zero", planter.segment_zero),
    "number twice": ("segment-id-twice", planter.segment_twice),
    "strange category": ("category-unknown", planter.segment_of_strange_category),
    "no category": ("annotation-broken", planter.segment_without_category),
    "crowd of stuff": ("crowd-misuse", planter.crowd_of_stuff),
    "box elsewhere": ("box-contradicts-mask", planter.segment_box_elsewhere),
    "undescribed": ("annotation-missing", planter.picture_undescribed),
}
SIDE_EFFECTS = {
    "INSTANCES": {"class-absent-from-split", "class-without-pixels"},
    "outside": {"class-absent-from-split"},
    "no category": {"segment-unlisted"},
}
UNUSABLE = {
    "annotation-broken", "category-unknown", "polygon-too-short", "polygon-broken", "rle-broken",
    "segment-unlisted", "segment-id-twice", "size-mismatch",
}  # fmt: skip
NOT_CURED = {"category-unknown", "crowd-misuse", "size-mismatch"}
CASES = [
    *(pytest.param("coco", n, *planted, id=f"instances {n}") for n, planted in INSTANCES.items()),
    *(pytest.param("coco-panoptic", n, *planted, id=f"panoptic {n}") for n, planted in PANOPTIC.items()),
]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    written: dict[str, Path] = {}

    def of(layout: str) -> Path:
        if layout not in written:
            root = tmp_path_factory.mktemp(layout) / "set"
            written[layout] = write_data_set(
                root, layout=layout, train=5, val=2, size=(80, 96), objects=9, seed=3
            )
        return written[layout]

    return of


@pytest.mark.parametrize("layout", [*LAYOUTS, "segmentarium"])
@pytest.mark.parametrize("seed", [0, 1])
def test_no_alarm_on_clean_sets(layout: str, seed: int, tmp_path: Path) -> None:
    root = write_data_set(
        tmp_path / "set", layout=layout, train=5, val=2, size=(80, 96), objects=9, seed=seed, void_share=0.03
    )
    assert not check(root).findings


@pytest.mark.parametrize(("layout", "name", "code", "plant"), CASES)
def test_planted_fault_is_found_drawn_and_cured(
    clean: Callable[[str], Path], layout: str, name: str, code: str, plant: Plant, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(clean(layout), root)
    files = plant(Annotations(root, np.random.default_rng(crc32(name.encode()))))
    fixable = code not in NOT_CURED
    report = check(root, pictures=tmp_path / "pictures", fix=tmp_path / "copy" if fixable else None)
    found = {finding.fault: finding for finding in report.findings}
    assert code in found, report.findings
    assert sorted(found[code].files) == files
    assert set(found) <= {code} | SIDE_EFFECTS["INSTANCES"] | SIDE_EFFECTS.get(name, set())
    assert found[code].picture is not None
    assert found[code].picture.is_file()
    assert found[code].fixable == fixable
    if fixable:
        assert any(repair.fault == code for repair in report.repairs) or name == "no category"
        assert report.after is not None
        assert not {finding.fault for finding in report.after.findings} - SIDE_EFFECTS["INSTANCES"]


@pytest.mark.parametrize(
    ("layout", "name", "code", "plant"), [case for case in CASES if case.values[2] in UNUSABLE]
)
def test_what_cannot_be_used_is_refused_in_one_sentence(
    clean: Callable[[str], Path], layout: str, name: str, code: str, plant: Plant, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(clean(layout), root)
    file = plant(Annotations(root, np.random.default_rng(crc32(name.encode()))))[0]
    data = open_data(root)
    for pair in data.segmented("train"):
        if pair.stem != Path(file).stem:
            data.segments(pair)
            continue
        with pytest.raises(BadMask, match=r"\.(json|png)") as caught:
            data.segments(pair)
        assert "\n" not in str(caught.value)


def test_a_set_of_crowds_alone_is_an_error(clean: Callable[[str], Path], tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(clean("coco"), root)
    planter.all_crowds(Annotations(root, np.random.default_rng(0)))
    found = {finding.fault: finding for finding in check(root).findings}
    assert found["crowd-misuse"].severity == "error"
    assert "annotations of the set are crowds" in found["crowd-misuse"].message


def test_many_faults_at_once_are_all_listed(clean: Callable[[str], Path], tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(clean("coco"), root)
    rng = np.random.default_rng(6)
    plants = ["two points", "id zero", "twice", "nobody's", "image gone", "box elsewhere"]
    for name in plants:
        INSTANCES[name][1](Annotations(root, rng))
    assert {INSTANCES[name][0] for name in plants} <= {finding.fault for finding in check(root).findings}


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real data sets (../shared/data) are not here")
@pytest.mark.parametrize("name", ["coco_panoptic_sample", "cwfid_panoptic", "coco_person_fg"])
def test_no_alarm_about_real_annotations(name: str) -> None:
    known = {"class-without-pixels", "class-absent-from-split"}
    assert {finding.fault for finding in check(SHARED / name).findings} <= known
