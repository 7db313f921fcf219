"""What comes in: every kind of number on one scale, or a sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pil

from segmentarium.classical.levels import levels, within
from segmentarium.errors import BadArgument, BadImage
from segmentarium.values import Image, Volume


def test_eight_bits_stay_and_others_come_to_their_scale() -> None:
    eight = np.array([[0, 7], [200, 255]], np.uint8)
    assert levels(eight).values[..., 0].tolist() == eight.tolist()
    assert levels(eight).notes == ()
    assert levels(eight.astype(np.uint16) * 257).values[..., 0].tolist() == eight.tolist()
    twelve = levels(np.array([[0, 819, 4095]], np.uint16))
    np.testing.assert_allclose(twelve.values[..., 0], [[0, 51, 255]], rtol=1e-6)
    assert twelve.notes == ("16-bit values up to 4095 read as 12 bits",)
    shares = levels(eight / np.float32(255))
    np.testing.assert_allclose(shares.values[..., 0], eight, rtol=1e-6)
    assert "multiplied by 255" in shares.notes[0]


def test_other_numbers_are_stretched_and_that_is_said() -> None:
    found = levels(np.array([[-100.0, 0.0, 300.0]], np.float32))
    np.testing.assert_allclose(found.values[..., 0], [[0, 63.75, 255]])
    assert found.notes == ("values stretched from -100 (0) to 300 (255)",)


def test_one_value_is_no_division_by_zero() -> None:
    assert np.unique(levels(np.full((3, 4), -5.0, np.float32)).values).tolist() == [127.5]


def test_files_and_volumes_bring_their_spacing(tmp_path: Path) -> None:
    Pil.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.png")
    assert levels(tmp_path / "a.png").size == (4, 6)
    volume = Volume.plain(np.zeros((2, 3, 4), np.int16), (2.0, 1.0, 0.5))
    found = levels(volume)
    assert (found.size, found.spacing, found.spacing_mm) == ((2, 3, 4), (2.0, 1.0, 0.5), (2.0, 1.0, 0.5))
    assert levels(Image(np.zeros((3, 4, 1), np.uint8))).spacing == (1.0, 1.0)
    with pytest.raises(BadImage, match="a volume"):
        levels(volume, volumes=False)


def test_nan_infinity_and_nothing_are_refused() -> None:
    volume = np.zeros((2, 2, 2), np.float32)
    volume[1, 0, 1] = np.nan
    with pytest.raises(BadImage, match=r"nan at \(1, 0, 1, 0\)"):
        levels(Volume.plain(volume))
    with pytest.raises(BadImage):
        levels(np.array([[np.inf]], np.float32))
    with pytest.raises(BadImage):
        levels(np.zeros((0, 3), np.uint8))


def test_grey_is_luma_of_colours_and_mean_of_bands() -> None:
    colors = levels(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))
    np.testing.assert_allclose(colors.grey(), [[76.245, 149.685, 29.07]], rtol=1e-5)
    assert levels(np.array([[[10, 20]]], np.uint8)).grey().tolist() == [[15]]


@pytest.mark.parametrize("value", [-1.0, 6.0, float("nan")])
def test_parameters_have_a_range(value: float) -> None:
    within("sigma", 3, 0, 5)
    with pytest.raises(BadArgument, match="sigma = "):
        within("sigma", value, 0, 5)
    with pytest.raises(BadArgument, match="more than 0"):
        within("sigma", 0, 0, open_low=True)
