"""A DICOM series as one volume: slices sorted by where they lie, never by the names of their files.

pydicom is needed only here and comes with the extra ``[medical]``.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from segmentarium.errors import BadImage
from segmentarium.values.grid import Grid
from segmentarium.values.nifti import MAX_VOXELS, rescaled
from segmentarium.values.volume import Volume, narrowed

GAP = 0.02
"""Neighbours may lie this part of their distance nearer or farther than the others."""
_SAME_MM = 1e-3
_RESCALE = (("Slope", 1.0), ("Intercept", 0.0))
_ALIKE = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient")
_NEEDED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
_RAS = np.diag([-1.0, -1.0, 1.0])  # DICOM's x runs to the left and y to the back


def read_series(path: str | Path, *, max_voxels: int = MAX_VOXELS) -> Volume:
    """Read the one series in a folder, or the one that a file belongs to.

    Stored numbers become what they mean (Hounsfield units in CT) by rescale slope and intercept. Files that
    are not DICOM, and DICOM without pixels, are passed over.

    Raises:
        BadImage: pydicom is missing, no slices, several series in a folder, slices that differ in size,
            spacing or direction, that stand twice, leave a gap, or are sheared (a tilted gantry).
    """
    path, pydicom = Path(path), _pydicom()
    folder = path if path.is_dir() else path.parent
    heads = _heads(folder, pydicom)
    if not path.is_dir():
        wanted = next((head for file, head in heads if file == path), None)
        heads = [pair for pair in heads if wanted is not None and _series(pair[1]) == _series(wanted)]
    if not heads:
        raise BadImage(
            f"{path} holds no DICOM slice", allowed="the files of one series", cure="name its folder"
        )
    _refuse_mixture(folder, heads)
    order, step = _sorted(folder, [head for _, head in heads])
    sorted_heads = [heads[place] for place in order]
    first = sorted_heads[0][1]
    size = (int(first.Columns), int(first.Rows), len(heads))
    if np.prod(size, dtype=np.float64) > max_voxels:
        raise BadImage(f"{folder} holds {'x'.join(map(str, size))} voxels", allowed=f"at most {max_voxels}")
    values, _ = narrowed(str(folder), np.stack([_values(*pair, pydicom) for pair in sorted_heads]))
    grid = Grid.of_file(_affine(first, step), size, where=str(folder))
    modality = str(getattr(first, "Modality", ""))
    note = f"{len(heads)} slices of a {modality or 'DICOM'} series, sorted by their place"
    return Volume(grid.turned_in(values.transpose(2, 1, 0)), grid, folder, modality, (note,))


def _pydicom() -> Any:
    try:
        return import_module("pydicom")
    except ImportError as error:
        raise BadImage(
            "a DICOM series cannot be read without pydicom", cure='pip install "segmentarium[medical]"'
        ) from error


def _heads(folder: Path, pydicom: Any) -> list[tuple[Path, Any]]:
    heads = []
    for file in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                head = pydicom.dcmread(file, stop_before_pixels=True)
        except pydicom.errors.InvalidDicomError:
            continue
        except Exception as error:
            raise BadImage(f"{file} is a damaged DICOM file ({error})", cure="copy it again") from error
        if "Rows" in head:
            heads.append((file, head))
    return heads


def _series(head: Any) -> str:
    return str(getattr(head, "SeriesInstanceUID", ""))


def _refuse_mixture(folder: Path, heads: Sequence[tuple[Path, Any]]) -> None:
    """All slices are of one series and alike in everything that makes them one grid."""
    series = Counter(_series(head) for _, head in heads)
    if len(series) > 1:
        raise BadImage(
            f"{folder} holds slices of {len(series)} series",
            allowed="one series a folder",
            cure="put each series into a folder of its own, or name one file of the series that is wanted",
        )
    file, first = heads[0]
    for other_file, other in heads:
        if any(int(getattr(other, tag, None) or 1) > 1 for tag in ("NumberOfFrames", "SamplesPerPixel")):
            raise BadImage(f"{other_file} holds several frames or colours", allowed="one grey slice a file")
        missing = [tag for tag in _NEEDED if tag not in other]
        if missing:
            came = f"{other_file} does not tell its {missing[0]}"
            raise BadImage(came, allowed="slices that know their place")
        for tag in _ALIKE:
            here, there = (np.array(head[tag].value, np.float64) for head in (other, first))
            if not np.allclose(here, there, rtol=1e-4, atol=1e-4):
                came = f"{other_file} has {tag} {other[tag].value}"
                raise BadImage(came, allowed=f"{first[tag].value}, as {file.name} of the same series")


def _sorted(folder: Path, heads: Sequence[Any]) -> tuple[list[int], Float64[np.ndarray, " 3"]]:
    """The slices in the order in which they lie along the normal, and the step from one to the next in mm."""
    places = np.array([head.ImagePositionPatient for head in heads], np.float64)
    across, down = np.array(heads[0].ImageOrientationPatient, np.float64).reshape(2, 3)
    normal = np.cross(across, down)
    heights = places @ normal
    order = heights.argsort(kind="stable")
    if len(heads) == 1:
        return [0], normal * float(getattr(heads[0], "SliceThickness", None) or 1.0)
    _refuse_uneven(folder, heights[order])
    step = (places[order[-1]] - places[order[0]]) / (len(heads) - 1)
    if np.linalg.norm(step - normal * (step @ normal)) > GAP * np.linalg.norm(step):
        raise BadImage(
            f"{folder} was taken with a tilted gantry: its slices are shifted against one another",
            allowed="slices above one another",
            cure="resample it upright before, for example by dcm2niix",
        )
    return order.tolist(), step


def _refuse_uneven(folder: Path, heights: Float64[np.ndarray, " n"]) -> None:
    gaps = np.diff(heights)
    if (gaps < _SAME_MM).any():
        raise BadImage(
            f"{folder} holds two slices at {heights[gaps.argmin()]:.4g} mm",
            allowed="one slice a place",
            cure="remove the copies, or separate the moments of a dynamic series",
        )
    usual = float(np.median(gaps))
    off = np.abs(gaps - usual)
    if off.max() > GAP * usual:
        worst = int(off.argmax())
        raise BadImage(
            f"{folder}: slices lie {usual:.4g} mm apart, but {gaps[worst]:.4g} after {heights[worst]:.4g} mm",
            allowed="equal distances",
            cure="add the missing slices",
        )


def _affine(head: Any, step: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, "4 4"]:
    """Takes (column, row, slice, 1) to mm, in NIfTI's directions."""
    across, down = np.array(head.ImageOrientationPatient, np.float64).reshape(2, 3)
    between_rows, between_columns = (float(length) for length in head.PixelSpacing)
    affine = np.eye(4)
    affine[:3, :3] = _RAS @ np.stack([across * between_columns, down * between_rows, step], axis=1)
    affine[:3, 3] = _RAS @ np.array(head.ImagePositionPatient, np.float64)
    return affine


def _values(file: Path, head: Any, pydicom: Any) -> Shaped[np.ndarray, "h w"]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = pydicom.dcmread(file).pixel_array
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        raise BadImage(f"the pixels of {file} cannot be decoded ({reason})", cure="copy it again") from error
    slope, shift = (float(getattr(head, f"Rescale{tag}", None) or default) for tag, default in _RESCALE)
    return rescaled(stored.astype(np.int32), slope, shift)
