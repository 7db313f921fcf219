"""Joint transforms: crops, padding, flips, anchors and colours on cases one can check by eye."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from segmentarium.data.normalise import unit_limits
from segmentarium.data.transforms import (
    ANCHORS,
    Augment,
    View,
    augmented,
    draw_view,
    find_anchors,
    look,
    recolour,
)
from segmentarium.errors import BadRecipe
from segmentarium.values.classes import VOID

OFF = Augment.off()


def sample(height: int = 20, width: int = 30, channels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Every pixel bears its number, in the labels and in the first two channels."""
    labels = np.arange(height * width, dtype=np.int16).reshape(height, width)
    pixels = np.zeros((height, width, channels), np.uint8)
    pixels[..., 0] = labels % 256
    pixels[..., -1] = labels // 256 if channels > 1 else labels % 256
    return pixels, labels


def agree(pixels: np.ndarray, labels: np.ndarray) -> bool:
    """Whether every pixel that is not void still lies under its own label."""
    numbers = pixels[..., 0].astype(int) + 256 * pixels[..., -1].astype(int)
    return bool((numbers == labels)[labels != VOID].all())


def shown(
    view: View, pixels: np.ndarray, labels: np.ndarray, **options: bool
) -> tuple[np.ndarray, np.ndarray]:
    return look(pixels, labels, view, limits=unit_limits(pixels.shape[2]), **options)


def test_all_off_is_a_crop() -> None:
    pixels, labels = sample()
    cut, picked = augmented(pixels, labels, augment=OFF, crop=(8, 9), seed=3)
    top, left = divmod(int(picked[0, 0]), 30)
    np.testing.assert_array_equal(picked, labels[top : top + 8, left : left + 9])
    np.testing.assert_array_equal(cut, pixels[top : top + 8, left : left + 9])


def test_all_off_at_full_size_is_the_identity() -> None:
    pixels, labels = sample()
    cut, picked = augmented(pixels, labels, augment=OFF, crop=(20, 30), seed=0)
    np.testing.assert_array_equal(cut, pixels)
    np.testing.assert_array_equal(picked, labels)


def test_every_place_is_reached() -> None:
    pixels, labels = sample(4, 5)
    corners = {int(augmented(pixels, labels, augment=OFF, crop=(3, 3), seed=s)[1][0, 0]) for s in range(60)}
    assert corners == {0, 1, 2, 5, 6, 7}


@pytest.mark.parametrize("mirror", [True, False])
def test_a_small_picture_is_framed_with_void(mirror: bool) -> None:
    pixels, labels = sample(4, 5)
    view = View(top=-1, left=-2, height=7, width=9, size=(7, 9))
    cut, picked = shown(view, pixels, labels, mirror=mirror)
    np.testing.assert_array_equal(picked, np.pad(labels, ((1, 2), (2, 2)), constant_values=VOID))
    np.testing.assert_array_equal(cut[1:5, 2:7], pixels)
    if mirror:
        np.testing.assert_array_equal(cut, np.pad(pixels, ((1, 2), (2, 2), (0, 0)), mode="symmetric"))
    else:
        assert (cut[0] == pixels.mean(axis=(0, 1)).astype(np.uint8)).all()


def test_one_pixel_fills_a_crop() -> None:
    cut, picked = augmented(
        np.full((1, 1, 3), 9, np.uint8), np.zeros((1, 1), np.int16), augment=OFF, crop=(5, 6), seed=1
    )
    assert (cut == 9).all()
    assert (picked == 0).sum() == 1
    assert (picked == VOID).sum() == 29


def test_magnification_keeps_labels_under_their_pixels() -> None:
    pixels, labels = sample(8, 8)
    view = View(top=2, left=1, height=4, width=4, size=(12, 12))
    cut, picked = shown(view, pixels, labels)
    np.testing.assert_array_equal(picked, labels[2:6, 1:5].repeat(3, 0).repeat(3, 1))
    assert agree(cut[1::3, 1::3], picked[1::3, 1::3])


