"""What every classical method asks of a picture or a volume: finite numbers on one scale, 0 to 255.

The constants of the papers (a colour distance of 13, a scale k of 300) are those of 8-bit pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32, Shaped
from PIL import Image as Pil

from segmentarium.errors import BadArgument, BadImage
from segmentarium.values import Grid, Image, Volume, as_image, read
from segmentarium.values.nifti import is_nifti

TOP = 255.0
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey: ITU-R BT.601, as Pillow and OpenCV have it."""

DEPTHS = (8, 10, 12, 14, 16)
"""Bits of cameras and scanners."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Pixels (h, w, c) or voxels (d, h, w, c) from 0 to 255.

    ``spacing`` is the distance of neighbours along each axis, in mm where it is known, else 1 a pixel.
    ``notes`` say how other numbers came to this scale.
    """

    values: Float32[np.ndarray, "*s c"]
    spacing: tuple[float, ...]
    spacing_mm: tuple[float, ...] | None = None
    grid: Grid | None = None
    notes: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width; of a volume depth, height and width."""
        return self.values.shape[:-1]

    @property
    def channels(self) -> int:
        return int(self.values.shape[-1])

    def grey(self) -> Float32[np.ndarray, "*s"]:
        """One channel: the luma of colours, the mean of any other number of channels."""
        if self.channels == 1:
            return self.values[..., 0]
        if self.channels == 3:
            return np.asarray(self.values @ np.array(LUMA, np.float32))
        return np.asarray(self.values.mean(axis=-1))


Picture: TypeAlias = str | Path | Image | Volume | Pil.Image | np.ndarray | Levels
"""A path, a picture of ours or of Pillow's, an array (h, w) or (h, w, c), a volume, or levels."""


def levels(picture: Picture, *, volumes: bool = True) -> Levels:
    """Take what people hand in.

    Eight bits stay as they are. Of 16 bits those count that the picture needs, 8, 10, 12, 14 or all (cameras
    of 12 bits write 16), and their highest value becomes 255. Other numbers are multiplied by 255 if they lie
    from 0 to 1, else stretched from their least to their greatest value. Levels are taken as they are.

    Args:
        volumes: whether the method that asks can do with them.

    Raises:
        BadImage: it cannot be read, is empty, or holds NaN or infinite values; or a volume, where the method
            knows pictures only.
    """
    taken = picture if isinstance(picture, Levels) else _levels(_read(picture))
    if len(taken.size) == 3 and not volumes:
        raise BadImage(
            f"a volume of shape {taken.size}", allowed="a picture (h, w, c)", cure="choose a slice"
        )
    return taken


def _levels(taken: Image | Volume) -> Levels:
    if isinstance(taken, Volume):
        values, said = _scaled(np.moveaxis(taken.banded, 0, -1))
        return Levels(values, taken.spacing_mm, taken.spacing_mm, taken.grid, (*taken.notes, *said))
    values, said = _scaled(taken.pixels)
    spacing = taken.spacing_mm or (1.0,) * len(taken.size)
    return Levels(values, spacing, taken.spacing_mm, None, (*taken.notes, *said))


def _read(picture: str | Path | Image | Volume | Pil.Image | np.ndarray) -> Image | Volume:
    if isinstance(picture, Volume):
        return picture
    if isinstance(picture, str | Path) and (is_nifti(Path(picture)) or Path(picture).is_dir()):
        return read(picture)
    return as_image(picture)


def _scaled(values: Shaped[np.ndarray, "*s c"]) -> tuple[Float32[np.ndarray, "*s c"], tuple[str, ...]]:
    if values.size == 0:
        raise BadImage(f"a picture of shape {values.shape}", allowed="at least one pixel")
    if values.dtype == np.uint8:
        return values.astype(np.float32), ()
    if values.dtype == np.uint16:
        highest = int(values.max())
        bits = next(depth for depth in DEPTHS if highest < 2**depth)
        step = np.float32((2**bits - 1) / TOP)
        return values.astype(np.float32) / step, (f"16-bit values up to {highest} read as {bits} bits",)
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise BadImage(
            f"the value {values[at]} at {at}", allowed="finite numbers", cure="replace or cut it out"
        )
    low, high = float(values.min()), float(values.max())
    if low >= 0 and high <= 1:
        return values * np.float32(TOP), ("values from 0 to 1 multiplied by 255",)
    if low == high:
        return np.full_like(values, TOP / 2), (f"the one value {low:g} shown as {TOP / 2:g}",)
    scale = np.float32(TOP / (high - low))
    return (values - np.float32(low)) * scale, (f"values stretched from {low:g} (0) to {high:g} (255)",)


def within(
    name: str,
    value: int | float,
    low: int | float,
    high: int | float = float("inf"),
    *,
    open_low: bool = False,
) -> None:
    """Refuse a parameter outside its range, or that is no finite number.

    Raises:
        BadArgument: names the parameter, its value and the range.
    """
    if (value > low if open_low else value >= low) and value <= high and isfinite(value):
        return
    bound = f"more than {low:g}" if open_low else f"{low:g} or more"
    bound = bound if isfinite(value) else f"a finite number, {bound}"
    raise BadArgument(
        f"{name} = {value:g}", allowed=bound if high == float("inf") else f"{bound}, up to {high:g}"
    )
