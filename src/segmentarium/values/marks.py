"""Marks on pictures for people: outlines, borders and numbers of objects."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Integer, UInt8
from PIL import Image as Pil
from PIL import ImageDraw, ImageFont

from segmentarium.values.draw import contour, text_size

_INK, _HALO = (255, 255, 255), (20, 20, 20)
_SMALLEST, _MOST = 9, 2000  # pixels of a letter's height that can be read; numbers in one picture


def line_width(size: tuple[int, ...]) -> int:
    """How wide lines are drawn in a picture of this height and width: a pixel for each 500."""
    return max(1, round(min(size[-2:]) / 500))


def inner_edge(mask: Bool[np.ndarray, "h w"], width: int = 1) -> Bool[np.ndarray, "h w"]:
    """The pixels of a mask that are up to ``width`` steps from its outside; beyond the array is outside."""
    inner = np.pad(mask, 1)
    for _ in range(width):
        kept = inner[1:-1, 1:-1] & inner[:-2, 1:-1] & inner[2:, 1:-1] & inner[1:-1, :-2] & inner[1:-1, 2:]
        inner = np.pad(kept, 1)
    return np.asarray(mask & ~inner[1:-1, 1:-1])


def borders(numbers: Integer[np.ndarray, "h w"], width: int = 1) -> Bool[np.ndarray, "h w"]:
    """Lines between regions, ``width`` pixels wide, an odd pixel on the side of the upper or left region."""
    down, right = numbers[1:] != numbers[:-1], numbers[:, 1:] != numbers[:, :-1]
    lines = np.zeros(numbers.shape, bool)
    if width > 1:
        lines = contour(numbers)
    lines[:-1] |= down
    lines[:, :-1] |= right
    for _ in range((width - 1) // 2):
        grown = lines.copy()
        grown[1:] |= lines[:-1]
        grown[:-1] |= lines[1:]
        grown[:, 1:] |= lines[:, :-1]
        grown[:, :-1] |= lines[:, 1:]
        lines = grown
    return lines


def numbered(drawn: UInt8[np.ndarray, "h w 3"], numbers: Integer[np.ndarray, "h w"]) -> Pil.Image:
    """The picture with the number of each region written into it, where there is room; 0 is no region."""
    from scipy.ndimage import find_objects

    picture = Pil.fromarray(drawn)
    present, dense = np.unique(np.maximum(numbers, 0), return_inverse=True)
    names = present[present > 0]
    if not 0 < len(names) <= _MOST:
        return picture
    dense = dense.reshape(numbers.shape) + (1 if present[0] else 0)
    draw = ImageDraw.Draw(picture)
    for place, (name, window) in enumerate(zip(names.tolist(), find_objects(dense), strict=True), start=1):
        _write(draw, str(name), dense[window] == place, (window[1].start, window[0].start), drawn.shape[1])
    return picture


def _write(
    draw: ImageDraw.ImageDraw, name: str, mask: Bool[np.ndarray, "h w"], at: tuple[int, int], width: int
) -> None:
    """Write a number into a region: at its middle, or the pixel of it nearest to there."""
    rows, columns = np.nonzero(mask)
    size = min(text_size(width), int(np.sqrt(len(rows)) * 0.8 / max(1.0, 0.6 * len(name))))
    if size < _SMALLEST:
        return
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    middle = (at[0] + float(columns[nearest]), at[1] + float(rows[nearest]))
    font = ImageFont.load_default(size)
    draw.text(
        middle, name, fill=_INK, font=font, anchor="mm", stroke_width=max(1, size // 8), stroke_fill=_HALO
    )
