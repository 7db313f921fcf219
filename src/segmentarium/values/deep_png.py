"""PNG files with 16 bits a colour, which Pillow would cut to 8; and the checksums that Pillow skips.

Pillow undoes the row filters of such files rightly and then keeps one byte of each sample. Asked twice, with
the byte order right and wrong, it hands over the high bytes and the low bytes.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL.PngImagePlugin import PngImageFile

from segmentarium.values.png import SIGNATURE, chunk

GREY_ALPHA = 4  # the colour types of PNG
_COLORS = {2: "RGB", 6: "RGBA"}
_CHECKED = (b"IHDR", b"PLTE", b"IDAT")


def depth_of(head: bytes) -> tuple[int, int]:
    """Bits a sample and colour type of a PNG, given at least its first 26 bytes."""
    return head[24], head[25]


def is_deep_color(head: bytes) -> bool:
    """Whether a PNG has 16-bit colour, or 16-bit grey with alpha."""
    bits, color = depth_of(head)
    return bits == 16 and (color in _COLORS or color == GREY_ALPHA)


def check_sums(data: bytes) -> None:
    """Compare the checksum of every pixel chunk: one flipped bit makes a damaged file, not another picture.

    Raises:
        ValueError: a checksum is wrong, or the file ends inside a chunk; the position is named.
    """
    for kind, content, at in _chunks(data):
        if kind not in _CHECKED:
            continue
        end = at + 8 + len(content)
        if len(data) < end + 4:
            raise ValueError(f"it ends inside the chunk at byte {at}")
        if struct.unpack_from(">I", data, end)[0] != zlib.crc32(content, zlib.crc32(kind)):
            raise ValueError(f"the checksum of the chunk at byte {at} is wrong")


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, int]]:
    """Kind, content and position of each chunk."""
    at, view = len(SIGNATURE), memoryview(data)
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        yield bytes(view[at + 4 : at + 8]), view[at + 8 : at + 8 + length], at
        at += 12 + length


def decode_deep(data: bytes) -> UInt16[np.ndarray, "h w c"]:
    """Decode a PNG of 16-bit colour, or 16-bit grey with alpha, without losing a bit."""
    _, color = depth_of(data)
    if color == GREY_ALPHA:
        bytes_ = np.array(PngImageFile(io.BytesIO(_as_rgba(data))))  # four bytes a pixel: two samples of two
        return bytes_.view(">u2").astype(np.uint16)
    mode = _COLORS[color]
    return two_halves(_load_as(data, f"{mode};16B"), _load_as(data, f"{mode};16L"))


def two_halves(
    high: UInt8[np.ndarray, "h w c"], low: UInt8[np.ndarray, "h w c"]
) -> UInt16[np.ndarray, "h w c"]:
    """Sixteen bits from their high and low bytes."""
    words = high.astype(np.uint16)
    words <<= 8
    words |= low
    return words


def load_as(picture: Any, raw_mode: str) -> UInt8[np.ndarray, "h w c"]:
    """Let Pillow decode ``picture`` as though its samples lay in memory as ``raw_mode`` says."""
    (tile,) = picture.tile
    args = (raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode
    picture.tile = [tile._replace(args=args)]
    picture.load()
    return np.array(picture)


def _load_as(data: bytes, raw_mode: str) -> UInt8[np.ndarray, "h w c"]:
    return load_as(PngImageFile(io.BytesIO(data)), raw_mode)


def _as_rgba(data: bytes) -> bytes:
    """The same pixels under a head that calls them 8-bit RGBA: as many bytes each, so the filters agree."""
    head = data[16:24] + b"\x08\x06" + data[26:29]
    pixels = b"".join(chunk(kind, bytes(content)) for kind, content, _ in _chunks(data) if kind == b"IDAT")
    return SIGNATURE + chunk(b"IHDR", head) + pixels + chunk(b"IEND", b"")