def test_halving_picks_centres() -> None:
    labels = np.arange(16, dtype=np.int16)[None].repeat(16, 0)
    _, picked = shown(
        View(top=0, left=0, height=16, width=16, size=(4, 4)), np.zeros((16, 16, 1), np.uint8), labels
    )
    assert picked[0].tolist() == [2, 6, 10, 14]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"hflip": True}, [[2, 1, 0], [5, 4, 3]]),
        ({"vflip": True}, [[3, 4, 5], [0, 1, 2]]),
        ({"turns": 1}, [[2, 5], [1, 4], [0, 3]]),
        ({"turns": 2}, [[5, 4, 3], [2, 1, 0]]),
    ],
)
def test_flips_and_turns(change: dict[str, int], expected: list[list[int]]) -> None:
    pixels, labels = sample(2, 3)
    cut, picked = shown(View(top=0, left=0, height=2, width=3, size=(2, 3), **change), pixels, labels)
    assert picked.tolist() == expected
    assert agree(cut, picked)


def test_turned_crops_have_the_size_asked_for() -> None:
    pixels, labels = sample()
    augment = dataclasses.replace(OFF, rot90=True)
    for seed in range(8):
        cut, picked = augmented(pixels, labels, augment=augment, crop=(6, 11), seed=seed)
        assert picked.shape == (6, 11)
        assert agree(cut, picked)


def test_a_rotation_by_90_degrees_is_a_quarter_turn() -> None:
    pixels, labels = sample(7, 7)
    turned, picked = shown(
        View(top=0, left=0, height=7, width=7, size=(7, 7), angle_deg=90.0), pixels, labels
    )
    assert agree(turned, picked)
    assert picked[1:-1, 1:-1].tolist() in [np.rot90(labels, k)[1:-1, 1:-1].tolist() for k in (1, 3)]


def test_a_slight_rotation_and_the_plain_path_show_the_same() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 6, 3), np.uint8).repeat(6, 0).repeat(6, 1)
    labels = rng.integers(0, 4, (6, 6)).astype(np.int16).repeat(6, 0).repeat(6, 1)
    view = View(top=-4, left=5, height=24, width=24, size=(48, 48))
    plain, plain_labels = shown(view, pixels, labels)
    bent, bent_labels = shown(dataclasses.replace(view, angle_deg=1e-4), pixels, labels)
    assert (plain_labels == bent_labels).mean() > 0.97
    assert np.abs(plain.astype(int) - bent).mean() < 1


def test_deep_images_leave_within_the_unit_range() -> None:
    pixels = (np.arange(400, dtype=np.uint16).reshape(20, 20, 1) * 100).repeat(5, 2)
    limits = np.array([[1000], [30000]], np.float32).repeat(5, 1)
    labels = np.zeros((20, 20), np.int16)
    everything = Augment(rotate_deg=20.0, elastic=0.5, gamma=0.3, blur=0.5, noise=0.1)
    for seed in range(6):
        cut, _ = augmented(pixels, labels, augment=everything, crop=(10, 10), seed=seed, limits=limits)
        assert cut.dtype == np.float32
        assert cut.shape == (10, 10, 5)
        assert cut.min() >= 0
        assert cut.max() <= 1


def test_the_seed_decides_everything_and_the_global_state_nothing() -> None:
    pixels, labels = sample(40, 40)
    everything = Augment(rotate_deg=20.0, elastic=1.0, hue=0.1, gamma=0.3, blur=1.0, noise=0.1, rot90=True)
    crops = []
    for state in (0, 1):
        torch.manual_seed(state)
        np.random.seed(state)  # noqa: NPY002 - to show that it does not matter
        crops.append(augmented(pixels, labels, augment=everything, crop=(16, 16), seed=(5, 6)))
    np.testing.assert_array_equal(crops[0][0], crops[1][0])
    np.testing.assert_array_equal(crops[0][1], crops[1][1])
    other = augmented(pixels, labels, augment=everything, crop=(16, 16), seed=(5, 7))
    assert (other[0] != crops[0][0]).any()


def test_the_source_is_left_as_it_was() -> None:
    pixels, labels = sample()
    augmented(pixels, labels, augment=Augment(noise=0.2), crop=(20, 30), seed=0)
    np.testing.assert_array_equal(pixels, sample()[0])
    np.testing.assert_array_equal(labels, sample()[1])


