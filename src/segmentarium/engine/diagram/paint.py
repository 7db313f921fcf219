"""A diagram as SVG: time runs to the right, a step down is half the size of the map."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple
from xml.sax.saxutils import escape

from segmentarium.engine.diagram.blocks import Block, Diagram

WIDTH, HEIGHT, SIGN = 128, 46, 26
GAP_X, GAP_Y = 30, 30
MARGIN_X, MARGIN_Y = 74, 66
SAME, COARSER, FINER = "#8a8f98", "#b5532f", "#2f6fb5"
FILLS = ("#dbe7f6", "#fbe3cf", "#dff0dc", "#ece0f5", "#f7dbe1", "#e6e6df", "#d9f0f0", "#fdf3c8")
FITS = 17
"""Letters of a label."""


class Place(NamedTuple):
    """Where a block stands, in pixels of the picture."""

    left: int
    top: int
    width: int

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def middle(self) -> int:
        return self.top + HEIGHT // 2


def svg(drawn: Diagram, *, title: str) -> str:
    """The picture; colours tell the parts of the network, arrows whether maps shrink (red) or grow (blue).

    Sheets behind a block say that it is used for several looks, such as the image at several sizes.
    """
    places = _places(drawn)
    width = max((place.right for place in places), default=0) + GAP_X
    height = max((place.top for place in places), default=0) + HEIGHT + GAP_Y
    fills = _fills(drawn)
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} {height}'"
        " font-family='Helvetica, Arial, sans-serif' font-size='12'>",
        f"<rect width='{width}' height='{height}' fill='white'/>",
        f"<text x='14' y='24' font-size='16' font-weight='bold'>{escape(title)}</text>",
        *_rulers(drawn, places, width),
        *(_arrow(drawn, source, target, places) for source, target in drawn.arrows),
        *(_box(block, place, fills) for block, place in zip(drawn.blocks, places, strict=True)),
        "</svg>",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _places(drawn: Diagram) -> list[Place]:
    """Of each block: a column behind all that feed it, a lane in the row of its level."""
    columns = _columns(drawn)
    taken: dict[tuple[int, int], int] = defaultdict(int)
    lanes = []
    for column, block in zip(columns, drawn.blocks, strict=True):
        lanes.append(taken[column, block.level])
        taken[column, block.level] += 1
    deep = 1 + max((block.level for block in drawn.blocks), default=0)
    counts = [max([n for (_, at), n in taken.items() if at == level], default=0) for level in range(deep)]
    tops = _sums([count * (HEIGHT + GAP_Y) for count in counts], MARGIN_Y)
    named = {column for column, block in zip(columns, drawn.blocks, strict=True) if block.kind}
    widths = [(WIDTH if column in named else SIGN) for column in range(1 + max(columns, default=0))]
    lefts = _sums([width + GAP_X for width in widths], MARGIN_X)
    return [
        Place(lefts[column], tops[block.level] + lane * (HEIGHT + GAP_Y), WIDTH if block.kind else SIGN)
        for column, lane, block in zip(columns, lanes, drawn.blocks, strict=True)
    ]


def _sums(steps: list[int], start: int) -> list[int]:
    return [start + sum(steps[:i]) for i in range(len(steps))]


def _columns(drawn: Diagram) -> list[int]:
    columns: list[int] = []
    for index in range(len(drawn.blocks)):
        feeding = [columns[a] for a, b in drawn.arrows if b == index and a >= 0]
        columns.append(1 + max(feeding, default=-1))
    return columns


def _fills(drawn: Diagram) -> dict[str, str]:
    parts = dict.fromkeys(_part(block) for block in drawn.blocks if block.kind)
    return {part: FILLS[i % len(FILLS)] for i, part in enumerate(parts)}


def _part(block: Block) -> str:
    return block.name.partition(".")[0]


def _rulers(drawn: Diagram, places: list[Place], width: int) -> list[str]:
    """A name and a thin line for each size of maps."""
    lines = []
    for level in sorted({block.level for block in drawn.blocks}):
        top = min(p.top for p, block in zip(places, drawn.blocks, strict=True) if block.level == level)
        lines.append(f"<text x='14' y='{top + HEIGHT // 2 + 4}' fill='#666'>1 : {2**level}</text>")
        lines.append(f"<path d='M14 {top - GAP_Y // 2} H{width}' stroke='#eee'/>")
    return lines


def _arrow(drawn: Diagram, source: int, target: int, places: list[Place]) -> str:
    end = places[target]
    if source < 0:
        near = end.left == MARGIN_X
        return _curve((end.left - GAP_X + 4, end.middle), (end.left, end.middle), SAME) if near else ""
    before, after = drawn.blocks[source].level, drawn.blocks[target].level
    color = SAME if before == after else COARSER if before < after else FINER
    start = (places[source].right, places[source].middle)
    far = end.left - start[0] > GAP_X
    if start[1] == end.middle:
        draw = _over if end.left - start[0] > WIDTH // 2 + GAP_X else _curve
    else:
        between = (p for p in places if start[0] < p.left < end.left)
        draw = _late if far and all(p.middle != start[1] for p in between) else _curve
    return draw(start, (end.left, end.middle), color)


def _curve(start: tuple[int, int], end: tuple[int, int], color: str) -> str:
    (x0, y0), (x1, y1) = start, end
    bend = max(14, (x1 - x0) // 2)
    return _line(f"M{x0} {y0} C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}", end, color)


def _late(start: tuple[int, int], end: tuple[int, int], color: str) -> str:
    """Along its own lane up to the column of ``end``: a curve would pass behind the blocks before that."""
    (x0, y0), (x1, y1) = start, end
    turn = x1 - GAP_X
    return _line(f"M{x0} {y0} H{turn} C{turn + 18} {y0} {x1 - 22} {y1} {x1} {y1}", end, color)


def _over(start: tuple[int, int], end: tuple[int, int], color: str) -> str:
    """Past the blocks between, above them."""
    (x0, y), (x1, _) = start, end
    above = y - HEIGHT // 2 - 11
    rise = f"C{x0 + 14} {y} {x0 + 4} {above} {x0 + 24} {above}"
    fall = f"C{x1 - 4} {above} {x1 - 14} {y} {x1} {y}"
    return _line(f"M{x0} {y} {rise} H{x1 - 24} {fall}", end, color)


def _line(path: str, end: tuple[int, int], color: str) -> str:
    head = f"M{end[0]} {end[1]} l-7 -3.5 v7 z"
    return (
        f"<path d='{path}' fill='none' stroke='{color}' stroke-width='1.6'/><path d='{head}' fill='{color}'/>"
    )


def _box(block: Block, place: Place, fills: dict[str, str]) -> str:
    middle, centre = place.left + place.width // 2, place.middle
    if not block.kind:
        size = 9 if len(block.name) > 1 else 14
        circle = f"<circle cx='{middle}' cy='{centre}' r='{SIGN // 2}' fill='white' stroke='#555'/>"
        return circle + _text(middle, centre + 4, block.name, f"font-size='{size}'")
    fill = fills[_part(block)]
    box = f"<rect x='{place.left}' y='{place.top}' width='{place.width}' height='{HEIGHT}' rx='5'"
    return (
        _behind(block, place, fill)
        + f"{box} fill='{fill}' stroke='#555'/>"
        + _text(middle, place.top + 19, _label(block), "font-weight='bold'")
        + _text(middle, place.top + 36, _size(block.shape), "fill='#444'")
    )


def _behind(block: Block, place: Place, fill: str) -> str:
    """Sheets behind what is used for several looks by itself, two at most."""
    return "".join(
        f"<path d='M{place.left + step} {place.top - step} h{WIDTH} v{HEIGHT} h-{WIDTH} z'"
        f" fill='{fill}' stroke='#555' stroke-width='0.7'/>"
        for step in range(4 * (min(block.looks, 3) - 1), 0, -4)
    )


def _text(x: int, y: int, words: str, style: str) -> str:
    return f"<text x='{x}' y='{y}' text-anchor='middle' {style}>{escape(words)}</text>"


def _label(block: Block) -> str:
    """The last words of the path that fit, and how often it is repeated."""
    times = f" x{block.repeats}" if block.repeats > 1 else ""
    words = block.name.replace("encoder.body.", "").split(".")
    while len(".".join(words)) > FITS - len(times) and len(words) > 1:
        words.pop(0)
    return ".".join(words)[: FITS - len(times)] + times


def _size(shape: tuple[int, ...]) -> str:
    """Channels and the size of the map; of tokens their number and width."""
    if len(shape) == 2:
        return f"{shape[0]} tokens, {shape[1]}"
    size = " x ".join(map(str, shape[1:]))
    return f"{shape[0]} ch, {size}" if len(shape) > 2 else " x ".join(map(str, shape))
