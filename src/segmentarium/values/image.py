"""Images: pixels with their spacing, where they came from, and what was done to them on the way in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Shaped, UInt8, UInt16
from PIL import Image as Pil

from segmentarium.errors import BadImage
from segmentarium.values.decode import (
    MAX_PIXELS,
    Decoded,
    Header,
    decode,
    orientation_of,
    read_header,
    turned,
    values_and_palette,
)

Pixels = UInt8[np.ndarray, "*s c"] | UInt16[np.ndarray, "*s c"] | Float32[np.ndarray, "*s c"]
_EXACT = 1 << 24  # up to here float32 holds every whole number


@dataclass(frozen=True, eq=False)
class Image:
    """A picture (h, w, c), or a volume (d, h, w, c).

    ``spacing_mm`` is the distance between pixel centres along each spatial axis; ``notes`` say in words what
    reading changed: turned upright, palette resolved, alpha dropped ...
    """

    pixels: Pixels
    spacing_mm: tuple[float, ...] | None = None
    path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width (depth, height and width of a volume), in pixels."""
        return self.pixels.shape[:-1]

    @property
    def channels(self) -> int:
        return int(self.pixels.shape[-1])


@dataclass(frozen=True)
class ImageFacts:
    """What the head of a file promises.

    ``size`` is height and width once turned upright; ``channels`` and ``dtype`` are those that
    :func:`read_image` gives; ``mode`` is how the file stores them, in Pillow's words.
    """

    size: tuple[int, int]
    channels: int
    dtype: np.dtype[np.generic]
    format: str
    orientation: int
    mode: str


def read_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Image:
    """Read a PNG, JPEG, TIFF, WebP or BMP, recognised by its content.

    Palettes and CMYK become RGB, one bit becomes 0 and 255, alpha is dropped (colours stay as stored), pages
    become channels, other numbers become float32 where that loses nothing: each with a word in the notes.

    Raises:
        BadImage: missing, empty, damaged, of another format, too large, or with NaN or infinite values.
    """
    path = Path(path)
    decoded = decode(path, max_pixels=max_pixels)
    pixels, notes = _as_pixels(str(path), decoded)
    return Image(pixels, path=path, notes=(*decoded.header.notes, *notes))


def probe_image(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> ImageFacts:
    """Read only the head of an image file.

    Raises:
        BadImage: as :func:`read_image`, except for damage that shows in the pixels only.
    """
    header = read_header(Path(path), max_pixels=max_pixels)
    height, width = header.size if header.orientation < 5 else header.size[::-1]
    channels = {"P": 3, "PA": 3, "CMYK": 3, "RGBA": 3, "LA": 1}.get(header.mode, header.channels)
    dtype = header.dtype if header.dtype in (np.uint8, np.uint16) else np.dtype(np.float32)
    dtype = np.dtype(np.uint8) if header.mode == "1" else dtype
    return ImageFacts((height, width), channels, dtype, header.format, header.orientation, header.mode)


def as_image(picture: str | Path | Image | Pil.Image | np.ndarray) -> Image:
    """Take what people hand in: a path, a picture of ours or of Pillow's, or an array (h, w) or (h, w, c).

    Raises:
        BadImage: as :func:`read_image`; or an array of another shape or type.
    """
    if isinstance(picture, Image):
        return picture
    if isinstance(picture, str | Path):
        return read_image(picture)
    if isinstance(picture, Pil.Image):
        return _from_pillow(picture)
    pixels = picture[..., None] if picture.ndim == 2 else picture
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise BadImage(
            f"an array of shape {picture.shape}", allowed="(h, w) or (h, w, c)", cure="choose a slice"
        )
    if pixels.dtype == bool:
        pixels = pixels * np.uint8(255)
    pixels, notes = _checked("the array", pixels)
    return Image(pixels, notes=notes)


def _from_pillow(picture: Pil.Image) -> Image:
    picture.load()
    turn = orientation_of(picture)
    size, channels = (picture.height, picture.width), len(picture.getbands())
    mode = picture.mode if picture.mode in _PLAIN else "RGB"
    values, palette = values_and_palette(picture if mode == picture.mode else picture.convert("RGB"))
    header = Header(picture.format or "", size, mode, channels, values.dtype, turn)
    pixels, notes = _as_pixels("the picture", Decoded(turned(values, turn), header, palette))
    said = (f"turned upright (EXIF orientation {turn})",) if turn != 1 else ()
    return Image(pixels, notes=(*said, *notes))


_PLAIN = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "I;16B", "I;16L")


