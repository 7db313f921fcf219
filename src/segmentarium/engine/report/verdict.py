"""The verdict: what the run is worth, where it is weak, and what to do next, in three sentences."""

from __future__ import annotations

from typing import Any

from segmentarium.engine.report.folder import RunFiles, Table
from segmentarium.engine.report.markup import number, percent


def verdict(run: RunFiles) -> list[str]:
    """Three sentences made of the numbers in the run folder; fewer where numbers are missing."""
    return [sentence for sentence in (_worth(run), _weakness(run), _next_step(run)) if sentence]


def _worth(run: RunFiles) -> str:
    mean = run.summary.get("mean", {})
    if mean.get("mean_iou") is None:
        return "This run has not been evaluated yet: there is no score to judge it by."
    low_high = _interval(run.summary, "mean_iou")
    between = f" (95% interval {low_high})" if low_high else ""
    images = run.summary.get("images", 0)
    where = f"{images} image{'s' if images != 1 else ''} of the {run.summary.get('split', 'val')} split"
    who = str(run.recipe.get("model") or "The model")
    return f"{who} reaches a mean IoU of {number(mean['mean_iou'])}{between} on {where}."


def _interval(summary: Table, key: str) -> str:
    bounds = summary.get("intervals", {}).get(key) or [None]
    return "" if None in bounds else " to ".join(number(bound) for bound in bounds)


def _weakness(run: RunFiles) -> str:
    scored = {
        n: entry for n, entry in run.summary.get("per_class", {}).items() if entry.get("iou") is not None
    }
    if not scored:
        return ""
    worst = min(scored, key=lambda name: scored[name]["iou"])
    best = max(scored, key=lambda name: scored[name]["iou"])
    if worst == best:
        return f"Its only scored class, {worst}, has an IoU of {number(scored[worst]['iou'])}."
    high, low = (number(scored[name]["iou"]) for name in (best, worst))
    lost = _mistaken_for(run.summary, worst)
    return f"It is best at {best} (IoU {high}) and weakest at {worst} ({low}){lost}."


def _mistaken_for(summary: Table, name: str) -> str:
    """What a class is confused with most, in the direction in which more goes wrong."""
    names = list(summary.get("per_class", {}))
    matrix: list[list[int]] = summary.get("confusion_matrix", [])
    if name not in names or len(matrix) != len(names):
        return ""
    own = names.index(name)
    row, column = matrix[own], [line[own] for line in matrix]
    lost, added = (sum(line) - line[own] for line in (row, column))
    line = row if lost >= added else column
    pixels, other = max(((n, names[i]) for i, n in enumerate(line) if i != own), default=(0, ""))
    if pixels < 0.05 * sum(line):
        return ""
    share = percent(pixels / sum(line))
    if line is row:
        return f": {share} of its pixels are taken for {other}"
    return f": {share} of what is painted so is {other}"


def _next_step(run: RunFiles) -> str:
    errors = [finding for finding in run.check.get("findings", []) if finding.get("severity") == "error"]
    if errors:
        faults = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        return f"Before anything else, mend the data: seg check found {faults}, listed under Data."
    evaluated = [event for event in run.of_kind("evaluated") if event.get("mean_iou") is not None]
    if len(evaluated) < 3:
        return _by_images(run.summary)
    best: dict[str, Any] = max(evaluated, key=lambda event: event["mean_iou"])
    last, before = evaluated[-1], evaluated[-2]
    if best is last and last["mean_iou"] - before["mean_iou"] > 0.005:
        return f"The score was still rising at the end (step {last['step']}): more steps should help."
    if best["mean_iou"] - last["mean_iou"] > 0.02:
        return (
            f"It was best at step {best['step']} and fell afterwards, so more steps will not help;"
            " more data or stronger augmentation may."
        )
    return (
        f"The score has levelled off (best at step {best['step']}):"
        " a larger network or more data is the next thing to try."
    )


def _by_images(summary: Table) -> str:
    if summary.get("images", 0) < 10 and summary:
        return "So few images say little about others: read the intervals, and evaluate on more."
    return ""
