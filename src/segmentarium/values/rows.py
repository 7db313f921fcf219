"""Rows of a huge picture: read from the file one band at a time where the file allows it.

Bands are read, not memory-mapped: pages of a map count as memory of the process for as long as the system
likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped

from segmentarium.errors import BadImage
from segmentarium.values.decode import MAX_PIXELS, read_header, told
from segmentarium.values.image import read_image
from segmentarium.values.sniff import existing

_TYPES = (np.uint8, np.uint16, np.float32)
_UNLIMITED = 1 << 62


@runtime_checkable
class Bands(Protocol):
    """Pixels (h, w, c) of which slices of rows can be had: an array, or :class:`PlainFile`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __getitem__(self, rows: slice, /) -> Shaped[np.ndarray, "n w c"]: ...


@dataclass(frozen=True, eq=False)
class PlainFile:
    """Pixels that lie in a file row after row, from byte ``offset`` on."""

    path: Path
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, int, int]

    def __getitem__(self, rows: slice) -> Shaped[np.ndarray, "n w c"]:
        """Read a band of rows; every step but one is cut from what lies between."""
        start, stop, step = rows.indices(self.shape[0])
        count, (_, width, channels) = max(0, stop - start), self.shape
        row_bytes = width * channels * self.dtype.itemsize
        flat = np.fromfile(
            self.path, self.dtype, count * width * channels, offset=self.offset + start * row_bytes
        )
        if flat.size != count * width * channels:
            raise BadImage(f"{self.path} is cut off before row {stop}", cure="get the file again")
        return flat.reshape(count, width, channels)[::step]


@dataclass(frozen=True, eq=False)
class Rows:
    """A picture (h, w, c) of which only the rows asked for are read: ``rows[0:512]``.

    ``mapped`` tells whether rows are read from the file when asked for; otherwise it was decoded whole.
    """

    source: Bands
    mapped: bool
    path: Path
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.source.shape
        return height, width, channels

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.source.dtype.newbyteorder("=")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Shaped[np.ndarray, "n w c"]:
        """A band of rows, in memory of its own.

        Raises:
            BadImage: a float picture with NaN or infinite values in these rows, or a file that ends before
                them.
        """
        band = self.source[rows]
        band = band.astype(self.dtype, copy=not self.mapped)
        if self.mapped and band.dtype.kind == "f" and not np.isfinite(band).all():
            raise BadImage(
                f"{self.path} holds NaN or infinity in rows {rows.start}..{rows.stop}",
                allowed="finite numbers",
                cure="replace them, for example by numpy.nan_to_num",
            )
        return band


def open_rows(path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Rows:
    """Open an image for reading in bands.

    Plain TIFF (not packed, not planar, upright) and .npy files take no memory, whatever their size; others
    are decoded whole and may have ``max_pixels``.

    Raises:
        BadImage: as :func:`read_image`; or an array that is not (h, w) or (h, w, c).
    """
    path = Path(path)
    plain = _plain_array(path) if path.suffix == ".npy" else _plain_tiff(path)
    if plain is not None:
        return Rows(plain, True, path)
    image = read_image(path, max_pixels=max_pixels)
    return Rows(image.pixels, False, path, image.notes)


def _plain_array(path: Path) -> Bands:
    existing(path)
    with told(path, "NumPy array"):
        values: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    shape = values.shape if values.ndim == 3 else (*values.shape, 1)
    if len(shape) != 3 or values.dtype not in _TYPES:
        came = f"{path} is {values.dtype} of shape {values.shape}"
        raise BadImage(came, allowed="uint8, uint16 or float32 of (h, w) or (h, w, c)", cure="convert it")
    if not values.flags.c_contiguous:  # column by column, as Fortran would: rows are scattered over the file
        return values.reshape(shape)
    return PlainFile(path, values.dtype, values.offset, (shape[0], shape[1], shape[2]))


def _plain_tiff(path: Path) -> PlainFile | None:
    """The pixels in the file itself, if they lie there plainly."""
    header = read_header(path, max_pixels=_UNLIMITED)
    plain = header.format == "TIFF" and header.orientation == header.pages == 1 and not header.notes
    if not plain or header.mode not in ("L", "RGB", "array") or header.dtype not in _TYPES:
        return None
    from tifffile import TiffFile

    with told(path, "TIFF"), TiffFile(path) as tiff:
        page = tiff.pages[0]
        if (
            not page.is_memmappable
            or page.photometric == 0
            or (page.planarconfig == 2 and header.channels > 1)
        ):
            return None
        dtype = header.dtype.newbyteorder(tiff.byteorder)
        return PlainFile(path, dtype, page.dataoffsets[0], (*header.size, header.channels))
