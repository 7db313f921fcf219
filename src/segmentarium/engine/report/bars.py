"""Bars from 0 to 1 as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence

from segmentarium.engine.report.markup import Markup, Number, Part, element


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


def _bar(share: Number, *marks: Part) -> Markup:
    track = element("rect", x=0, y=3, width=100, height=10, class_="track")
    fill = element("rect", x=0, y=3, width=100 * share, height=10, class_="fill")
    shape = {"viewBox": "0 0 100 16", "preserveAspectRatio": "none", "class_": "bar", "aria_hidden": "true"}
    return element("svg", track, fill, *marks, **shape)
