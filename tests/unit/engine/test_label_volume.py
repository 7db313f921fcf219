"""Volumes in patches: as the slow twin that holds all scores, in bounded memory, and back in place."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segmentarium.data.volume_normalise import NormaliseVolume
from segmentarium.engine.volumes import VolumeEye, label_volume, segment_volume
from segmentarium.errors import BadImage, WeightsMismatch
from segmentarium.nn.outputs import Semantic
from segmentarium.ops import slab
from segmentarium.ops.slab import RollingSlab, rolling_axis
from segmentarium.ops.tiles import gaussian_profile, spread
from segmentarium.values.classes import Classes
from segmentarium.values.grid import Grid
from segmentarium.values.volume import Volume, read_volume


class Local(nn.Module):
    """A network that looks around each voxel; its answers at a patch's border differ from those within."""

    def __init__(self, classes: int = 3, channels: int = 1, stride: int = 1, kernel: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.look = nn.Conv3d(channels, classes, kernel, stride=stride, padding=kernel // 2)

    def forward(self, image: Tensor) -> Semantic:
        return Semantic(self.look(image))


class Valid(Local):
    """Loses a voxel on each side."""

    border = 1

    def forward(self, image: Tensor) -> Semantic:
        return Semantic(nn.functional.conv3d(image, self.look.weight, self.look.bias))


def noise(*size: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=size).astype(np.float32)


@torch.inference_mode()
def slow_twin(
    voxels: np.ndarray, network: nn.Module, patch: tuple[int, int, int], overlap: float
) -> np.ndarray:
    """All scores of all classes at once, in double precision; for volumes at least as large as a patch."""
    size = voxels.shape[-3:]
    total = np.zeros((3, *size))
    weights = np.einsum("i,j,k->ijk", *(gaussian_profile(side) for side in patch)).astype(np.float64)
    starts = (spread(length, side, overlap) for length, side in zip(size, patch, strict=True))
    for corner in product(*starts):
        window = tuple(slice(c, c + side) for c, side in zip(corner, patch, strict=True))
        view = torch.from_numpy(voxels[(slice(None), *window)])[None]
        total[(slice(None), *window)] += network(view).logits[0].numpy() * weights
    return total


@pytest.mark.parametrize("size", [(20, 17, 23), (9, 30, 12), (30, 9, 12), (8, 8, 8)])
@pytest.mark.parametrize(("overlap", "batch"), [(0.5, 1), (0.25, 3), (0.0, 2)])
def test_patches_are_blended_as_the_slow_twin_does(
    size: tuple[int, int, int], overlap: float, batch: int
) -> None:
    network, voxels = Local(channels=2), noise(2, *size)
    scores = slow_twin(voxels, network, (8, 8, 8), overlap)
    labels = label_volume(voxels, network, patch=(8, 8, 8), overlap=overlap, batch=batch)
    best = np.sort(scores, axis=0)
    clear = best[-1] - best[-2] > 1e-5 * np.abs(best[-1])
    assert labels.dtype == np.uint8
    assert clear.mean() > 0.999
    np.testing.assert_array_equal(labels[clear], scores.argmax(0)[clear])


@pytest.mark.parametrize("size", [(1, 1, 1), (3, 30, 2), (40, 5, 7), (7, 40, 8)])
def test_volumes_smaller_than_a_patch_are_mirrored(size: tuple[int, int, int]) -> None:
    labels = label_volume(noise(*size), Local(kernel=1), patch=(8, 9, 10))
    whole = Local(kernel=1)(torch.from_numpy(noise(*size))[None, None]).logits[0].argmax(0).numpy()
    np.testing.assert_array_equal(labels, whole)


@pytest.mark.parametrize("size", [(20, 17, 23), (5, 30, 2)])
def test_a_network_that_loses_a_border_answers_as_in_one_pass(size: tuple[int, int, int]) -> None:
    voxels = noise(*size)
    padded = np.pad(voxels, 1, mode="reflect")
    whole = Valid()(torch.from_numpy(padded)[None, None]).logits[0].argmax(0).numpy()
    labels = label_volume(voxels, Valid(), patch=(8, 8, 8), overlap=0.0)
    assert (labels == whole).mean() > 0.999


def test_scores_at_a_stride_are_resized() -> None:
    smooth = np.linspace(-1, 1, 24**3, dtype=np.float32).reshape(24, 24, 24)
    whole = label_volume(smooth, Local(stride=2), patch=(24, 24, 24))
    patches = label_volume(smooth, Local(stride=2), patch=(12, 12, 12))
    assert (whole == patches).mean() > 0.9


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_the_whole_volume_is_measured_once(dtype: type) -> None:
    voxels = (100 * np.abs(noise(1, 20, 16, 16))).astype(dtype)
    normalise = NormaliseVolume(channels=1)
    network = Local()
    one = label_volume(voxels, VolumeEye(network, normalise), patch=(8, 8, 8))
    other = label_volume(normalise(voxels), network, patch=(8, 8, 8))
    np.testing.assert_array_equal(one, other)


def test_labels_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    out = np.lib.format.open_memmap(tmp_path / "labels.npy", "w+", np.int16, (20, 17, 23))
    seen: list[tuple[int, int]] = []
    labels = label_volume(
        noise(20, 17, 23),
        Local(),
        patch=(8, 8, 8),
        out=out,
        progress=lambda done, count: seen.append((done, count)),
    )
    assert labels is out
    np.testing.assert_array_equal(
        np.load(tmp_path / "labels.npy"), label_volume(noise(20, 17, 23), Local(), patch=(8, 8, 8))
    )
    assert seen[-1] == (len(seen), len(seen))


def test_a_large_slab_lies_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = label_volume(noise(20, 17, 23), Local(), patch=(8, 8, 8))
    monkeypatch.setattr(slab, "SLAB_BYTES", 100)
    held = RollingSlab(np.zeros((20, 17, 23), np.uint8), classes=3, patch=(8, 8, 8))
    assert isinstance(held.sums, np.memmap)
    np.testing.assert_array_equal(label_volume(noise(20, 17, 23), Local(), patch=(8, 8, 8)), expected)


def test_the_slab_is_the_thinner_one() -> None:
    assert rolling_axis((400, 512, 512), (128, 128, 128)) == 1
    assert rolling_axis((512, 400, 512), (128, 128, 128)) == 0
    assert rolling_axis((60, 512, 512), (128, 128, 128)) == 1
    sums = RollingSlab(np.zeros((40, 30, 20), np.uint8), classes=5, patch=(8, 8, 8)).sums
    assert sums.shape == (8, 30, 5, 20)


@pytest.mark.parametrize(
    ("voxels", "wanted", "kind", "words"),
    [
        (np.full((4, 4, 4), np.nan, np.float32), None, BadImage, "nan first at"),
        (np.zeros((0, 4, 4), np.float32), None, BadImage, "at least one voxel"),
        (noise(4, 4, 4), 7, WeightsMismatch, "answers with 3 classes; allowed: 7"),
    ],
)
def test_what_cannot_be_labelled_is_refused(
    voxels: np.ndarray, wanted: int | None, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        label_volume(voxels, Local(), patch=(4, 4, 4), classes=wanted)


def test_room_of_another_size_is_refused() -> None:
    with pytest.raises(BadImage, match="as the volume"):
        label_volume(noise(4, 4, 4), Local(), patch=(4, 4, 4), out=np.zeros((4, 4, 5), np.uint8))


@pytest.mark.parametrize("spacing", [None, (1.0, 1.0, 1.0)])
def test_labels_lie_on_the_image_after_resampling(
    tmp_path: Path, spacing: tuple[float, float, float] | None
) -> None:
    affine = np.array([[0, -0.8, 0.1, 7], [0, 0.1, 0.8, -9], [3, 0, 0, 20], [0, 0, 0, 1]])
    ball = np.linalg.norm((np.indices((9, 40, 40)).T - [4, 20, 20]) * [3, 0.8, 0.8], axis=-1).T < 12
    source = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image((ball * 300 + 20).astype(np.int16), affine), source)
    volume = read_volume(source)
    network = Local(classes=2, kernel=1)
    with torch.no_grad():
        network.look.weight.copy_(torch.tensor([-1.0, 1.0])[:, None, None, None, None])
        network.look.bias.zero_()
    eye = VolumeEye(network, NormaliseVolume(channels=1))
    result = segment_volume(
        volume, eye, Classes.named("background", "ball"), patch=(16, 16, 16), spacing_mm=spacing
    )
    saved = nib.load(result.save(tmp_path / "labels.nii.gz"))
    np.testing.assert_array_equal(saved.affine, nib.load(source).affine)
    found = np.asarray(saved.dataobj) == 1
    assert found.shape == ball.shape
    assert 2 * (found & ball).sum() / (found.sum() + ball.sum()) > (0.999 if spacing is None else 0.95)


def test_voxels_of_a_volume_may_be_given_alone() -> None:
    volume = Volume(noise(4, 5, 6), Grid.plain((4, 5, 6)))
    assert label_volume(volume.voxels, Local(), patch=(4, 4, 4)).shape == volume.size
