"""The folder of a run: all that is needed to understand it, to go on with it, to repeat it.

recipe.toml  args.yaml        what was asked for, nested and flat
env.json                      versions, hardware, device and why, the command, the commit
dataset_fingerprint.json      hashes of the content of the data
splits.json  check.json       which image is where; what the data set doctor found
check/                        his pictures of it
events.jsonl  results.csv     what happened; a row an evaluation, a column a class
weights/                      best.safetensors, last.safetensors and what resuming needs
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch

from segmentarium.data.dataset import DataSet
from segmentarium.engine.checkpoint import Checkpoints
from segmentarium.engine.device import Device
from segmentarium.engine.events import Evaluated, Event, event_from_dict
from segmentarium.engine.packages import PACKAGES, installed
from segmentarium.engine.recipe import Recipe, flatten
from segmentarium.errors import BadRecipe, BadRun, CannotWrite
from segmentarium.values.files import atomic_json, atomic_text, cannot_write, ensure_folder

_FREE_TO_CHANGE = (
    "data",
    "expect",
    "train.checkpoint_every",
    "train.device",
    "train.log_every",
    "train.time_limit_s",
    "train.workers",
)
"""Settings that may differ when a run is resumed: they change what it costs, not what it computes."""

_LONGER = " (more steps would change the rates of those already done)"

_PLANNED = {"plan.json", "plan.toml"}
"""Files that may lie in a folder before a run begins there."""


class RunFolder:
    """A run's folder; nothing is written before :meth:`begin`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = Checkpoints(path / "weights")
        self.recipe = path / "recipe.toml"
        self._events = path / "events.jsonl"

    def refuse_if_taken(self) -> None:
        """Raise :class:`CannotWrite` if there is something in the folder that a new run would mix with."""
        if self.path.exists() and not self.path.is_dir():
            raise CannotWrite(f"{self.path} is a file", allowed="a folder", cure="give another folder")
        taken = sorted(p.name for p in self.path.iterdir()) if self.path.exists() else []
        taken = [name for name in taken if name not in _PLANNED]
        if taken:
            shown = ", ".join(taken[:4]) + (", ..." if len(taken) > 4 else "")
            cure = "go on with it by --resume, begin anew by --exist-ok, or give another folder"
            raise CannotWrite(
                f"{self.path} is not empty ({shown})", allowed="a new or empty folder", cure=cure
            )

    def clear(self) -> None:
        """Remove what an earlier run wrote about its course; foreign files stay."""
        for name in (self.checkpoints.folder.name, "worst", "typical", "best", "plots", "check"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for name in ("events.jsonl", "results.csv", "summary.json", "report.html"):
            (self.path / name).unlink(missing_ok=True)

    def begin(self, recipe: Recipe, data: DataSet, device: Device, *, check: dict[str, Any] | None) -> None:
        """Write everything that is known before the first step."""
        ensure_folder(self.path)
        atomic_text(self.path / "args.yaml", as_yaml(recipe))
        atomic_json(self.path / "env.json", environment(device))
        atomic_json(self.path / "dataset_fingerprint.json", fingerprint(data))
        splits = {name: [pair.stem for pair in pairs] for name, pairs in data.splits.items()}
        atomic_json(self.path / "splits.json", splits)
        if check is not None:
            atomic_json(self.path / "check.json", check)
        atomic_text(self.recipe, recipe.to_toml())
        self._events.unlink(missing_ok=True)
        self.write_results([])

    def require_same_settings(self, recipe: Recipe) -> None:
        """Raise :class:`BadRecipe` where ``recipe`` would change what the run computes; it tells how."""
        before = Recipe.read(self.recipe)
        changed = {k: v for k, v in before.differences(recipe).items() if not k.startswith(_FREE_TO_CHANGE)}
        if changed:
            told = ", ".join(f"{key} was {old!r} and is {new!r}" for key, (old, new) in changed.items())
            why = _LONGER if "train.steps" in changed else ""
            raise BadRecipe(
                f"{self.path} was begun with another recipe: {told}{why}",
                allowed="the same recipe; other workers, another device or a new time limit",
                cure=f"go on with it by `seg train -o {self.path} --resume`, or train into another folder",
            )

    def require_same_data(self, data: DataSet) -> None:
        """Raise :class:`BadRun` unless images and masks are those the run began with, wherever they lie."""
        recorded = json.loads((self.path / "dataset_fingerprint.json").read_text(encoding="utf-8"))["splits"]
        other = [name for name, digest in fingerprint(data)["splits"].items() if recorded.get(name) != digest]
        if other:
            raise BadRun(
                f"the files of split {', '.join(other)} of {data.root} are not those the run began with",
                allowed="the same images and masks",
                cure="put them back, or train into another folder",
            )

    def log(self, event: Event) -> None:
        """Add a line to ``events.jsonl``."""
        try:
            with self._events.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event.as_dict(), ensure_ascii=False) + "\n")
        except OSError as error:
            raise cannot_write(self._events, error) from error

    def mark(self) -> int:
        """Bring ``events.jsonl`` safely to the disk; returns its length in bytes, for :meth:`rewind`."""
        with self._events.open("ab") as file:
            os.fsync(file.fileno())
            return file.tell()

    def rewind(self, mark: int) -> bool:
        """Forget events after ``mark``; false if there are fewer."""
        with self._events.open("ab") as file:
            whole = file.tell() >= mark
            file.truncate(min(mark, file.tell()))
        self.write_results(self.events())
        return whole

    def events(self) -> list[Event]:
        """What happened so far; a last line that was cut off by a crash is passed over."""
        lines = (
            self._events.read_text(encoding="utf-8", errors="replace").splitlines()
            if self._events.exists()
            else []
        )
        events = []
        for line in lines:
            with suppress(ValueError, BadRun):
                events.append(event_from_dict(json.loads(line)))
        return events

    def write_results(self, events: Iterable[Event]) -> None:
        """Write ``results.csv``: a row an evaluation, a column a class."""
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        rows = [event for event in events if isinstance(event, Evaluated)]
        means, classes = (list(rows[0].mean), list(rows[0].per_class)) if rows else ([], [])
        each = rows[0].headline.removeprefix("mean_") if rows else ""
        writer.writerow(["step", *means, *(f"{each}/{name}" for name in classes)])
        for row in rows:
            scores = [row.mean.get(name) for name in means] + [row.per_class.get(name) for name in classes]
            writer.writerow([row.step, *("" if score is None else f"{score:.6f}" for score in scores)])
        atomic_text(self.path / "results.csv", table.getvalue())


def as_yaml(recipe: Recipe) -> str:
    """The recipe flat, a ``key: value`` a line; values are JSON, which YAML reads."""
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in flatten(recipe.as_dict()).items())


def fingerprint(data: DataSet) -> dict[str, Any]:
    """Hashes over the bytes of the images and masks that training uses, and how they were split."""
    return {
        "name": data.name,
        "splitting": data.splitting,
        "splits": {name: data.fingerprint(name) for name in ("train", "val")},
    }


def environment(device: Device) -> dict[str, Any]:
    """What this process runs on."""
    return {
        "device": device.name,
        "why": device.why,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(logical=False) or psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "torch_threads": torch.get_num_threads(),
        "versions": installed(*PACKAGES),
        "command": sys.argv,
        "commit": _commit(),
    }


def _commit() -> str | None:
    """The commit of the repository one stands in, with ``+`` if files differ from it; None outside of one."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True, timeout=5
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (
            "+" if git("status", "--porcelain", "--untracked-files=no") else ""
        )
    except (OSError, subprocess.SubprocessError):
        return None
