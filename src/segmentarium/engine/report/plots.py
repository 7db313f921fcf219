"""The charts of the report as pictures in ``plots/``, for slides and papers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image as Pil
from PIL import ImageDraw, ImageFont

from segmentarium.engine.gallery import save_picture
from segmentarium.engine.report import outcome
from segmentarium.engine.report.folder import RunFiles
from segmentarium.engine.report.markup import Markup
from segmentarium.engine.report.paint import painted, palette
from segmentarium.values.files import ensure_folder

_COLUMNS, _GAP, _HEAD, _LETTERS = 2, 24, 52, 26
Titled = tuple[str, Markup]


def write_plots(run: RunFiles) -> list[Path]:
    """Write what the run has numbers for: ``learning_curves``, ``class_iou``, ``confusion_matrix``.

    Raises:
        CannotWrite: the folder cannot be written to.
    """
    drawings = {
        "learning_curves": outcome.charts(run),
        "class_iou": outcome.class_chart(run),
        "confusion_matrix": outcome.confusion_chart(run),
    }
    plots = {
        name: [(title, svg) for title, svg in charts if svg.startswith("<svg")]
        for name, charts in drawings.items()
    }
    return [
        save_picture(sheet(charts), ensure_folder(run.path / "plots") / f"{name}.png")
        for name, charts in plots.items()
        if charts
    ]


def sheet(charts: Sequence[Titled]) -> Pil.Image:
    """Charts under their titles, two in a row."""
    cells = [_titled(title, painted(svg)) for title, svg in charts]
    rows = [cells[i : i + _COLUMNS] for i in range(0, len(cells), _COLUMNS)]
    width = max(sum(cell.width + _GAP for cell in row) for row in rows) + _GAP
    height = sum(max(cell.height for cell in row) + _GAP for row in rows) + _GAP
    whole = Pil.new("RGB", (width, height), palette()["ground"])
    y = _GAP
    for row in rows:
        x = _GAP
        for cell in row:
            whole.paste(cell, (x, y))
            x += cell.width + _GAP
        y += max(cell.height for cell in row) + _GAP
    return whole


def _titled(title: str, chart: Pil.Image) -> Pil.Image:
    font = ImageFont.load_default(_LETTERS)
    width = max(chart.width, round(font.getlength(title)))
    cell = Pil.new("RGB", (width, chart.height + _HEAD), palette()["ground"])
    ImageDraw.Draw(cell).text((0, _HEAD / 2), title, fill=palette()["ink"], font=font, anchor="lm")
    cell.paste(chart, (0, _HEAD))
    return cell
