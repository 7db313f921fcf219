"""The same ramps resized by torch, PIL, scikit-image and scipy; OpenCV's numbers are recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from segmentarium.nn.upsampling import bilinear, nearest

skimage = pytest.importorskip("skimage.transform")


def ramp(length: int) -> Tensor:
    """As large in the other axis, so that libraries of images take it too."""
    return torch.arange(length, dtype=torch.float32).expand(1, 1, 6, length)


def by_pillow(maps: Tensor, width: int, method: Image.Resampling) -> list[float]:
    picture = Image.fromarray(maps[0, 0].numpy())
    return np.asarray(picture.resize((width, picture.height), method))[0].tolist()


def row(maps: Tensor) -> list[float]:
    return maps[0, 0, 0].tolist()


@pytest.mark.atlas("U01")
def test_nearest_five_to_eight() -> None:
    five = ramp(5)
    half_pixel, floor = [0, 0, 1, 2, 2, 3, 4, 4], [0, 0, 1, 1, 2, 3, 3, 4]
    assert row(nearest(five, (6, 8))) == half_pixel
    assert row(functional.interpolate(five, size=(6, 8), mode="nearest-exact")) == half_pixel
    assert by_pillow(five, 8, Image.Resampling.NEAREST) == half_pixel
    assert skimage.resize(five[0, 0].numpy(), (6, 8), order=0)[0].tolist() == half_pixel
    assert row(nearest(five, (6, 8), rule="floor")) == floor  # OpenCV 5.0.0 INTER_NEAREST: the same
    assert row(functional.interpolate(five, size=(6, 8), mode="nearest")) == floor


@pytest.mark.atlas("U01")
def test_nearest_is_pillows_except_on_ties() -> None:
    for have in (1, 2, 5, 6, 13):
        for want in range(1, 30, 2):
            got = np.array(row(nearest(ramp(have), (6, want))))
            theirs = np.array(by_pillow(ramp(have), want, Image.Resampling.NEAREST))
            tie = (2 * np.arange(want) + 1) * have % (2 * want) == 0  # a centre on the edge of two pixels
            assert (got == theirs)[~tie].all()
            assert (np.abs(got - theirs) <= tie).all()


@pytest.mark.atlas("U03")
def test_enlarging_four_to_eight() -> None:
    four = ramp(4)
    halves = [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3]
    assert row(bilinear(four, (6, 8))) == pytest.approx(halves)  # OpenCV 5.0.0 INTER_LINEAR: the same
    assert by_pillow(four, 8, Image.Resampling.BILINEAR) == pytest.approx(halves)
    aligned = row(bilinear(four, (6, 8), align_corners=True))
    assert aligned[1] == pytest.approx(0.4286, abs=1e-4)
    assert aligned == pytest.approx(ndimage.zoom(np.arange(4.0), 2, order=1).tolist())
    mirrored = skimage.resize(four[0, 0].numpy(), (6, 8), order=1)[0]
    assert mirrored[[0, -1]].tolist() == pytest.approx([0.25, 2.75])
    clamped = skimage.resize(four[0, 0].numpy(), (6, 8), order=1, mode="edge")[0]
    assert clamped.tolist() == pytest.approx(halves)


@pytest.mark.atlas("U03")
def test_shrinking_twelve_to_four() -> None:
    twelve = ramp(12)
    assert row(bilinear(twelve, (6, 4)))[0] == pytest.approx(1.0)
    smooth = row(bilinear(twelve, (6, 4), antialias=True))
    assert smooth[0] == pytest.approx(1.25)
    assert by_pillow(twelve, 4, Image.Resampling.BILINEAR) == pytest.approx(smooth)
    gaussian = skimage.resize(twelve[0, 0].numpy(), (6, 4), order=1, anti_aliasing=True)[0]
    assert gaussian[0] == pytest.approx(1.1265, abs=1e-4)
