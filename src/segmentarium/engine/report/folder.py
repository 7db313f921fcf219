"""A run folder as a value: what is there is read, what is missing or damaged is named."""

from __future__ import annotations

import csv
import json
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from segmentarium.errors import BadRun

Table: TypeAlias = dict[str, Any]

PICTURES = ("worst", "typical", "best", "montage")
"""Sub-folders of pictures: image, truth, prediction and errors side by side; of volumes slices, too."""


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """The files of a run; those that ``missing`` names are empty tables or lists."""

    path: Path
    recipe: Table
    plan: Table
    env: Table
    fingerprint: Table
    splits: Table
    check: Table
    summary: Table
    events: list[Table]
    results: list[dict[str, str]]
    pictures: dict[str, list[Path]]
    weights: list[Path]
    missing: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> RunFiles:
        """Read all of it.

        Raises:
            BadRun: there is no such folder, or nothing in it comes from a run.
        """
        if not path.is_dir():
            raise BadRun(
                f"there is no run folder {path}", cure="give the folder that `seg train ... -o RUN` wrote"
            )
        missing: list[str] = []
        files = {name: _opened(path / file, read, missing) for name, (file, read) in _FILES.items()}
        if len(missing) == len(_FILES):
            raise BadRun(
                f"nothing in {path} comes from a run",
                allowed="a folder with recipe.toml, events.jsonl or summary.json",
                cure="give the folder that `seg train ... -o RUN` wrote",
            )
        pictures = {name: sorted((path / name).glob("*.png")) for name in PICTURES}
        weights = sorted((path / "weights").glob("*.safetensors"))
        return cls(path=path, **files, pictures=pictures, weights=weights, missing=tuple(missing))

    def of_kind(self, kind: str) -> list[Table]:
        """Events of one kind in order of step; of a step done twice, before and after a resume, the last."""
        chosen = [event for event in self.events if event.get("kind") == kind]
        if kind in ("step", "evaluated"):
            return [event for _, event in sorted({int(event["step"]): event for event in chosen}.items())]
        return chosen

    @property
    def card(self) -> Table:
        """Facts on the data: those the plan measured, and the hashes that training recorded."""
        return {**self.plan.get("fingerprint", {}), **self.fingerprint}

    @property
    def command(self) -> str:
        """The command line that began the run; empty if it was not recorded."""
        words = self.env.get("command") or ""
        return shlex.join([Path(words[0]).name, *words[1:]]) if isinstance(words, list) else str(words)

    @property
    def classes(self) -> list[Table]:
        """Name, id and colour of each class, from the summary."""
        return list(self.summary.get("classes", []))


def _opened(path: Path, read: Callable[[str], Any], missing: list[str]) -> Any:
    """The content of a file, or nothing and its name among the ``missing``."""
    try:
        return read(path.read_text(encoding="utf-8"))
    except OSError:
        missing.append(path.name)
    except (ValueError, KeyError):  # JSON, TOML and Unicode errors are all of this kind
        missing.append(f"{path.name} (damaged)")
    return [] if path.suffix in (".jsonl", ".csv") else {}


def _table(text: str) -> Table:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a table")
    return value


def _lines(text: str) -> list[Table]:
    """One JSON table a line; a last line that a crash cut short is passed over."""
    return list(_readable(text.splitlines()))


def _readable(lines: list[str]) -> Iterator[Table]:
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


_FILES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "recipe": ("recipe.toml", tomllib.loads),
    "plan": ("plan.json", _table),
    "env": ("env.json", _table),
    "fingerprint": ("dataset_fingerprint.json", _table),
    "splits": ("splits.json", _table),
    "check": ("check.json", _table),
    "events": ("events.jsonl", _lines),
    "results": ("results.csv", _rows),
    "summary": ("summary.json", _table),
}
