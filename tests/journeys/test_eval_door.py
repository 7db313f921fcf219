"""`seg eval --explain` on the bundled pictures with the bundled weights, as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import segmentarium
from segmentarium.cli.app import main

NUCLEI = Path(segmentarium.__file__).parent / "data" / "nuclei"


def test_eval_says_what_other_tools_would_report(capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (("--json",), ()):
        with pytest.raises(SystemExit) as end:
            main(["eval", "unet@nuclei", str(NUCLEI), "--explain", "--device", "cpu", *flags])
        assert not end.value.code
    out = capsys.readouterr().out
    scores, end_of_json = json.JSONDecoder().raw_decode(out)
    words = out[end_of_json:]
    readings = {(r["score"], r["protocol"]): r["value"] for r in scores["other_tools"]}
    assert readings["mean_iou", "dataset"] == pytest.approx(scores["mean"]["mean_iou"])
    assert readings["mean_iou", "image"] == pytest.approx(scores["mean"]["mean_iou_per_image"])
    assert readings["mean_dice", "nnunet"] is not None
    assert "mean iou as tools report it, beside ours" in words
    assert "monai" in words
