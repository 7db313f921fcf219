"""Pictures for people: overlays with legends, error maps, contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer, Shaped, UInt8
from PIL import Image as Pil
from PIL import ImageDraw, ImageFont

from segmentarium.errors import BadImage
from segmentarium.values.classes import VOID, Classes, Color
from segmentarium.values.image import Image, as_image

Picture = str | Path | Image | Pil.Image | np.ndarray
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Entry = tuple[str, Color | None]
"""A name in a legend, and the colour of its patch; None for a name alone."""

FALSE_POSITIVE, FALSE_NEGATIVE, CONFUSED = (228, 40, 36), (38, 96, 235), (255, 160, 20)
_WHITE, _INK, _FRAME = (255, 255, 255), (45, 45, 45), (150, 150, 150)
MOST_ENTRIES = 40  # of a legend, which else would be larger than its picture
_BAND = 256  # rows blended at a time
_DIM, _VOID_DIM = 0.6, 0.3
_SAMPLES = 1_000_000  # pixels looked at to choose the shown range


def to_rgb8(picture: Picture) -> tuple[UInt8[np.ndarray, "h w 3"], str]:
    """Eight-bit RGB for display, and a word on what was done to get there ("" if nothing).

    Channels beyond three are left out; 16-bit and float values are stretched, 0.5 to 99.5 percentile.
    """
    pixels, said = _three_channels(as_image(picture).pixels)
    if pixels.dtype == np.uint8:
        return pixels, said
    step = max(1, int(np.sqrt(pixels[..., 0].size / _SAMPLES)))
    low, high = (float(v) for v in np.percentile(pixels[::step, ::step], (0.5, 99.5)))
    scale = 255 / (high - low) if high > low else 0.0
    stretched = np.clip((pixels.astype(np.float32) - low) * scale, 0, 255).round().astype(np.uint8)
    return stretched, ", ".join(filter(None, (said, f"shown from {low:.4g} (black) to {high:.4g} (white)")))


def _three_channels(pixels: Shaped[np.ndarray, "*s c"]) -> tuple[Shaped[np.ndarray, "h w 3"], str]:
    if pixels.ndim != 3:
        raise BadImage(
            f"a volume of shape {pixels.shape}", allowed="a picture (h, w, c)", cure="choose a slice"
        )
    channels = pixels.shape[-1]
    if channels < 3:
        return np.repeat(pixels[..., :1], 3, axis=-1), "channel 1 of 2" if channels == 2 else ""
    return pixels[..., :3], "" if channels == 3 else f"channels 1 to 3 of {channels}"


def overlay(
    picture: Picture,
    labels: Integer[np.ndarray, "h w"],
    classes: Classes,
    *,
    alpha: float = 0.5,
    with_legend: bool = True,
) -> Pil.Image:
    """Class colours over a picture, with a contour one pixel wide, and a legend below.

    Void, and a class 0 called "background", stay untinted and unnamed.

    Raises:
        BadImage: the picture cannot be read, or is not as large as the labels.
    """
    rgb, _ = to_rgb8(picture)
    shown = labels > (VOID if background_of(classes) is None else 0)
    drawn = tint(rgb, labels, classes.palette(), shown, alpha=alpha)
    return framed(drawn, entries_of(classes, labels)) if with_legend else Pil.fromarray(drawn)


def background_of(classes: Classes) -> int | None:
    """The index of the background: 0 if that class is called so; otherwise there is none."""
    return 0 if len(classes) and classes[0].name.lower() in ("background", "_background_") else None


def entries_of(classes: Classes, labels: Integer[np.ndarray, "h w"]) -> list[Entry]:
    """Legend entries of the classes that are present, background excepted; of very many the largest."""
    present, pixels = np.unique(labels, return_counts=True)
    shown = [(int(i), int(n)) for i, n in zip(present, pixels, strict=True) if i >= 0]
    shown = [(i, n) for i, n in shown if i != background_of(classes)]
    kept = sorted(i for i, _ in sorted(shown, key=lambda one: -one[1])[:MOST_ENTRIES])
    more: list[Entry] = [(f"and {len(shown) - len(kept)} more", None)] if len(kept) < len(shown) else []
    return [(classes[i].name, classes[i].color) for i in kept] + more


def tint(
    rgb: UInt8[np.ndarray, "h w 3"],
    labels: Integer[np.ndarray, "n m"],
    colors: UInt8[np.ndarray, "k 3"],
    shown: Bool[np.ndarray, "n m"],
    *,
    alpha: float,
    regions: Integer[np.ndarray, "n m"] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Blend ``colors[labels]`` in where ``shown``; the inner border of each region gets the full colour.

    ``regions`` tells which pixels belong together, where that is finer than the labels.

    Raises:
        BadImage: picture and labels differ in size.
    """
    _same_size(rgb, labels)
    drawn = rgb.copy()
    edge = contour(labels if regions is None else regions)
    for top in range(0, len(rgb) if len(colors) else 0, _BAND):
        band = slice(top, top + _BAND)
        seen = shown[band]
        strength = np.where(edge[band], 1.0, alpha).astype(np.float32)[seen, None]
        below = rgb[band][seen].astype(np.float32)
        drawn[band][seen] = np.rint(below + (colors[labels[band][seen]] - below) * strength)
    return drawn


