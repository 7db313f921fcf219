"""A PNG of indices, written row by row: a label map larger than memory can be saved."""

from __future__ import annotations

import struct
import zlib
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from jaxtyping import Integer, UInt8

from segmentarium.values.files import atomic_file

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHUNK_BYTES = 1 << 20
_GREY, _PALETTE = 0, 3
_UP = 2


def chunk(kind: bytes, data: bytes) -> bytes:
    """One PNG chunk: length, kind, data, checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))


class IndexPngWriter:
    """Write bands of rows into an index PNG, which appears when the block ends well and not otherwise.

    Args:
        path: the file; what stands there is replaced at the end.
        width, height: of the picture, in pixels.
        palette: RGB by index, for 8 bits; greys if missing, black beyond its end.
        bits: 8 for palette indices (mode P), 16 for plain grey numbers without a palette.
        level: of the compression, 0 to 9.

    Raises:
        CannotWrite: on entering, writing or leaving; nothing is left behind.

    >>> with IndexPngWriter("labels.png", width=4, height=2) as png:  # doctest: +SKIP
    ...     png.write(np.zeros((2, 4), np.uint8))
    """

    def __init__(
        self,
        path: str | Path,
        *,
        width: int,
        height: int,
        palette: Integer[np.ndarray, "k 3"] | None = None,
        bits: int = 8,
        level: int = 1,
    ) -> None:
        if bits not in (8, 16):
            raise ValueError(f"bits is {bits}; allowed: 8 or 16")
        if width < 1 or height < 1:
            raise ValueError(f"width x height is {width}x{height}; a PNG holds at least one pixel")
        self.path, self.width, self.height, self.bits = Path(path), width, height, bits
        self._palette, self._level = palette, level
        self._rows = 0
        self._pending = bytearray()
        self._above = np.zeros(width * bits // 8, np.uint8)  # the row above the first counts as zero
        self._stack = ExitStack()

    def __enter__(self) -> IndexPngWriter:
        self._file: BinaryIO = self._stack.enter_context(atomic_file(self.path))
        self._deflate = zlib.compressobj(self._level)
        color = _PALETTE if self.bits == 8 else _GREY
        head = struct.pack(">IIBBBBB", self.width, self.height, self.bits, color, 0, 0, 0)
        self._head = SIGNATURE + chunk(b"IHDR", head)  # written with the first pixels
        if self.bits == 8:
            self._head += chunk(b"PLTE", self._full_palette().tobytes())
        return self

    def _full_palette(self) -> UInt8[np.ndarray, "256 3"]:
        if self._palette is None:
            return np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        full = np.zeros((256, 3), np.uint8)
        full[: len(self._palette)] = self._palette
        return full

    def write(self, rows: Integer[np.ndarray, "n w"]) -> None:
        """Append rows, from the top down.

        Raises:
            ValueError: rows of another width, more than there is room for, or values beyond ``bits``.
        """
        if rows.shape[1] != self.width or self._rows + len(rows) > self.height:
            room = f"{self.height - self._rows}x{self.width}"
            raise ValueError(f"rows of shape {rows.shape} do not fit into the {room} that are left")
        if not len(rows):
            return
        if int(rows.min()) < 0 or int(rows.max()) >= 1 << self.bits:
            raise ValueError(f"values {rows.min()}..{rows.max()} do not fit into {self.bits} bits")
        self._compress(np.ascontiguousarray(rows, ">u2" if self.bits == 16 else np.uint8).view(np.uint8))
        self._rows += len(rows)

    def _compress(self, rows: UInt8[np.ndarray, "n bytes"]) -> None:
        """Subtract from each row the one above, which makes label maps nearly all zeros, and deflate."""
        filtered = np.empty((len(rows), rows.shape[1] + 1), np.uint8)
        filtered[:, 0] = _UP
        np.subtract(rows[0], self._above, out=filtered[0, 1:])
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
        self._above = rows[-1].copy()
        self._pending += self._deflate.compress(filtered.data)
        if len(self._pending) >= _CHUNK_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._file.write(self._head + chunk(b"IDAT", bytes(self._pending)))
        self._head = b""
        self._pending.clear()

    def _finish(self) -> None:
        if self._rows != self.height:
            raise ValueError(f"{self._rows} of {self.height} rows were written to {self.path}")
        self._pending += self._deflate.flush()
        self._flush()
        self._file.write(chunk(b"IEND", b""))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        except BaseException as late:
            self._stack.__exit__(type(late), late, late.__traceback__)
            raise
        self._stack.__exit__(kind, error, trace)
