"""Volumes: reading, turning, saving where they came from, and refusing what cannot be true."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image as Pil

from segmentarium.errors import BadImage, BadMask, CannotWrite
from segmentarium.values.classes import VOID, Class, Classes
from segmentarium.values.grid import Grid
from segmentarium.values.results import LabelMap
from segmentarium.values.volume import Volume, probe_volume, read_label_values, read_volume, slices_of

CLASSES = Classes.named("background", "organ", "tumour")
VALUES = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
AFFINE = np.array([[-2.0, 0, 0, 90], [0, 0, 0.5, -120], [0, 3, 0, 40], [0, 0, 0, 1]])


def written(
    path: Path, values: np.ndarray = VALUES, affine: np.ndarray | None = AFFINE, **head: object
) -> Path:
    image = nib.Nifti1Image(values, affine)
    for key, value in head.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def belie(path: Path, offset: int, number: float) -> Path:
    """Write a 32-bit number into the head of an unpacked file, past nibabel."""
    raw = bytearray(path.read_bytes())
    raw[offset : offset + 4] = np.float32(number).tobytes()
    path.write_bytes(raw)
    return path


def test_axes_run_to_head_back_and_left(tmp_path: Path) -> None:
    volume = read_volume(written(tmp_path / "a.nii.gz"))
    assert volume.size == (3, 4, 2)
    assert volume.spacing_mm == (3.0, 0.5, 2.0)
    assert (volume.grid.file_axes, volume.grid.order, volume.grid.flipped) == (
        "LSA",
        (1, 2, 0),
        (False, True, False),
    )
    np.testing.assert_array_equal(volume.voxels, VALUES.transpose(1, 2, 0)[:, ::-1])
    towards = np.sign(np.diag(volume.affine[[2, 1, 0], :3]))
    assert towards.tolist() == [1, -1, -1]
    for index in np.ndindex(3, 4, 2):
        there = volume.affine @ [*index, 1]
        stored = np.linalg.inv(AFFINE) @ there
        assert VALUES[tuple(stored[:3].round().astype(int))] == volume.voxels[index]


def test_simpleitk_sees_the_same_voxels(tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    path = written(tmp_path / "a.nii.gz", affine=np.diag([-1.5, -1.0, 2.0, 1]))
    theirs = sitk.ReadImage(str(path))
    ours = read_volume(path)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(theirs), ours.voxels)
    assert theirs.GetSpacing()[::-1] == ours.spacing_mm
    point = theirs.TransformIndexToPhysicalPoint((1, 2, 3))
    x, y, z, _ = ours.affine @ [3, 2, 1, 1]
    np.testing.assert_allclose(point, [-x, -y, z], atol=1e-5)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_labels_lie_on_their_image(tmp_path: Path, ending: str) -> None:
    source = written(tmp_path / f"image{ending}", VALUES.astype(np.float32), cal_max=7)
    belie(source, 112, 2) if ending == ".nii" else None
    volume = read_volume(source)
    labels = (volume.voxels > 10).astype(np.int32)
    labels[0, 0, 0] = VOID
    saved = LabelMap(labels, CLASSES, grid=volume.grid).save(tmp_path / f"labels{ending}")
    one, other = nib.load(source), nib.load(saved)
    assert one.shape == other.shape
    np.testing.assert_array_equal(one.affine, other.affine)
    assert other.get_data_dtype() == np.uint8
    values, grid = read_label_values(saved)
    assert grid.difference(volume.grid) == ""
    np.testing.assert_array_equal(np.where(values == 255, VOID, values.astype(np.int32)), labels)
    again = LabelMap(labels, CLASSES, grid=volume.grid).save(tmp_path / f"again{ending}")
    assert saved.read_bytes() == again.read_bytes()


def test_labels_without_a_grid_keep_their_spacing(tmp_path: Path) -> None:
    labels = np.ones((2, 3, 4), np.int32)
    saved = LabelMap(labels, CLASSES, spacing_mm=(3.0, 1.0, 2.0)).save(tmp_path / "l.nii.gz")
    assert nib.aff2axcodes(nib.load(saved).affine) == ("R", "A", "S")
    values, grid = read_label_values(saved)
    np.testing.assert_array_equal(values, labels)
    assert grid.spacing_mm == (3.0, 1.0, 2.0)


def test_a_name_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match=r"\.nii\.gz"):
        Volume.plain(VALUES).save(tmp_path / "a.mha")
    with pytest.raises(CannotWrite, match="equal sizes"):
        LabelMap(np.zeros((1, 1, 1), np.int32), CLASSES, grid=Grid.plain((2, 2, 2))).save(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("values", "dtype", "note"),
    [
        (VALUES.astype(np.int8), np.int16, "int8"),
        (VALUES.astype(np.int32), np.int16, "int32"),
        (VALUES.astype(np.int32) + 40_000, np.uint16, "int32"),
        (VALUES.astype(np.int32) * 4000, np.float32, "int32"),
        (VALUES.astype(np.float64) / 3, np.float32, "float64"),
        (VALUES.astype(np.uint16), np.uint16, ""),
        (VALUES.astype(np.float32), np.float32, ""),
    ],
)
def test_numbers_keep_their_type_where_it_can_be(
    tmp_path: Path, values: np.ndarray, dtype: type, note: str
) -> None:
    volume = read_volume(written(tmp_path / "a.nii", values, np.diag([-1.0, -1, 1, 1])))
    assert volume.voxels.dtype == dtype
    np.testing.assert_array_equal(volume.voxels, values.T.astype(dtype))
    assert note in "".join(volume.notes)


def test_hounsfield_units_stay_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "ct.nii", VALUES.astype(np.uint16), np.diag([-1.0, -1, 1, 1]))
    belie(belie(path, 112, 1), 116, -1024)
    volume = read_volume(path)
    assert volume.voxels.dtype == np.int16
    np.testing.assert_array_equal(volume.voxels, VALUES.T - 1024)
    belie(path, 112, 0.5)
    np.testing.assert_array_equal(read_volume(path).voxels, VALUES.T * np.float32(0.5) - 1024)


def test_four_axes_only_where_they_are_wanted(tmp_path: Path) -> None:
    one = written(tmp_path / "one.nii", VALUES[..., None])
    assert read_volume(one).size == (3, 4, 2)
    assert "4 axes read as 3" in read_volume(one).notes[0]
    four = written(tmp_path / "four.nii", np.stack([VALUES, VALUES + 100], -1))
    with pytest.raises(BadImage, match="4 axes: 2x3x4x2; allowed: 3 axes"):
        read_volume(four)
    volume = read_volume(four, channels=True)
    assert (volume.channels, volume.voxels.shape) == (2, (2, 3, 4, 2))
    np.testing.assert_array_equal(volume.voxels[1] - volume.voxels[0], np.full((3, 4, 2), 100))
    assert volume.banded is volume.voxels
    saved = volume.save(tmp_path / "again.nii")
    np.testing.assert_array_equal(nib.load(saved).dataobj, nib.load(four).dataobj)
    flat = read_volume(written(tmp_path / "flat.nii", VALUES[0]))
    assert sorted(flat.size) == [1, 3, 4]


def _nan_affine(path: Path) -> Path:
    return belie(written(path), 280, np.nan)


def _flat_affine(path: Path) -> Path:
    written(path)
    for offset in (280, 284, 288):
        belie(path, offset, 0)
    return path


def _with_infinity(path: Path) -> Path:
    return written(path, np.where(VALUES == 5, np.nan, VALUES).astype(np.float32))


def _of_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: belie(written(p), 80, 0), "a spacing of 0x3x0.5"),
        (lambda p: belie(written(p), 84, np.nan), "a spacing of 2xnanx0.5"),
        (_nan_affine, "NaN or infinity in its affine"),
        (_flat_affine, "span no space"),
        (_with_infinity, r"nan first at \(d, h, w\)"),
        (lambda p: written(p, VALUES.astype(np.complex64)), "complex64; allowed: real numbers"),
        (lambda p: written(p, VALUES.astype(np.int32) << 20), r"allowed: whole numbers up to 2\^24"),
        (lambda p: p, "there is no file"),
        (lambda p: _of_bytes(p, b""), "empty"),
        (lambda p: _of_bytes(p, b"not a volume at all" * 40), "damaged or cut-off NIfTI"),
        (lambda p: _of_bytes(p, written(p).read_bytes()[:-9]), "damaged or cut-off NIfTI"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_in_a_sentence_with_the_file(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    path = make(tmp_path / "bad.nii")
    with pytest.raises(BadImage, match=words) as told:
        read_volume(path)
    assert "bad.nii" in str(told.value)
    assert "\n" not in str(told.value)


def test_packed_files_that_are_cut_off_or_garbled(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 99, (9, 9, 9), np.int16))
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(BadImage, match=r"a\.nii\.gz is a damaged or cut-off"):
        read_volume(whole)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(b"nothing of use"))
    with pytest.raises(BadImage, match="damaged or cut-off"):
        read_volume(tmp_path / "b.nii.gz")
    (tmp_path / "c.txt").write_text("x")
    with pytest.raises(BadImage, match="is no volume"):
        read_volume(tmp_path / "c.txt")
    with pytest.raises(BadImage, match="claims 9x9x9 voxels; allowed: at most 700"):
        read_volume(written(tmp_path / "d.nii", np.zeros((9, 9, 9), np.uint8)), max_voxels=700)


def test_heads_that_contradict_themselves_are_told(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, AFFINE)
    image.set_qform(np.diag([2.0, 3, 0.5, 1]), code=1)
    nib.save(image, tmp_path / "a.nii")
    assert "sform and qform disagree" in " ".join(read_volume(tmp_path / "a.nii").notes)
    image.set_qform(AFFINE, code=1)
    nib.save(image, tmp_path / "b.nii")
    assert read_volume(tmp_path / "b.nii").notes == ()
    belie(tmp_path / "b.nii", 80, 5)
    assert "pixdim says 5x3x0.5" in " ".join(read_volume(tmp_path / "b.nii").notes)
    image.set_qform(None, code=0)
    image.set_sform(None, code=0)
    nib.save(image, tmp_path / "c.nii")
    assert "no orientation" in read_volume(tmp_path / "c.nii").notes[0]


def test_lengths_in_micrometres_become_millimetres(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VALUES, np.diag([4.0, 5, 6, 1]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.spacing_mm == (0.006, 0.005, 0.004)
    saved = LabelMap(np.zeros(volume.size, np.int32), CLASSES, grid=volume.grid).save(tmp_path / "l.nii")
    np.testing.assert_array_equal(nib.load(saved).affine, image.affine)


def test_labels_must_be_whole_numbers(tmp_path: Path) -> None:
    whole = written(tmp_path / "a.nii", VALUES.astype(np.float32))
    assert read_label_values(whole)[0].dtype == np.int32
    half = written(tmp_path / "b.nii", VALUES.astype(np.float32) / 2)
    with pytest.raises(BadMask, match=r"b\.nii holds numbers that are not whole"):
        read_label_values(half)
    with pytest.raises(BadMask, match="there is no file"):
        read_label_values(tmp_path / "none.nii")


def test_only_the_head_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nii", np.stack([VALUES] * 3, -1))
    head = probe_volume(path)
    assert (head.grid.size, head.channels) == ((3, 4, 2), 3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slices_are_pictures(tmp_path: Path, axis: int) -> None:
    volume = read_volume(written(tmp_path / "a.nii"))
    slices = list(slices_of(volume, axis=axis))
    stacked = np.stack([one.image.pixels[..., 0] for one in slices], axis)
    np.testing.assert_array_equal(stacked, volume.voxels)
    assert slices[0].image.pixels.dtype == np.float32
    assert slices[0].image.spacing_mm == tuple(s for a, s in enumerate(volume.spacing_mm) if a != axis)
    index = [1, 1, 1]
    index[axis] = 0
    place = [1, 1, 1]
    np.testing.assert_allclose(slices[1].grid.affine @ [*index, 1], volume.affine @ [*place, 1])


def test_grids_at_another_spacing_share_their_centre() -> None:
    grid = Grid.plain((20, 30, 40), (3.0, 1.0, 0.5))
    target = grid.at_spacing((1.0, 1.5, 2.0))
    assert (target.size, target.spacing_mm) == ((60, 20, 10), (1.0, 1.5, 2.0))
    middles = [one.affine @ [*((np.array(one.size) - 1) / 2), 1] for one in (grid, target)]
    np.testing.assert_allclose(*middles)
    assert grid.at_spacing((500.0, 1.0, 0.5)).size == (1, 30, 40)
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(BadImage, match="above 0"):
            grid.at_spacing((wrong, 1.0, 1.0))
    with pytest.raises(BadImage, match="span no space"):
        Grid.plain((1, 1, 1), (0.0, 1.0, 1.0))


def test_differences_are_told_in_words() -> None:
    grid = Grid.plain((4, 5, 6), (1.0, 1.0, 2.0))
    assert grid.difference(grid) == ""
    assert "4x5x6 voxels (d, h, w) beside 4x5x7" in grid.difference(Grid.plain((4, 5, 7), (1.0, 1.0, 2.0)))
    assert "1x1x2 mm beside 1x1x1 mm" in grid.difference(Grid.plain((4, 5, 6)))
    moved = grid.affine.copy()
    moved[0, 3] += 0.05
    assert grid.difference(Grid(grid.size, moved)) == ""
    moved[0, 3] += 3
    assert "corners up to 3.05 mm apart" in grid.difference(Grid(grid.size, moved))


def test_volumes_are_drawn_in_three_directions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    volume = Volume.plain(rng.normal(size=(8, 20, 10)).astype(np.float32), (4.0, 1.0, 1.0))
    labels = np.zeros((8, 20, 10), np.int32)
    labels[2:5, 3:9, 2:8] = 1
    result = LabelMap(labels, CLASSES, grid=volume.grid)
    path = volume.save(tmp_path / "v.nii.gz")
    for drawn in (result.overlay(volume), result.overlay(path), result.overlay(volume.voxels)):
        assert isinstance(drawn, Pil.Image)
        assert drawn.width > drawn.height
        tinted = (np.array(drawn) == CLASSES[1].color).all(axis=-1)
        assert tinted.sum() > 100
    assert result.montage(volume, slices=3).height > 20
    empty = LabelMap(np.zeros((8, 20, 10), np.int32), CLASSES)
    assert empty.montage(volume).height > empty.overlay(volume).height / 4
    with pytest.raises(BadImage, match="equal sizes"):
        result.overlay(volume.voxels[1:])


def test_labels_with_ids_above_a_byte(tmp_path: Path) -> None:
    classes = Classes([Class(id=0, name="a", color=(0, 0, 0)), Class(id=4000, name="b", color=(9, 9, 9))])
    saved = LabelMap(np.ones((2, 2, 2), np.int32), classes).save(tmp_path / "m.nii.gz")
    assert nib.load(saved).get_data_dtype() == np.uint16
    assert read_label_values(saved)[0].tolist() == np.full((2, 2, 2), 4000).tolist()


def test_a_volume_and_its_grid_agree() -> None:
    with pytest.raises(BadImage, match="as large as the grid"):
        Volume(VALUES, Grid.plain((1, 2, 3)))


def test_dicom_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(BadImage, match=r'pip install "segmentarium\[medical\]"'):
        read_volume(tmp_path)