def _as_pixels(where: str, decoded: Decoded) -> tuple[Pixels, tuple[str, ...]]:
    """Colours and channels as networks want them, with a word on everything that was changed."""
    values, header = decoded.values, decoded.header
    if decoded.palette is not None:
        return _look_up(where, decoded.palette, values), ("palette colours resolved",)
    if header.mode == "1":
        return values[..., None] * np.uint8(255), ("one-bit picture read as 0 and 255",)
    if header.mode == "CMYK":
        return np.array(Pil.fromarray(values, "CMYK").convert("RGB")), ("CMYK turned into RGB",)
    if header.pages > 1:
        stack = values if values.ndim == 4 else values[..., None]
        pixels, notes = _checked(where, np.concatenate(list(stack), axis=-1))
        return pixels, (f"{header.pages} pages read as channels", *notes)
    if header.mode in ("RGBA", "LA"):
        pixels, notes = _checked(where, np.ascontiguousarray(values[..., :-1]))
        return pixels, (_alpha_note(values[..., -1]), *notes)
    if header.format == "TIFF" and header.bits < 8:
        values = values * np.uint8(255 // ((1 << header.bits) - 1))
    return _checked(where, values if values.ndim == 3 else values[..., None])


def _look_up(
    where: str, palette: UInt8[np.ndarray, "k 3"], indices: UInt8[np.ndarray, "h w"]
) -> UInt8[np.ndarray, "h w 3"]:
    if int(indices.max(initial=0)) >= len(palette):
        raise BadImage(
            f"{where} has pixels with index {indices.max()} and a palette of {len(palette)} colours",
            allowed="indices inside the palette",
            cure="save it again",
        )
    return palette.take(indices, axis=0)


def _alpha_note(alpha: Shaped[np.ndarray, "h w"]) -> str:
    opaque = np.iinfo(alpha.dtype).max if alpha.dtype.kind == "u" else 1
    clear = float((alpha != opaque).mean())
    return f"alpha dropped, {clear:.1%} of the pixels were not opaque" if clear else "opaque alpha dropped"


def _checked(where: str, pixels: Shaped[np.ndarray, "h w c"]) -> tuple[Pixels, tuple[str, ...]]:
    """Let uint8, uint16 and finite float32 pass; turn other real numbers into float32 if none changes."""
    if pixels.dtype in (np.uint8, np.uint16):
        return pixels, ()
    if pixels.dtype.kind not in "iuf":
        raise BadImage(
            f"{where} has samples of type {pixels.dtype}", allowed="real numbers", cure="convert it"
        )
    with np.errstate(over="ignore"):
        narrow = pixels.astype(np.float32, copy=False)
    if pixels.dtype.kind == "f":
        _refuse_infinite(where, narrow)
    elif pixels.size and (int(pixels.max()) > _EXACT or int(pixels.min()) < -_EXACT):
        raise BadImage(
            f"{where} has {pixels.dtype} values {pixels.min()}..{pixels.max()}",
            allowed="uint8, uint16, float32, or whole numbers up to 2^24",
            cure="scale them and save as float32",
        )
    return narrow, (f"{pixels.dtype} read as float32",) if pixels.dtype != np.float32 else ()


def _refuse_infinite(where: str, pixels: Float32[np.ndarray, "h w c"]) -> None:
    finite = np.isfinite(pixels)
    if finite.all():
        return
    row, column, channel = (int(i) for i in np.unravel_index(int(finite.argmin()), pixels.shape))
    raise BadImage(
        f"{where} holds {pixels[row, column, channel]} at row {row}, column {column}, channel {channel}"
        f" ({int(finite.size - finite.sum())} such values in all)",
        allowed="finite numbers",
        cure="replace them, for example by numpy.nan_to_num",
    )
