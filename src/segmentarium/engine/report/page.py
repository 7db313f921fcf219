"""The page around the sections: head, verdict, contents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from segmentarium.engine.report import origin, outcome
from segmentarium.engine.report.bars import interval_bar
from segmentarium.engine.report.folder import RunFiles
from segmentarium.engine.report.markup import Markup, Number, element, join, number
from segmentarium.engine.report.pictures import pictures
from segmentarium.engine.report.verdict import verdict
from segmentarium.engine.titles import title_of

_SECTIONS: tuple[tuple[str, str, Callable[[RunFiles], Markup]], ...] = (
    ("scores", "Scores", outcome.scores),
    ("pictures", "Predictions", pictures),
    ("curves", "Learning curves", outcome.curves),
    ("data", "Data", origin.data_card),
    ("plan", "Plan and reasons", origin.plan),
    ("cost", "Cost", origin.cost),
    ("provenance", "Provenance", origin.provenance),
    ("reproduce", "Do it again", origin.reproduce),
)
_HEADLINES = ("mean_iou", "mean_dice", "pixel_accuracy", "hd95_mm", "ap", "ap50", "ap75", "pq", "sq", "rq")


_PRINT = 'addEventListener("beforeprint",()=>document.querySelectorAll("details").forEach(d=>d.open=true))'
"""On paper nothing can be unfolded, so it is before."""


def page_of(run: RunFiles) -> Markup:
    """The whole page of a run."""
    title = f"{run.path.resolve().name} – report"
    style = Path(__file__).with_name("style.css").read_text(encoding="utf-8")
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        element("style", Markup(style)),
        element("script", Markup(_PRINT)),
    )
    sections = [
        element("section", element("h2", name), content(run), id=anchor)
        for anchor, name, content in _SECTIONS
    ]
    body = element("body", element("main", _opening(run), sections), _closing())
    return join(Markup("<!doctype html>\n"), element("html", head, body, lang="en"))


def _opening(run: RunFiles) -> Markup:
    links = [element("a", name, href=f"#{anchor}") for anchor, name, _ in _SECTIONS]
    missing = (
        f"Not in the run folder, hence not in the report: {', '.join(run.missing)}." if run.missing else None
    )
    return element(
        "header",
        element("p", "Segmentarium · report of a run", class_="kicker"),
        element("h1", run.path.resolve().name),
        element("p", " ".join(verdict(run)), class_="verdict"),
        _headlines(run),
        element("p", missing, class_="empty") if missing else None,
        element("nav", links),
    )


def _headlines(run: RunFiles) -> Markup | None:
    mean, intervals = run.summary.get("mean", {}), run.summary.get("intervals", {})
    tiles = [
        element(
            "div",
            element("span", title_of(key), class_="label"),
            element("span", number(mean[key]), class_="value"),
            None if key.endswith("_mm") else interval_bar(mean[key], intervals.get(key)),
            element("span", _spread(intervals.get(key)), class_="label"),
        )
        for key in _HEADLINES
        if mean.get(key) is not None
    ]
    return element("div", tiles, class_="tiles") if tiles else None


def _spread(bounds: list[Number | None] | None) -> str:
    return (
        "no interval"
        if not bounds or None in bounds
        else f"95% interval {number(bounds[0])} – {number(bounds[1])}"
    )


def _closing() -> Markup:
    return element(
        "footer",
        "Made by Segmentarium from the files of the run folder. The same numbers are in summary.json.",
    )
