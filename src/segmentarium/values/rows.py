"""Rows of a huge picture: memory-mapped where the file allows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from segmentarium.errors import BadImage
from segmentarium.values.decode import MAX_PIXELS, read_header, told
from segmentarium.values.image import read_image
from segmentarium.values.sniff import existing

_TYPES = (np.uint8, np.uint16, np.float32)
_UNLIMITED = 1 << 62


@dataclass(frozen=True, eq=False)
class Rows:
    """A picture (h, w, c) of which only the rows asked for are read: ``rows[0:512]``.

    ``mapped`` tells whether the file itself serves as memory; otherwise it was decoded whole.
    """

    source: Shaped[np.ndarray, "h w c"]
    mapped: bool
    path: Path
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.source.shape
        return height, width, channels

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self.source.dtype.newbyteorder("=")

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: slice) -> Shaped[np.ndarray, "n w c"]:
        """Copy a band of rows into memory.

        Raises:
            BadImage: a float picture with NaN or infinite values in these rows.
        """
        band = np.array(self.source[rows], self.dtype)
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
    mapped = _map_array(path) if path.suffix == ".npy" else _map_tiff(path)
    if mapped is not None:
        return Rows(mapped, True, path)
    image = read_image(path, max_pixels=max_pixels)
    return Rows(image.pixels, False, path, image.notes)


def _map_array(path: Path) -> Shaped[np.ndarray, "h w c"]:
    existing(path)
    with told(path, "NumPy array"):
        values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3 or values.dtype not in _TYPES:
        came = f"{path} is {values.dtype} of shape {values.shape}"
        raise BadImage(came, allowed="uint8, uint16 or float32 of (h, w) or (h, w, c)", cure="convert it")
    return values


def _map_tiff(path: Path) -> Shaped[np.ndarray, "h w c"] | None:
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
        return np.memmap(path, dtype, "r", page.dataoffsets[0], (*header.size, header.channels))
