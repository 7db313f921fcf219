"""NIfTI files: voxels in the order of the file, their place in the patient, what heads say against them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Shaped

from segmentarium.errors import BadImage, CannotWrite, SegError
from segmentarium.values.files import atomic_write
from segmentarium.values.grid import Affine, Grid
from segmentarium.values.sniff import existing

ENDINGS = (".nii.gz", ".nii")
MAX_VOXELS = 1 << 31
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""By the unit code of a header: unknown counts as mm, then metre, mm, micrometre."""


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """The head of a file; ``stored`` is nibabel's image, whose voxels are not read yet."""

    path: Path
    grid: Grid
    channels: int
    notes: tuple[str, ...]
    stored: Any

    def voxels(self) -> Shaped[np.ndarray, "*c i j k"]:
        """The numbers as they are meant, channels (if more than one) first, in the order of the file.

        Raises:
            BadImage: damaged or cut off.
        """
        with told(self.path):
            proxy = self.stored.dataobj
            raw = np.asanyarray(proxy.get_unscaled())
            slope, shift = proxy.slope, proxy.inter
        raw = raw.astype(raw.dtype.newbyteorder("="), copy=False)
        raw = raw.reshape(*self.stored.shape[:3], *[1] * (3 - len(self.stored.shape[:3])), self.channels)
        raw = np.moveaxis(raw, -1, 0) if self.channels > 1 else raw[..., 0]
        return rescaled(raw, float(slope), float(shift))


def rescaled(raw: Shaped[np.ndarray, "*s"], slope: float, shift: float) -> Shaped[np.ndarray, "*s"]:
    """``raw * slope + shift``: as 16-bit numbers where these hold it exactly, else as float32."""
    if (slope, shift) == (1, 0):
        return raw
    if raw.dtype.kind in "iu" and slope.is_integer() and shift.is_integer():
        ends = sorted(int(end) * int(slope) + int(shift) for end in (raw.min(), raw.max()))
        if np.iinfo(np.int16).min <= ends[0] and ends[1] <= np.iinfo(np.int16).max:
            wide = raw.astype(np.int32)
            wide *= int(slope)
            wide += int(shift)
            return wide.astype(np.int16)
    scaled = raw.astype(np.float32)
    scaled *= np.float32(slope)
    scaled += np.float32(shift)
    return scaled


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Say any failure of the decoder in one sentence: files are foreign, and it fails in many ways."""
    try:
        yield
    except SegError:
        raise
    except MemoryError as error:
        raise BadImage(f"{path} does not fit into memory", cure="cut it into parts") from error
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        came = f"{path} is a damaged or cut-off NIfTI file ({reason[:200]})"
        raise BadImage(
            came, allowed="a whole .nii or .nii.gz", cure="copy it again from its source"
        ) from error


def is_nifti(path: Path) -> bool:
    """Whether a file has a NIfTI's name."""
    return path.name.lower().endswith(ENDINGS)


def open_nifti(path: Path, *, channels: bool = False, max_voxels: int = MAX_VOXELS) -> NiftiFile:
    """Read the head of a file.

    Args:
        channels: whether a fourth axis may be longer than 1; it holds channels then.

    Raises:
        BadImage: missing, damaged, too large, four-dimensional without ``channels``, or with a head that
            cannot be true: spacing 0 or NaN, an affine without volume.
    """
    import nibabel as nib
    from nibabel.openers import ImageOpener

    existing(path)
    with told(path):
        stored = nib.load(path, mmap=False)
        if not isinstance(stored, nib.Nifti1Image | nib.Nifti2Image):
            raise BadImage(f"{path} is a {type(stored).__name__}", allowed=".nii or .nii.gz")
        with ImageOpener(path) as file:
            written = stored.header_class.from_fileobj(file, check=False)
    count, notes = _channels(path, stored.shape, channels)
    if stored.dataobj.dtype.kind not in "iuf":
        raise BadImage(f"{path} has voxels of type {stored.dataobj.dtype}", allowed="real numbers")
    if np.prod(stored.shape, dtype=np.float64) > max_voxels:
        came = f"{path} claims {'x'.join(map(str, stored.shape))} voxels"
        raise BadImage(came, allowed=f"at most {max_voxels}", cure="raise max_voxels if that is true")
    with told(path):
        affine, said = _affine(path, stored.header, written)
    i, j, k = (*stored.shape[:3], 1, 1)[:3]
    grid = Grid.of_file(affine, (i, j, k), header=bytes(stored.header.binaryblock), where=str(path))
    return NiftiFile(path, grid, count, (*notes, *said), stored)


