"""Faults planted into clean sets of volumes are found, named with their files, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from segmentarium.data import open_data, write_data_set
from segmentarium.engine.faults.finding import Finding, Severity
from segmentarium.engine.faults.volumes import examine_volumes

Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Drawn volumes of 1.5 x 0.8 x 0.8 mm, lying somewhere in a body."""
    root = write_data_set(tmp_path / "set", train=4, val=2, size=(12, 24, 24), classes=3, layout="volumes")
    affine = np.array([[-0.8, 0, 0, 90], [0, -0.8, 0, 120], [0, 0, 1.5, -300], [0, 0, 0, 1]])
    for path in root.rglob("*.nii.gz"):
        rewrite(path, lambda values, _, affine=affine: (values, affine))
    return root


def rewrite(path: Path, change: Change) -> None:
    stored = nib.load(path, mmap=False)
    values, affine = change(np.asarray(stored.dataobj), stored.affine.copy())
    nib.save(nib.Nifti1Image(values, affine), path)


def image(root: Path) -> Path:
    return root / "train" / "images" / "scene_0001.nii.gz"


def labels(root: Path) -> Path:
    return root / "train" / "masks" / "scene_0001.nii.gz"


def found(root: Path) -> dict[str, Finding]:
    return {finding.fault: finding for finding in examine_volumes(open_data(root))}


def moved(affine: np.ndarray, mm: float) -> np.ndarray:
    affine[0, 3] += mm
    return affine


def mirrored_head(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sign of the first axis turned, and nothing else."""
    affine[:, 0] *= -1
    return values, affine


def said_to_be_turned(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The head of a file whose first axis runs the other way, over voxels that were not turned."""
    affine[:, 3] += affine[:, 0] * (len(values) - 1)
    affine[:, 0] *= -1
    return values, affine


def truly_turned(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, affine = said_to_be_turned(values, affine)
    return values[::-1], affine


def with_odd_value(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values[3, 4, 5] = 9
    return values, affine


def with_infinity(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = values.astype(np.float32)
    values[3, 4, 5] = np.inf
    return values, affine


def in_micrometres(values: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values, np.diag([-800.0, -800, 1500, 1])


def without_spacing(values: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values, np.diag([-1.0, -1, 1, 1])


PLANTED: list[tuple[str, Severity, Callable[[Path], Path], Change, str]] = [
    ("affine-mismatch", Severity.ERROR, labels, lambda v, a: (v, moved(a, 2)), "2 mm apart"),
    ("affine-mirrored", Severity.ERROR, labels, mirrored_head, "mirrored left to right"),
    ("orientation-differs", Severity.WARNING, labels, said_to_be_turned, "edges"),
    ("orientation-differs", Severity.WARNING, labels, truly_turned, "labels RPS, image LPS"),
    ("size-mismatch", Severity.ERROR, labels, lambda v, a: (v[:-1], a), "12x24x23 voxels (d, h, w) beside"),
    ("four-axes", Severity.ERROR, labels, lambda v, a: (np.stack([v, v], -1), a), "2 along the fourth"),
    ("four-axes", Severity.ERROR, image, lambda v, a: (np.stack([v, v, v], -1), a), "3 along the fourth"),
    ("nan-in-image", Severity.ERROR, image, with_infinity, "inf first at (d, h, w) = (5, 4, 3)"),
    ("ids-undeclared", Severity.ERROR, labels, with_odd_value, "value 9 in 1 voxels, first at d=5, h=4, w=3"),
    ("interpolated-labels", Severity.ERROR, labels, lambda v, a: (v * np.float32(0.7), a), ""),
    ("all-background-mask", Severity.WARNING, labels, lambda v, a: (v * np.uint8(0), a), "'ground'"),
    ("implausible-spacing", Severity.WARNING, image, in_micrometres, "1500x800x800"),
    ("implausible-spacing", Severity.WARNING, image, without_spacing, "do not know"),
]  # fmt: skip


def test_a_clean_set_is_clean(clean: Path) -> None:
    assert found(clean) == {}


@pytest.mark.parametrize(("fault", "severity", "where", "change", "words"), PLANTED)
def test_a_planted_fault_is_found(
    clean: Path,
    fault: str,
    severity: Severity,
    where: Callable[[Path], Path],
    change: Change,
    words: str,
) -> None:
    rewrite(where(clean), change)
    seen = found(clean)
    assert fault in seen
    finding = seen[fault]
    expected = where(clean).relative_to(clean).as_posix()
    assert (finding.severity, finding.files) == (severity, (expected,))
    assert words in finding.message
    beside = {"size-mismatch", "affine-mismatch"} if where is image else set()
    assert set(seen) - {fault} <= beside


def test_turned_heads_are_told_from_turned_volumes(clean: Path) -> None:
    rewrite(labels(clean), truly_turned)
    assert "edges" not in found(clean)["orientation-differs"].message


def test_heads_that_lie_are_told_from_damage(clean: Path) -> None:
    plain = image(clean).with_suffix("")
    nib.save(nib.load(image(clean)), plain)
    image(clean).unlink()
    raw = bytearray(plain.read_bytes())
    raw[80:84] = np.float32(0).tobytes()
    plain.write_bytes(raw)
    damaged = clean / "val" / "images" / "scene_0000.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:300])
    (clean / "val" / "masks" / "scene_0001.nii.gz").unlink()
    seen = found(clean)
    assert seen["untrue-head"].files == ("train/images/scene_0001.nii",)
    assert "a spacing of 0x" in seen["untrue-head"].message
    assert seen["undecodable"].files == ("val/images/scene_0000.nii.gz",)
    assert seen["image-without-mask"].files == ("val/images/scene_0001.nii.gz",)


def test_affines_that_disagree_within_a_head(clean: Path) -> None:
    stored = nib.load(image(clean), mmap=False)
    both = nib.Nifti1Image(np.asarray(stored.dataobj), stored.affine)
    both.set_qform(moved(stored.affine.copy(), 5), code=1)
    nib.save(both, image(clean))
    assert found(clean)["sform-qform"].files == ("train/images/scene_0001.nii.gz",)
    bare = nib.Nifti1Image(np.asarray(stored.dataobj), None)
    bare.header.set_zooms((0.8, 0.8, 1.5))
    nib.save(bare, image(clean))
    assert found(clean)["no-orientation"].count == 1


@pytest.mark.parametrize("name", ["msd_hippocampus", "la2018"])
def test_real_sets_are_examined(name: str) -> None:
    root = Path(__file__).parents[3] / "shared" / "data" / name
    if not root.exists():
        pytest.skip("the data set is not here")
    assert {fault for fault, finding in found(root).items() if finding.severity is Severity.ERROR} == set()
