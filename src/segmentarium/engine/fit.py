"""From a folder to a report: plan, train, score, draw, report; the whole main job as one stream of events."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from segmentarium.data import open_data
from segmentarium.engine.curves import Curves
from segmentarium.engine.evaluate import Evaluation, evaluate
from segmentarium.engine.events import Event, Finished, Note, Started
from segmentarium.engine.fingerprint import fingerprint
from segmentarium.engine.forecast import spoken_time
from segmentarium.engine.load import load
from segmentarium.engine.memory import peak_memory_mb
from segmentarium.engine.plan import Plan
from segmentarium.engine.recipe import Recipe
from segmentarium.engine.report import report
from segmentarium.engine.train import train
from segmentarium.engine.wishes import Wishes, settle
from segmentarium.errors import BadRecipe, BadRun
from segmentarium.values.files import atomic_json


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A finished run: folder, page, scores on the validation split, and expected scores that it missed."""

    run: Path
    report: Path
    weights: Path
    scores: Evaluation
    missed: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "run": str(self.run),
            "report": str(self.report),
            "weights": str(self.weights),
            "scores": self.scores.as_dict(),
            "missed": list(self.missed),
        }


def fit(wishes: Wishes) -> Generator[Event, None, Fitted | None]:
    """Do the whole main job; the generator returns the finished run, or None in all but the first process.

    Raises:
        KeyboardInterrupt: somebody stopped it; the checkpoint is written, ``resume`` goes on from there.
    """
    recipe, made = settle(wishes)
    if made is not None:
        yield from _tell(made)
    if recipe.train.time_limit_s is not None:
        yield Note(
            text=f"training stops {spoken_time(recipe.train.time_limit_s)} from now, if it is not done"
        )
    return (yield from fit_recipe(recipe, wishes=wishes, made=made))


def fit_recipe(
    recipe: Recipe, *, wishes: Wishes, made: Plan | None = None, reasons: Mapping[str, str] | None = None
) -> Generator[Event, None, Fitted | None]:
    """Train by ``recipe``, then score the best weights and write the report.

    Args:
        made: the plan that the recipe comes from, if any; without one the data is measured for the report.
        reasons: sentences by recipe key, for a recipe without a plan.
    """
    last: Event | None = None
    with Curves(wishes.out) as curves:
        for event in train(recipe, out=wishes.out, resume=wishes.resume, overwrite=wishes.exist_ok):
            if isinstance(event, Started) and not (wishes.resume and (wishes.out / "plan.json").is_file()):
                atomic_json(wishes.out / "plan.json", _origin(recipe, made, reasons or {}))
            curves.add(event)
            last = event
            yield event
    if isinstance(last, Finished) and last.reason == "interrupted":
        raise KeyboardInterrupt
    return finish(wishes.out, recipe) if last is not None else None


def _origin(recipe: Recipe, made: Plan | None, reasons: Mapping[str, str]) -> dict[str, Any]:
    """What ``plan.json`` holds."""
    if made is not None:
        return made.as_dict()
    facts = fingerprint(open_data(recipe.data_folder)).as_dict()
    return {"recipe": recipe.as_dict(), "reasons": dict(reasons), "fingerprint": facts}


def finish(run: Path, recipe: Recipe) -> Fitted:
    """Score the run's best weights on the validation split and write ``summary.json`` and ``report.html``.

    ``recipe`` tells where the data are now, which may be elsewhere than when the run began.
    """
    weights = next(
        (p for p in (run / "weights" / n for n in ("best.safetensors", "last.safetensors")) if p.is_file()),
        None,
    )
    if weights is None:
        raise BadRun(f"{run} holds no weights", cure=f"train on: seg train {recipe.data} -o {run} --resume")
    _note_memory(run)
    data = open_data(recipe.data_folder)
    scores = evaluate(load(weights, device=recipe.train.device), data, out=run)
    missed = outside(recipe.expect, scores.means())
    return Fitted(run=run, report=report(run), weights=weights, scores=scores, missed=missed)


def outside(expect: Mapping[str, tuple[float, float]], scores: Mapping[str, Any]) -> tuple[str, ...]:
    """A sentence for each score that is not in the band that the recipe expects.

    Raises:
        BadRecipe: the recipe expects a score that does not exist.
    """
    missed = []
    for name, (low, high) in expect.items():
        if not isinstance(scores.get(name), int | float):
            known = [key for key, value in scores.items() if isinstance(value, int | float)]
            raise BadRecipe(f"recipe.expect: unknown score {name!r}", allowed=", ".join(known))
        if not low <= scores[name] <= high:
            missed.append(f"{name} is {scores[name]:.3f}, the recipe expects {low:g} to {high:g}")
    return tuple(missed)


def _note_memory(run: Path) -> None:
    """Add the most memory that this process ever held, and the GPU's, to ``env.json``."""
    path = run / "env.json"
    facts = json.loads(path.read_text(encoding="utf-8"))
    facts["peak_memory_mb"] = round(peak_memory_mb(), 1)
    if torch.cuda.is_available():
        facts["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 1e6, 1)
    atomic_json(path, facts)


def _tell(made: Plan) -> Iterator[Event]:
    for note in made.notes:
        yield Note(text=note)
    for key, reason in made.reasons.items():
        yield Note(text=f"{key}: {reason}")
    yield Note(text=f"forecast: {made.forecast.sentence()}")
