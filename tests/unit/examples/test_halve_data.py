"""Half a data set: means for pictures, numbers as they were for masks, and nothing overwritten."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segmentarium.data import open_data, write_data_set
from segmentarium.errors import BadData, SegError
from segmentarium.values import read_image, read_mask

PROGRAM: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[3] / "examples" / "halve_data.py"))
halve = PROGRAM["halve"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(
        tmp_path_factory.mktemp("shapes") / "set", train=3, val=2, seed=3, size=(33, 48), classes=3
    )


def test_halves_pictures_by_means_and_masks_by_choice(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "half"
    assert halve(shapes, out) == 5
    whole, half = open_data(shapes), open_data(out)
    assert half.classes.to_json() == whole.classes.to_json()
    assert half.ignore_ids == whole.ignore_ids
    assert half.splits.keys() == whole.splits.keys()
    for name, pairs in whole.splits.items():
        assert [pair.stem for pair in half.split(name)] == [pair.stem for pair in pairs]
        for large, small in zip(pairs, half.split(name), strict=True):
            pixels, fewer = read_image(large.image).pixels, read_image(small.image).pixels
            blocks = pixels[:32].reshape(16, 2, 24, 2, -1).astype(float).mean((1, 3))
            assert np.abs(fewer[:16] - blocks).max() <= 0.5
            np.testing.assert_array_equal(half.labels(small), whole.labels(large)[::2, ::2])
    assert [path.name for path in out.parent.iterdir()] == ["half"]
    described = json.loads((out / "meta.json").read_text(encoding="utf-8"))
    assert "every second pixel" in described["halved"]


def test_a_mask_keeps_palette_and_wide_numbers(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(4, 6)
    colored = Image.fromarray(values)
    colored.putpalette([i for i in range(256) for _ in range(3)])
    colored.save(tmp_path / "p.png")
    Image.fromarray(values.astype(np.uint16) * 300).save(tmp_path / "w.png")
    for name in ("p.png", "w.png"):
        before = read_mask(tmp_path / name)
        PROGRAM["halved_mask"](before).save(tmp_path / "half.png")
        after = read_mask(tmp_path / "half.png")
        np.testing.assert_array_equal(after.values, before.values[::2, ::2])
        assert after.mode == before.mode


def test_what_is_there_stays(shapes: Path, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="is there already"):
        halve(shapes, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_of_a_set_that_cannot_be_halved(shapes: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    for pair in open_data(shapes).train:
        for kind, path in (("images", pair.image), ("masks", pair.mask)):
            assert path is not None
            (bad / kind).mkdir(parents=True, exist_ok=True)
            (bad / kind / path.name).write_bytes(path.read_bytes())
    sorted((bad / "images").iterdir())[-1].write_bytes(b"no picture")
    with pytest.raises(SegError):
        halve(bad, tmp_path / "half")
    assert [path.name for path in tmp_path.iterdir()] == ["bad"]
