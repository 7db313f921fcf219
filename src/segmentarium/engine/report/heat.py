"""The confusion matrix as a heat map in inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from segmentarium.engine.report.markup import Markup, Number, element, shortened, thousands


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Where things stand, in pixels; names too long for a column are slanted."""

    cell: float
    left: float
    top: float
    letters: float
    slanted: bool

    @classmethod
    def of(cls, names: Sequence[str]) -> _Layout:
        cell = max(14.0, min(64.0, 640 / len(names)))
        left = 14 + 7.0 * max(len(shortened(name)) for name in names)
        slanted = left - 6 > cell
        letters = min(13.0, cell * 0.75)
        return cls(
            cell=cell, left=left, top=left * 0.8 if slanted else 26.0, letters=letters, slanted=slanted
        )


def heat_map(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> Markup:
    """Each row as shares of its true class: right in one colour, mistaken in another, stronger the larger.

    The pointer on a square shows its pixels. Numbers are percent; small squares have none.
    """
    at = _Layout.of(names)
    places = range(len(names))
    side = at.cell * len(names)
    return element(
        "svg",
        element("title", "Confusion matrix: true classes in rows, predicted classes in columns"),
        element("rect", x=at.left, y=at.top, width=side - 1, height=side - 1, class_="none"),
        [_cell(matrix, names, i, j, at) for i in places for j in places if matrix[i][j]],
        [_row_name(name, row, at) for row, name in enumerate(names)],
        [_column_name(name, column, at) for column, name in enumerate(names)],
        viewBox=f"0 0 {at.left + side + at.left * 0.6:.0f} {at.top + side + 2:.0f}",
        width=round(at.left + side + at.left * 0.6),
        role="img",
        class_="heat",
    )


def _cell(
    matrix: Sequence[Sequence[int]], names: Sequence[str], row: int, column: int, at: _Layout
) -> Markup:
    pixels = matrix[row][column]
    share = pixels / sum(matrix[row])
    x, y, size = at.left + column * at.cell, at.top + row * at.cell, at.cell - 1
    told = f"{names[row]} predicted as {names[column]}: {thousands(pixels)} pixels, {share:.2%} of the row"
    kind = "right" if row == column else "wrong"
    depth = share**0.7  # less than proportional, so that few mistakes are seen as well
    square = element("rect", x=x, y=y, width=size, height=size, class_=kind, fill_opacity=depth)
    return element(
        "g", element("title", told), square, _percentage(share, x + size / 2, y + size / 2, at.cell)
    )


def _percentage(share: Number, x: Number, y: Number, cell: Number) -> Markup | None:
    if cell < 24 or share < 0.005:
        return None
    shown = f"{100 * share:.0f}" if share >= 0.01 else "<1"
    ink = "strong" if share > 0.45 else "weak"
    return element("text", shown, x=x, y=y, class_=ink, font_size=min(14.0, cell * 0.36))


def _row_name(name: str, row: int, at: _Layout) -> Markup:
    y = at.top + (row + 0.5) * at.cell
    return element("text", shortened(name), x=at.left - 8, y=y, class_="row-name", font_size=at.letters)


def _column_name(name: str, column: int, at: _Layout) -> Markup:
    x, y = at.left + (column + 0.5) * at.cell, at.top - 8
    turn = f"rotate(-45 {x:.1f} {y:.1f})" if at.slanted else None
    anchor = "start" if at.slanted else "middle"
    return element(
        "text", shortened(name), x=x, y=y, font_size=at.letters, transform=turn, text_anchor=anchor
    )
