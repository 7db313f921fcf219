"""One network of every kind arrives by the same commands: train, predict, eval, report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from segmentarium.cli.app import main
from segmentarium.data import open_data, write_data_set
from segmentarium.engine.evaluate import evaluate
from segmentarium.engine.load import load

KINDS = {
    "deeplabv3-tiny": ("folders", "semantic", "mean_iou"),
    "deeplabv3plus-tiny": ("folders", "semantic", "mean_iou"),
    "mask_rcnn-tiny": ("coco", "instance", "ap"),
    "panoptic_fpn-tiny": ("coco-panoptic", "panoptic", "pq"),
    "detr-tiny": ("coco-panoptic", "panoptic", "pq"),
    "mask2former-tiny": ("coco-panoptic", "panoptic", "pq"),
    "vnet-tiny": ("volumes", "semantic", "mean_dice"),
    "unet_3d-tiny": ("volumes", "semantic", "mean_dice"),
    "unetr-tiny": ("volumes", "semantic", "mean_dice"),
}
OTHER_TASKS = {"semantic": ("folders", "mean_iou"), "instance": ("coco", "ap")}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("kinds")
    sizes = {"volumes": (24, 32, 32)}
    return {
        layout: write_data_set(
            folder / layout, train=3, val=2, seed=4, size=sizes.get(layout, (64, 64)), layout=layout
        )
        for layout in ("folders", "coco", "coco-panoptic", "volumes")
    }


def command(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main([*words, "--quiet"])
    return int(end.value.code or 0)


def trained(data: Path, model: str, run: Path, *more: str) -> dict[str, Any]:
    crop = "[16,24,24]" if data.name == "volumes" else "[48,48]"
    told = (f"train.crop={crop}", "train.steps=2", "train.batch=2", "train.evaluate_every=2")
    settings = [word for setting in told for word in ("--set", setting)]
    assert command("train", str(data), "--model", model, "-o", str(run), *settings, *more) == 0
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    return summary


@pytest.mark.slow
@pytest.mark.parametrize("model", KINDS)
def test_trains_predicts_evaluates_and_reports(model: str, drawn: dict[str, Path], tmp_path: Path) -> None:
    layout, task, headline = KINDS[model]
    data, run = drawn[layout], tmp_path / "run"
    summary = trained(data, model, run)
    assert (summary["task"], summary["headline"]) == (task, headline)
    assert summary["images"] == 2
    assert (run / "report.html").stat().st_size > 20_000
    assert list((run / "worst").glob("*.png"))
    pair = open_data(data).val[0]
    assert command("predict", str(pair.image), "-m", str(run), "-o", str(tmp_path / "found")) == 0
    listing = json.loads((tmp_path / "found" / "predictions.json").read_text(encoding="utf-8"))
    (row,) = listing["predictions"]
    assert row["error"] is None
    assert Path(row["mask"]).is_file()
    assert Path(row["overlay"]).is_file()
    again = evaluate(load(run), open_data(data))
    assert again.means() == summary["mean"]


@pytest.mark.slow
@pytest.mark.parametrize("task", OTHER_TASKS)
def test_mask_classification_learns_every_task(task: str, drawn: dict[str, Path], tmp_path: Path) -> None:
    layout, headline = OTHER_TASKS[task]
    summary = trained(drawn[layout], "mask2former-tiny", tmp_path / "run", "--task", task)
    assert (summary["task"], summary["headline"]) == (task, headline)


@pytest.mark.parametrize(
    ("model", "layout", "more", "told"),
    [
        ("mask_rcnn-tiny", "folders", (), "instance"),
        ("unet-tiny", "coco", ("--task", "instance"), "semantic"),
        ("unet_3d-tiny", "folders", (), "pictures"),
        ("unet-tiny", "volumes", (), "volumes"),
        ("unet-tiny", "folders", ("--task", "sorting"), "sorting"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(
    model: str,
    layout: str,
    more: tuple[str, ...],
    told: str,
    drawn: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    assert command("train", str(drawn[layout]), "--model", model, "-o", str(run), *more) == 1
    assert told in capsys.readouterr().err
    assert not run.exists()
