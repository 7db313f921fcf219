"""Elastic fields and the one resampling: against hand-made cases and scipy's slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from segmentarium.data.elastic import deform, draw_field, draw_smooth_field, warp
from segmentarium.errors import BadRecipe
from segmentarium.values.classes import VOID


def picture(height: int = 24, width: int = 31, channels: int = 3, dtype: type = np.uint8) -> np.ndarray:
    rng = np.random.default_rng(0)
    smooth = gaussian_filter(rng.random((height, width, channels)), (2, 2, 0))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return smooth.astype(np.float32) if dtype is np.float32 else (smooth * np.iinfo(dtype).max).astype(dtype)


def truth(height: int = 24, width: int = 31, dtype: type = np.int16) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 5, (height, width)).astype(dtype)


def shift(rows: float, columns: float) -> np.ndarray:
    return np.array([[1, 0, rows], [0, 1, columns]], np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_nothing_changes_without_a_map(dtype: type) -> None:
    pixels, labels = picture(dtype=dtype), truth()
    warped, picked = warp(pixels, labels, size=labels.shape)
    np.testing.assert_array_equal(warped, pixels)
    np.testing.assert_array_equal(picked, labels)
    assert warped.dtype == dtype
    assert picked.dtype == labels.dtype


def test_a_shift_moves_image_and_labels_alike_and_leaves_void() -> None:
    labels = np.arange(12, dtype=np.int16).reshape(3, 4)
    pixels = labels.astype(np.uint8)[..., None]
    warped, picked = warp(pixels, labels, size=(3, 4), matrix=shift(1, -2))
    np.testing.assert_array_equal(picked, [[VOID, VOID, 4, 5], [VOID, VOID, 8, 9], [VOID] * 4])
    np.testing.assert_array_equal(warped[..., 0], [[5, 4, 4, 5], [9, 8, 8, 9], [9, 8, 8, 9]])


def test_fill_takes_the_place_of_the_mirror() -> None:
    labels = np.zeros((2, 2), np.int16)
    fill = np.array([7, 9], np.float32)
    warped, _ = warp(np.zeros((2, 2, 2), np.uint8), labels, size=(2, 4), matrix=shift(0, -1), fill=fill)
    np.testing.assert_array_equal(warped[0], [[7, 9], [0, 0], [0, 0], [7, 9]])


def test_half_a_pixel_is_the_mean_of_neighbours() -> None:
    pixels = np.array([0, 10, 30], np.float32).reshape(1, 3, 1)
    warped, _ = warp(pixels, np.zeros((1, 3), np.int16), size=(1, 3), matrix=shift(0, 0.5))
    np.testing.assert_allclose(warped.ravel(), [5, 20, 30])


def test_far_beyond_the_border_is_mirrored_again_and_again() -> None:
    pixels = np.array([1, 2, 3], np.uint8).reshape(1, 3, 1)
    warped, picked = warp(pixels, np.zeros((1, 3), np.int16), size=(1, 12), matrix=shift(0, -4))
    np.testing.assert_array_equal(warped.ravel(), np.pad([1, 2, 3], (4, 5), mode="symmetric"))
    assert (picked == VOID).sum() == 9


def dense(field: np.ndarray, height: int, width: int) -> np.ndarray:
    """The displacement of every pixel, by Catmull-Rom splines written out."""

    def along(values: np.ndarray, length: int) -> np.ndarray:
        at = np.linspace(0, len(values) - 1, length)
        out = []
        for position in at:
            i = min(int(position), len(values) - 2)
            t = position - i
            a, b, c, d = (values[np.clip(i + j, 0, len(values) - 1)] for j in (-1, 0, 1, 2))
            out.append(b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))))
        return np.array(out)

    return np.stack([along(along(axis, height).T, width).T for axis in field])


def test_agrees_with_the_slow_twin() -> None:
    pixels, labels = picture(dtype=np.float32), truth()
    field = draw_field(3, grid=(4, 3), std_px=2.0)
    rows, columns = np.mgrid[0:24, 0:31] + dense(field, 24, 31)
    warped, picked = deform(pixels, labels, field)
    for k in range(3):
        expected = map_coordinates(pixels[..., k].astype(float), [rows, columns], order=1, mode="reflect")
        np.testing.assert_allclose(warped[..., k], expected, atol=1e-4)
    inside = (np.floor(rows + 0.5) == np.clip(np.floor(rows + 0.5), 0, 23)) & (
        np.floor(columns + 0.5) == np.clip(np.floor(columns + 0.5), 0, 30)
    )
    expected = labels[np.clip(np.rint(rows), 0, 23).astype(int), np.clip(np.rint(columns), 0, 30).astype(int)]
    assert ((picked == np.where(inside, expected, VOID)).mean()) > 0.998  # ties may fall either way
    assert (picked[~inside] == VOID).all()


def test_rounding_of_bytes_is_to_the_nearest() -> None:
    field = draw_field(5, std_px=3.0)
    exact, _ = deform(picture().astype(np.float32), truth(), field)
    rounded, _ = deform(picture(), truth(), field)
    assert np.abs(rounded - exact).max() <= 0.5 + 1e-3


def test_a_linear_field_is_followed_exactly() -> None:
    labels = truth(9, 9)
    field = np.zeros((2, 3, 3), np.float32)
    field[0] = [[0], [4], [8]]  # row + row: every second row
    _, picked = deform(picture(9, 9), labels, field)
    np.testing.assert_array_equal(picked[:5][1:4], labels[[2, 4, 6]])


def test_same_seed_same_field() -> None:
    np.testing.assert_array_equal(draw_field(4), draw_field(4))
    assert (draw_field(4) != draw_field(5)).any()
    assert draw_field(0, grid=(3, 4, 5)).shape == (3, 3, 4, 5)


def test_field_has_the_asked_deviation() -> None:
    assert draw_field(0, grid=(60, 60), std_px=10.0).std() == pytest.approx(10, rel=0.03)


@pytest.mark.parametrize("sigma", [1.0, 5.0])
def test_smooth_field_has_the_strength_and_smoothness_of_the_dense_recipe(sigma: float) -> None:
    size = (300, 280)
    noise = np.random.default_rng(0).uniform(-1, 1, size)
    recipe = 50 * gaussian_filter(noise, sigma)
    ours = dense(draw_smooth_field(0, size=size, alpha=50.0, sigma_px=sigma), *size)[0]
    assert ours.std() == pytest.approx(recipe.std(), rel=0.12)
    assert np.diff(ours, axis=1).std() == pytest.approx(np.diff(recipe, axis=1).std(), rel=0.2)


def test_tiny_pictures_and_one_pixel() -> None:
    for height, width in ((1, 1), (1, 5), (2, 1)):
        _, picked = deform(picture(height, width), truth(height, width), draw_field(0))
        assert set(np.unique(picked)) <= {*np.unique(truth(height, width)), VOID}


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(BadRecipe, match="2 points or more"):
        draw_field(0, grid=(1, 3))
    with pytest.raises(BadRecipe, match="sigma"):
        draw_smooth_field(0, size=(8, 8), alpha=1.0, sigma_px=0.0)
