"""The whole main job: from drawn shapes to a report, its band of expected scores, its curves."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from segmentarium.data import write_data_set
from segmentarium.engine.curves import Curves
from segmentarium.engine.events import Evaluated, Event, Finished, Step
from segmentarium.engine.fit import Fitted, fit, outside
from segmentarium.engine.wishes import Wishes, settle
from segmentarium.errors import BadRecipe, CannotWrite


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    write_data_set(folder, train=4, val=2, seed=3, size=(48, 48), classes=3)
    return folder


def wishes(source: Path, out: Path, *, resume: bool = False, exist_ok: bool = False) -> Wishes:
    fixed = ("train.steps=4", "train.batch=2", "train.evaluate_every=2", "train.checkpoint_every=2")
    return Wishes(source=source, out=out, model="unet-tiny", settings=fixed, resume=resume, exist_ok=exist_ok)


def run(wanted: Wishes) -> tuple[list[Event], Fitted]:
    """The events of a whole run, and what it returns."""
    results: list[Fitted | None] = []

    def job() -> Generator[Event, None, None]:
        results.append((yield from fit(wanted)))

    events = list(job())
    assert results[0] is not None
    return events, results[0]


def test_a_folder_becomes_a_report(shapes: Path, tmp_path: Path) -> None:
    events, fitted = run(wishes(shapes, tmp_path / "run"))
    assert isinstance(events[-1], Finished)
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2, 3, 4]
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {
        "recipe.toml", "args.yaml", "plan.json", "env.json", "dataset_fingerprint.json", "splits.json",
        "check.json", "events.jsonl", "results.csv", "summary.json", "report.html", "weights", "worst",
    } <= names  # fmt: skip
    assert json.loads((tmp_path / "run" / "env.json").read_text())["peak_memory_mb"] > 50
    assert (
        json.loads((tmp_path / "run" / "plan.json").read_text())["reasons"]["train.steps"] == "as asked for"
    )
    scored = [event.score for event in events if isinstance(event, Evaluated)]
    assert fitted.scores.scores.mean_iou == pytest.approx(max(scored), abs=1e-6)


def test_a_recipe_becomes_a_report_too(shapes: Path, tmp_path: Path) -> None:
    recipe = settle(wishes(shapes, tmp_path / "run"))[0]
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.to_toml() + "\n[expect]\nmean_iou = [0.99, 1.0]\n", encoding="utf-8")
    _, fitted = run(wishes(path, tmp_path / "run"))
    assert fitted.missed[0].startswith("mean_iou is 0.")
    assert json.loads((tmp_path / "run" / "plan.json").read_text())["fingerprint"]["looked_at"] == 4


def test_a_second_run_does_not_mix_with_the_first(shapes: Path, tmp_path: Path) -> None:
    run(wishes(shapes, tmp_path / "run"))
    with pytest.raises(CannotWrite, match="--resume"):
        run(wishes(shapes, tmp_path / "run"))
    run(wishes(shapes, tmp_path / "run", exist_ok=True))


def test_resuming_takes_the_recipe_of_the_run(shapes: Path, tmp_path: Path) -> None:
    run(wishes(shapes, tmp_path / "run"))
    recipe, made = settle(wishes(shapes, tmp_path / "run", resume=True))
    assert made is None
    assert recipe.train.steps == 4


def test_the_paper_network_gets_a_crop_that_it_takes(shapes: Path, tmp_path: Path) -> None:
    """572 would do, 32 cannot: unpadded convolutions and even poolings want 188 and steps of 16."""
    flags = Wishes(source=shapes, out=tmp_path / "run", model="unet", crop=32, settings=("train.steps=1",))
    assert settle(flags)[0].train.crop == (188, 188)


def test_nothing_named_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRecipe, match="neither data nor recipe"):
        settle(Wishes(source=None, out=tmp_path))


def test_several_processes_need_a_recipe(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BadRecipe, match="seg plan"):
        settle(wishes(shapes, tmp_path))


def test_expected_bands() -> None:
    scores = {"mean_iou": 0.5, "undefined": ["a"]}
    assert outside({"mean_iou": (0.4, 0.6)}, scores) == ()
    assert outside({"mean_iou": (0.6, 0.7)}, scores) == ("mean_iou is 0.500, the recipe expects 0.6 to 0.7",)
    with pytest.raises(BadRecipe, match="unknown score 'miou'"):
        outside({"miou": (0.0, 1.0)}, scores)


def test_curves_are_written_where_tensorboard_is(tmp_path: Path) -> None:
    with Curves(tmp_path) as curves:
        curves.add(Step(step=1, steps=2, loss=0.5, lr=0.1, terms={"dice": 0.3}))
    assert bool(list(tmp_path.glob("tensorboard/events*"))) is curves.available


def test_without_tensorboard_nothing_is_written(tmp_path: Path) -> None:
    with Curves(tmp_path) as curves:
        curves.available = False
        curves.add(Step(step=1, steps=2, loss=0.5, lr=0.1))
    assert not list(tmp_path.iterdir())
