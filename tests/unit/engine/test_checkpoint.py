"""Checkpoints: whole, committed, fallen back from."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from segmentarium.engine import checkpoint as room
from segmentarium.engine.checkpoint import Checkpoint, Checkpoints
from segmentarium.errors import BadRun, CannotWrite
from segmentarium.weights.store import load_weights


def made(step: int) -> Checkpoint:
    return Checkpoint(
        step=step,
        weights={"w": torch.full((2, 2), float(step))},
        metadata={"segmentarium": json.dumps({"step": step})},
        trainer={"optimizer.0.step": torch.tensor(float(step))},
        progress={"best": 0.5, "step": step},
    )


def filled(folder: Path, *steps: int) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for step in steps:
        checkpoints.save(made(step))
    return checkpoints


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_is_found_and_one_before_is_kept(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path, 5, 10, 15)
    found, troubles = checkpoints.latest()
    assert (found.step, troubles, found.progress["best"]) == (15, (), 0.5)
    assert torch.equal(found.weights["w"], torch.full((2, 2), 15.0))
    assert load_weights(checkpoints.last)[1] == {"segmentarium": '{"step": 15}'}
    stems = ("step-000010", "step-000015")
    files = [f"{stem}{end}" for stem in stems for end in (".safetensors", ".trainer.safetensors")]
    assert names(tmp_path) == sorted(["last.json", "last.safetensors", *files])


@pytest.mark.parametrize("harm", ["cut", "flip", "remove"])
@pytest.mark.parametrize("end", ["", ".trainer"])
def test_a_damaged_newest_is_told_and_the_one_before_is_used(harm: str, end: str, tmp_path: Path) -> None:
    checkpoints = filled(tmp_path, 5, 10)
    path = tmp_path / f"step-000010{end}.safetensors"
    content = path.read_bytes()
    path.unlink()
    if harm != "remove":
        path.write_bytes(content[:-3] if harm == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    found, troubles = checkpoints.latest()
    assert found.step == 5
    assert "checkpoint 10 is damaged" in troubles[0]
    checkpoints.settle(5)
    assert "step-000010.safetensors" not in names(tmp_path)
    assert load_weights(checkpoints.last)[1] == {"segmentarium": '{"step": 5}'}


def test_nothing_whole_is_an_error(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path, 5)
    (tmp_path / "step-000005.safetensors").unlink()
    with pytest.raises(BadRun, match="no checkpoint"):
        checkpoints.latest()
    (tmp_path / "last.json").write_text("{")
    with pytest.raises(BadRun, match=r"last\.json is damaged"):
        checkpoints.latest()


def test_saving_a_step_twice_is_no_trouble(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path, 5, 10, 10)
    assert checkpoints.latest()[0].step == 10
    assert len(json.loads((tmp_path / "last.json").read_text())["generations"]) == 2


@pytest.mark.parametrize("failing", ["trainer", "weights", "commit"])
def test_a_full_disk_leaves_the_last_good_one_and_no_litter(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = filled(tmp_path, 5, 10)
    before = names(tmp_path)
    write = room.save_weights

    def full(path: Path, *rest: object) -> None:
        if ("trainer" in path.name) == (failing == "trainer"):
            raise CannotWrite(f"no space left for {path}")
        write(path, *rest)  # type: ignore[arg-type]

    def no_commit(path: Path, *_: object) -> None:
        raise CannotWrite(f"no space left for {path}")

    if failing == "commit":
        monkeypatch.setattr(room, "atomic_json", no_commit)
    else:
        monkeypatch.setattr(room, "save_weights", full)
    with pytest.raises(CannotWrite, match="no space left"):
        checkpoints.save(made(15))
    assert names(tmp_path) == before
    assert checkpoints.latest()[0].step == 10


def test_a_disk_without_second_names_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    checkpoints = filled(tmp_path, 5, 10)
    assert load_weights(checkpoints.last)[1] == {"segmentarium": '{"step": 10}'}
    assert ".last.safetensors.part" not in names(tmp_path)


def test_litter_of_a_killed_run_is_swept(tmp_path: Path) -> None:
    checkpoints = filled(tmp_path, 5)
    for name in ("step-000010.trainer.safetensors", ".step-000010.safetensors.0123.part", "mine.txt"):
        (tmp_path / name).write_bytes(b"half")
    checkpoints.save(made(15))
    assert not [name for name in names(tmp_path) if "000010" in name]
    assert "mine.txt" in names(tmp_path)
