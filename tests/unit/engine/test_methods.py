"""Classical methods as a command sees them: names, settings, and files in and out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from segmentarium import classical
from segmentarium.engine.classic import classic, read_seeds
from segmentarium.engine.methods import arguments_of, method, methods
from segmentarium.errors import BadArgument, BadData, CannotWrite, UnknownName

NAMES = [name for names in methods().values() for name in names]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures with a bright square, and a file that is none."""
    pixels = np.full((24, 30), 40, np.uint8)
    pixels[6:16, 8:20] = 200
    for name in ("a.png", "b.png"):
        Pil.fromarray(pixels).save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_every_method_says_what_it_is_and_takes(name: str) -> None:
    found = method(name)
    assert found.line.endswith(".")
    assert callable(found.call)
    json.dumps(found.as_dict())
    assert {s.name for s in found.settings}.isdisjoint(
        {"images", "output", "overlay", "exist_ok", "as_json", "quiet"}
    )


def test_every_file_is_a_method_or_what_methods_share() -> None:
    shared = {"__init__", "levels", "partition", "seeds", "settings"}
    shared.add("textonboost")  # it learns first
    files = {path.stem for path in Path(classical.__path__[0]).glob("*.py")} - shared
    assert {name for name in files if not name.endswith("_kernels")} == set(NAMES)


def test_a_file_does_not_take_the_place_of_its_method() -> None:
    from segmentarium.classical.threshold import global_cuts

    assert callable(global_cuts)
    assert classical.threshold.__name__ == "threshold"
    assert not hasattr(classical.threshold, "__path__")
    with pytest.raises(AttributeError):
        classical.treshold  # noqa: B018


def test_arguments_of_a_docstring() -> None:
    text = "Cut.\n\nArgs:\n    a: one,\n        and more: here.\n    b, c: two.\n\nReturns:\n    d: none."
    assert arguments_of(text) == {"a": "one, and more: here.", "b": "two.", "c": "two."}
    assert arguments_of("Cut.") == {}


def test_files_in_and_files_out(folder: Path) -> None:
    rows = list(classic("threshold", folder, out=folder / "out", settings={"method": "otsu"}))
    assert [row.error for row in rows] == [None, None]
    assert rows[0].shares["foreground"] == pytest.approx(120 / 720)
    with Pil.open(folder / "out" / "a.png") as mask:
        assert np.asarray(mask).sum() == 120
    listing = json.loads((folder / "out" / "classic.json").read_text())
    assert listing["method"] == "threshold"
    assert listing["files"] == ["a.png", "a_overlay.jpg", "b.png", "b_overlay.jpg"]
    assert len(list(classic("threshold", folder, out=folder / "out"))) == 2


def test_a_bad_picture_is_told_and_the_others_go_on(folder: Path) -> None:
    (folder / "a.png").write_bytes(b"no picture")
    bad, good = classic("threshold", folder, out=folder / "out")
    assert bad.error
    assert bad.mask is None
    assert good.error is None


def test_nothing_of_others_is_lost(folder: Path) -> None:
    with pytest.raises(CannotWrite, match="would replace the image"):
        classic("threshold", folder, out=folder)
    (folder / "out").mkdir()
    (folder / "out" / "a.png").write_text("mine")
    with pytest.raises(CannotWrite, match="no classical method wrote it"):
        classic("threshold", folder, out=folder / "out")


def test_wrong_words_are_answered(folder: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean 'threshold'"):
        classic("treshold", folder, out=folder / "out")
    with pytest.raises(UnknownName, match="did you mean 'window'"):
        classic("threshold", folder, out=folder / "out", settings={"windows": 3})
    with pytest.raises(BadData):
        classic("threshold", folder / "nowhere", out=folder / "out")


def test_seeds_come_from_a_file(folder: Path) -> None:
    Pil.fromarray(np.eye(4, dtype=np.uint8)).save(folder / "seeds.png")
    assert np.array_equal(read_seeds(folder / "seeds.png"), np.eye(4))
    Pil.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / "colours.png")
    with pytest.raises(BadArgument, match="are colours"):
        read_seeds(folder / "colours.png")
