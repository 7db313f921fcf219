"""Pictures of an evaluation: image, truth, prediction and errors side by side, worst cases first."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image as Pil
from PIL.PngImagePlugin import PngInfo

from segmentarium.values.classes import Classes
from segmentarium.values.draw import (
    CONFUSED,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    Entry,
    background_of,
    contact_sheet,
    entries_of,
    error_map,
    legend,
    overlay,
    to_rgb8,
)
from segmentarium.values.files import atomic_write, ensure_folder
from segmentarium.values.image import Image

PANEL = 480
"""Longest side of one of the four panels, in pixels."""

_GAP = 6
_LEGEND = 840  # the width of a legend decides the size of its letters


def strip(
    image: Image, truth: Integer[np.ndarray, "h w"], prediction: Integer[np.ndarray, "h w"], classes: Classes
) -> Pil.Image:
    """Image, truth, prediction and error map from left to right, with a legend of what is in them.

    ``info["panel_rows"]`` tells where the legend begins. Pictures and labels are brought to the size of a
    panel first and drawn then, so that contours stay one pixel wide.
    """
    factor = PANEL / max(truth.shape)
    rgb = _resized(to_rgb8(image)[0], factor)
    truth, prediction = _nearest(truth, rgb.shape[:2]), _nearest(prediction, rgb.shape[:2])
    panels = [
        rgb,
        overlay(rgb, truth, classes, with_legend=False),
        overlay(rgb, prediction, classes, with_legend=False),
        error_map(rgb, truth, prediction, classes, with_legend=False),
    ]
    gap = np.full((rgb.shape[0], _GAP, 3), 255, np.uint8)
    row = np.concatenate([part for panel in panels for part in (gap, np.asarray(panel))][1:], axis=1)
    names = legend(_entries(truth, prediction, classes), width=min(row.shape[1], _LEGEND))
    sheet = Pil.new("RGB", (max(row.shape[1], names.width), row.shape[0] + names.height), (255, 255, 255))
    sheet.paste(Pil.fromarray(row), (0, 0))
    sheet.paste(names, (0, row.shape[0]))
    sheet.info["panel_rows"] = row.shape[0]
    return sheet


def write_strip(folder: Path, rank: int, stem: str, mean_iou: float, picture: Pil.Image) -> Path:
    """Save a strip as ``001_STEM_iou0.12.png``: sorted by name, the folder is sorted by rank."""
    safe = re.sub(r"[^\w.-]+", "_", stem)
    path = ensure_folder(folder) / f"{rank:03d}_{safe}_iou{mean_iou:.2f}.png"
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


def _resized(rgb: UInt8[np.ndarray, "h w 3"], factor: float) -> UInt8[np.ndarray, "h2 w2 3"]:
    height, width = (max(1, round(side * factor)) for side in rgb.shape[:2])
    how = Pil.Resampling.NEAREST if factor >= 2 else Pil.Resampling.LANCZOS  # few pixels are shown as such
    return np.asarray(Pil.fromarray(rgb).resize((width, height), how))


def _nearest(labels: Integer[np.ndarray, "h w"], size: Sequence[int]) -> Integer[np.ndarray, "h2 w2"]:
    """Labels at another size; each new pixel takes the label at its centre."""
    rows, columns = ((np.arange(n) + 0.5) * old // n for n, old in zip(size, labels.shape, strict=True))
    return np.asarray(labels[rows.astype(int)[:, None], columns.astype(int)])


def _entries(
    truth: Integer[np.ndarray, "h w"], prediction: Integer[np.ndarray, "h w"], classes: Classes
) -> list[Entry]:
    """Names and colours of the classes in either map, and of the kinds of error that can occur."""
    named = entries_of(classes, np.stack([truth, prediction]).reshape(2, -1))
    if background_of(classes) is None:
        return [*named, ("wrong class", CONFUSED)]
    errors: list[Entry] = [("missed", FALSE_NEGATIVE), ("too much", FALSE_POSITIVE)]
    return [*named, *errors, *([("wrong class", CONFUSED)] if len(classes) > 2 else [])]
