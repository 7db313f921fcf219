"""DICOM series: sorted by place, in true units, and refused where slices do not make one volume."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segmentarium.errors import BadImage
from segmentarium.values.volume import read_volume

pydicom = pytest.importorskip("pydicom")

DEPTH, HEIGHT, WIDTH = 5, 4, 3
STORED = np.arange(DEPTH * HEIGHT * WIDTH, dtype=np.uint16).reshape(DEPTH, HEIGHT, WIDTH)
OBLIQUE = np.linalg.qr(np.array([[1.0, 0.2, 0.1], [-0.1, 1, 0.3], [0.2, -0.2, 1]]))[0]


def write_slice(path: Path, values: np.ndarray, position: np.ndarray, **tags: Any) -> Path:
    """One slice, lying obliquely, in Hounsfield units."""
    head = pydicom.dataset.FileMetaDataset()
    head.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    head.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    head.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    one = pydicom.dataset.Dataset()
    one.file_meta = head
    one.SOPClassUID, one.SOPInstanceUID = head.MediaStorageSOPClassUID, head.MediaStorageSOPInstanceUID
    one.Modality, one.SeriesInstanceUID = "CT", "1.2.3"
    one.Rows, one.Columns = values.shape
    one.PixelSpacing = [0.7, 0.5]
    one.ImagePositionPatient = [round(float(v), 8) for v in position]
    one.ImageOrientationPatient = [round(float(v), 10) for v in (*OBLIQUE[:, 0], *OBLIQUE[:, 1])]
    one.BitsAllocated = one.BitsStored = 16
    one.HighBit, one.PixelRepresentation, one.SamplesPerPixel = 15, 0, 1
    one.PhotometricInterpretation = "MONOCHROME2"
    one.RescaleSlope, one.RescaleIntercept = 2, -1024
    one.PixelData = values.tobytes()
    for tag, value in tags.items():
        if value is None:
            delattr(one, tag)
        else:
            setattr(one, tag, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one.save_as(path, enforce_file_format=True)
    return path


def normal() -> np.ndarray:
    return np.cross(OBLIQUE[:, 0], OBLIQUE[:, 1])


def write_series(folder: Path, heights: list[float] | None = None, **tags: Any) -> Path:
    """Slices whose names tell nothing of their order."""
    folder.mkdir(parents=True, exist_ok=True)
    heights = heights or [2.5 * place for place in range(DEPTH)]
    names = np.random.default_rng(3).permutation(len(heights))
    for place, height in enumerate(heights):
        at = np.array([10.0, -20, 30]) + height * normal()
        write_slice(folder / f"{names[place]}.dcm", STORED[place % DEPTH], at, **tags)
    return folder


def test_slices_are_sorted_by_their_place(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "series")
    (folder / "readme.txt").write_text("not a slice")
    volume = read_volume(folder)
    assert (volume.modality, volume.voxels.dtype) == ("CT", np.int16)
    assert sorted(volume.spacing_mm) == pytest.approx([0.5, 0.7, 2.5], abs=1e-5)
    found = {}
    for index in np.ndindex(volume.size):
        x, y, z, _ = volume.affine @ [*index, 1]
        found[tuple(np.round([-x, -y, z], 3))] = volume.voxels[index]
    for s, r, c in np.ndindex(DEPTH, HEIGHT, WIDTH):
        at = (
            np.array([10.0, -20, 30]) + 2.5 * s * normal() + 0.5 * c * OBLIQUE[:, 0] + 0.7 * r * OBLIQUE[:, 1]
        )
        assert found[tuple(np.round(at, 3))] == 2 * int(STORED[s, r, c]) - 1024
    saved = volume.save(tmp_path / "as.nii.gz")
    again = read_volume(saved)
    np.testing.assert_array_equal(again.voxels, volume.voxels)
    assert again.grid.difference(volume.grid) == ""


def test_simpleitk_reads_the_same_series(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    folder = write_series(tmp_path / "series")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    theirs, ours = reader.Execute(), read_volume(folder)
    values = sitk.GetArrayFromImage(theirs)
    for index in np.ndindex(ours.size):
        x, y, z, _ = ours.affine @ [*index, 1]
        column, row, place = theirs.TransformPhysicalPointToIndex([-x, -y, z])
        assert values[place, row, column] == ours.voxels[index]


def test_one_file_names_its_series(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "both")
    other = tmp_path / "both" / "other.dcm"
    write_slice(other, STORED[0] + 7, np.zeros(3), SeriesInstanceUID="9.9", SliceThickness=4)
    with pytest.raises(BadImage, match="slices of 2 series; allowed: one series a folder"):
        read_volume(folder)
    assert read_volume(folder / "0.dcm").size.count(DEPTH) == 1
    alone = read_volume(other)
    assert sorted(alone.size) == [1, WIDTH, HEIGHT]
    assert 4 in alone.spacing_mm


@pytest.mark.parametrize(
    ("heights", "words"),
    [
        ([0, 2.5, 5, 10, 12.5], r"slices lie 2.5 mm apart, but 5 after"),
        ([0, 2.5, 2.5, 5, 7.5], "two slices at"),
    ],
)
def test_gaps_and_copies_are_refused(tmp_path: Path, heights: list[float], words: str) -> None:
    with pytest.raises(BadImage, match=words):
        read_volume(write_series(tmp_path / "series", heights))


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"ImagePositionPatient": None}, "does not tell its ImagePositionPatient"),
        ({"PixelSpacing": [0.7, 0.6]}, "has PixelSpacing"),
        ({"NumberOfFrames": 3}, "several frames"),
    ],
)
def test_slices_that_do_not_fit_are_named(tmp_path: Path, tags: dict[str, Any], words: str) -> None:
    folder = write_series(tmp_path / "series")
    odd = write_slice(folder / "00_odd.dcm", STORED[0], np.array([10.0, -20, 30]) - 2.5 * normal(), **tags)
    with pytest.raises(BadImage, match=words) as told:
        read_volume(folder)
    assert odd.name in str(told.value) or "PixelSpacing" in str(told.value)


def test_a_tilted_gantry_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    folder.mkdir()
    for place in range(3):
        at = 2.5 * place * normal() + 0.4 * place * OBLIQUE[:, 1]
        write_slice(folder / f"{place}.dcm", STORED[place], at)
    with pytest.raises(BadImage, match="tilted gantry"):
        read_volume(folder)


def test_no_slice_and_damaged_pixels(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="holds no DICOM slice"):
        read_volume(tmp_path)
    folder = write_series(tmp_path / "series")
    write_slice(folder / "0.dcm", STORED[0], np.array([10.0, -20, 30]), PixelData=b"ab")
    with pytest.raises(BadImage, match=r"cannot be decoded|two slices"):
        read_volume(folder)
