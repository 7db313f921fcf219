"""Readers of results and events for a person at a terminal."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from segmentarium.cli.console import Voice, shown
from segmentarium.engine.titles import title_of

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from segmentarium.engine.bench import Row
    from segmentarium.engine.check import CheckReport
    from segmentarium.engine.evaluate import Evaluation
    from segmentarium.engine.events import Event
    from segmentarium.engine.explain import Reading
    from segmentarium.engine.model import Model
    from segmentarium.engine.plan import Plan
    from segmentarium.engine.predict import Prediction
    from segmentarium.engine.volume_model import VolumeModel

Result = TypeVar("Result")
_COUNTS = ("pixels", "predicted", "true_positives", "false_positives", "false_negatives")
_NAMED = 8  # so many names stand in a sentence
SEVERITY = {"error": "[bold red]error[/bold red]", "warning": "[yellow]warning[/yellow]"}


def watch(run: Generator[Event, None, Result], voice: Voice) -> Result:
    """Follow a run to its end and return what it returns: a live bar for people, JSON lines for machines."""
    with voice.compiling(), voice.progress() as bar:
        task = bar.add_task("preparing", total=None, note="")
        while True:
            try:
                event = next(run)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            voice.line(event.as_dict())
            _move(bar, task, event)


def _move(bar: Progress, task: TaskID, event: Any) -> None:
    """Show one event: steps move the bar, everything else is a line above it."""
    match event.kind:
        case "started":
            size = f"{event.parameters / 1e6:.2f} M parameters"
            _say(bar, f"[bold]{event.model}[/bold] ({size}) on {event.device}: {shown(event.why)}")
            images = f"{event.train_images} training and {event.val_images} validation images"
            _say(bar, f"{images}, {len(event.classes)} classes, run folder [bold]{shown(event.out)}[/bold]")
            bar.update(task, description="training", total=event.steps, completed=event.step)
        case "step":
            note = f"loss {event.loss:.3f}  {event.images_s:.1f} images/s"
            bar.update(task, description="training", completed=event.step, note=note)
        case "evaluated":
            star = " (best so far)" if event.best else ""
            what = title_of(event.headline)
            _say(bar, f"step {event.step}: validation {what} [bold]{event.score:.3f}[/bold]{star}")
        case "note":
            style = "yellow" if event.level == "warning" else "dim"
            _say(bar, f"[{style}]{shown(event.text)}[/{style}]")
        case "finished":
            bar.update(task, description="scoring", note="")


def _say(bar: Progress, text: str) -> None:
    if not bar.disable:
        bar.console.print(text)


def tell_findings(report: CheckReport, voice: Voice) -> None:
    """The doctor's findings: what, where, how to cure it."""
    voice.say(f"looks like: {shown(report.facts['looks_like'])}")
    for note in report.notes:
        voice.say(f"[dim]{shown(note)}[/dim]")
    if not report.findings:
        voice.say("[green]clean[/green]: nothing found that would make training wrong")
    for finding in report.findings:
        more = f" and {finding.count - 3} more" if finding.count > 3 else ""
        where = f" at {finding.where}" if finding.where else ""
        voice.say(f"{SEVERITY[finding.severity]} [bold]{finding.fault}[/bold]: {shown(finding.message)}")
        voice.say(shown(f"  {', '.join(map(str, finding.files[:3]))}{more}{where}\n  cure: {finding.cure}"))
        if finding.picture is not None:
            voice.say(shown(f"  picture: {finding.picture}"))
    voice.say(f"\n{len(report.errors)} errors, {len(report.warnings)} warnings")
    if report.after is not None:
        left = f"{len(report.after.errors)} errors, {len(report.after.warnings)} warnings left in the copy"
        voice.say(f"{len(report.repairs)} files corrected or left out; {left}")


def tell_plan(made: Plan, voice: Voice) -> None:
    """The recipe's settings with their reasons, then the forecast."""
    for note in made.notes:
        voice.say(f"[dim]{shown(note)}[/dim]")
    voice.table("Plan", ("what", "why"), ((key, shown(why)) for key, why in made.reasons.items()))
    voice.say(f"\nforecast: [bold]{made.forecast.sentence()}[/bold]\n")
    voice.say(shown(made.recipe.to_toml()))


