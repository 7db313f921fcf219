"""``seg train``: where the run goes, and the last words when it is done."""

from __future__ import annotations

from pathlib import Path

from segmentarium.cli.console import Voice, shown
from segmentarium.cli.watching import tell_plan, tell_scores, watch
from segmentarium.engine.fit import fit
from segmentarium.engine.wishes import Wishes, settle


def run_folder(output: Path | None, project: Path, name: str, *, resume: bool, exist_ok: bool) -> Path:
    """``output`` if given; else ``project/name``, ``name2``, ``name3`` ... the first that is free.

    With ``resume`` it is the newest of these that exists, with ``exist_ok`` the plain name.
    """
    if output is not None:
        return output
    numbered = [project / name, *(project / f"{name}{number}" for number in range(2, 10_000))]
    taken = [path for path in numbered if path.exists()]
    if resume and taken:
        return taken[-1]
    return numbered[0] if exist_ok else next(path for path in numbered if not path.exists())


def train(wishes: Wishes, voice: Voice, *, dry_run: bool = False) -> None:
    """Plan, train, score and report, telling about it."""
    if dry_run:
        recipe, made = settle(wishes)
        voice.result(made.as_dict() if made else recipe.as_dict())
        tell_plan(made, voice) if made else voice.say(shown(recipe.to_toml()))
        return
    done = watch(fit(wishes), voice)
    if done is None:  # not the first of several processes
        return
    voice.line({"kind": "fitted", **done.as_dict()})
    tell_scores(done.scores, voice)
    for sentence in done.missed:
        voice.say(f"[yellow]{shown(sentence)}[/yellow]")
    report, weights, run = (shown(path) for path in (done.report, done.weights, done.run))
    voice.say(f"\nreport   [bold]{report}[/bold]\nweights  [bold]{weights}[/bold]")
    voice.say(f"\nNext: [bold]seg predict PICTURES -m {run}[/bold]")
