"""Volumes: voxels with their place in the patient, from NIfTI files and DICOM series, and back to NIfTI."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int16, Integer, Shaped, UInt8, UInt16

from segmentarium.errors import BadImage, BadMask
from segmentarium.values.grid import Affine, Grid, Size, Spacing
from segmentarium.values.image import Image, read_image
from segmentarium.values.nifti import MAX_VOXELS, NiftiFile, is_nifti, open_nifti, write_nifti

Voxels = (
    UInt8[np.ndarray, "*c d h w"]
    | Int16[np.ndarray, "*c d h w"]
    | UInt16[np.ndarray, "*c d h w"]
    | Float32[np.ndarray, "*c d h w"]
)
_KEPT = (np.uint8, np.int16, np.uint16, np.float32)
_EXACT = 1 << 24  # up to here float32 holds every whole number


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels (d, h, w), or (c, d, h, w), on a grid; see :mod:`segmentarium.values.grid` for the axes.

    ``modality`` is DICOM's word (``CT``, ``MR``), empty where unknown. ``notes`` say what reading changed,
    and in what the file contradicts itself.
    """

    voxels: Voxels
    grid: Grid
    path: Path | None = None
    modality: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.voxels.shape[-3:] != self.grid.size or self.voxels.ndim > 4:
            raise BadImage(
                f"voxels of shape {self.voxels.shape} on a grid of {self.grid.size}",
                allowed="(d, h, w) or (c, d, h, w), as large as the grid",
            )

    @classmethod
    def plain(cls, voxels: Voxels, spacing_mm: Spacing = (1.0, 1.0, 1.0)) -> Volume:
        """A volume of which nothing but the spacing is known."""
        d, h, w = voxels.shape[-3:]
        return cls(voxels, Grid.plain((d, h, w), spacing_mm))

    @property
    def size(self) -> Size:
        """Depth, height and width in voxels."""
        return self.grid.size

    @property
    def channels(self) -> int:
        return int(self.voxels.shape[0]) if self.voxels.ndim == 4 else 1

    @property
    def spacing_mm(self) -> Spacing:
        """Distances between the centres of neighbours along d, h and w."""
        return self.grid.spacing_mm

    @property
    def affine(self) -> Affine:
        """Takes (d, h, w, 1) to (x, y, z, 1) in mm: x to the right, y to the front, z to the head."""
        return self.grid.affine

    @property
    def banded(self) -> Shaped[np.ndarray, "c d h w"]:
        """The voxels with channels first, also where there is only one."""
        return self.voxels if self.voxels.ndim == 4 else self.voxels[None]

    def save(self, path: str | Path) -> Path:
        """Write as NIfTI, in the order and with the head of the file it came from.

        Raises:
            CannotWrite: a name that does not end in .nii.gz or .nii, no permission or no space.
        """
        return write_nifti(Path(path), self.voxels, self.grid)


class Slice(NamedTuple):
    """One slice of a volume as a picture, and the part of the grid that it lies on."""

    image: Image
    grid: Grid
    axis: int
    place: int


def read_volume(path: str | Path, *, channels: bool = False, max_voxels: int = MAX_VOXELS) -> Volume:
    """Read a NIfTI file, or a folder (or one file of it) that holds a DICOM series.

    Axes are turned to the nearest of (d, h, w); nothing is resampled. Other numbers than uint8, int16,
    uint16 and float32 become float32 where that loses nothing.

    Args:
        channels: whether the file may have a fourth axis, which holds channels then.

    Raises:
        BadImage: missing, damaged, of another format, four-dimensional, too large, without true spacing, or
            with NaN or infinite voxels; for a series also gaps, slices that stand twice, or several series.
    """
    path = Path(path)
    if path.is_dir() or path.suffix.lower() == ".dcm":
        from segmentarium.values.dicom import read_series

        return read_series(path, max_voxels=max_voxels)
    if not is_nifti(path):
        raise BadImage(f"{path} is no volume", allowed=".nii.gz, .nii or a folder of a DICOM series")
    file = open_nifti(path, channels=channels, max_voxels=max_voxels)
    voxels, said = narrowed(str(path), file.voxels())
    turned = file.grid.turned_in(voxels)
    refuse_infinite(str(path), turned)
    return Volume(turned, file.grid, path, notes=(*file.notes, *said))


