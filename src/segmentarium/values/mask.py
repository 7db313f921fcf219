"""Truth maps as they are stored: numbers stay numbers, palette indices are never turned into colours."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int32, Shaped, UInt8, UInt16

from segmentarium.errors import BadImage, BadMask
from segmentarium.values.decode import MAX_PIXELS, Decoded, decode

Numbers = UInt8[np.ndarray, "*s"] | UInt16[np.ndarray, "*s"] | Int32[np.ndarray, "*s"]


@dataclass(frozen=True, eq=False)
class RawMask:
    """A mask file before its numbers get a meaning.

    ``values`` is (h, w); (d, h, w) for a file of several pages; (h, w, 3) when it holds colours.

    ``palette`` are the colours by index of a mode P file; ``mode`` is Pillow's word for the pixels;
    ``format`` tells a JPEG, whose numbers cannot be trusted, from the rest.
    """

    values: Numbers
    palette: UInt8[np.ndarray, "k 3"] | None = None
    mode: str = "L"
    format: str = "PNG"
    orientation: int = 1
    path: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_color(self) -> bool:
        """Whether a legend is needed to turn the values into classes."""
        return self.mode == "RGB"

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width (depth first for a stack), in pixels."""
        return self.values.shape[:2] if self.is_color else self.values.shape


def read_mask(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> RawMask:
    """Read a mask file as numbers, turned upright like its image.

    Raises:
        BadMask: missing, empty, damaged, of another format, too large, or with what cannot be class ids.
    """
    path = Path(path)
    try:
        decoded = decode(path, max_pixels=max_pixels)
    except BadImage as error:
        raise BadMask(error.came, allowed=error.allowed, cure=error.cure) from error
    values, mode, notes = _as_numbers(path, decoded)
    header = decoded.header
    notes = (*header.notes, *notes)
    return RawMask(values, decoded.palette, mode, header.format, header.orientation, path, notes)


def _as_numbers(path: Path, decoded: Decoded) -> tuple[Numbers, str, tuple[str, ...]]:
    values, header = decoded.values, decoded.header
    mode, notes = header.mode, tuple[str, ...]()
    if mode in ("RGBA", "LA"):
        values, mode, notes = values[..., :-1], mode[:-1], ("alpha dropped",)
        values = values[..., 0] if mode == "L" else values
    if mode in ("array", "CMYK") or (mode == "RGB" and header.pages > 1):
        raise BadMask(
            f"{path} has {header.channels} channels",
            allowed="one channel of class ids, or RGB colours",
            cure="save it as an index PNG",
        )
    if header.format == "PNG" and mode == "L" and header.bits < 8:
        values = values // np.uint8(
            255 // ((1 << header.bits) - 1)
        )  # Pillow spreads 2 and 4 bits over 0..255
    return _whole(path, np.ascontiguousarray(values)), "P" if mode == "PA" else mode, notes


def _whole(path: Path, values: Shaped[np.ndarray, "*s"]) -> Numbers:
    """Other numbers become int32 if they are whole and fit."""
    if values.dtype in (np.uint8, np.uint16, np.int32):
        return values
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int32)
    if np.array_equal(whole, values):
        return whole
    strange = values[whole != values].flat[0]
    raise BadMask(
        f"{path} holds {strange} among {values.dtype} numbers",
        allowed="whole numbers below 2^31",
        cure="save class ids as an index PNG",
    )