def tell_licence(model: Model | VolumeModel, voice: Voice) -> None:
    """Whose terms the weights are under, if the file or its card tells."""
    licence = model.facts.get("licence")
    if licence:
        voice.say(f"[dim]weights {shown(model.name)}: {shown(str(licence))}[/dim]")


def tell_prediction(row: Prediction, voice: Voice) -> None:
    """One line a picture: where the mask went, what was found."""
    if row.error is not None:
        voice.say(f"[bold red]{shown(row.source)}[/bold red]: {shown(row.error)}")
        return
    largest = sorted(row.shares.items(), key=lambda item: -item[1])[:4]
    found = ", ".join(f"{name} {share:.1%}" for name, share in largest)
    if row.objects is not None:
        found = ", ".join(f"{count} {name}" for name, count in row.counts.items()) or "nothing"
    name = shown(Path(row.source).name)
    voice.say(f"{name} → [bold]{shown(row.mask)}[/bold]  {shown(found)}  {row.seconds:.2f} s")


def tell_scores(scores: Evaluation, voice: Voice) -> None:
    """Per-class table and the means with their intervals."""
    facts = scores.as_dict()
    columns = [key for key in _first(facts["per_class"]) if _is_told(key)]
    rows = [(name, *(_number(row[key]) for key in columns)) for name, row in facts["per_class"].items()]
    voice.table("Scores", ("class", *(f">{title_of(key)}" for key in columns)), rows)
    for name, value in facts["mean"].items():
        low, high = facts["intervals"].get(name, (None, None))
        spread = f"  (95 %: {low:.3f} to {high:.3f})" if low is not None else ""
        voice.say(f"{title_of(name)}: [bold]{_number(value)}[/bold]{spread}")
    if facts["undefined"]:
        more = len(facts["undefined"]) - _NAMED
        rest = f" and {more} more" if more > 0 else ""
        voice.say(f"undefined and not averaged in: {', '.join(facts['undefined'][:_NAMED])}{rest}")


def tell_readings(readings: Sequence[Reading], voice: Voice) -> None:
    """What each tool would report, the first protocol's number being ours."""
    for score in dict.fromkeys(reading.score for reading in readings):
        ours, *others = (reading for reading in readings if reading.score == score)
        voice.say(f"\n{score.replace('_', ' ')} as tools report it, beside ours")
        voice.say(f"  {ours.protocol} {ours.value:.6f} (ours): {ours.why}")
        same = [reading.protocol for reading in others if reading.equals(ours.value)]
        if same:
            voice.say(f"  the same from {', '.join(same)}")
        for reading in others:
            if reading.protocol not in same:
                voice.say(f"  {reading.sentence(ours.value)}")


def _first(table: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return next(iter(table.values()), {})


def _is_told(key: str) -> bool:
    """Intervals and counts are in ``summary.json``; a terminal has room for scores."""
    return not key.endswith("_interval") and key not in _COUNTS


def _number(value: float | str | None) -> str:
    if isinstance(value, str):
        return value
    return "-" if value is None or value != value else f"{value:.3f}"


def tell_bench(rows: Sequence[Row], voice: Voice) -> None:
    """A table of networks with their cost, the first one being the measure of time."""
    heads = ("network", "input", ">million", ">GFLOP", ">ms", ">images/s", ">memory MB", ">time")
    cells = [
        (
            row.name,
            " x ".join(map(str, row.cost.shape)),
            f"{row.cost.parameters / 1e6:.2f}",
            f"{row.cost.flops / 1e9:.1f}",
            f"{row.cost.median_ms:.1f}",
            f"{row.cost.images_per_s:.1f}",
            f"{row.cost.peak_memory_mb:.0f}",
            f"{row.ratio:.2f}",
        )
        for row in rows
    ]
    cost = rows[0].cost
    where = f"{cost.threads} threads" if cost.device == "cpu" else cost.processor
    voice.table(f"{cost.device} ({where}), {cost.dtype}, medians of {cost.runs} passes in turn", heads, cells)
