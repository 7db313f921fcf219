"""Training, as a generator of events.

    for event in train(Recipe.read("recipe.toml"), out=Path("run")):
        print(event)

The loop is :meth:`Run.go`. Whoever listens decides what to show; what must last is in the run folder, so a
run can be killed at any moment and go on with ``resume=True``. With ``train.deterministic`` its weights then
are, to the bit, those of a run that nobody disturbed.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor

from segmentarium.data.batch import Batch
from segmentarium.data.dataset import DataSet
from segmentarium.data.loader import TrainBatches
from segmentarium.data.normalise import Normalise
from segmentarium.data.volume_normalise import NormaliseVolume
from segmentarium.engine.device import Device
from segmentarium.engine.events import Checkpointed, Evaluated, Event, Finished, Note, Step
from segmentarium.engine.learner import Learner
from segmentarium.engine.memory import out_of_memory
from segmentarium.engine.model import SIDE_STEP, Model
from segmentarium.engine.optim import learning_rate
from segmentarium.engine.prepare import Prepared, prepare
from segmentarium.engine.recipe import Recipe
from segmentarium.engine.reproducible import Interruption, deterministic
from segmentarium.engine.runfolder import RunFolder
from segmentarium.engine.subject import Subject
from segmentarium.engine.tiled import Tiling
from segmentarium.engine.validation import score_split
from segmentarium.engine.volume_model import VolumeModel
from segmentarium.errors import BadRecipe

__all__ = ["train"]

Reason = Literal["done", "interrupted", "time"]


def train(
    recipe: Recipe,
    *,
    out: str | Path,
    resume: bool = False,
    check_first: bool = True,
    overwrite: bool = False,
) -> Iterator[Event]:
    """Train by ``recipe`` into the folder ``out``.

    Under ``torchrun`` every process calls this alike; events come from the first one only.

    Args:
        resume: go on from the last checkpoint in ``out``; where there is none, begin anew and say so.
        check_first: let the data set doctor look first, and refuse its errors.
        overwrite: begin anew in a folder that holds a run.

    Raises:
        BadRecipe: an impossible setting, a recipe other than the resumed run's, a loss that is not finite.
        BadData: the doctor found errors, or there is nothing to train on.
        BadRun: the resumed run has other data, or no whole checkpoint.
        CannotWrite: ``out`` holds a run already, or the disk is full; the last checkpoint stays.
        OutOfMemory: a batch does not fit, nor do its halves.
    """
    folder = RunFolder(Path(out))
    prepared = prepare(recipe, folder, resume=resume, check_first=check_first, overwrite=overwrite)
    with deterministic(recipe.train.deterministic, threads=prepared.threads), Interruption() as interruption:
        run = Run.of(prepared)
        with closing(run.go(interruption)) as events:  # a listener who leaves early gets a checkpoint
            for event in events:
                if prepared.fabric.is_global_zero:
                    yield event


@dataclass
class Run:
    """A run under way; ``step`` steps are done."""

    recipe: Recipe
    folder: RunFolder
    fabric: Fabric
    data: DataSet
    subject: Subject
    normalise: Normalise | NormaliseVolume
    learner: Learner
    batches: TrainBatches
    opening: tuple[Event, ...]
    step: int = 0
    best: float | None = None
    scores: dict[str, Any] = field(default_factory=dict)
    saved: int = 0
    whole: bool = True
    """Whether the state is that after a step, not that in the midst of one."""
    begun: float = field(default_factory=time.perf_counter)
    before_s: float = 0.0
    """Seconds of training before the run was resumed, as far as a checkpoint knows of them."""

    @classmethod
    def of(cls, prepared: Prepared) -> Run:
        """Build what is trained, and bring it to where the checkpoint was taken."""
        run = cls(
            recipe=prepared.recipe,
            folder=prepared.folder,
            fabric=prepared.fabric,
            data=prepared.data,
            subject=prepared.subject,
            normalise=prepared.normalise,
            learner=prepared.learner(),
            batches=prepared.batches(),
            opening=prepared.opening,
        )
        checkpoint = prepared.checkpoint
        if checkpoint is not None:
            run.learner.restore(checkpoint)
            run.step = run.saved = checkpoint.step
            run.best, run.scores = checkpoint.progress["best"], checkpoint.progress["scores"]
            run.before_s = checkpoint.progress.get("seconds", 0.0)
        return run

    def go(self, interruption: Interruption) -> Generator[Event, None, None]:
        """Train to the end, or to where somebody stops it."""
        train, self.begun = self.recipe.train, time.perf_counter()
        pace = Pace(train.batch)
        reason: Reason = "done"
        try:
            yield from self.opening
            if self.step >= train.steps:
                yield Note(text=f"all {self.step} steps were done before: nothing is left to train")
            yield from self._keep_house()  # what was due when the run was stopped
            for batch in self.batches.batches(self.step, train.steps):
                terms = yield from self._learn(batch)
                pace.tick()
                if self._due(train.log_every):
                    yield self._log(self._told(terms, pace))
                yield from self._keep_house()
                pace.rest()
                reason = self._reason_to_stop(interruption)
                if reason != "done":
                    break
            yield from self._close(reason, interruption.asked)
        except (GeneratorExit, KeyboardInterrupt):
            if self.whole and self.step > self.saved and not self._evaluation_is_due():
                self._save()
            raise

    def _learn(self, batch: Batch) -> Generator[Event, None, dict[str, Tensor]]:
        """Do one step, if need be in halves; returns the terms of its loss."""
        self.whole = False
        try:
            terms = self.learner.step(batch, self.step + 1)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self.learner.halve(len(batch.images), error)
            self.whole = True
            told = f"out of memory at step {self.step + 1}: from now on each batch goes in two halves"
            yield self._log(Note(text=f"{told}, which BatchNorm sees apart", level="warning"))
            return (yield from self._learn(batch))
        self._refuse_nonsense(terms["loss"])
        self.step += 1
        self.whole = True
        return terms

    def _refuse_nonsense(self, loss: Tensor) -> None:
        """Stop at a loss that is not finite; a GPU is asked only when something is to be told or saved."""
        train, step = self.recipe.train, self.step + 1
        looked_at = any(_is_due(step, every, train.steps) for every in (
            train.log_every, train.evaluate_every, train.checkpoint_every))  # fmt: skip
        if (loss.device.type == "cpu" or looked_at) and not math.isfinite(loss):
            rate = learning_rate(train, step)
            raise BadRecipe(
                f"the loss of step {step} is {float(loss)} (learning rate {rate:.2g})",
                allowed="a finite loss",
                cure=f"lower train.lr, or set train.clip_norm=1; the checkpoint of step {self.saved} stays",
            )

    def _told(self, terms: dict[str, Tensor], pace: Pace) -> Step:
        numbers = {name: float(value) for name, value in terms.items()}
        steps = self.recipe.train.steps
        return Step(
            step=self.step,
            steps=steps,
            loss=numbers.pop("loss"),
            lr=learning_rate(self.recipe.train, self.step),
            terms=numbers,
            images_s=round(pace.images_s, 2),
            eta_s=round(pace.step_s * (steps - self.step), 1),
        )

    def _keep_house(self) -> Iterator[Event]:
        """Evaluate and save if this step calls for it and it was not done."""
        if self._evaluation_is_due():
            yield self._evaluate()
        if self._due(self.recipe.train.checkpoint_every) and self.saved != self.step:
            yield self._save()

    def _evaluation_is_due(self) -> bool:
        return self._due(self.recipe.train.evaluate_every) and self.scores.get("step") != self.step

    def _evaluate(self) -> Evaluated:
        begin = time.perf_counter()
        found = score_split(self.seer(), self.data, self.fabric)
        best = not math.isnan(found.score) and (self.best is None or found.score > self.best)
        event = Evaluated(
            step=self.step,
            headline=found.headline,
            mean=_plain(found.mean),
            per_class=_plain(found.per_class),
            best=best,
            seconds=round(time.perf_counter() - begin, 2),
        )
        self.scores = {"step": self.step, **_plain(found.mean)}
        if best:
            self.best = found.score
        self._log(event)
        if self.fabric.is_global_zero:
            if best:
                self.folder.checkpoints.save_best(self._checkpoint())
            self.folder.write_results(self.folder.events())
        return event

    def seer(self) -> Model | VolumeModel:
        """The network as prediction would use it."""
        device = Device(str(self.fabric.device), "the network is trained there")
        shared: dict[str, Any] = {
            "name": self.recipe.model,
            "network": self.learner.published.eval(),
            "classes": self.subject.classes,
            "device": device,
        }
        if isinstance(self.normalise, NormaliseVolume):
            spacing = self.recipe.volumes.target_mm
            return VolumeModel(
                normalise=self.normalise, patch=self.recipe.train.patch, spacing_mm=spacing, **shared
            )
        tiling = Tiling(tile=self.recipe.train.window, step=SIDE_STEP)
        return Model(normalise=self.normalise, tiling=tiling, task=self.subject.task, **shared)

    def _save(self) -> Checkpointed:
        """Write a checkpoint; those that the recipe calls for are on record, those of interruptions not."""
        event = Checkpointed(step=self.step, path="weights/last.safetensors")
        if self._due(self.recipe.train.checkpoint_every):
            self._log(event)
        if self.fabric.is_global_zero:
            self.folder.checkpoints.save(self._checkpoint(mark=self.folder.mark()))
        self.saved = self.step
        self.fabric.barrier()
        return event

    def _checkpoint(self, *, mark: int = 0) -> Any:
        progress = {
            "events_bytes": mark,
            "best": self.best,
            "scores": self.scores,
            "seconds": self._seconds(),
            "threads": torch.get_num_threads(),
            "normalise": self.normalise.to_json(),
        }
        return self.learner.checkpoint(self.step, metadata=self._metadata(), progress=progress)

    def _metadata(self) -> dict[str, str]:
        """What a weight file must say to be used alone; one key, as safetensors keeps no order of several."""
        facts = {
            "model": self.recipe.model.partition("@")[0],
            "refine": self.recipe.refine,
            "classes": self.subject.classes.to_json(),
            "in_channels": self.normalise.channels,
            "normalise": self.normalise.to_json(),
            "tile": list(self.recipe.train.crop),
            "spacing_mm": list(self.recipe.volumes.spacing_mm),
            "step": self.step,
            "task": self.subject.task,
            "licence": self.data.terms,
            "data": self.data.name,
            "ignore_id": next(iter(self.data.ignore_ids), 255),
            "score": self.scores,
        }
        return {"segmentarium": json.dumps(facts, ensure_ascii=False)}

    def _seconds(self) -> float:
        """How long this run has been trained."""
        return self.before_s + time.perf_counter() - self.begun

    def _reason_to_stop(self, interruption: Interruption) -> Reason:
        """Why not to do another step; all processes agree on it. A time limit counts from the resumption."""
        limit = self.recipe.train.time_limit_s
        late = limit is not None and time.perf_counter() - self.begun >= limit
        wish = 2 if interruption.asked else int(late and self.step < self.recipe.train.steps)
        if self.fabric.world_size > 1:
            flags = self.fabric.all_gather(torch.tensor(wish, device=self.fabric.device))
            wish = int(torch.as_tensor(flags).max())
        reasons: tuple[Reason, Reason, Reason] = ("done", "time", "interrupted")
        return reasons[wish]

    def _close(self, reason: Reason, asked: str) -> Iterator[Event]:
        if reason == "time" and self.scores.get("step") != self.step:
            yield self._evaluate()
        if self.step > self.saved:
            yield self._save()
        if reason == "interrupted":
            yield Note(
                text=f"stopped by {asked or 'another process'} after step {self.step}; go on with --resume"
            )
        yield self._log(
            Finished(
                step=self.step,
                reason=reason,
                best=self.best,
                weights="weights/best.safetensors" if self.best is not None else "weights/last.safetensors",
                seconds=round(self._seconds(), 2),
            )
        )

    def _log(self, event: Any) -> Any:
        if self.fabric.is_global_zero:
            self.folder.log(event)
        return event

    def _due(self, every: int) -> bool:
        return _is_due(self.step, every, self.recipe.train.steps)


def _plain(scores: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else float(value) for name, value in scores.items()}


def _is_due(step: int, every: int, steps: int) -> bool:
    """Every so many steps, and after the last; never at step 0."""
    return step > 0 and (step >= steps or (every > 0 and step % every == 0))


class Pace:
    """How fast steps follow one another: the median of the last ones, without evaluations and checkpoints."""

    def __init__(self, batch: int) -> None:
        self._batch, self._since = batch, time.perf_counter()
        self._took: deque[float] = deque(maxlen=31)

    def tick(self) -> None:
        """A step is done."""
        self._took.append(time.perf_counter() - self._since)
        self.rest()

    def rest(self) -> None:
        """What was done since the last step was no training."""
        self._since = time.perf_counter()

    @property
    def step_s(self) -> float:
        return statistics.median(self._took)

    @property
    def images_s(self) -> float:
        return self._batch / self.step_s
