"""Pictures of an evaluation: image, truth, prediction and errors side by side, worst cases first."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image as Pil
from PIL.PngImagePlugin import PngInfo

from segmentarium.engine.panels import rows_of
from segmentarium.values.classes import Classes
from segmentarium.values.draw import contact_sheet, error_map, legend, overlay, to_rgb8
from segmentarium.values.files import atomic_write, ensure_folder
from segmentarium.values.image import Image

PANEL = 480
"""Longest side of one of the four panels, in pixels."""

_GAP = 6
_WHITE = (255, 255, 255)
_LEGEND = 840  # the width of a legend decides the size of its letters


def strip(
    image: Image, truth: Integer[np.ndarray, "h w"], prediction: Integer[np.ndarray, "h w"], classes: Classes
) -> Pil.Image:
    """:func:`strip_of` for labels."""
    return strip_of(image, truth, prediction, classes)


def strip_of(image: Any, truth: Any, answer: Any, classes: Classes) -> Pil.Image:
    """Image, truth, prediction and error map from left to right, with a legend of what is in them.

    ``info["panel_rows"]`` tells where the legend begins. Pictures and labels are brought to the size of a
    panel first and drawn then, so that contours stay one pixel wide. Volumes have a row for each of three
    orthogonal slices. See :func:`segmentarium.engine.panels.rows_of` for what is taken.
    """
    rows = rows_of(image, truth, answer, classes, side=PANEL)
    drawn = _stacked([_beside(row.panels) for row in rows])
    entries = dict.fromkeys(entry for row in rows for entry in row.entries)
    names = legend(list(entries), width=min(drawn.shape[1], _LEGEND))
    sheet = Pil.new("RGB", (max(drawn.shape[1], names.width), drawn.shape[0] + names.height), _WHITE)
    sheet.paste(Pil.fromarray(drawn), (0, 0))
    sheet.paste(names, (0, drawn.shape[0]))
    sheet.info["panel_rows"] = drawn.shape[0]
    return sheet


def _beside(panels: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    gap = np.full((panels[0].shape[0], _GAP, 3), 255, np.uint8)
    return np.concatenate([part for panel in panels for part in (gap, panel)][1:], axis=1)


def _stacked(rows: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> UInt8[np.ndarray, "h w 3"]:
    """Rows of different width one below the other, on white."""
    if len(rows) == 1:
        return rows[0]
    height, width = sum(len(row) + _GAP for row in rows) - _GAP, max(row.shape[1] for row in rows)
    sheet, top = np.full((height, width, 3), 255, np.uint8), 0
    for row in rows:
        sheet[top : top + len(row), : row.shape[1]] = row
        top += len(row) + _GAP
    return sheet


def write_strip(
    folder: Path, rank: int, stem: str, value: float, picture: Pil.Image, *, score: str = "mean_iou"
) -> Path:
    """Save a strip as ``001_STEM_iou0.12.png``: sorted by name, the folder is sorted by rank."""
    safe = re.sub(r"[^\w.-]+", "_", stem)
    path = ensure_folder(folder) / f"{rank:03d}_{safe}_{score.removeprefix('mean_')}{value:.2f}.png"
    return save_picture(picture, path)


def write_contact_sheet(
    cases: Sequence[tuple[str, Image, Integer[np.ndarray, "h w"], Integer[np.ndarray, "h w"]]],
    path: Path,
    *,
    classes: Classes,
    title: str = "",
) -> Path:
    """Write a sheet with a row a case: image, truth, prediction, errors.

    Args:
        cases: caption, image, truth and prediction of each.
        title: a line above everything.
    """
    cells: list[tuple[Pil.Image, str]] = []
    for caption, image, truth, prediction in cases:
        rgb, _ = to_rgb8(image)
        cells += [
            (Pil.fromarray(rgb), caption),
            (overlay(rgb, truth, classes, with_legend=False), "truth"),
            (overlay(rgb, prediction, classes, with_legend=False), "prediction"),
            (
                error_map(rgb, truth, prediction, classes, with_legend=False),
                "errors (blue missed, red too much)",
            ),
        ]
    return save_picture(contact_sheet(cells, columns=4, title=title), path)


def save_picture(picture: Pil.Image, path: Path) -> Path:
    """Write a picture and its ``info`` as PNG, whole or not at all."""
    buffer = io.BytesIO()
    notes = PngInfo()
    for key, value in picture.info.items():
        notes.add_text(str(key), str(value))
    picture.save(buffer, "PNG", pnginfo=notes)
    return atomic_write(path, buffer.getvalue())
