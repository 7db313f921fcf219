"""The verdict: what the run is worth, where it is weak, and what to do next, in three sentences."""

from __future__ import annotations

from segmentarium.engine.report.folder import RunFiles, Table
from segmentarium.engine.report.markup import number, percent
from segmentarium.engine.titles import title_of


def verdict(run: RunFiles) -> list[str]:
    """Three sentences made of the numbers in the run folder; fewer where numbers are missing."""
    return [sentence for sentence in (_worth(run), _weakness(run), _next_step(run)) if sentence]


def _worth(run: RunFiles) -> str:
    mean = run.summary.get("mean", {})
    key = headline_of(run)
    if mean.get(key) is None:
        return "This run has not been evaluated yet: there is no score to judge it by."
    low_high = _interval(run.summary, key)
    between = f" (95% interval {low_high})" if low_high else ""
    images = run.summary.get("images", 0)
    where = f"{images} image{'s' if images != 1 else ''} of the {run.summary.get('split', 'val')} split"
    who = str(run.recipe.get("model") or "The model")
    title = title_of(key)
    return f"{who} reaches {_article(title)} {title} of {number(mean[key])}{between} on {where}."


def headline_of(run: RunFiles) -> str:
    """The name of the score that stands for the others."""
    return str(run.summary.get("headline", "mean_iou"))


def _interval(summary: Table, key: str) -> str:
    bounds = summary.get("intervals", {}).get(key) or [None]
    return "" if None in bounds else " to ".join(number(bound) for bound in bounds)


def _weakness(run: RunFiles) -> str:
    per_class: dict[str, Table] = run.summary.get("per_class", {})
    key = headline_of(run).removeprefix("mean_")
    scored = {name: entry[key] for name, entry in per_class.items() if entry.get(key) is not None}
    if not scored:
        return ""
    what = title_of(key)
    worst, best = min(scored, key=lambda name: scored[name]), max(scored, key=lambda name: scored[name])
    if worst == best:
        return f"Its only scored class, {worst}, has {_article(what)} {what} of {number(scored[worst])}."
    lost = _mistaken_for(run.summary, worst)
    high, low = number(scored[best]), number(scored[worst])
    return f"It is best at {best} ({what} {high}) and weakest at {worst} ({low}){lost}."


def _article(title: str) -> str:
    return "an" if title[0] in "AI" else "a"


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
    told = [(event, event.get("mean", {}).get(event.get("headline"))) for event in run.of_kind("evaluated")]
    evaluated = [(int(event["step"]), float(score)) for event, score in told if score is not None]
    if len(evaluated) < 3:
        return _by_images(run.summary)
    best = max(evaluated, key=lambda pair: pair[1])
    last, before = evaluated[-1], evaluated[-2]
    if best is last and last[1] - before[1] > 0.005:
        return f"The score was still rising at the end (step {last[0]}): more steps should help."
    if best[1] - last[1] > 0.02:
        return (
            f"It was best at step {best[0]} and fell afterwards, so more steps will not help;"
            " more data or stronger augmentation may."
        )
    return (
        f"The score has levelled off (best at step {best[0]}):"
        " a larger network or more data is the next thing to try."
    )


def _by_images(summary: Table) -> str:
    if summary.get("images", 0) < 10 and summary:
        return "So few images say little about others: read the intervals, and evaluate on more."
    return ""
