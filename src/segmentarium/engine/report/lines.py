"""Line charts over steps as inline SVG; the style sheet colours them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from segmentarium.engine.report.markup import Markup, Number, element, join, shortened, thousands

WIDTH, HEIGHT = 520, 250
LEFT, RIGHT, TOP, BOTTOM = 56, 96, 12, 30
COLORS = 7
"""Series colours ``--series-0`` ... of the style sheet, chosen for the colour-blind too; the rest is grey."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One series of points (x, y). ``color`` picks a series colour, None is grey; ``faint`` lies behind."""

    name: str
    points: Sequence[tuple[Number, Number]]
    color: int | None = 0
    faint: bool = False
    dots: bool = False


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """From values to pixels."""

    x: tuple[float, float]
    y: tuple[float, float]
    logarithmic: bool

    def at(self, x: Number, y: Number) -> tuple[Number, Number]:
        low, high = self.y
        if self.logarithmic:
            low, high, y = math.log10(low), math.log10(high), math.log10(max(y, low))
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    bounds: tuple[Number, Number] | None = None,
    may_be_log: bool = False,
) -> Markup:
    """Lines over steps, each named where it ends.

    Args:
        title: what the vertical axis shows; read out where the page is heard.
        bounds: lowest and highest value of the vertical axis; from the data if left out.
        may_be_log: use a logarithmic axis if the values span more than a factor of fifty.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return element("p", "No values were recorded.", class_="empty")
    frame = _frame(lines, bounds, may_be_log=may_be_log)
    return element(
        "svg",
        element("title", title),
        _grid(frame),
        [_path(line, frame) for line in sorted(lines, key=lambda line: not line.faint)],
        _names([line for line in lines if line.name], frame),
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        class_="chart",
    )


def smoothed(points: Sequence[tuple[Number, Number]], *, share: Number = 0.04) -> list[tuple[float, float]]:
    """The mean over ``share`` of all points around each, over fewer at both ends."""
    reach = max(1, round(share * len(points) / 2))
    sums = [0.0, *accumulate(y for _, y in points)]
    result = []
    for i, (x, _) in enumerate(points):
        near = min(reach, i, len(points) - 1 - i)
        result.append((x, (sums[i + near + 1] - sums[i - near]) / (2 * near + 1)))
    return result


def thinned(points: Sequence[tuple[Number, Number]], *, most: int = 600) -> list[tuple[float, float]]:
    """Every n-th point, so that a long run does not make a heavy file; the last one always stays."""
    step = math.ceil(len(points) / most) or 1
    kept = list(points[::step])
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def _frame(lines: Sequence[Line], bounds: tuple[Number, Number] | None, *, may_be_log: bool) -> _Frame:
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points if math.isfinite(y)]
    low, high = bounds or (min(ys, default=0.0), max(ys, default=1.0))
    logarithmic = may_be_log and bounds is None and low > 0 and high > 50 * low
    if bounds is None and not logarithmic:
        low = min(low, 0.0)
        high = low + 1.05 * (high - low) if high > low else low + 1
    start, end = min(xs), max(xs)
    return _Frame(x=(start, end if end > start else start + 1), y=(low, high), logarithmic=logarithmic)


def _ticks(low: Number, high: Number, *, about: int = 5) -> list[Number]:
    """Round values between two bounds."""
    raw = (high - low) / about
    power = 10 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 2.5, 5, 10) if s * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: Number, high: Number) -> list[Number]:
    return [10.0**i for i in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]


def _grid(frame: _Frame) -> Markup:
    levels = _decades(*frame.y) if frame.logarithmic else _ticks(*frame.y)
    parts = []
    for level in levels:
        _, y = frame.at(frame.x[0], level)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(element("text", f"{level:g}", x=LEFT - 6, y=y, class_="tick-y"))
    for step in (tick for tick in _ticks(*frame.x) if tick == int(tick)):
        x, _ = frame.at(step, frame.y[0])
        parts.append(element("text", thousands(step), x=x, y=HEIGHT - BOTTOM + 16, class_="tick-x"))
    parts.append(element("text", "step", x=WIDTH - RIGHT + 22, y=HEIGHT - BOTTOM + 16, class_="axis"))
    return join(*parts)


def _path(line: Line, frame: _Frame) -> Markup:
    places = [frame.at(x, y) for x, y in line.points if math.isfinite(y)]
    color = f"series-{line.color}" if line.color is not None else "series-rest"
    course = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    drawn = element("polyline", points=course, class_=f"line {color}{' faint' if line.faint else ''}")
    if not line.dots and len(places) > 1:
        return drawn
    dots = [
        element(
            "circle",
            element("title", f"{line.name} {y:.3f} at step {x:g}"),
            cx=px,
            cy=py,
            r=2.6,
            class_=f"dot {color}",
        )
        for (x, y), (px, py) in zip([p for p in line.points if math.isfinite(p[1])], places, strict=True)
    ]
    return join(drawn, dots)


def _names(lines: Sequence[Line], frame: _Frame) -> Markup:
    """The name of each line beside its end, moved apart where they would overlap."""
    ends = sorted(((frame.at(*line.points[-1])[1], line) for line in lines), key=lambda end: end[0])
    heights: list[float] = []
    for y, _ in ends:
        heights.append(max(y, heights[-1] + 12) if heights else y)
    surplus = max(0.0, heights[-1] - (HEIGHT - BOTTOM)) if heights else 0.0
    return join(
        *(
            element(
                "text",
                shortened(line.name, most=14),
                x=WIDTH - RIGHT + 8,
                y=height - surplus,
                class_=f"name series-{line.color if line.color is not None else 'rest'}",
            )
            for height, (_, line) in zip(heights, ends, strict=True)
        )
    )
