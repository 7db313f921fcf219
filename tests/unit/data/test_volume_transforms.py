"""Transforms, normalisation and reading of volumes, on cases one can check by eye."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segmentarium.data import Pair, open_data, write_data_set
from segmentarium.data.volume_augment import Augment3d
from segmentarium.data.volume_intensities import bent_by_gamma, blurred, changed, coarsened, contrasted
from segmentarium.data.volume_normalise import NormaliseVolume
from segmentarium.data.volume_transforms import (
    View3d,
    augmented_volume,
    coarse_axis,
    draw_view,
    find_anchors,
    look,
)
from segmentarium.data.volumes import class_indices, labels_of, read_pair
from segmentarium.errors import BadData, BadImage, BadMask, BadRecipe
from segmentarium.values.classes import VOID
from segmentarium.values.grid import Grid
from segmentarium.values.nifti import write_nifti
from segmentarium.values.volume import Volume, read_volume

SPACES = Augment3d.off()


def ramp(size: tuple[int, int, int] = (9, 11, 13)) -> tuple[np.ndarray, np.ndarray]:
    """Voxels whose value tells their place, and labels that tell it too."""
    labels = np.arange(np.prod(size), dtype=np.int32).reshape(size)
    return labels[None].astype(np.float32), labels


def turning(**changes: object) -> Augment3d:
    return replace(SPACES, **changes)


def test_a_plain_crop_is_cut_voxel_for_voxel() -> None:
    voxels, labels = ramp()
    for seed in range(20):
        seen, picked = augmented_volume(voxels, labels, augment=SPACES, crop=(4, 5, 6), seed=seed)
        np.testing.assert_array_equal(seen[0], picked)
        d, h, w = np.unravel_index(picked[0, 0, 0], labels.shape)
        np.testing.assert_array_equal(picked, labels[d : d + 4, h : h + 5, w : w + 6])


def test_beyond_the_volume_voxels_are_mirrored_and_labels_void() -> None:
    voxels, labels = ramp((2, 3, 4))
    seen, picked = augmented_volume(voxels, labels, augment=SPACES, crop=(2, 5, 4), seed=1)
    inside = (picked != VOID).all(axis=(0, 2))
    assert inside.sum() == 3
    first = int(np.flatnonzero(inside)[0])
    np.testing.assert_array_equal(picked[:, inside], labels)
    expected = np.pad(labels, ((0, 0), (first, 2 - first), (0, 0)), mode="symmetric")
    np.testing.assert_array_equal(seen[0], expected)
    padded, _ = augmented_volume(voxels, labels, augment=turning(mirror_pad=False), crop=(2, 5, 4), seed=1)
    assert (padded[0][:, ~inside] == 0).all()


def test_the_warped_path_shows_what_the_plain_one_does() -> None:
    """A turn by nothing goes through the resampling, also where it looks beyond the volume."""
    voxels, labels = ramp()
    for seed in range(30):
        view = draw_view(labels.shape, SPACES, crop=(7, 16, 5), rng=np.random.default_rng(seed))
        plain = look(voxels, labels, view)
        warped = look(voxels, labels, replace(view, turn=np.eye(3, dtype=np.float32)))
        np.testing.assert_allclose(warped[0], plain[0], atol=1e-3)
        np.testing.assert_array_equal(warped[1], plain[1])


def test_a_turn_in_millimetres_keeps_lengths() -> None:
    """A ball in the body stays a ball, also in voxels that are three times as thick."""
    spacing = (3.0, 1.0, 1.0)
    where = (np.indices((21, 61, 61)).T - [10, 30, 30]).T * np.array(spacing)[:, None, None, None]
    inside = np.linalg.norm(where, axis=0) < 20
    voxels, labels = inside[None].astype(np.float32), inside.astype(np.int32)
    augment = turning(rotate=1.0, rotate_deg=90.0)
    for seed in range(5):
        view = draw_view(
            labels.shape, augment, crop=(21, 61, 61), rng=np.random.default_rng(seed), spacing_mm=spacing
        )
        assert view.turn is not None
        _, picked = look(voxels, labels, view)
        agree = 2 * (inside & (picked == 1)).sum() / (inside.sum() + (picked == 1).sum())
        assert agree > 0.95


def test_nothing_is_turned_out_of_a_coarse_axis() -> None:
    assert coarse_axis((5.0, 1.0, 1.0)) == 0
    assert coarse_axis((1.0, 1.0, 3.5)) == 2
    assert coarse_axis((3.0, 1.0, 1.0)) is None
    augment = turning(rotate=1.0)
    view = draw_view(
        (9, 9, 9), augment, crop=(9, 9, 9), rng=np.random.default_rng(0), spacing_mm=(5.0, 1.0, 1.0)
    )
    assert view.turn is not None
    np.testing.assert_allclose(view.turn[0], [1, 0, 0])
    assert abs(view.turn[1, 2]) > 0.01


def test_bending_is_meant_in_millimetres() -> None:
    augment = turning(elastic=1.0, elastic_mm=2.0, elastic_grid_mm=20.0)
    fields = [
        draw_view(
            (30, 90, 90), augment, crop=(30, 90, 90), rng=np.random.default_rng(s), spacing_mm=(3.0, 1.0, 1.0)
        ).field
        for s in range(40)
    ]
    assert {field.shape for field in fields} == {(3, 5, 5, 5)}
    std = np.std(fields, axis=(0, 2, 3, 4))
    np.testing.assert_allclose(std, [2 / 3, 2, 2], rtol=0.05)


def test_scale_magnifies() -> None:
    labels = np.zeros((20, 20, 20), np.int32)
    labels[5:15, 5:15, 5:15] = 1
    augment = turning(scale=1.0, scale_range=(2.0, 2.0))
    _, picked = augmented_volume(
        labels[None].astype(np.float32), labels, augment=augment, crop=(20, 20, 20), seed=0
    )
    assert (picked == 1).all()


def test_quarter_turns_reach_all_orientations_of_a_cube_and_one_plane_of_a_slab() -> None:
    voxels, labels = ramp((3, 3, 3))
    augment = turning(rot90=True, flip=(0.5, 0.5, 0.5))

    def seen(spacing: tuple[float, float, float]) -> int:
        runs = (
            augmented_volume(voxels, labels, augment=augment, crop=(3, 3, 3), seed=s, spacing_mm=spacing)
            for s in range(600)
        )
        return len({picked.tobytes() for _, picked in runs})

    assert seen((1.0, 1.0, 1.0)) == 48
    assert seen((2.0, 1.0, 1.0)) == 16
    assert seen((3.0, 2.0, 1.0)) == 8


def test_odd_turns_swap_the_sides_of_the_crop() -> None:
    voxels, labels = ramp((12, 12, 12))
    for seed in range(30):
        seen, picked = augmented_volume(
            voxels, labels, augment=turning(rot90=True), crop=(3, 5, 7), seed=seed
        )
        assert picked.shape == (3, 5, 7)
        np.testing.assert_array_equal(seen[0], picked)
        assert (picked != VOID).all()


def test_foreground_is_hit_as_often_as_asked() -> None:
    labels = np.zeros((40, 40, 40), np.int32)
    labels[3, 35, 20] = 1
    anchors = find_anchors(labels)
    assert [places.tolist() for places in anchors] == [[[3, 35, 20]]]
    voxels = labels[None].astype(np.float32)

    def hits(share: float) -> float:
        augment = turning(foreground_crop=share)
        crops = (
            augmented_volume(voxels, labels, augment=augment, crop=(6, 6, 6), seed=s, anchors=anchors)
            for s in range(200)
        )
        return float(np.mean([(picked == 1).any() for _, picked in crops]))

    assert hits(1.0) == 1
    assert 0.3 < hits(0.5) < 0.7
    assert find_anchors(np.full((2, 2, 2), VOID, np.int32)) == ()


def test_anchors_are_spread_and_few() -> None:
    labels = np.zeros((30, 30, 30), np.int32)
    labels[10:25] = 2
    labels[-1] = VOID
    places = find_anchors(labels)
    assert len(places) == 1
    assert len(places[0]) == 1024
    assert (labels[tuple(places[0].T)] == 0).all()
    assert np.ptp(places[0][:, 0]) > 20


def test_intensities_change_as_named() -> None:
    band = np.random.default_rng(0).normal(size=(8, 20, 20)).astype(np.float32)
    bent = bent_by_gamma(band, 1.6)
    np.testing.assert_allclose([bent.mean(), bent.std()], [band.mean(), band.std()], atol=1e-4)
    assert (np.argsort(bent.ravel()) == np.argsort(band.ravel())).mean() > 0.99
    flat = np.ones((2, 2, 2), np.float32)
    np.testing.assert_array_equal(bent_by_gamma(flat, 2.0), flat)
    assert contrasted(band, 1.2).std() > band.std() > contrasted(band, 0.8).std()
    assert contrasted(band, 1.2).max() <= band.max()
    assert blurred(band, 1.0, (1.0, 1.0, 1.0)).std() < 0.5 * band.std()
    across = blurred(band, 1.0, (9.0, 1.0, 1.0))
    np.testing.assert_allclose(across.mean(axis=(1, 2)), band.mean(axis=(1, 2)), atol=0.05)
    coarse = coarsened(band, 0.5, coarse=0)
    assert coarse.shape == band.shape
    assert coarse.std() < band.std()
    names = ("noise", "blur", "brightness", "contrast", "low_resolution", "gamma", "gamma_inverted")
    every = Augment3d(**dict.fromkeys(names, 1.0))
    both = changed(np.stack([band, band]), every, rng=np.random.default_rng(0))
    assert both.dtype == np.float32
    assert (both[0] != both[1]).mean() > 0.9
    assert np.isfinite(both).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotate": 1.5},
        {"flip": (0.5, 0.5, 2.0)},
        {"scale_range": (0.0, 1.0)},
        {"gamma_range": (1.5, 0.7)},
        {"low_resolution_range": (0.5, 1.5)},
        {"elastic_grid_mm": 0.0},
        {"noise_std": float("nan")},
    ],
)
def test_impossible_wishes_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadRecipe, match=next(iter(wrong))):
        Augment3d(**wrong)  # type: ignore[arg-type]


def test_each_volume_is_measured_by_itself() -> None:
    rng = np.random.default_rng(0)
    normalise = NormaliseVolume(channels=2)
    for scale in (1e-3, 1.0, 1e6):
        voxels = (rng.normal(5, 2, (2, 6, 7, 8)) * scale).astype(np.float32)
        seen = normalise(voxels)
        np.testing.assert_allclose(seen.mean(axis=(1, 2, 3)), 0, atol=1e-4)
        np.testing.assert_allclose(seen.std(axis=(1, 2, 3)), 1, atol=1e-4)
    constant = np.full((1, 2, 2, 2), 7, np.int16)
    np.testing.assert_array_equal(NormaliseVolume(channels=1)(constant), 0)


def test_zeros_around_a_volume_stay_zero() -> None:
    voxels = np.zeros((1, 6, 6, 6), np.int16)
    inner = np.random.default_rng(0).integers(100, 200, (3, 3, 3))
    voxels[0, :3, :3, :3] = inner
    seen = NormaliseVolume(channels=1, method="zscore_nonzero")(voxels)[0]
    np.testing.assert_allclose(seen[:3, :3, :3], (inner - inner.mean()) / inner.std(), atol=1e-5)
    assert (seen[3:] == 0).all()


def test_the_method_is_chosen_by_modality() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((8, 8, 8), np.int32)
    labels[2:6] = 1
    ct = np.where(labels, rng.integers(0, 100, labels.shape), -1000).astype(np.int16)[None]
    normalise, reason = NormaliseVolume.fit([(ct, labels)])
    assert normalise.method == "ct"
    assert "Hounsfield" in reason
    assert 0 <= normalise.low[0] < normalise.high[0] <= 100
    seen = normalise(ct)
    np.testing.assert_allclose(seen[0][labels == 1].mean(), 0, atol=0.05)
    assert seen.min() == pytest.approx((normalise.low[0] - normalise.mean[0]) / normalise.std[0], abs=1e-5)
    mr = rng.random((1, 8, 8, 8), np.float32)
    assert NormaliseVolume.fit([(mr, labels)])[0].method == "zscore"
    assert NormaliseVolume.fit([(mr, labels)], modality="CT")[0].method == "ct"
    assert NormaliseVolume.fit([(np.where(labels, mr, 0), labels)])[0].method == "zscore_nonzero"
    assert NormaliseVolume.fit([(ct, np.zeros_like(labels))])[0].method == "ct"
    with pytest.raises(BadData, match="no volume"):
        NormaliseVolume.fit([])
    with pytest.raises(BadData, match=r"\[1, 2\] channels"):
        NormaliseVolume.fit([(mr, labels), (np.concatenate([mr, mr]), labels)])


def test_normalisation_survives_json() -> None:
    for one in (
        NormaliseVolume(channels=3, method="zscore_nonzero"),
        NormaliseVolume(channels=1, method="ct", low=(-100.0,), high=(200.0,), mean=(20.5,), std=(33.0,)),
    ):
        assert NormaliseVolume.from_json(json.loads(json.dumps(one.to_json()))) == one
    for wrong in ({}, {"channels": 1, "method": "magic"}, {"channels": 1, "method": "ct"}, {"channels": "x"}):
        with pytest.raises(BadData):
            NormaliseVolume.from_json(wrong)
    with pytest.raises(BadImage, match="2 channels; allowed: 1"):
        NormaliseVolume(channels=1).scaling(np.zeros((2, 2, 2, 2), np.int16))
    with pytest.raises(BadImage, match="nan first at"):
        NormaliseVolume(channels=1).scaling(np.full((1, 2, 2, 2), np.nan, np.float32))


def test_scaling_on_the_way_equals_scaling_before() -> None:
    rng = np.random.default_rng(0)
    voxels = rng.integers(-1000, 1000, (1, 20, 20, 20)).astype(np.int16)
    labels = rng.integers(0, 3, (20, 20, 20)).astype(np.int32)
    normalise = NormaliseVolume.fit([(voxels, labels)])[0]
    augment = Augment3d(rotate=1.0, elastic=1.0)
    scaling = normalise.scaling(voxels)
    common = {"augment": augment, "crop": (8, 9, 10), "seed": 3}
    one = augmented_volume(voxels, labels, scaling=scaling, **common)
    other = augmented_volume(normalise(voxels), labels, **common)
    np.testing.assert_allclose(one[0], other[0], atol=1e-5)
    np.testing.assert_array_equal(one[1], other[1])


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    return write_data_set(
        tmp_path / "drawn", train=2, val=1, size=(10, 24, 28), classes=3, layout="volumes", void_share=0.1
    )


def test_drawn_volumes_are_read_back(drawn: Path) -> None:
    data = open_data(drawn)
    for pair in data.train:
        volume, labels = read_pair(pair, data)
        assert volume.size == labels.shape == (10, 24, 28)
        assert {VOID, 0} < {*np.unique(labels)} <= {VOID, 0, 1, 2}
    with pytest.raises(BadData, match="two in the others"):
        write_data_set(drawn, size=(8, 8, 8))
    with pytest.raises(BadData, match="three in 'volumes'"):
        write_data_set(drawn, layout="volumes")
    channels = write_data_set(
        drawn / "more", train=1, val=0, size=(10, 24, 28), classes=2, layout="volumes", channels=2
    )
    assert read_volume(channels / "train" / "images" / "scene_0000.nii.gz", channels=True).channels == 2


def test_labels_that_lie_elsewhere_are_refused(drawn: Path) -> None:
    data = open_data(drawn)
    pair = data.train[0]
    assert pair.mask is not None
    volume = read_volume(pair.image)
    labels = np.zeros(volume.size, np.uint8)
    moved = volume.affine.copy()
    moved[0, 3] += 2
    write_nifti(pair.mask, labels, Grid(volume.size, moved))
    with pytest.raises(BadMask, match=r"do not lie in one place.*corners up to 2 mm") as told:
        labels_of(pair, data)
    assert pair.mask.name in str(told.value)
    write_nifti(pair.mask, labels[1:], Grid.plain((9, 24, 28)))
    with pytest.raises(BadMask, match="9x24x28 voxels"):
        labels_of(pair, data)
    with pytest.raises(BadMask, match="has no labels"):
        labels_of(Pair(pair.stem, pair.image, None), data)


@pytest.mark.parametrize("wrong", [7, -3, 1 << 30])
def test_a_value_that_is_no_class_is_told_with_its_place(drawn: Path, wrong: int) -> None:
    data = open_data(drawn)
    values = np.zeros((4, 5, 6), np.int32)
    values[1, 2, 3] = wrong
    with pytest.raises(
        BadMask, match=rf"value {wrong} at \(d, h, w\) = \(1, 2, 3\); allowed: class ids 0 ground"
    ):
        class_indices(values, Path("labels.nii"), data)
    values[1, 2, 3] = 255
    labels = class_indices(values.astype(np.uint8), Path("labels.nii"), data)
    assert (labels[1, 2, 3], labels.dtype) == (VOID, np.int32)


def test_views_are_values() -> None:
    view = View3d(centre=(1.0, 1.0, 1.0), size=(3, 3, 3), flips=(2,))
    voxels, labels = ramp((3, 3, 3))
    np.testing.assert_array_equal(look(voxels, labels, view)[1], labels[:, :, ::-1])
    assert Volume.plain(voxels[0]).channels == 1
