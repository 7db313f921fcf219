"""``seg classic``: every method runs as it comes, and says why the first time takes longer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numba import njit
from PIL import Image as Pil

from segmentarium.cli.app import main
from segmentarium.cli.console import Voice
from segmentarium.engine.methods import methods

NAMES = [name for names in methods().values() for name in names]
POINTS = ("--foreground", "14,11", "--background", "2,2")
MARKS = {
    "graph_cut": POINTS,
    "random_walker": POINTS,
    "region_growing": POINTS,
    "grabcut": ("--box", "5,3,25,20"),
    "dense_crf": ("--seeds", "seeds.png"),
}
"""What a method cannot do without."""


@pytest.mark.parametrize("name", NAMES)
def test_every_method_runs_with_its_own_settings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(20, 80, (24, 30, 3)).astype(np.uint8)
    pixels[6:16, 8:20] += 150
    Pil.fromarray(pixels).save("a.png")
    Pil.fromarray((1 + (pixels[..., 0] > 120)).astype(np.uint8)).save("seeds.png")
    with pytest.raises(SystemExit) as end:
        main(["classic", name, "a.png", *MARKS.get(name, ()), "-o", "out", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert end.value.code == 0, told
    assert told[0]["regions"] >= 1
    assert (tmp_path / "out" / "a_overlay.jpg").stat().st_size > 500
    with Pil.open(tmp_path / "out" / "a.png") as mask:
        assert mask.size == (30, 24)


def test_compiling_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    @njit
    def double(x):  # type: ignore[no-untyped-def]
        return 2 * x

    with Voice(as_json=False, quiet=False).compiling():
        assert double(1) == 2
        assert double(1.5) == 3.0
    assert capsys.readouterr().out.count("compiling for this machine") == 1
    with Voice(as_json=False, quiet=False).compiling():
        assert double(1) == 2
    assert not capsys.readouterr().out
