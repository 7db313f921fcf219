"""Bars from 0 to 1 as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence

from segmentarium.engine.report.markup import Markup, Number, Part, element, number, shortened

_ROW, _LENGTH, _VALUE = 26, 360, 90
"""Height of a row, length of a bar, room for the value, in pixels."""


def share_bar(share: Number) -> Markup:
    """A bar filled by ``share``."""
    return _bar(share)


def interval_bar(value: Number | None, interval: Sequence[Number | None] | None) -> Markup:
    """A bar filled by ``value`` with its 95% interval drawn across the end; a word if it is undefined."""
    if value is None:
        return element("span", "undefined", class_="undefined")
    if not interval or None in interval:
        return _bar(value)
    low, high = (100 * float(bound or 0) for bound in interval)
    ends = [element("line", x1=x, x2=x, y1=4, y2=12, class_="whisker") for x in (low, high)]
    return _bar(value, element("line", x1=low, x2=high, y1=8, y2=8, class_="whisker"), *ends)


def named_bars(rows: Sequence[tuple[str, Number | None, Sequence[Number | None] | None]]) -> Markup:
    """Bars below one another, each with its name on the left and its value on the right."""
    left = 14 + 7 * max(len(shortened(name)) for name, _, _ in rows)
    drawn = [_row(*row, left=left, top=_ROW * place) for place, row in enumerate(rows)]
    width, height = left + _LENGTH + _VALUE, _ROW * len(rows)
    return element("svg", drawn, viewBox=f"0 0 {width} {height}", role="img", class_="bars")


def _row(
    name: str, value: Number | None, interval: Sequence[Number | None] | None, *, left: int, top: int
) -> list[Markup]:
    middle = top + _ROW / 2
    told = "undefined" if value is None else number(value)
    bar = {"y": middle - 5, "height": 10}
    parts = [
        element("text", shortened(name), x=left - 8, y=middle, class_="row-name", font_size=12),
        element("rect", x=left, width=_LENGTH, class_="track", **bar),
        element("rect", x=left, width=_LENGTH * (value or 0), class_="fill", **bar),
        element("text", told, x=left + _LENGTH + 10, y=middle, class_="name", font_size=12),
    ]
    if value is None or not interval or None in interval:
        return parts
    low, high = (left + _LENGTH * float(bound or 0) for bound in interval)
    ends = [element("line", x1=x, x2=x, y1=middle - 4, y2=middle + 4, class_="whisker") for x in (low, high)]
    return [*parts, element("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker"), *ends]


def _bar(share: Number, *marks: Part) -> Markup:
    track = element("rect", x=0, y=3, width=100, height=10, class_="track")
    fill = element("rect", x=0, y=3, width=100 * share, height=10, class_="fill")
    shape = {"viewBox": "0 0 100 16", "preserveAspectRatio": "none", "class_": "bar", "aria_hidden": "true"}
    return element("svg", track, fill, *marks, **shape)
