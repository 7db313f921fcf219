"""What holds for every sample, every augmentation and every seed."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentarium.data.normalise import unit_limits
from segmentarium.data.transforms import Augment, View, augmented, draw_view, find_anchors, look
from segmentarium.values.classes import VOID

SIDES = st.integers(1, 40)
SEEDS = st.integers(0, 2**63 - 1)
SHARE = st.sampled_from((0.0, 0.5, 1.0))

AUGMENTS = st.builds(
    Augment,
    scale=st.sampled_from(((1.0, 1.0), (0.5, 2.0), (0.1, 8.0))),
    rotate_deg=st.sampled_from((0.0, 15.0, 180.0)),
    hflip=SHARE,
    vflip=SHARE,
    rot90=st.booleans(),
    elastic=SHARE,
    hue=st.sampled_from((0.0, 0.1)),
    gamma=SHARE,
    blur=SHARE,
    noise=st.sampled_from((0.0, 0.1)),
    foreground_crop=SHARE,
    mirror_pad=st.booleans(),
)


@st.composite
def samples(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    height, width, seed = draw(SIDES), draw(SIDES), draw(st.integers(0, 1000))
    rng = np.random.default_rng(seed)
    values = draw(st.lists(st.sampled_from((VOID, 0, 1, 7, 300)), min_size=1, max_size=4))
    labels = rng.choice(np.array(values, np.int16), (height, width))
    dtype, channels = draw(st.sampled_from(("uint8", "uint16", "float32"))), draw(st.sampled_from((1, 3, 4)))
    pixels = rng.random((height, width, channels), np.float32)
    return (pixels if dtype == "float32" else (pixels * 255).astype(dtype)), labels


@settings(max_examples=120, deadline=None)
@given(samples(), AUGMENTS, st.tuples(SIDES, SIDES), SEEDS)
def test_labels_are_picked_and_never_mixed(
    sample: tuple[np.ndarray, np.ndarray], augment: Augment, crop: tuple[int, int], seed: int
) -> None:
    pixels, labels = sample
    limits = unit_limits(pixels.shape[2]) * np.float32(255 if pixels.dtype == np.uint16 else 1)
    anchors = find_anchors(labels)
    cut, picked = augmented(
        pixels, labels, augment=augment, crop=crop, seed=seed, anchors=anchors, limits=limits
    )
    assert picked.shape == crop == cut.shape[:2]
    assert picked.dtype == labels.dtype
    assert {*np.unique(picked)} <= {*np.unique(labels), VOID}
    assert cut.dtype == (np.uint8 if pixels.dtype == np.uint8 else np.float32)
    assert np.isfinite(cut).all()
    again = augmented(pixels, labels, augment=augment, crop=crop, seed=seed, anchors=anchors, limits=limits)
    np.testing.assert_array_equal(again[0], cut)
    np.testing.assert_array_equal(again[1], picked)


@settings(max_examples=60, deadline=None)
@given(samples(), st.tuples(SIDES, SIDES), SEEDS, st.booleans(), st.booleans())
def test_flips_commute(
    sample: tuple[np.ndarray, np.ndarray], crop: tuple[int, int], seed: int, hflip: bool, vflip: bool
) -> None:
    """To flip what is shown, or to show it flipped, is one; for image and labels alike."""
    pixels, labels = sample
    limits = unit_limits(pixels.shape[2]) * np.float32(255)
    plain = draw_view(labels.shape, Augment(hflip=0.0), crop=crop, rng=np.random.default_rng(seed))
    flipped = dataclasses.replace(plain, hflip=hflip, vflip=vflip)
    axes = [axis for axis, on in enumerate((vflip, hflip)) if on]
    for before, after in zip(
        look(pixels, labels, plain, limits=limits), look(pixels, labels, flipped, limits=limits), strict=True
    ):
        np.testing.assert_array_equal(np.flip(before, axes), after)


@settings(max_examples=60, deadline=None)
@given(samples(), SEEDS)
def test_identity_when_all_is_off(sample: tuple[np.ndarray, np.ndarray], seed: int) -> None:
    pixels, labels = sample
    cut, picked = augmented(pixels, labels, augment=Augment.off(), crop=labels.shape, seed=seed)
    np.testing.assert_array_equal(picked, labels)
    if pixels.dtype != np.uint16:
        np.testing.assert_array_equal(cut, pixels)


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.tuples(SIDES, SIDES), SEEDS)
def test_views_show_as_much_of_the_picture_as_they_can(
    height: int, width: int, crop: tuple[int, int], seed: int
) -> None:
    view: View = draw_view((height, width), Augment(), crop=crop, rng=np.random.default_rng(seed))
    for start, extent, length in ((view.top, view.height, height), (view.left, view.width, width)):
        assert max(0, start) < min(length, start + extent)
        assert min(length, start + extent) - max(0, start) == min(length, extent)
