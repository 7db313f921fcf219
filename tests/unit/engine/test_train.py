"""The loop: what it says, leaves behind, refuses, and how it goes on."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from segmentarium.data import write_data_set
from segmentarium.data.loader import Batch
from segmentarium.engine import prepare
from segmentarium.engine.check import CheckReport
from segmentarium.engine.checkpoint import Checkpoints
from segmentarium.engine.device import choose_device
from segmentarium.engine.events import Evaluated, Event, Finished, Note, Started, Step, event_from_dict
from segmentarium.engine.faults.finding import Finding, Severity
from segmentarium.engine.learner import Learner
from segmentarium.engine.memory import out_of_memory
from segmentarium.engine.optim import (
    learning_rate,
    make_optimizer,
    optimizer_tensors,
    restore_optimizer,
    set_rate,
)
from segmentarium.engine.recipe import Recipe, Train
from segmentarium.engine.train import train
from segmentarium.errors import BadData, BadRecipe, BadRun, CannotWrite, OutOfMemory, UnknownName
from segmentarium.weights.store import load_weights

MEASURED = {"out", "seconds", "images_s", "eta_s"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data_set(tmp_path_factory.mktemp("data") / "shapes", train=4, val=2, size=(48, 48), seed=1)


@pytest.fixture(scope="module")
def recipe(data: Path) -> Recipe:
    table = {
        "steps": 6,
        "batch": 4,
        "crop": [32, 32],
        "lr": 0.01,
        "ema": 0.5,
        "deterministic": True,
        "evaluate_every": 3,
        "checkpoint_every": 2,
        "device": "cpu",
    }
    return Recipe.from_dict({"model": "unet-tiny", "data": str(data), "seed": 7, "train": table})


@pytest.fixture(scope="module")
def calm(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """A run that nobody disturbed."""
    out = tmp_path_factory.mktemp("calm") / "run"
    return out, list(train(recipe, out=out))


def traces(out: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    events = json.dumps([{k: v for k, v in line.items() if k not in MEASURED} for line in lines])
    names = ("weights/last.safetensors", "weights/best.safetensors", "results.csv")
    return {"events": events} | {
        name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names
    }


def notes(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Note))


def test_a_run_tells_its_course(calm: tuple[Path, list[Event]]) -> None:
    out, events = calm
    assert isinstance(events[0], Started)
    assert (events[0].train_images, events[0].val_images, events[0].out) == (4, 2, str(out))
    steps = [event for event in events if isinstance(event, Step)]
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(step.loss) and step.terms.keys() == {"cross_entropy"} for step in steps)
    assert [event.step for event in events if isinstance(event, Evaluated)] == [3, 6]
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == "done"


def test_the_folder_holds_all_that_is_promised(calm: tuple[Path, list[Event]], recipe: Recipe) -> None:
    out, events = calm
    assert Recipe.read(out / "recipe.toml") == recipe
    assert "train.steps: 6\n" in (out / "args.yaml").read_text()
    assert json.loads((out / "env.json").read_text())["device"] == "cpu"
    assert set(json.loads((out / "dataset_fingerprint.json").read_text())["splits"]) == {"train", "val"}
    assert len(json.loads((out / "splits.json").read_text())["train"]) == 4
    assert json.loads((out / "check.json").read_text())["errors"] == 0
    header, *rows = (out / "results.csv").read_text().splitlines()
    assert header.startswith("step,mean_iou,mean_dice,pixel_accuracy,iou/")
    assert [row.split(",")[0] for row in rows] == ["3", "6"]
    logged = [event_from_dict(json.loads(line)) for line in (out / "events.jsonl").read_text().splitlines()]
    assert logged == events


def test_a_weight_file_can_be_used_alone(calm: tuple[Path, list[Event]]) -> None:
    tensors, metadata = load_weights(calm[0] / "weights" / "last.safetensors")
    facts = json.loads(metadata["segmentarium"])
    assert (facts["model"], facts["step"], facts["tile"], facts["task"]) == (
        "unet-tiny",
        6,
        [32, 32],
        "semantic",
    )
    assert len(facts["classes"]) == len(tensors["classify.weight"])


@pytest.mark.parametrize(("after", "safe"), [(1, 1), (3, 2), (4, 4), (6, 4)])
def test_a_closed_generator_saves_and_goes_on_to_the_bit(
    after: int, safe: int, calm: tuple[Path, list[Event]], recipe: Recipe, tmp_path: Path
) -> None:
    events = train(recipe, out=tmp_path / "run", check_first=False)
    for event in events:
        if isinstance(event, Step) and event.step == after:
            break
    events.close()  # type: ignore[attr-defined]
    checkpoint = Checkpoints(tmp_path / "run" / "weights").latest()[0]
    assert checkpoint.step == safe
    rest = list(train(recipe, out=tmp_path / "run", resume=True))
    assert isinstance(rest[-1], Finished)
    assert rest[-1].seconds >= round(checkpoint.progress["seconds"], 2) > 0, "time before counts"
    assert [event.step for event in rest if isinstance(event, Step)] == list(range(safe + 1, 7))
    assert traces(tmp_path / "run") == traces(calm[0])


def test_ctrl_c_stops_after_a_step_and_says_so(
    calm: tuple[Path, list[Event]], recipe: Recipe, tmp_path: Path
) -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []
    for event in train(recipe, out=tmp_path / "run", check_first=False):
        seen.append(event)
        if isinstance(event, Step) and event.step == 3:
            signal.raise_signal(signal.SIGINT)
    assert isinstance(seen[-1], Finished)
    assert (seen[-1].reason, seen[-1].step) == ("interrupted", 3)
    assert "stopped by Ctrl-C after step 3; go on with --resume" in notes(seen)
    assert signal.getsignal(signal.SIGINT) is before
    list(train(recipe, out=tmp_path / "run", resume=True))
    assert traces(tmp_path / "run") == traces(calm[0])


def test_a_finished_run_has_nothing_left_to_do(calm: tuple[Path, list[Event]], recipe: Recipe) -> None:
    before = traces(calm[0])
    again = list(train(recipe, out=calm[0], resume=True))
    assert "nothing is left to train" in notes(again)
    assert traces(calm[0]) == before


def test_resuming_nothing_begins_anew_and_says_so(recipe: Recipe, tmp_path: Path) -> None:
    events = train(recipe, out=tmp_path / "run", resume=True, check_first=False)
    assert "begins anew" in notes([next(events), next(events)])
    events.close()  # type: ignore[attr-defined]


def test_another_recipe_is_refused_by_name(calm: tuple[Path, list[Event]], recipe: Recipe) -> None:
    with pytest.raises(BadRecipe, match=r"train\.lr was 0\.01 and is 0\.5"):
        next(train(recipe.override(["train.lr=0.5"]), out=calm[0], resume=True))
    with pytest.raises(BadRecipe, match="more steps would change the rates"):
        next(train(recipe.override(["train.steps=60"]), out=calm[0], resume=True))


def test_a_taken_folder_is_refused(calm: tuple[Path, list[Event]], recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="is not empty"):
        next(train(recipe, out=calm[0]))
    (tmp_path / "file").touch()
    with pytest.raises(CannotWrite, match="is a file"):
        next(train(recipe, out=tmp_path / "file"))


def test_edited_labels_are_refused_when_resuming(
    recipe: Recipe, tmp_path: Path, calm: tuple[Path, list[Event]]
) -> None:
    other = write_data_set(tmp_path / "shapes", train=4, val=2, size=(48, 48), seed=2)
    with pytest.raises(BadRun, match="not those the run began with"):
        next(train(recipe.override([f'data="{other}"']), out=calm[0], resume=True))


def test_errors_of_the_doctor_are_refused(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = Finding(
        fault="jpeg-mask", severity=Severity.ERROR, message="1 file", allowed="PNG", cure="save as PNG"
    )
    report = CheckReport(name="x", facts={}, findings=(finding,), seconds=0.0)
    monkeypatch.setattr(prepare, "check", lambda path: report)
    with pytest.raises(BadData, match=r"jpeg-mask: 1 file.*save as PNG"):
        next(train(recipe, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_warnings_of_the_doctor_are_kept_with_their_pictures(
    recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    leaky = Path(shutil.copytree(data, tmp_path / "leaky"))
    for kind in ("images", "masks"):
        first = sorted((leaky / "train" / kind).iterdir())[0]
        shutil.copy(first, leaky / "val" / kind / f"twin{first.suffix}")
    next(train(recipe.override([f'data="{leaky}"']), out=tmp_path / "run"))
    (finding,) = json.loads((tmp_path / "run" / "check.json").read_text())["findings"]
    assert finding["fault"] == "duplicate-across-splits"
    assert Path(finding["picture"]).parent == tmp_path / "run" / "check"
    assert Path(finding["picture"]).is_file()


def failing_at(steps: set[int], error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the n-th calls of the gradient's computation fail."""
    calls = iter(range(1, 1000))
    real = Learner._accumulate

    def accumulate(self: Learner, *batch: torch.Tensor | None) -> Any:
        if next(calls) in steps:
            raise error
        return real(self, *batch)

    monkeypatch.setattr(Learner, "_accumulate", accumulate)


