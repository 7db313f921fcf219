"""Normalisation: values one can work out by hand, conversions of channels, refusals, measuring."""

from __future__ import annotations

import json

import numpy as np
import pytest

from segmentarium.data.normalise import LUMA, Normalise, unit, unit_limits
from segmentarium.errors import BadData, BadImage

RGB = Normalise(channels=3, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.5))


def noise(dtype: type, *shape: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if dtype is np.float32:
        return rng.random(shape, np.float32)
    return rng.integers(0, np.iinfo(dtype).max + 1, shape, dtype)


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_range_of_the_type(dtype: type, top: int) -> None:
    pixels = noise(dtype, 5, 7, 3)
    expected = (pixels / top - np.array(RGB.mean)) / np.array(RGB.std)
    planes = RGB(pixels)
    np.testing.assert_allclose(planes, expected.transpose(2, 0, 1), atol=2e-6)
    assert planes.dtype == np.float32
    assert planes.flags["C_CONTIGUOUS"]


def test_percentile_stretches_each_channel_by_itself() -> None:
    ramp = np.arange(1001, dtype=np.uint16).reshape(7, 143)
    pixels = np.stack([ramp, 1000 + 10 * ramp], axis=-1)
    stretch = Normalise(channels=2, mean=(0.0, 0.0), std=(1.0, 1.0), range="percentile")
    np.testing.assert_allclose(stretch.limits(pixels), [[5, 1050], [995, 10950]])
    planes = stretch(pixels)
    np.testing.assert_allclose(planes[0], planes[1], atol=1e-6)
    assert planes.min() == 0
    assert planes.max() == 1


def test_a_tile_with_the_limits_of_its_image_agrees_with_the_image() -> None:
    pixels = noise(np.uint16, 20, 30, 1)
    stretch = Normalise(channels=1, mean=(0.4,), std=(0.3,), range="percentile")
    whole = stretch(pixels)
    tile = stretch(pixels[4:9, 10:20], limits=stretch.limits(pixels))
    np.testing.assert_array_equal(tile, whole[:, 4:9, 10:20])


def test_constant_and_single_pixel_images() -> None:
    stretch = Normalise(channels=1, mean=(0.0,), std=(1.0,), range="percentile")
    assert (stretch(np.full((3, 3, 1), 700, np.uint16)) == 0).all()
    assert RGB(noise(np.uint8, 1, 1, 3)).shape == (3, 1, 1)


def test_writes_into_any_strides() -> None:
    pixels = noise(np.uint8, 4, 6, 3)
    out = np.empty((4, 6, 3), np.float32).transpose(2, 0, 1)
    assert RGB(pixels, out=out) is out
    np.testing.assert_array_equal(out, RGB(pixels))


def test_views_are_read_right() -> None:
    pixels = noise(np.uint8, 8, 6, 3)
    view = pixels[::-2, ::-1]
    np.testing.assert_array_equal(RGB(view), RGB(view.copy()))


def test_grey_is_repeated_and_said() -> None:
    grey = noise(np.uint8, 4, 4, 1)
    np.testing.assert_array_equal(RGB(grey), RGB(grey.repeat(3, axis=2)))
    assert "repeated" in RGB.note(1)
    assert RGB.note(3) == ""


def test_rgb_becomes_brightness_and_that_is_said() -> None:
    one = Normalise(channels=1, mean=(0.1,), std=(0.5,))
    pixels = noise(np.uint8, 4, 4, 3)
    np.testing.assert_allclose(one(pixels)[0], (pixels / 255 @ np.array(LUMA) - 0.1) / 0.5, atol=1e-6)
    assert "brightness" in one.note(3)


def test_other_channel_counts_are_refused() -> None:
    with pytest.raises(BadImage, match="5 channels came for a network of 3 channels; allowed: 3 channels"):
        RGB(noise(np.uint8, 2, 2, 5))
    assert RGB.note(5) == ""


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["dtype", "percentile"])
def test_nan_is_refused_with_its_place(bad: float, kind: str) -> None:
    pixels = noise(np.float32, 4, 5, 1)
    pixels[2, 3] = bad
    with pytest.raises(BadImage, match="row 2, column 3"):
        Normalise(channels=1, mean=(0.0,), std=(1.0,), range=kind)(pixels)


def test_floats_beyond_the_unit_range_are_refused_with_a_cure() -> None:
    with pytest.raises(BadImage, match=r"from 0 to 7; allowed: 0\.\.1 .*percentile"):
        RGB(np.array([0, 7, 1], np.float32).reshape(1, 1, 3))


def test_unit_cuts_off() -> None:
    pixels = np.array([0, 10, 15, 20, 99], np.uint16).reshape(1, 5, 1)
    limits = np.array([[10], [20]], np.float32)
    np.testing.assert_allclose(unit(pixels, limits).ravel(), [0, 0, 0.5, 1, 1])
    np.testing.assert_array_equal(unit_limits(2), [[0, 0], [1, 1]])


def test_json_round_trip() -> None:
    assert Normalise.from_json(json.loads(json.dumps(RGB.to_json()))) == RGB


@pytest.mark.parametrize("facts", [{}, {"channels": 1, "mean": 3}, {**RGB.to_json(), "range": "wide"}])
def test_foreign_json_is_refused(facts: dict[str, object]) -> None:
    with pytest.raises(BadData):
        Normalise.from_json(facts)


@pytest.mark.parametrize("change", [{"mean": (0.0,)}, {"std": (0.0, 1.0, 1.0)}, {"mean": (np.nan, 0.0, 0.0)}])
def test_impossible_values_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(BadData, match="normalise has"):
        Normalise(**{"channels": 3, "mean": (0.0,) * 3, "std": (1.0,) * 3, **change})


def test_fit_measures_each_image_alike() -> None:
    dark, bright = np.full((2, 2, 3), 51, np.uint8), np.full((50, 50, 3), 204, np.uint8)
    fitted, reason = Normalise.fit([dark, bright])
    assert fitted.mean == (0.5, 0.5, 0.5)
    assert fitted.std == (0.3, 0.3, 0.3)
    assert fitted.range == "dtype"
    assert "8-bit" in reason


def test_fit_centres_what_it_measured() -> None:
    images = [noise(np.uint16, 40, 40, 2, seed=s) // 16 for s in range(3)]
    fitted, reason = Normalise.fit(images)
    planes = np.stack([fitted(pixels) for pixels in images])
    np.testing.assert_allclose(planes.mean(axis=(0, 2, 3)), 0, atol=1e-3)
    np.testing.assert_allclose(planes.std(axis=(0, 2, 3)), 1, atol=1e-3)
    assert fitted.range == "percentile"
    assert "16-bit" in reason


def test_fit_decides_the_range_of_floats() -> None:
    assert Normalise.fit([noise(np.float32, 3, 3, 1)])[0].range == "dtype"
    assert Normalise.fit([1000 * noise(np.float32, 3, 3, 1) - 500])[0].range == "percentile"


def test_fit_takes_the_commonest_channel_count_and_only_centres_constants() -> None:
    images = [np.full((3, 3, c), 102, np.uint8) for c in (3, 1, 3, 5)]
    fitted, _ = Normalise.fit(images)
    assert fitted == Normalise(channels=3, mean=(0.4,) * 3, std=(1.0,) * 3)


def test_fit_keeps_colour_where_grey_images_are_the_majority() -> None:
    fitted, _ = Normalise.fit([np.full((3, 3, c), 102, np.uint8) for c in (1, 1, 3)])
    assert fitted.channels == 3


def test_fit_needs_an_image() -> None:
    with pytest.raises(BadData, match="no image"):
        Normalise.fit([])
