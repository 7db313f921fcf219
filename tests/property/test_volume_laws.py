"""What holds for every volume: it is written where it was read, and nothing is mixed on the way."""

from __future__ import annotations

import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from segmentarium.data.volume_augment import Augment3d
from segmentarium.data.volume_transforms import augmented_volume, draw_view, find_anchors, look
from segmentarium.engine.volumes import label_volume
from segmentarium.nn.outputs import Semantic
from segmentarium.ops.resample_volume import resample, resample_labels
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.grid import Grid
from segmentarium.values.results import LabelMap
from segmentarium.values.volume import read_label_values, read_volume

SIDES = st.integers(1, 12)
SIZES = st.tuples(SIDES, SIDES, SIDES)
SEEDS = st.integers(0, 2**63 - 1)
SHARE = st.sampled_from((0.0, 0.5, 1.0))
STEPS = st.sampled_from((0.3, 0.7, 1.0, 2.5, 6.0))
SPACINGS = st.tuples(STEPS, STEPS, STEPS)

AUGMENTS = st.builds(
    Augment3d,
    foreground_crop=SHARE,
    rot90=st.booleans(),
    rotate=SHARE,
    scale=SHARE,
    elastic=SHARE,
    elastic_mm=st.sampled_from((0.0, 3.0, 50.0)),
    noise=SHARE,
    low_resolution=SHARE,
    gamma=SHARE,
    mirror_pad=st.booleans(),
)


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Any order and direction of the axes, oblique by some forty degrees, sometimes sheared a little."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    turn = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    oblique = np.linalg.qr(np.eye(3) + draw(st.sampled_from((0.0, 0.1, 0.4))) * rng.normal(size=(3, 3)))[0]
    shear = np.eye(3) + draw(st.sampled_from((0.0, 0.02))) * rng.normal(size=(3, 3))
    affine = np.eye(4)
    affine[:3, :3] = shear @ oblique @ turn @ np.diag(rng.uniform(0.3, 5, 3))
    affine[:3, 3] = rng.uniform(-200, 200, 3)
    return affine


@settings(max_examples=80, deadline=None)
@given(affines(), SIZES, st.integers(0, 1000))
def test_what_is_read_is_written_to_the_voxel(
    affine: np.ndarray, size: tuple[int, int, int], seed: int
) -> None:
    values = np.random.default_rng(seed).integers(-100, 100, size).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "image.nii"
        image = nib.Nifti1Image(values, affine)
        image.set_qform(affine, code=1 if seed % 2 else 0)
        image.set_sform(affine, code=0 if seed % 3 == 1 and seed % 2 else 1)
        nib.save(image, source)
        volume = read_volume(source)
        again = nib.load(volume.save(Path(folder) / "again.nii"))
        np.testing.assert_array_equal(np.asarray(again.dataobj), values)
        np.testing.assert_array_equal(again.affine, nib.load(source).affine)
        labels = LabelMap((volume.voxels > 0).astype(np.int32), Classes.named("no", "yes"), grid=volume.grid)
        saved = labels.save(Path(folder) / "labels.nii")
        over = nib.load(saved)
        assert over.shape == values.shape
        np.testing.assert_array_equal(over.affine, nib.load(source).affine)
        np.testing.assert_array_equal(np.asarray(over.dataobj), values > 0)
        read, grid = read_label_values(saved)
        assert grid.difference(volume.grid) == ""
        np.testing.assert_array_equal(read, labels.labels)


@settings(max_examples=80, deadline=None)
@given(affines(), SIZES)
def test_turning_axes_moves_no_voxel_in_the_body(affine: np.ndarray, size: tuple[int, int, int]) -> None:
    grid = Grid.of_file(affine, size)
    places = np.indices(size).astype(np.float64)
    turned = grid.turned_in(places)
    there = np.einsum("ij,jdhw->idhw", grid.affine[:3, :3], np.indices(grid.size).astype(float))
    back = np.einsum("ij,jdhw->idhw", affine[:3, :3], turned) + affine[:3, 3, None, None, None]
    np.testing.assert_allclose(there + grid.affine[:3, 3, None, None, None], back, atol=1e-6)
    np.testing.assert_allclose(grid.file_affine, affine, atol=1e-9)
    np.testing.assert_array_equal(grid.turned_out(turned), places)
    towards = np.array([[0, 0, 1], [0, -1, 0], [-1, 0, 0]]) @ grid.affine[:3, :3]
    assert np.abs(np.diag(towards)).sum() >= 0.99 * np.abs(towards).max(axis=0).max()