def test_out_of_memory_halves_once_and_goes_on(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_at({2}, torch.OutOfMemoryError("CUDA out of memory"), monkeypatch)
    events = list(train(recipe, out=tmp_path / "run", check_first=False))
    assert "out of memory at step 2: from now on each batch goes in two halves" in notes(events)
    assert isinstance(events[-1], Finished)
    assert Checkpoints(tmp_path / "run" / "weights").latest()[0].progress["parts"] == 2


def test_out_of_memory_twice_is_an_error(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_at({2, 3}, RuntimeError("DefaultCPUAllocator: can't allocate memory"), monkeypatch)
    with pytest.raises(OutOfMemory, match="does not fit, not even in halves"):
        list(train(recipe, out=tmp_path / "run", check_first=False))


def test_other_errors_are_not_taken_for_memory() -> None:
    assert not out_of_memory(RuntimeError("shapes do not match"))


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("x"), MemoryError(), RuntimeError("not enough memory: you")]
)
def test_memory_errors_of_all_devices_are_known(error: Exception) -> None:
    assert out_of_memory(error)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_checkpoint(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., dict[str, torch.Tensor]] = Learner.step

    def step(self: Learner, batch: Batch, step: int) -> dict[str, torch.Tensor]:
        terms = real(self, batch, step)
        return terms if step < 4 else {**terms, "loss": terms["loss"] * float("nan")}

    monkeypatch.setattr(Learner, "step", step)
    with pytest.raises(
        BadRecipe, match=r"the loss of step 4 is nan.*lower train\.lr.*the checkpoint of step 2 stays"
    ):
        list(train(recipe, out=tmp_path / "run", check_first=False))
    assert Checkpoints(tmp_path / "run" / "weights").latest()[0].step == 2


