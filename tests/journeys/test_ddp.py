"""Two processes see what one would have seen: equal losses, step by step."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from segmentarium.data import write_data_set

SCRIPT = """
import sys
from torch import nn
from segmentarium.engine import prepare
from segmentarium.engine.recipe import Recipe
from segmentarium.engine.train import train
from segmentarium.nn import Semantic

class Plain(nn.Module):
    "No BatchNorm, which would see half a batch in each process."
    def __init__(self, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, classes, 3))
    def forward(self, image):
        return Semantic(self.layers(image))

prepare.make = lambda name, *, refine, classes, in_channels, things: Plain(classes)
table = {"steps": 8, "batch": 4, "crop": [32, 32], "lr": 0.02, "evaluate_every": 4, "checkpoint_every": 4,
         "ema": 0.5, "clip_norm": 1.0, "device": "cpu", "loss": {"cross_entropy": 1.0, "dice": 1.0}}
recipe = Recipe.from_dict({"model": "unet-tiny", "data": sys.argv[1], "train": table})
for event in train(recipe, out=sys.argv[2], check_first=False):
    pass
"""


def start(data: Path, out: Path, **environment: str) -> subprocess.Popen[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", SCRIPT, str(data), str(out)]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def as_torchrun_would(rank: int, port: int) -> dict[str, str]:
    number = str(rank)
    place = {
        "RANK": number,
        "LOCAL_RANK": number,
        "GROUP_RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    }
    return {**place, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}


def course(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "events.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_with_the_doubled_batch(tmp_path: Path) -> None:
    data = write_data_set(tmp_path / "shapes", train=6, val=3, size=(48, 48), void_share=0.1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runs = [start(data, tmp_path / "one")]
    runs += [start(data, tmp_path / "two", **as_torchrun_would(rank, port)) for rank in (0, 1)]
    for run in runs:
        told, _ = run.communicate(timeout=240)
        assert run.returncode == 0, told
    one, two = course(tmp_path / "one"), course(tmp_path / "two")
    assert [event["kind"] for event in one] == [event["kind"] for event in two]
    for mine, theirs in zip(one, two, strict=True):
        if mine["kind"] == "step":
            assert theirs["loss"] == pytest.approx(mine["loss"], abs=1e-5)
            assert theirs["terms"] == pytest.approx(mine["terms"], abs=1e-5)
        if mine["kind"] == "evaluated":
            assert theirs["mean"] == pytest.approx(mine["mean"], abs=2e-3)
