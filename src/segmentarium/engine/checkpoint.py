"""Checkpoints that survive a pulled plug.

    weights/step-000120.safetensors          what the model is: read by `seg predict`
    weights/step-000120.trainer.safetensors  what training needs besides: moments of the optimiser
    weights/last.json                        the commit: which steps are whole, hashes, progress
    weights/last.safetensors                 the newest committed weights under a name to rely on

Each file is written beside its place, synced and moved there. A generation counts from the moment
``last.json`` names it; the one before stays, so there is always a whole one, whenever the power goes.
Tensors are safetensors, all else is JSON: nothing that is loaded can run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from segmentarium.errors import BadRun, CannotWrite
from segmentarium.values.files import atomic_json, atomic_write, ensure_folder, hash_file
from segmentarium.weights.store import load_weights, save_weights

KEPT = 2
"""Generations on the disk: the newest and the one before."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """All of a run at one step.

    Attributes:
        weights: what is published; with a moving average, the average.
        metadata: goes into the weight file, so that it can be used alone.
        trainer: further tensors that training goes on from.
        progress: plain numbers that training goes on from.
    """

    step: int
    weights: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    trainer: Mapping[str, Tensor]
    progress: Mapping[str, Any]


class Checkpoints:
    """The checkpoints in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def last(self) -> Path:
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.folder / "best.safetensors"

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a generation, commit it, publish it, remove the ones before the previous.

        Raises:
            CannotWrite: no space or no permission; the generations before are whole, nothing half is left.
        """
        ensure_folder(self.folder)
        stem = f"step-{checkpoint.step:06d}"
        weights, trainer = self.folder / f"{stem}.safetensors", self.folder / f"{stem}.trainer.safetensors"
        before = [g for g in self._generations() if g["step"] != checkpoint.step]
        try:
            save_weights(trainer, checkpoint.trainer, {})
            save_weights(weights, checkpoint.weights, checkpoint.metadata)
            generation = {
                "step": checkpoint.step,
                "files": {path.name: hash_file(path) for path in (weights, trainer)},
                "progress": dict(checkpoint.progress),
            }
            self._commit([generation, *before][:KEPT])
        except CannotWrite:
            with suppress(OSError):
                self._tidy()
            raise
        self._publish(weights)
        self._tidy()

    def save_best(self, checkpoint: Checkpoint) -> None:
        """Keep these weights as the best so far."""
        save_weights(ensure_folder(self.folder) / self.best.name, checkpoint.weights, checkpoint.metadata)

    def exists(self) -> bool:
        """Whether anything was ever committed here."""
        return (self.folder / "last.json").exists()

    def latest(self) -> tuple[Checkpoint, tuple[str, ...]]:
        """The newest whole checkpoint, and a sentence for each newer one that is damaged; changes nothing.

        Raises:
            BadRun: none is whole.
        """
        troubles: list[str] = []
        for generation in self._generations():
            damaged = self._damaged(generation)
            if not damaged:
                return self._load(generation), tuple(troubles)
            troubles.append(f"checkpoint {generation['step']} is damaged ({damaged}): the one before is used")
        raise BadRun(
            f"no checkpoint in {self.folder} is whole ({'; '.join(troubles)})",
            cure="train anew with --exist-ok, or into another folder",
        )

    def settle(self, step: int) -> None:
        """Make the generation of ``step`` the newest, also by name; remove what a killed run left behind."""
        self._commit([generation for generation in self._generations() if generation["step"] <= step])
        self._publish(self.folder / f"step-{step:06d}.safetensors")
        self._tidy()

    def _load(self, generation: Mapping[str, Any]) -> Checkpoint:
        step = int(generation["step"])
        weights, trainer = (self.folder / f"step-{step:06d}{end}.safetensors" for end in ("", ".trainer"))
        return Checkpoint(
            step=step,
            weights=load_weights(weights)[0],
            metadata={},
            trainer=load_weights(trainer)[0],
            progress=generation["progress"],
        )

    def _damaged(self, generation: Mapping[str, Any]) -> str:
        """What is wrong with the files of a generation; empty if nothing."""
        for name, expected in generation["files"].items():
            path = self.folder / Path(name).name
            if not path.is_file():
                return f"{name} is missing"
            if hash_file(path) != expected:
                return f"{name} does not have its recorded hash"
        return ""

    def _generations(self) -> list[dict[str, Any]]:
        """What ``last.json`` names, the newest first."""
        path = self.folder / "last.json"
        try:
            generations: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["generations"]
        except FileNotFoundError:
            return []
        except (ValueError, KeyError, TypeError) as error:
            cure = "put it back from a copy, or train anew with --exist-ok"
            raise BadRun(f"{path} is damaged", allowed="what training wrote there", cure=cure) from error
        return generations

    def _commit(self, generations: list[dict[str, Any]]) -> None:
        atomic_json(self.folder / "last.json", {"generations": generations})

    def _publish(self, weights: Path) -> None:
        """Name ``weights`` ``last.safetensors``, too; where the disk knows no second names, copy it."""
        neighbour = self.folder / ".last.safetensors.part"
        try:
            neighbour.unlink(missing_ok=True)
            os.link(weights, neighbour)
            neighbour.replace(self.last)
        except OSError:
            atomic_write(self.last, weights.read_bytes())
        finally:  # replacing a file by another name of itself does nothing, and leaves that name
            neighbour.unlink(missing_ok=True)

    def _tidy(self) -> None:
        """Remove generations that ``last.json`` does not name, and half files of a killed run."""
        named = {name for generation in self._generations() for name in generation["files"]}
        for path in self.folder.iterdir():
            if (path.name.startswith("step-") and path.name not in named) or path.name.endswith(".part"):
                path.unlink(missing_ok=True)