def test_a_time_limit_ends_with_scores_and_a_checkpoint(recipe: Recipe, tmp_path: Path) -> None:
    short = recipe.override(["train.time_limit_s=0.001", "train.steps=600"])
    events = list(train(short, out=tmp_path / "run", check_first=False))
    assert isinstance(events[-1], Finished)
    assert (events[-1].reason, events[-1].step) == ("time", 1)
    assert any(isinstance(event, Evaluated) for event in events)


def test_the_rate_rises_and_falls_as_a_function_of_the_step() -> None:
    poly = Train(steps=100, warmup_steps=10, lr=1.0)
    assert learning_rate(poly, 5) == 0.5
    assert learning_rate(poly, 10) == learning_rate(poly, 11) == 1.0
    assert learning_rate(poly, 56) == pytest.approx(0.5**0.9)
    assert learning_rate(Train(steps=100, warmup_steps=0, lr=1.0, schedule="cosine"), 51) == pytest.approx(
        0.5
    )
    assert learning_rate(Train(steps=8, warmup_steps=50, lr=1.0, schedule="constant"), 3) == 1.0
    squared = Train(steps=100, warmup_steps=0, lr=1.0, schedule="poly", power=2.0)
    assert learning_rate(squared, 51) == pytest.approx(0.25)
    falling = Train(steps=100, warmup_steps=0, lr=1.0, schedule="exponential", decay=0.5)
    assert learning_rate(falling, 1) == 1.0
    assert learning_rate(falling, 4) == pytest.approx(0.125)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "rmsprop"])
def test_every_optimizer_steps_against_the_gradient_and_is_restored(optimizer: str) -> None:
    network = nn.Linear(3, 2)
    train = Train(optimizer=optimizer, lr=0.1, momentum=0.5, nesterov=False, weight_decay=0.0)
    made = make_optimizer(network, train)
    before = network.weight.detach().clone()
    set_rate(made, 0.1)
    network(torch.ones(1, 3)).sum().backward()
    made.step()
    assert (network.weight < before).all()
    twin = make_optimizer(network, train)
    restore_optimizer(twin, optimizer_tensors(made))
    kept, had = optimizer_tensors(twin), optimizer_tensors(made)
    assert kept.keys() == had.keys()
    assert all(torch.equal(kept[name], had[name]) for name in had)


def test_devices_are_chosen_with_a_reason() -> None:
    assert choose_device("cpu").name == "cpu"
    assert choose_device().why
    with pytest.raises(UnknownName, match="did you mean 'cuda'"):
        choose_device("cudda")
    if not torch.cuda.is_available():
        with pytest.raises(BadRecipe, match="cannot be used"):
            choose_device("cuda")


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(BadRun, match="kind 'jump'"):
        event_from_dict({"kind": "jump"})
