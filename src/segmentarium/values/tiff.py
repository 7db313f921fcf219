"""TIFF: any number of channels, planar or not, 8 and 16 bit and float; some kinds are left to Pillow."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt16

from segmentarium.errors import BadImage
from segmentarium.values.decode import (
    Decoded,
    Header,
    open_picture,
    orientation_of,
    quiet,
    turned,
    values_and_palette,
)
from segmentarium.values.deep_png import load_as, two_halves

_WHITE_IS_ZERO, _GREY, _RGB, _PALETTE, _INKS, _YCBCR = 0, 1, 2, 3, 5, 6
_NAMED = {_PALETTE: "P", _INKS: "CMYK", _YCBCR: "RGB"}
_ALPHA = (1, 2)  # associated and unassociated
_MANY = 32  # channels; more pages than that are slices


def tiff_header(path: Path) -> Header:
    """Read the tags of the first page, and how the other pages belong to it."""
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        page: Any = tiff.pages[0]
        if page.photometric not in (_WHITE_IS_ZERO, _GREY, _RGB, *_NAMED):
            raise BadImage(
                f"{path} holds {page.photometric.name} colours", allowed="grey, RGB, CMYK or a palette"
            )
        height, width, channels = page.imagelength, page.imagewidth, page.samplesperpixel
        mode, pages, notes = _mode(page), len(_alike(tiff)), _page_notes(tiff)
        if _pages_are_rows(tiff):
            height, width, channels, pages, mode = pages, height, width, 1, "array"
            notes = (f"{height} pages read as the rows of a picture with {channels} channels",)
        return Header(
            "TIFF",
            (height, width),
            mode,
            channels * pages,
            np.dtype(page.dtype or np.void),
            _orientation(page),
            pages,
            page.bitspersample,
            notes,
        )


def _alike(tiff: Any) -> list[Any]:
    """The first page and those of its size and type: thumbnails and pyramid levels are left out."""
    first = tiff.pages[0]
    return [page for page in tiff.pages if (page.shape, page.dtype) == (first.shape, first.dtype)]


def _page_notes(tiff: Any) -> tuple[str, ...]:
    others = len(tiff.pages) - len(_alike(tiff))
    return (f"{others} pages of another size or type left out",) if others else ()


def _pages_are_rows(tiff: Any) -> bool:
    """An (h, w, c) array written without further word lies in the file as h pages of w x c grey pixels."""
    series = tiff.series[0]
    if not tiff.is_shaped or len(series.shape) != 3 or series.axes[:1] != "Q" or len(tiff.pages) == 1:
        return False
    height, width, channels = series.shape
    return bool(channels < min(height, width) and channels <= _MANY)


def _orientation(page: Any) -> int:
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None and tag.value in range(1, 9) else 1


def _mode(page: Any) -> str:
    samples, alpha = page.samplesperpixel, page.extrasamples[:1] and page.extrasamples[0] in _ALPHA
    if page.photometric in _NAMED:
        return _NAMED[page.photometric]
    if page.bitspersample == 1 and samples == 1:
        return "1"
    plain = {(_RGB, 3, False): "RGB", (_RGB, 4, True): "RGBA", (_GREY, 2, True): "LA"}
    return "L" if samples == 1 else plain.get((page.photometric, samples, bool(alpha)), "array")


def decode_tiff(path: Path, header: Header) -> Decoded:
    """Decode all pages that are alike."""
    from tifffile import TiffFile

    with TiffFile(path) as tiff:
        pages = _alike(tiff)
        _all_there(tiff, pages)
        if header.mode in ("1", "P", "CMYK") or pages[0].photometric == _YCBCR:
            return _by_pillow(path, header)
        try:
            parts = [_channels_last(page, page.asarray()) for page in pages]
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _by_pillow(path, header)
    upright = header.pages > 1 and header.orientation != 1
    if upright:
        parts = [turned(part, header.orientation) for part in parts]
    values = parts[0] if len(parts) == 1 else np.stack(parts)
    return Decoded(values.astype(values.dtype.newbyteorder("="), copy=False), header, upright=upright)


def _all_there(tiff: Any, pages: list[Any]) -> None:
    """The reader fills missing strips with zeros; a picture that goes black half-way is damaged."""
    for page in pages:
        ends = (at + count for at, count in zip(page.dataoffsets, page.databytecounts, strict=True))
        if max(ends, default=0) > tiff.filehandle.size or 0 in page.databytecounts:
            raise ValueError("its pixels end before the picture does")


def _channels_last(page: Any, values: Shaped[np.ndarray, "*s"]) -> Shaped[np.ndarray, "h w *c"]:
    if page.planarconfig == 2 and page.samplesperpixel > 1:
        values = np.moveaxis(values, 0, -1)
    if page.photometric == _WHITE_IS_ZERO and values.dtype.kind == "u":
        values = values.dtype.type((1 << page.bitspersample) - 1) - values
    return np.ascontiguousarray(values)


def _by_pillow(path: Path, header: Header) -> Decoded:
    """Palettes, inks, single bits and packings that tifffile cannot undo; Pillow also turns them upright."""
    if header.pages > 1:
        raise BadImage(
            f"{path} has {header.pages} pages of a kind that is read singly",
            allowed="several pages of grey or RGB, not packed or packed with deflate",
            cure="save it again without compression",
        )
    deep = header.dtype == np.uint16 and header.mode in ("RGB", "RGBA")
    with path.open("rb") as file, quiet():
        picture = open_picture(file, "TIFF")
        if deep:
            values, palette = _deep_color(path, header.mode), None
        else:
            picture.load()
            values, palette = values_and_palette(picture)
        return Decoded(values, header, palette, upright=deep or orientation_of(picture) == 1)


def _deep_color(path: Path, mode: str) -> UInt16[np.ndarray, "h w c"]:
    """Sixteen-bit colour, which Pillow cuts to 8: once for the high bytes and once for the low ones."""
    order = ("16L", "16B") if sys.byteorder == "little" else ("16B", "16L")
    data = path.read_bytes()
    high, low = (load_as(open_picture(io.BytesIO(data), "TIFF"), f"{mode};{half}") for half in order)
    return two_halves(high, low)