def test_anchors_leave_out_void_and_the_commonest_class() -> None:
    labels = np.zeros((30, 40), np.int16)
    labels[3, 4], labels[20:25, 5:9], labels[0] = 1, 4, VOID
    one, four = find_anchors(labels)
    assert one.tolist() == [[3, 4]]
    assert len(four) == 20
    assert all(labels[y, x] == 4 for y, x in four)


def test_anchors_are_spread_over_a_large_class() -> None:
    labels = np.ones((100, 100), np.int16)
    labels[:, :40] = 0
    (places,) = find_anchors(labels)
    assert len(places) == ANCHORS
    assert len({tuple(place) for place in places.tolist()}) == ANCHORS
    assert places[:, 0].min() < 5
    assert places[:, 0].max() > 95


@pytest.mark.parametrize("label", [VOID, 0, 3])
def test_a_picture_of_one_class_has_no_anchors(label: int) -> None:
    assert find_anchors(np.full((4, 4), label, np.int16)) == ()


def test_foreground_crops_hold_the_rare_class() -> None:
    labels = np.zeros((200, 200), np.int16)
    labels[150, 30] = 1
    augment = dataclasses.replace(OFF, foreground_crop=1.0)
    anchors, rng = find_anchors(labels), np.random.default_rng(0)
    for _ in range(30):
        view = draw_view(labels.shape, augment, crop=(16, 16), rng=rng, anchors=anchors)
        assert view.top <= 150 < view.top + 16
        assert view.left <= 30 < view.left + 16


def test_foreground_crops_come_as_often_as_asked() -> None:
    labels = np.zeros((300, 300), np.int16)
    labels[150, 30] = 1
    augment = dataclasses.replace(OFF, foreground_crop=0.3)
    anchors = find_anchors(labels)
    views = [
        draw_view(labels.shape, augment, crop=(8, 8), rng=np.random.default_rng(s), anchors=anchors)
        for s in range(300)
    ]
    assert 60 < sum(v.top <= 150 < v.top + 8 and v.left <= 30 < v.left + 8 for v in views) < 120


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_colours_change_and_the_type_stays(channels: int) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 12, channels), np.uint8)
    everything = Augment(
        brightness=0.5, contrast=0.5, saturation=0.5, hue=0.1, gamma=0.5, blur=1.0, noise=0.1
    )
    for image in (pixels, (pixels / 255).astype(np.float32)):
        changed = recolour(image, everything, rng=np.random.default_rng(1))
        assert changed.dtype == image.dtype
        assert changed.shape == image.shape
        assert (changed != image).any()


def test_bytes_and_floats_are_toned_alike() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    tone = Augment(brightness=0.4, contrast=0.4, saturation=0.0, gamma=0.5)
    for seed in range(5):
        coarse = recolour(pixels, tone, rng=np.random.default_rng(seed))
        fine = recolour((pixels / 255).astype(np.float32), tone, rng=np.random.default_rng(seed))
        assert np.abs(coarse / 255 - fine).max() <= 0.5 / 255 + 1e-5


def test_noise_and_blur_have_the_asked_strength() -> None:
    flat = np.full((64, 64, 1), 128, np.uint8)
    rng = np.random.default_rng(0)
    quiet = dataclasses.replace(OFF, noise=0.1)
    strengths = [recolour(flat, quiet, rng=rng).std() / 255 for _ in range(20)]
    assert max(strengths) <= 0.105
    assert np.mean(strengths) == pytest.approx(0.05, abs=0.02)
    edge = np.zeros((64, 64, 1), np.uint8)
    edge[:, 32:] = 200
    blurred = recolour(edge, dataclasses.replace(OFF, blur=1.0, blur_px=3.0), rng=rng)
    assert ((blurred > 0) & (blurred < 200)).any()


@pytest.mark.parametrize(
    "change",
    [
        {"hflip": 1.5},
        {"scale": (2.0, 1.0)},
        {"scale": (0.0, 1.0)},
        {"noise": -0.1},
        {"hue": 0.7},
        {"elastic_grid": 1},
        {"gamma": float("nan")},
        {"brightness": 2.0},
    ],
)
def test_impossible_settings_are_refused_by_their_name(change: dict[str, float]) -> None:
    with pytest.raises(BadRecipe, match=rf"recipe\.augment\.{next(iter(change))}: got"):
        Augment(**change)