def _channels(path: Path, shape: tuple[int, ...], wanted: bool) -> tuple[int, tuple[str, ...]]:
    """The number of channels, and what was made of a shape that is not three long."""
    if not shape or 0 in shape:
        raise BadImage(f"{path} holds no voxel: its shape is {shape}", allowed="at least one voxel")
    if len(shape) < 3:
        return 1, ("a picture read as a volume of one slice",)
    further = [length for length in shape[3:] if length > 1]
    if not further:
        return 1, (f"{len(shape)} axes read as 3, the others being 1 long",) if len(shape) > 3 else ()
    if wanted and len(further) == 1:
        return further[0], (f"the last axis read as {further[0]} channels",)
    raise BadImage(
        f"{path} has {len(shape)} axes: {'x'.join(map(str, shape))}",
        allowed="3 axes, or 4 where channels are asked for",
        cure="cut out one moment or one channel, or ask for channels",
    )


def _affine(path: Path, header: Any, written: Any) -> tuple[Affine, tuple[str, ...]]:
    """The affine of a head in mm, and everything in which the head contradicts itself."""
    steps = np.array(written["pixdim"][1:4], np.float64)[: min(3, int(written["dim"][0]))]
    if not np.isfinite(steps).all() or not steps.all():
        raise BadImage(
            f"{path} has a spacing of {'x'.join(f'{step:g}' for step in steps)}",
            allowed="three lengths above 0",
            cure="write the true spacing into its header, for example by nibabel's header.set_zooms",
        )
    unit = _MM.get(int(header["xyzt_units"]) & 7, 1.0)
    sform, qform = (header.get_sform(coded=True)[0], header.get_qform(coded=True)[0])
    affine = np.asarray(header.get_best_affine(), np.float64)
    notes = []
    if sform is None and qform is None:
        notes.append("its head tells no orientation: columns are taken to run to the left")
    if sform is not None and qform is not None and not _alike(sform, qform, header.get_data_shape()):
        notes.append("sform and qform disagree: sform is taken")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)[: len(steps)]
    if not np.allclose(lengths, np.abs(steps), rtol=1e-2, equal_nan=True):
        notes.append(
            f"pixdim says {'x'.join(f'{step:g}' for step in np.abs(steps))}, the affine that is taken "
            f"{'x'.join(f'{length:g}' for length in lengths)}"
        )
    if unit != 1:
        notes.append(f"lengths are stored in units of {unit:g} mm")
    affine[:3] *= unit
    return affine, tuple(notes)


def _alike(sform: Affine, qform: Affine, shape: tuple[int, ...]) -> bool:
    i, j, k = (*shape[:3], 1, 1)[:3]
    one, other = (Grid((i, j, k), np.asarray(affine, np.float64)) for affine in (sform, qform))
    return not one.difference(other)


def write_nifti(path: Path, voxels: Shaped[np.ndarray, "*c d h w"], grid: Grid) -> Path:
    """Write voxels in the order, and with the head, of the file that the grid came from.

    Without such a file the order is the grid's, and the head tells its affine. Files are the same byte by
    byte whenever voxels and grid are.

    Raises:
        CannotWrite: a name of another format, a size other than the grid's, no permission or no space.
    """
    if not is_nifti(path):
        raise CannotWrite(f"a volume cannot be saved as {path}", allowed="a name in .nii.gz or .nii")
    if voxels.shape[-3:] != grid.size:
        raise CannotWrite(f"{path}: voxels {voxels.shape} for a grid of {grid.size}", allowed="equal sizes")
    image = _image(voxels, grid)

    def write(file: BinaryIO) -> None:
        if path.suffix.lower() != ".gz":
            image.to_stream(file)
            return
        with gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
            image.to_stream(packed)

    return atomic_write(path, write)


def _image(voxels: Shaped[np.ndarray, "*c d h w"], grid: Grid) -> Any:
    import nibabel as nib

    stored = grid.turned_out(voxels)
    stored = np.moveaxis(stored, 0, -1) if stored.ndim == 4 else stored
    stored = stored.astype(np.uint8) if stored.dtype == bool else stored
    long = max(stored.shape) > np.iinfo(np.int16).max
    if not grid.header:
        fresh = (nib.Nifti2Image if long else nib.Nifti1Image)(stored, grid.file_affine)
        fresh.set_qform(grid.file_affine, code=2)
        fresh.header.set_xyzt_units("mm")
        return fresh
    newer = len(grid.header) > 348
    header = (nib.Nifti2Header if newer else nib.Nifti1Header)(grid.header)
    header.set_data_dtype(stored.dtype)
    header["cal_min"] = header["cal_max"] = 0
    header.set_slope_inter(1, 0)
    return (nib.Nifti2Image if newer else nib.Nifti1Image)(stored, None, header)
