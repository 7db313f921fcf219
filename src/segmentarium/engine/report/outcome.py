"""Sections on what came of a run in numbers: learning curves, scores, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from segmentarium.engine.report.bars import interval_bar, named_bars
from segmentarium.engine.report.folder import RunFiles, Table
from segmentarium.engine.report.heat import heat_map
from segmentarium.engine.report.lines import COLORS, Line, line_chart, smoothed, thinned
from segmentarium.engine.report.markup import Markup, Number, element, join, number, thousands
from segmentarium.engine.report.origin import absent, swatch, table
from segmentarium.engine.titles import TITLES, heading_of, title_of


def curves(run: RunFiles) -> Markup:
    """Loss, learning rate and validation scores over steps."""
    drawn = charts(run)
    if not drawn:
        return absent("events.jsonl")
    figures = [element("figure", element("figcaption", title), chart) for title, chart in drawn]
    words = "Faint: every step. Strong: running mean. Values stand where the pointer rests on a dot."
    return join(element("div", figures, class_="charts"), element("p", words, class_="small"))


def charts(run: RunFiles) -> list[tuple[str, Markup]]:
    """Titles and line charts of the learning curves; none where nothing was recorded."""
    steps, evaluated = run.of_kind("step"), run.of_kind("evaluated")
    if not steps and not evaluated:
        return []
    return [
        ("Loss", line_chart(_loss_lines(steps), title="Loss", may_be_log=True)),
        (
            "Learning rate",
            line_chart([Line(name="", points=_series(steps, "lr"))], title="Learning rate"),
        ),
        *_score_charts(evaluated),
    ]


def _score_charts(evaluated: Sequence[Table]) -> list[tuple[str, Markup]]:
    if not evaluated:
        return []
    headline = str(evaluated[-1].get("headline", ""))
    what, each = heading_of(headline), f"{heading_of(headline.removeprefix('mean_'))} of each class"
    lines = _score_lines(evaluated)
    return [
        (f"{what} on the validation split", line_chart(lines, title=what, bounds=(0.0, 1.0))),
        (each, line_chart(_class_lines(evaluated), title=each, bounds=(0.0, 1.0))),
    ]


def _loss_lines(steps: Sequence[Table]) -> list[Line]:
    whole = _series(steps, "loss")
    names = sorted({name for event in steps for name in event.get("terms", {})} - {"loss"})
    lines = [
        Line(name="", points=thinned(whole), color=0, faint=True),
        Line(name="loss", points=thinned(smoothed(whole))),
    ]
    for color, name in enumerate(names if len(names) > 1 else [], start=1):
        points = [(float(e["step"]), float(e["terms"][name])) for e in steps if name in e.get("terms", {})]
        lines.append(
            Line(name=name, points=thinned(smoothed(points)), color=color if color < COLORS else None)
        )
    return lines


def _score_lines(evaluated: Sequence[Table]) -> list[Line]:
    """A line a score, those in units other than shares left out."""
    names = [name for name in evaluated[-1].get("mean", {}) if not name.endswith("_mm")]
    return [
        Line(name=title_of(name), points=_means(evaluated, name), color=color, dots=True)
        for color, name in enumerate(names)
    ]


def _means(evaluated: Sequence[Table], name: str) -> list[tuple[float, float]]:
    told = [(float(e["step"]), e.get("mean", {}).get(name)) for e in evaluated]
    return thinned([(step, float(value)) for step, value in told if value is not None], most=5000)


def _class_lines(evaluated: Sequence[Table]) -> list[Line]:
    """The classes of many that ended lowest get the colours, since they need the eyes; the rest is grey."""
    names = list(evaluated[-1].get("per_class", {})) if evaluated else []
    ends = {name: evaluated[-1]["per_class"].get(name) for name in names}
    chosen = sorted((n for n in names if ends[n] is not None), key=lambda name: ends[name])[:COLORS]
    colors = {name: color for color, name in enumerate(name for name in names if name in chosen)}
    lines = []
    for name in names:
        points = [
            (float(e["step"]), float(e["per_class"][name]))
            for e in evaluated
            if e.get("per_class", {}).get(name) is not None
        ]
        color = colors.get(name)
        lines.append(
            Line(name=name if color is not None else "", points=points, color=color, dots=color is not None)
        )
    return lines


def _series(events: Sequence[Table], key: str) -> list[tuple[float, float]]:
    return thinned([(float(e["step"]), float(e[key])) for e in events if e.get(key) is not None], most=5000)


def scores(run: RunFiles) -> Markup:
    """The scores with their intervals, class by class, and what each means."""
    if not run.summary:
        return absent("summary.json")
    intervals = run.summary.get("intervals", {})
    rows = [
        element(
            "tr",
            element("th", heading_of(key), scope="row"),
            element("td", _bar(key, value, intervals.get(key)), class_="wide"),
            element("td", number(value)),
            element("td", _between(intervals.get(key))),
        )
        for key, value in run.summary.get("mean", {}).items()
        if key in TITLES
    ]
    notes = [element("li", note) for note in run.summary.get("notes", [])]
    return join(
        table(("Score", "", "Value", "95% interval"), rows),
        element("ul", notes, class_="notes") if notes else None,
        element("h3", "Class by class"),
        _class_table(run),
        join(element("h3", "Confusion"), _confusion(run)) if "confusion_matrix" in run.summary else None,
        _definitions(run.summary.get("definitions", {})),
    )


def _class_table(run: RunFiles) -> Markup:
    per_class: dict[str, Table] = run.summary.get("per_class", {})
    colors = {entry["name"]: entry.get("color") for entry in run.classes}
    first: Table = next(iter(per_class.values()), {})
    lead, *others = [key for key in first if key in TITLES] or ["iou"]
    counts = [key for key in first if key not in TITLES and not key.endswith("_interval")]
    rows = [
        element(
            "tr",
            element("th", swatch(colors.get(name)), name, scope="row"),
            element("td", interval_bar(entry[lead], entry.get(f"{lead}_interval")), class_="wide"),
            element("td", number(entry[lead])),
            element("td", _between(entry.get(f"{lead}_interval"))),
            [element("td", number(entry[key])) for key in others],
            [element("td", thousands(entry[key])) for key in counts],
        )
        for name, entry in per_class.items()
    ]
    titles = (*map(heading_of, others), *map(heading_of, counts))
    return table(("Class", "", heading_of(lead), "95% interval", *titles), rows)


def _bar(key: str, value: Number | None, interval: Any) -> Markup | None:
    """Only shares have a bar: millimetres know no full length."""
    return None if key.endswith("_mm") else interval_bar(value, interval)


def class_chart(run: RunFiles) -> list[tuple[str, Markup]]:
    """Title and chart of the first score of each class; none where nothing was scored."""
    scored: dict[str, Table] = run.summary.get("per_class", {})
    key = next((key for entry in scored.values() for key in entry if key in TITLES), "iou")
    rows = [(name, entry[key], entry.get(f"{key}_interval")) for name, entry in scored.items()]
    return [(f"{heading_of(key)} of each class, with 95% interval", named_bars(rows))] if rows else []


def confusion_chart(run: RunFiles) -> list[tuple[str, Markup]]:
    """Title and heat map of the confusion matrix; none where nothing was scored."""
    matrix, names = run.summary.get("confusion_matrix", []), list(run.summary.get("per_class", {}))
    title = "Percent of the pixels of a true class (row) that went to each class (column)"
    return [(title, heat_map(matrix, names))] if names and matrix else []


def _confusion(run: RunFiles) -> Markup:
    drawn = confusion_chart(run)
    if not drawn:
        return absent("summary.json")
    words = (
        "Each row is a true class, each column a predicted one; a square tells which percentage of the row's"
        " pixels went there: blue is right, orange is mistaken. Rest the pointer on a square for the pixels."
    )
    return join(element("p", words, class_="small"), element("div", drawn[0][1], class_="scroll"))


def _definitions(definitions: dict[str, str]) -> Markup | None:
    if not definitions:
        return None
    rows = [join(element("dt", heading_of(key)), element("dd", words)) for key, words in definitions.items()]
    return element(
        "details",
        element("summary", "What each score means, and what happens with empty truth"),
        element("dl", rows),
    )


def _between(bounds: Sequence[Number | None] | None) -> str:
    return "–" if not bounds or None in bounds else f"{number(bounds[0])} – {number(bounds[1])}"