def contour(labels: Integer[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Pixels with another label above, below, left or right of them."""
    edge = np.zeros(labels.shape, bool)
    down, right = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    edge[1:] |= down
    edge[:-1] |= down
    edge[:, 1:] |= right
    edge[:, :-1] |= right
    return edge


def error_map(
    picture: Picture,
    truth: Integer[np.ndarray, "h w"],
    prediction: Integer[np.ndarray, "n m"],
    classes: Classes,
    *,
    with_legend: bool = True,
) -> Pil.Image:
    """Where a prediction errs: red what is not there, blue what was missed, orange one class for another.

    Correct pixels show the picture, grey and dimmed; where the truth is void it is darker still.

    Raises:
        BadImage: the picture cannot be read, or the three differ in size.
    """
    rgb, _ = to_rgb8(picture)
    _same_size(rgb, truth)
    _same_size(rgb, prediction)
    background = background_of(classes)
    wrong = (truth != prediction) & (truth != VOID)
    added = wrong & (truth == background) if background is not None else np.zeros_like(wrong)
    missed = wrong & ((prediction == background) if background is not None else (prediction == VOID))
    light = np.where(truth == VOID, _VOID_DIM, _DIM)
    drawn = np.repeat((rgb.mean(axis=-1) * light).astype(np.uint8)[..., None], 3, axis=-1)
    drawn[wrong] = CONFUSED
    drawn[missed] = FALSE_NEGATIVE
    drawn[added] = FALSE_POSITIVE
    if not with_legend:
        return Pil.fromarray(drawn)
    entries: list[Entry] = [("false positive", FALSE_POSITIVE), ("false negative", FALSE_NEGATIVE)]
    named = entries if background is not None else []
    return framed(drawn, [*named, ("wrong class", CONFUSED)] if len(classes) > 2 or not named else named)


def _same_size(rgb: UInt8[np.ndarray, "h w 3"], labels: Integer[np.ndarray, "n m"]) -> None:
    if rgb.shape[:2] != labels.shape:
        (height, width), (rows, columns) = rgb.shape[:2], labels.shape
        raise BadImage(
            f"a picture of {width}x{height} for labels of {columns}x{rows} pixels",
            allowed="the same size",
            cure="give the picture that the labels belong to",
        )


def framed(drawn: UInt8[np.ndarray, "h w 3"], entries: Sequence[Entry]) -> Pil.Image:
    """A picture with a legend below; pictures too narrow for a name get a white margin at the right."""
    strip = legend(entries, width=drawn.shape[1])
    sheet = Pil.new("RGB", (strip.width, drawn.shape[0] + strip.height), _WHITE)
    sheet.paste(Pil.fromarray(drawn), (0, 0))
    sheet.paste(strip, (0, drawn.shape[0]))
    return sheet


def legend(entries: Classes | Sequence[Entry], *, width: int) -> Pil.Image:
    """Colour patches with names, in as many lines as ``width`` pixels need; wider if one name needs it."""
    if isinstance(entries, Classes):
        entries = [(c.name, c.color) for c in entries]
    size = text_size(width)
    font = ImageFont.load_default(size)
    pad, line = max(4, size // 2), round(size * 1.5)
    spots: list[tuple[int, int, Entry]] = []
    x, y, right = pad, pad, width
    for name, color in entries:
        needed = round(font.getlength(name) + (size * 1.35 if color else 0))
        if x > pad and x + needed + pad > width:
            x, y = pad, y + line
        spots.append((x, y, (name, color)))
        right = max(right, x + needed + pad)
        x += needed + size
    strip = Pil.new("RGB", (right, y + line + pad // 2 if spots else 0), _WHITE)
    draw = ImageDraw.Draw(strip)
    for x, y, entry in spots:
        _draw_entry(draw, (x, y), entry, font, size)
    return strip


def _draw_entry(draw: ImageDraw.ImageDraw, at: tuple[int, int], entry: Entry, font: Font, size: int) -> None:
    (x, y), (name, color) = at, entry
    if color is not None:
        draw.rectangle((x, y, x + size - 1, y + size - 1), fill=color, outline=_FRAME)
        x += round(size * 1.35)
    draw.text((x, y + size / 2), name, fill=_INK, font=font, anchor="lm")


def text_size(width: int) -> int:
    """Letters that can be read in a picture of this width: 11 to 36 pixels high."""
    return int(np.clip(width / 36, 11, 36))


def contact_sheet(
    cells: Sequence[tuple[Pil.Image, str]], *, columns: int, cell: int = 320, title: str = ""
) -> Pil.Image:
    """Pictures with captions in a grid on white, row after row.

    Args:
        cells: pictures, each with the caption to stand under it; too long a caption is cut.
        columns: pictures in a row.
        cell: width of a picture in pixels, 2/3 of its greatest height; small ones grow by whole factors.
        title: a line above everything.
    """
    size = text_size(cell)
    pad, caption_height = max(8, cell // 20), round(size * 2)
    pictures = [(_fitted(picture, cell), caption) for picture, caption in cells]
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    heights = [max(picture.height for picture, _ in row) for row in rows]
    top = pad + (round(size * 2.4) if title else 0)
    height = top + sum(heights) + len(rows) * caption_height + pad
    sheet = Pil.new("RGB", (pad + min(columns, max(1, len(cells))) * (cell + pad), height), _WHITE)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size)
    if title:
        large = ImageFont.load_default(round(size * 1.4))
        draw.text((pad, pad), _cut(title, large, sheet.width - 2 * pad), fill=_INK, font=large)
    for row, tallest in zip(rows, heights, strict=True):
        for column, (picture, caption) in enumerate(row):
            x = pad + column * (cell + pad)
            sheet.paste(picture, (x + (cell - picture.width) // 2, top))
            middle = (x + cell / 2, top + tallest + caption_height / 2 - size * 0.15)
            draw.text(middle, _cut(caption, font, cell), fill=_INK, font=font, anchor="mm")
        top += tallest + caption_height
    return sheet


def _fitted(picture: Pil.Image, cell: int) -> Pil.Image:
    picture = picture.convert("RGB")
    factor = min(cell / picture.width, 1.5 * cell / picture.height)
    if factor >= 2:
        return picture.resize(
            (picture.width * int(factor), picture.height * int(factor)), Pil.Resampling.NEAREST
        )
    size = (max(1, round(picture.width * factor)), max(1, round(picture.height * factor)))
    return picture.resize(size, Pil.Resampling.LANCZOS)


def _cut(text: str, font: Font, width: int) -> str:
    """Shorten a text that is wider than ``width`` pixels in its middle, where file names differ least."""
    if font.getlength(text) <= width:
        return text
    kept = len(text)
    while kept > 2 and font.getlength(text[: (kept + 1) // 2] + "..." + text[-(kept // 2) :]) > width:
        kept -= 1
    return text[: (kept + 1) // 2] + "..." + text[-(kept // 2) :]
