"""Sections on what came of a run in numbers: learning curves, scores, confusion."""

from __future__ import annotations

from collections.abc import Sequence

from segmentarium.engine.report.bars import interval_bar, named_bars
from segmentarium.engine.report.folder import RunFiles, Table
from segmentarium.engine.report.heat import heat_map
from segmentarium.engine.report.lines import COLORS, Line, line_chart, smoothed, thinned
from segmentarium.engine.report.markup import Markup, Number, element, join, number, percent, thousands
from segmentarium.engine.report.origin import absent, swatch, table

_TITLES = {
    "mean_iou": "Mean IoU",
    "mean_dice": "Mean Dice",
    "pixel_accuracy": "Pixel accuracy",
    "mean_accuracy": "Mean accuracy",
    "frequency_weighted_iou": "Frequency-weighted IoU",
    "mean_iou_per_image": "Mean IoU per image",
}


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
        (
            "Mean IoU on the validation split",
            line_chart(_score_lines(evaluated), title="Mean IoU", bounds=(0.0, 1.0)),
        ),
        (
            "IoU of each class",
            line_chart(_class_lines(evaluated), title="IoU of each class", bounds=(0.0, 1.0)),
        ),
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
    return [
        Line(name="mean IoU", points=_series(evaluated, "mean_iou"), dots=True),
        Line(name="mean Dice", points=_series(evaluated, "mean_dice"), color=1, dots=True),
    ]


def _class_lines(evaluated: Sequence[Table]) -> list[Line]:
    """The classes of many that ended lowest get the colours, since they need the eyes; the rest is grey."""
    names = list(evaluated[-1].get("iou", {})) if evaluated else []
    ends = {name: evaluated[-1]["iou"].get(name) for name in names}
    chosen = sorted((n for n in names if ends[n] is not None), key=lambda name: ends[name])[:COLORS]
    colors = {name: color for color, name in enumerate(name for name in names if name in chosen)}
    lines = []
    for name in names:
        points = [
            (float(e["step"]), float(e["iou"][name])) for e in evaluated if e["iou"].get(name) is not None
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
            element("th", _TITLES[key], scope="row"),
            element("td", interval_bar(value, intervals.get(key)), class_="wide"),
            element("td", number(value)),
            element("td", _between(intervals.get(key))),
        )
        for key, value in run.summary.get("mean", {}).items()
        if key in _TITLES
    ]
    notes = [element("li", note) for note in run.summary.get("notes", [])]
    return join(
        table(("Score", "", "Value", "95% interval"), rows),
        element("ul", notes, class_="notes") if notes else None,
        element("h3", "Class by class"),
        _class_table(run),
        element("h3", "Confusion"),
        _confusion(run),
        _definitions(run.summary.get("definitions", {})),
    )


def _class_table(run: RunFiles) -> Markup:
    per_class: dict[str, Table] = run.summary.get("per_class", {})
    colors = {entry["name"]: entry.get("color") for entry in run.classes}
    whole = sum(entry["pixels"] for entry in per_class.values()) or 1
    rows = [
        element(
            "tr",
            element("th", swatch(colors.get(name)), name, scope="row"),
            element("td", interval_bar(entry["iou"], entry.get("iou_interval")), class_="wide"),
            element("td", number(entry["iou"])),
            element("td", _between(entry.get("iou_interval"))),
            [element("td", number(entry[key])) for key in ("dice", "precision", "recall")],
            element("td", thousands(entry["pixels"])),
            element("td", percent(entry["pixels"] / whole)),
        )
        for name, entry in per_class.items()
    ]
    head = ("Class", "", "IoU", "95% interval", "Dice", "Precision", "Recall", "Pixels", "Share")
    return table(head, rows)


def class_chart(run: RunFiles) -> list[tuple[str, Markup]]:
    """Title and chart of the IoU of each class; none where nothing was scored."""
    scored: dict[str, Table] = run.summary.get("per_class", {})
    rows = [(name, entry["iou"], entry.get("iou_interval")) for name, entry in scored.items()]
    return [("IoU of each class, with 95% interval", named_bars(rows))] if rows else []


def confusion_chart(run: RunFiles) -> list[tuple[str, Markup]]:
    """Title and heat map of the confusion matrix; none where nothing was scored."""
    matrix, names = run.summary.get("confusion_matrix", []), list(run.summary.get("per_class", {}))
    title = "Percent of the pixels of a true class (row) that went to each class (column)"
    return [(title, heat_map(matrix, names))] if names else []


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
    names = {**_TITLES, "iou": "IoU", "interval": "95% interval"}
    rows = [
        join(element("dt", names.get(key, key.capitalize())), element("dd", words))
        for key, words in definitions.items()
    ]
    return element(
        "details",
        element("summary", "What each score means, and what happens with empty truth"),
        element("dl", rows),
    )


def _between(bounds: Sequence[Number | None] | None) -> str:
    return "–" if not bounds or None in bounds else f"{number(bounds[0])} – {number(bounds[1])}"