def read(path: str | Path) -> Image | Volume:
    """Read a picture, or what is a volume by its name: ``.nii``, ``.nii.gz``, or a folder of DICOM slices.

    Raises:
        BadImage: as :func:`read_volume` and :func:`read_image`.
    """
    path = Path(path)
    volume = is_nifti(path) or path.is_dir() or path.suffix.lower() == ".dcm"
    return read_volume(path) if volume else read_image(path)


def probe_volume(path: str | Path) -> NiftiFile:
    """Read only the head of a NIfTI file; channels may be any.

    Raises:
        BadImage: as :func:`read_volume`, except for damage that shows in the voxels only.
    """
    return open_nifti(Path(path), channels=True)


def read_label_values(path: str | Path) -> tuple[Integer[np.ndarray, "d h w"], Grid]:
    """The whole numbers of a label file, and where they lie.

    Raises:
        BadMask: it cannot be read, has channels, or holds numbers that are not whole.
    """
    try:
        file = open_nifti(Path(path))
        values = file.voxels()
    except BadImage as error:
        raise BadMask(error.came, allowed=error.allowed, cure=error.cure) from error
    if values.dtype.kind == "f":
        whole = np.rint(values)
        if not np.isfinite(values).all() or not np.array_equal(whole, values):
            raise BadMask(
                f"{path} holds numbers that are not whole",
                allowed="class ids",
                cure="resample labels by nearest neighbour, never by interpolation",
            )
        values = whole.astype(np.int32 if abs(whole).max(initial=0) < 2**31 else np.int64)
    return file.grid.turned_in(values), file.grid


def slices_of(volume: Volume, *, axis: int = 0) -> Iterator[Slice]:
    """The slices of a volume as pictures, from the first along ``axis`` (0, 1 or 2) on.

    Their labels, stacked along the same axis, are labels of the volume. Signed numbers become float32.
    """
    plane = tuple(step for at, step in enumerate(volume.spacing_mm) if at != axis)
    for place in range(volume.size[axis]):
        pixels = np.moveaxis(volume.banded.take(place, axis + 1), 0, -1)
        pixels = pixels.astype(np.float32) if pixels.dtype == np.int16 else pixels
        image = Image(np.ascontiguousarray(pixels), spacing_mm=plane, path=volume.path)
        yield Slice(image, volume.grid.slab(axis, place), axis, place)


def with_voxels(volume: Volume, voxels: Voxels, grid: Grid | None = None) -> Volume:
    """The same volume with other voxels, and on another grid where they have one."""
    return replace(volume, voxels=voxels, grid=grid or volume.grid)


def refuse_infinite(where: str, voxels: Shaped[np.ndarray, "*c d h w"]) -> None:
    """Raise ``BadImage`` for NaN or infinity, telling the first place; looks at one slice at a time."""
    if voxels.dtype.kind != "f":
        return
    slices = voxels.reshape(-1, *voxels.shape[-2:])
    for number, plane in enumerate(slices):
        if np.isfinite(plane).all():
            continue
        row, column = np.unravel_index(int(np.isfinite(plane).argmin()), plane.shape)
        raise BadImage(
            f"{where} holds {plane[row, column]} first at (d, h, w) = "
            f"({number % voxels.shape[-3]}, {row}, {column})",
            allowed="finite numbers",
            cure="replace them, for example by numpy.nan_to_num",
        )


def narrowed(where: str, values: Shaped[np.ndarray, "*s"]) -> tuple[Voxels, tuple[str, ...]]:
    """The same numbers in a type that a volume holds, and a word on it.

    Raises:
        BadImage: whole numbers that none of the types holds exactly.
    """
    if values.dtype in _KEPT:
        return values, ()
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(np.float32), (f"{values.dtype} read as float32",)
    low, high = int(values.min()), int(values.max())
    for kind in (np.int16, np.uint16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return values.astype(kind), (f"{values.dtype} read as {np.dtype(kind)}",)
    if max(-low, high) > _EXACT:
        raise BadImage(
            f"{where} has {values.dtype} values {low}..{high}",
            allowed="whole numbers up to 2^24, or float32",
            cure="scale them and save as float32",
        )
    return values.astype(np.float32), (f"{values.dtype} read as float32",)
