"""A small picture for each finding: the image beside its mask, with a box or an arrow where the fault is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image as Pil
from PIL import ImageDraw, ImageFont

from segmentarium.data.dataset import MaskReading
from segmentarium.engine.faults.annotated import look_at
from segmentarium.engine.faults.finding import Finding
from segmentarium.engine.faults.survey import Sample, Survey
from segmentarium.errors import SegError
from segmentarium.values.classes import distinct_color
from segmentarium.values.draw import tint, to_rgb8
from segmentarium.values.files import atomic_write, ensure_folder
from segmentarium.values.image import read_image
from segmentarium.values.mask import read_mask

PANEL = 194  # width and height of the image and of the mask
GAP = 4
STRIP = 30  # height of the text below
RED = (230, 40, 40)
_PIXEL = re.compile(r"x=(\d+), y=(\d+)|row (\d+), column (\d+)")
_ARROW = re.compile(r"dx=(-?\d+), dy=(-?\d+)")
_TWIN = re.compile(r"(?:equals|resembles) (.+?)(?:,|\))")


def illustrate(findings: Iterable[Finding], survey: Survey, folder: Path) -> tuple[Finding, ...]:
    """Draw the first file of each finding into ``folder``; findings about no file get no picture."""
    ensure_folder(folder)
    drawn = []
    for number, finding in enumerate(findings, 1):
        path = folder / f"{number:02d}-{finding.fault}.png"
        sheet = draw(finding, survey)
        if sheet is not None:
            atomic_write(path, partial(sheet.save, format="PNG"))
        drawn.append(finding if sheet is None else replace(finding, picture=path))
    return tuple(drawn)


def draw(finding: Finding, survey: Survey) -> Pil.Image | None:
    """Image | mask over image, and two lines of text; None where no file is concerned."""
    if not finding.files:
        return None
    first = finding.files[0]
    sample = next((s for s in survey.samples if first in _files(s)), None)
    image = _image(survey.data.root / (sample.image.file if sample else first))
    twin = _TWIN.search(finding.message)
    if twin:
        other = _image(survey.data.root / twin[1])
    elif sample is not None and (first == sample.annotated or survey.data.reading is MaskReading.COCO):
        other = _annotations(survey, sample, image)
    else:
        other = _mask(survey.data.root / sample.truth.file if sample and sample.truth else None, image)
    return _sheet(finding, image, other)


def _files(sample: Sample) -> tuple[str, ...]:
    return (sample.image.file, sample.truth.file if sample.truth else "", sample.annotated)


def _sheet(finding: Finding, image: Pil.Image | None, other: Pil.Image | None) -> Pil.Image:
    sheet = Pil.new("RGB", (2 * PANEL + 3 * GAP, PANEL + 2 * GAP + STRIP), (255, 255, 255))
    sheet.paste(_panel(image, finding), (GAP, GAP))
    sheet.paste(_panel(other, finding), (2 * GAP + PANEL, GAP))
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    place = f", {finding.where}" if finding.where else ""
    pen.text((GAP, PANEL + 2 * GAP), f"{finding.fault} ({finding.count})", fill=RED, font=font)
    pen.text((GAP, PANEL + 2 * GAP + 14), f"{finding.files[0]}{place}"[-70:], fill=(60, 60, 60), font=font)
    return sheet


def _panel(picture: Pil.Image | None, finding: Finding) -> Pil.Image:
    panel = Pil.new("RGB", (PANEL, PANEL), (225, 225, 225))
    pen = ImageDraw.Draw(panel)
    if picture is None:
        pen.text((PANEL // 2, PANEL // 2), "nothing to show", fill=(90, 90, 90), anchor="mm")
        return panel
    scale = PANEL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    panel.paste(picture.resize(size, Pil.Resampling.BOX if scale < 1 else Pil.Resampling.NEAREST))
    _mark(pen, finding, scale, size)
    return panel


def _mark(pen: ImageDraw.ImageDraw, finding: Finding, scale: float, size: tuple[int, int]) -> None:
    """A box around the pixel that the finding names, or an arrow along the shift that it names."""
    pixel, arrow = _PIXEL.search(finding.where or ""), _ARROW.search(finding.message)
    if pixel:
        x, y = (int(pixel[1]), int(pixel[2])) if pixel[1] else (int(pixel[4]), int(pixel[3]))
        x, y = round((x + 0.5) * scale), round((y + 0.5) * scale)
        pen.rectangle((x - 7, y - 7, x + 7, y + 7), outline=RED, width=2)
    elif arrow:
        vector = np.array([int(arrow[1]), int(arrow[2])], float) * scale
        length = float(np.linalg.norm(vector)) or 1.0
        middle = np.array(size) / 2
        tip = middle + vector * max(1.0, 30 / length)
        pen.line((*middle, *tip), fill=RED, width=3)
        pen.ellipse((*(tip - 4), *(tip + 4)), fill=RED)


def _image(path: Path) -> Pil.Image | None:
    try:
        return Pil.fromarray(to_rgb8(read_image(path))[0])
    except SegError:
        return None


def _annotations(survey: Survey, sample: Sample, image: Pil.Image | None) -> Pil.Image | None:
    """The segments that could be drawn, each in a colour of its own."""
    pair = next(p for p in survey.data.splits[sample.split] if p.stem == sample.stem)
    seen = look_at(survey.data, pair)
    return None if seen is None else _colored(seen.numbers, image)


def _mask(path: Path | None, image: Pil.Image | None) -> Pil.Image | None:
    """The mask in distinct colours, over the image where the sizes agree."""
    if path is None:
        return None
    try:
        raw = read_mask(path)
    except SegError:
        return None
    if raw.is_color:
        return Pil.fromarray(np.asarray(raw.values, np.uint8))
    if raw.values.ndim != 2:
        return None
    return _colored(raw.values, image)


def _colored(values: np.ndarray, image: Pil.Image | None) -> Pil.Image:
    """Numbers in distinct colours, over the image where the sizes agree."""
    found, places = np.unique(values, return_inverse=True)
    labels = places.reshape(values.shape).astype(np.int32)
    colors = np.array([distinct_color(int(v) % 251) if v else (0, 0, 0) for v in found], np.uint8)
    if image is not None and np.asarray(image).shape[:2] == values.shape:
        return Pil.fromarray(tint(np.asarray(image), labels, colors, labels >= 0, alpha=0.6))
    return Pil.fromarray(colors[labels])
