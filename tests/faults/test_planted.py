"""Every fault, in every clean set in which it makes sense, is found: the right code, the right files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from tests.faults import planter
from tests.faults.planter import Bed

from segmentarium.data import write_data_set
from segmentarium.engine.check import check

VARIETIES: dict[str, dict] = {
    "binary": {"classes": 2},
    "four": {"classes": 4},
    "void": {"classes": 4, "void_share": 0.06},
    "grey": {"channels": 1},
    "deep": {"channels": 1, "dtype": "uint16"},
    "float": {"dtype": "float32"},
    "plain": {"layout": "plain"},
    "plain-binary": {"layout": "plain", "classes": 2},
    "colour": {"layout": "colour"},
    "voc": {"layout": "voc"},
    "instances": {"layout": "segmentarium", "objects": 14},
}
ALL = set(VARIETIES)
NUMBERED = ALL - {"colour", "instances"}
DECLARED = {"binary", "four", "void", "grey", "deep", "float"}
MANY = NUMBERED - {"binary", "plain-binary"}
RGB8 = {"binary", "four", "void", "plain", "plain-binary", "colour", "instances"}
EIGHT_BIT = RGB8 | {"grey"}
PNG = ALL - {"float", "voc"}

FAULTS: dict[str, tuple[str, Callable[[Bed], list[str]], set[str]]] = {
    "0-255 everywhere": ("zero-255", planter.zero_255_everywhere, {"binary", "plain-binary"}),
    "0-255 in one": ("zero-255", planter.zero_255_in_one, {"binary", "plain-binary"}),
    "ids beyond": ("ids-undeclared", planter.ids_beyond, DECLARED | {"colour"}),
    "void undeclared": ("ignore-undeclared", planter.void_undeclared, DECLARED - {"void"}),
    "off by one everywhere": ("off-by-one-ids", planter.off_by_one_everywhere, DECLARED),
    "off by one in one": ("off-by-one-ids", planter.off_by_one_in_one, DECLARED),
    "interpolated": ("interpolated-labels", planter.interpolated, (MANY | {"colour"}) - {"void"}),
    "jpeg named png": ("jpeg-mask", planter.jpeg_named_png, NUMBERED | {"colour"}),
    "jpeg": ("jpeg-mask", planter.jpeg_masks, (NUMBERED | {"colour"}) - {"voc"}),
    "mask scaled": ("size-mismatch", planter.mask_scaled, ALL),
    "mask transposed": ("size-mismatch", planter.mask_transposed, ALL),
    "shifted in one": ("mask-shifted", planter.shifted_in_one, ALL),
    "shifted everywhere": ("mask-shifted", planter.shifted_everywhere, ALL),
    "mirrored": ("mask-flipped", planter.mirrored, ALL),
    "upside down": ("mask-flipped", planter.upside_down, ALL),
    "half-turned everywhere": ("mask-flipped", planter.half_turned_everywhere, ALL),
    "mask missing": ("image-without-mask", planter.mask_missing, ALL),
    "image missing": ("mask-without-image", planter.image_missing, ALL - {"voc"}),
    "image truncated": ("undecodable", planter.image_truncated, ALL),
    "mask truncated": ("undecodable", planter.mask_truncated, ALL),
    "file empty": ("undecodable", planter.file_empty, ALL),
    "file is text": ("undecodable", planter.file_is_text, ALL),
    "EXIF quarter": ("exif-disagreement", planter.exif_quarter, PNG),
    "EXIF half": ("exif-disagreement", planter.exif_half, PNG),
    "duplicate": ("duplicate-across-splits", planter.duplicate, PNG),
    "brighter": ("near-duplicate-across-splits", planter.duplicate_brighter, PNG),
    "recompressed": ("near-duplicate-across-splits", planter.duplicate_recompressed, EIGHT_BIT),
    "smaller": ("near-duplicate-across-splits", planter.duplicate_smaller, EIGHT_BIT),
    "class absent": ("class-absent-from-split", planter.class_absent, DECLARED | {"plain"}),
    "class unused": ("class-without-pixels", planter.class_unused, DECLARED | {"colour"}),
    "gaps": ("class-ids-with-gaps", planter.ids_with_gaps, DECLARED),
    "all void": ("all-ignore-mask", planter.all_void, {"void"}),
    "all background": ("all-background-mask", planter.all_background, ALL),
    "BGR": ("channel-order", planter.channels_exchanged, RGB8),
    "8 bits in 16": ("value-range", planter.eight_bits_in_sixteen, {"deep"}),
    "0..1": ("value-range", planter.unit_range, EIGHT_BIT),
    "five channels": ("channel-count", planter.five_channels, RGB8 | {"float"}),
    "one grey": ("channel-count", planter.one_grey, RGB8 | {"float"}),
    "alpha": ("alpha-channel", planter.with_alpha, RGB8),
    "colours among ids": ("colour-mask", planter.colour_among_ids, DECLARED - {"void"}),
    "palette sorted": ("palette-order", planter.palette_sorted, DECLARED),
    "overflow": ("ids-overflow", planter.numbers_overflow, {"instances"}),
    "NaN": ("nan-in-image", planter.not_a_number, {"float"}),
}
SIDE_EFFECTS = {"class-absent-from-split", "class-without-pixels", "all-background-mask"}
CASES = [
    (fault, variety) for fault, (_, _, where) in FAULTS.items() for variety in VARIETIES if variety in where
]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], Path]:
    """Clean sets, each written once."""
    written: dict[tuple[str, int], Path] = {}

    def of(variety: str, seed: int) -> Path:
        if (variety, seed) not in written:
            root = tmp_path_factory.mktemp(variety) / "set"
            facts = {"train": 7, "val": 3, "size": (112, 136), "seed": seed, **VARIETIES[variety]}
            write_data_set(root, **facts)
            if variety == "instances":
                _number_objects(root)
            written[variety, seed] = root
        return written[variety, seed]

    return of


@pytest.mark.parametrize("variety", VARIETIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_no_alarm_on_clean_sets(clean: Callable[[str, int], Path], variety: str, seed: int) -> None:
    report = check(clean(variety, seed))
    assert not report.findings
    assert report.exit_code == 0


@pytest.mark.parametrize(("fault", "variety"), CASES)
def test_planted_fault_is_found(
    clean: Callable[[str, int], Path], fault: str, variety: str, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(clean(variety, 0), root)
    code, plant, _ = FAULTS[fault]
    files = plant(Bed(root, np.random.default_rng(crc32(f"{fault} {variety}".encode()))))
    report = check(root)
    found = {finding.fault: finding for finding in report.findings}
    assert code in found, report.findings
    if "everywhere" in fault:
        assert len(set(found[code].files) & set(files)) > len(files) / 2
    else:
        assert sorted(found[code].files) == files
    assert set(found) <= {code} | SIDE_EFFECTS


def _number_objects(root: Path) -> None:
    """Make the object numbers the masks, and say so."""
    for split in ("train", "val"):
        for path in (root / split / "instances").iterdir():
            shutil.copyfile(path, root / split / "masks" / path.name)
    meta = json.loads((root / "meta.json").read_text())
    meta["task"] = "instance segmentation"
    meta["classes"] = [{"id": 0, "name": "background"}, {"id": 1, "name": "object"}]
    (root / "meta.json").write_text(json.dumps(meta))
