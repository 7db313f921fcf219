"""From a file to an array as it is stored: no colour changed, no bit lost, turned upright once."""

from __future__ import annotations

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image as Pil

from segmentarium.errors import BadImage, SegError
from segmentarium.values import deep_png
from segmentarium.values.sniff import ALLOWED, sniff

MAX_PIXELS = 178_956_970
"""Pixels of the largest picture read without being asked to; the size that Pillow, too, refuses."""

_ORIENTATION_TAG = 0x0112
_PLUGINS = {
    "PNG": "PngImagePlugin.PngImageFile",
    "JPEG": "JpegImagePlugin.JpegImageFile",
    "TIFF": "TiffImagePlugin.TiffImageFile",
    "WEBP": "WebPImagePlugin.WebPImageFile",
    "BMP": "BmpImagePlugin.BmpImageFile",
}
_warnings_lock = threading.RLock()


@dataclass(frozen=True)
class Header:
    """What the head of a file promises.

    ``size`` is height and width as stored, before any turning; ``orientation`` the EXIF number 1..8; ``mode``
    Pillow's name for the pixels, or "array" where it has none; ``bits`` those of a sample, if fewer than 8.
    """

    format: str
    size: tuple[int, int]
    mode: str
    channels: int
    dtype: np.dtype[np.generic]
    orientation: int = 1
    pages: int = 1
    bits: int = 8
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Decoded:
    """Upright pixels as stored: (h, w), (h, w, c), or (d, h, w) and (d, h, w, c) for several pages."""

    values: Shaped[np.ndarray, "*s"]
    header: Header
    palette: UInt8[np.ndarray, "k 3"] | None = None
    upright: bool = False


def read_header(path: Path, *, max_pixels: int = MAX_PIXELS) -> Header:
    """Read the head of an image file; no pixel is decoded.

    Raises:
        BadImage: not a readable image, or more pixels than ``max_pixels``.
    """
    kind = sniff(path)
    with told(path, kind):
        if kind == "TIFF":
            from segmentarium.values.tiff import tiff_header

            header = tiff_header(path)
        else:
            with path.open("rb") as file:
                header = _pillow_header(file, kind)
    height, width = header.size
    if height * width * max(header.pages, header.channels / 4) > max_pixels:
        many = f" in {header.channels} channels" if header.channels > 4 else ""
        raise BadImage(
            f"{path} has {width}x{height} pixels{many}",
            allowed=f"at most {max_pixels:,} pixels",
            cure="raise max_pixels if you trust the file, or cut it into parts",
        )
    return header


def decode(path: Path, *, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode an image file as it is stored and turn it upright.

    Raises:
        BadImage: unreadable, damaged, or too large.
    """
    header = read_header(path, max_pixels=max_pixels)
    with told(path, header.format):
        if header.format == "TIFF":
            from segmentarium.values.tiff import decode_tiff

            decoded = decode_tiff(path, header)
        else:
            decoded = _decode_bytes(path.read_bytes(), header)
    return _upright(decoded)


def _decode_bytes(data: bytes, header: Header) -> Decoded:
    if header.format == "PNG":
        deep_png.check_sums(data)
        if deep_png.is_deep_color(data):
            return Decoded(deep_png.decode_deep(data), header)
    picture = open_picture(io.BytesIO(data), header.format)
    picture.load()
    values, palette = values_and_palette(picture)
    return Decoded(values, header, palette)


def values_and_palette(
    picture: Pil.Image,
) -> tuple[Shaped[np.ndarray, "h w *c"], UInt8[np.ndarray, "k 3"] | None]:
    """A loaded picture as numbers: palettes stay indices, one-bit pictures become 0 and 1."""
    palette = None
    if picture.mode in ("P", "PA"):
        palette = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    if picture.mode == "PA":
        picture = picture.getchannel(0)
    values = np.array(picture)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    return values.astype(values.dtype.newbyteorder("="), copy=False), palette


def open_picture(file: io.BufferedIOBase, kind: str) -> Any:
    """Open with the one plugin that fits: no other decoder can be reached, nor Pillow's own pixel limit."""
    module, plugin = _PLUGINS[kind].split(".")
    with quiet():
        return getattr(import_module(f"PIL.{module}"), plugin)(file)


def _pillow_header(file: io.BufferedIOBase, kind: str) -> Header:
    picture = open_picture(file, kind)
    size, mode = (picture.height, picture.width), picture.mode
    channels, orientation = len(picture.getbands()), orientation_of(picture)
    file.seek(0)
    bits, color = deep_png.depth_of(file.read(32)) if kind == "PNG" else (8, 0)
    if color == deep_png.GREY_ALPHA:  # Pillow says RGBA to the 16-bit ones
        mode, channels = "LA", 2
    dtype = np.dtype(np.uint16 if bits == 16 else np.uint8)
    return Header(kind, size, mode, channels, dtype, orientation, bits=min(bits, 8))


def orientation_of(picture: Pil.Image) -> int:
    """The EXIF orientation, 1 (upright) when it is missing or nonsense."""
    try:
        with quiet():
            value = picture.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # broken EXIF says nothing about the pixels
        return 1
    return value if value in range(1, 9) else 1


def _upright(decoded: Decoded) -> Decoded:
    values, header = decoded.values, decoded.header
    if header.orientation == 1:
        return decoded
    said = f"turned upright (EXIF orientation {header.orientation})"
    values = values if decoded.upright else turned(values, header.orientation)
    return Decoded(values, replace(header, notes=(*header.notes, said)), decoded.palette, upright=True)


def turned(pixels: Shaped[np.ndarray, "h w *c"], orientation: int) -> Shaped[np.ndarray, "_h _w *c"]:
    """Undo an EXIF orientation (1..8)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence remarks on odd metadata; the lock keeps threads from restoring each other's filters."""
    with _warnings_lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def told(path: Path, kind: str) -> Iterator[None]:
    """Say any failure of a decoder in one sentence: files are foreign, and decoders fail in many ways."""
    try:
        yield
    except SegError:
        raise
    except MemoryError as error:
        raise BadImage(f"{path} does not fit into memory", cure="cut it into parts") from error
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        came = f"{path} is a damaged or cut-off {kind} ({reason})"
        raise BadImage(came, allowed=f"a whole {ALLOWED}", cure="copy or save it again") from error