@settings(max_examples=60, deadline=None)
@given(SIZES, SPACINGS, SPACINGS, st.integers(0, 1000))
def test_resampling_invents_nothing(
    size: tuple[int, int, int],
    spacing: tuple[float, float, float],
    wanted: tuple[float, float, float],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    grid = Grid.plain(size, spacing)
    target = grid.at_spacing(wanted)
    np.testing.assert_allclose(target.spacing_mm, wanted)
    extents = np.array(target.size) * wanted - np.array(size) * spacing
    # A volume thinner than a voxel still has one.
    assert (
        np.abs(extents)
        <= np.maximum(np.array(wanted) / 2, np.where(np.array(target.size) == 1, wanted, 0)) + 1e-6
    ).all()
    labels = rng.integers(-1, 4, size).astype(np.int32)
    for method in ("vote", "nearest"):
        there = resample_labels(labels, grid, target, method=method)
        assert there.shape == target.size
        assert {*np.unique(there)} <= {*np.unique(labels)}
        assert resample_labels(there, target, grid, method=method).shape == size
    np.testing.assert_allclose(resample(np.full(size, 7, np.int16), grid, target), 7, rtol=1e-6)
    np.testing.assert_array_equal(resample_labels(labels, grid, grid), labels)
    voxels = rng.normal(size=size).astype(np.float32)
    made = resample(voxels, grid, target)
    assert voxels.min() - 1e-5 <= made.min() <= made.max() <= voxels.max() + 1e-5
    turned = tuple(slice(None, None, -1) for _ in size)
    np.testing.assert_allclose(resample(voxels[turned], grid, target)[turned], made, atol=1e-5)


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    size, rng = draw(SIZES), np.random.default_rng(draw(st.integers(0, 1000)))
    values = draw(st.lists(st.sampled_from((VOID, 0, 1, 7, 300)), min_size=1, max_size=4))
    labels = rng.choice(np.array(values, np.int16), size)
    return rng.normal(size=(draw(st.integers(1, 2)), *size)).astype(np.float32), labels


@settings(max_examples=100, deadline=None)
@given(samples(), AUGMENTS, SIZES, SEEDS, SPACINGS)
def test_labels_are_picked_and_never_mixed(
    sample: tuple[np.ndarray, np.ndarray],
    augment: Augment3d,
    crop: tuple[int, int, int],
    seed: int,
    spacing: tuple[float, float, float],
) -> None:
    voxels, labels = sample
    wishes = {"augment": augment, "crop": crop, "seed": seed, "spacing_mm": spacing}
    seen, picked = augmented_volume(voxels, labels, anchors=find_anchors(labels), **wishes)
    assert picked.shape == crop == seen.shape[1:]
    assert (len(seen), seen.dtype, picked.dtype) == (len(voxels), np.float32, labels.dtype)
    assert {*np.unique(picked)} <= {*np.unique(labels), VOID}
    assert np.isfinite(seen).all()
    again = augmented_volume(voxels, labels, anchors=find_anchors(labels), **wishes)
    np.testing.assert_array_equal(again[0], seen)
    np.testing.assert_array_equal(again[1], picked)


@settings(max_examples=60, deadline=None)
@given(samples(), AUGMENTS, SIZES, SEEDS, SPACINGS)
def test_only_what_a_view_needs_is_touched(
    sample: tuple[np.ndarray, np.ndarray],
    augment: Augment3d,
    crop: tuple[int, int, int],
    seed: int,
    spacing: tuple[float, float, float],
) -> None:
    """Cutting out the box before bending gives what bending the whole volume would."""
    voxels, labels = sample
    view = draw_view(labels.shape, augment, crop=crop, rng=np.random.default_rng(seed), spacing_mm=spacing)
    seen, picked = look(voxels, labels, view, mirror=augment.mirror_pad)
    border = ((0, 0), *((0, 2 * n) for n in labels.shape))
    if augment.mirror_pad:
        wide = np.pad(voxels, border, mode="symmetric")
        ground = np.pad(labels, border[1:], constant_values=VOID)
        whole = look(wide, ground, view, mirror=True)
        inside = picked != VOID
        np.testing.assert_allclose(whole[0][:, inside], seen[:, inside], atol=1e-4)
    both = look(np.concatenate([voxels, voxels]), labels, view, mirror=augment.mirror_pad)
    np.testing.assert_array_equal(both[0][: len(voxels)], seen)
    np.testing.assert_array_equal(both[1], picked)


class Pointwise(nn.Module):
    """Each voxel's classes from that voxel alone: patches must not show."""

    def forward(self, image: Tensor) -> Semantic:
        return Semantic(torch.cat([image, -image, 0.1 * image + 0.2], dim=1))


@settings(max_examples=60, deadline=None)
@given(SIZES, st.tuples(*[st.integers(2, 9)] * 3), st.sampled_from((0.0, 0.3, 0.6)), st.integers(1, 4))
def test_patches_do_not_show(
    size: tuple[int, int, int], patch: tuple[int, int, int], overlap: float, batch: int
) -> None:
    voxels = np.random.default_rng(0).normal(size=size).astype(np.float32)
    labels = label_volume(voxels, Pointwise(), patch=patch, overlap=overlap, batch=batch)
    scores = np.stack([voxels, -voxels, 0.1 * voxels + 0.2])
    np.testing.assert_array_equal(labels, scores.argmax(0))
