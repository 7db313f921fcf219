"""Images of any size through a network: whole, blended or abutting, the labels must be the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from segmentarium.data.normalise import Normalise
from segmentarium.engine.tiled import Eye, Tiling, label_bands, see_whole
from segmentarium.errors import BadImage
from segmentarium.models.unet import Config, UNet
from segmentarium.nn.outputs import Semantic


class Local(nn.Module):
    """Looks at single pixels only, so that no tiling may change its answer; ``stride`` coarsens it."""

    def __init__(self, *, stride: int = 1, border: int = 0, unit: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.border, self.unit = border, unit
        self.net = nn.Sequential(
            nn.AvgPool2d(stride), nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 5, 1)
        ).eval()

    def input_side(self, output: int) -> int:
        return -(-(output + 2 * self.border) // self.unit) * self.unit

    def forward(self, image: Tensor) -> Semantic:
        b = self.border
        return Semantic(self.net(image[:, :, b : image.shape[2] - b, b : image.shape[3] - b]))


class Pooling(nn.Module):
    """Loses a border and pools, as the paper's U-Net: its answer depends on where its poolings fall."""

    border = 6

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net = nn.Sequential(
            nn.Conv2d(3, 6, 5), nn.MaxPool2d(4), nn.Conv2d(6, 4, 3), nn.Upsample(scale_factor=4)
        ).eval()

    def input_side(self, output: int) -> int:
        return -(-output // 4) * 4 + 12

    def forward(self, image: Tensor) -> Semantic:
        return Semantic(self.net(image))


def pixels(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def labels_of(image: np.ndarray, network: nn.Module, tiling: Tiling) -> np.ndarray:
    bands = list(label_bands(image, Eye(network, Normalise.plain(3)), tiling))
    assert [band.top for band in bands] == list(np.cumsum([0] + [len(band.labels) for band in bands[:-1]]))
    return np.concatenate([band.labels for band in bands])


@pytest.mark.parametrize("size", [(70, 50), (10, 90), (90, 10), (3, 3), (1, 1)])
@pytest.mark.parametrize("batch", [1, 3])
def test_tiles_answer_as_the_whole(size: tuple[int, int], batch: int) -> None:
    image, network = pixels(*size), Local()
    whole = labels_of(image, network, Tiling(tile=(24, 24)))
    tiled = labels_of(image, network, Tiling(tile=(24, 24), always=True, batch=batch))
    assert whole.shape == size
    assert np.mean(whole == tiled) > 0.999


def test_scores_below_the_tiles_resolution_are_blended_too() -> None:
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    network = Local(stride=4)
    whole = labels_of(smooth, network, Tiling(tile=(64, 64)))
    tiled = labels_of(smooth, network, Tiling(tile=(32, 32), overlap=0.5, always=True))
    assert np.mean(whole == tiled) > 0.9


@pytest.mark.parametrize("size", [(70, 50), (5, 90), (1, 1)])
def test_a_network_that_loses_a_border_answers_in_tiles_as_in_one_pass(size: tuple[int, int]) -> None:
    image, network = pixels(*size), Pooling()
    whole = labels_of(image, network, Tiling(tile=(200, 200)))
    tiled = labels_of(image, network, Tiling(tile=(18, 18), always=True, batch=2))
    assert whole.shape == size
    assert np.array_equal(whole, tiled)


@pytest.mark.parametrize("size", [(75, 60), (37, 90)])
def test_a_small_u_net_of_the_papers_kind_answers_in_tiles_as_in_one_pass(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    config = Config(widths=(4, 8, 16), decoder=(8, 4), valid=True, norm=False, bias=True, classes=3)
    image, network = pixels(*size), UNet(config).eval()
    assert network.border > 0
    whole = labels_of(image, network, Tiling(tile=(200, 200)))
    tiled = labels_of(image, network, Tiling(tile=(20, 20), always=True, batch=2))
    assert len(np.unique(whole)) > 1
    assert np.mean(whole == tiled) > 0.999  # sums of another order may round otherwise


def test_probabilities_of_tiles_are_those_of_the_whole() -> None:
    image, eye = pixels(40, 50), Eye(Local(), Normalise.plain(3))
    (whole,) = label_bands(image, eye, Tiling(tile=(64, 64)), probs=True)
    bands = list(label_bands(image, eye, Tiling(tile=(16, 16), always=True), probs=True))
    tiled = np.concatenate([band.probs for band in bands if band.probs is not None], axis=1)
    assert whole.probs is not None
    assert np.allclose(whole.probs, tiled, atol=3e-3)
    assert tiled.sum(0) == pytest.approx(1, abs=5e-3)


def test_images_of_a_batch_are_answered_one_by_one() -> None:
    images = [pixels(20, 30), pixels(20, 30)[::-1]]
    eye, tiling = Eye(Local(), Normalise.plain(3)), Tiling(tile=(16, 16), step=8)
    together = see_whole(images, eye, tiling)
    for image, band in zip(images, together, strict=True):
        assert np.array_equal(band.labels, see_whole([image], eye, tiling)[0].labels)


class Tall:
    """A source that counts what is asked of it and holds nothing."""

    def __init__(self, height: int, width: int) -> None:
        self.shape, self.most = (height, width, 3), 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        count = len(range(*rows.indices(self.shape[0])))
        self.most = max(self.most, count)
        return np.full((count, self.shape[1], 3), rows.start % 251, np.uint8)


def test_no_more_than_a_row_of_tiles_is_read_at_a_time() -> None:
    source = Tall(2000, 40)
    tiling = Tiling(tile=(32, 32), always=True)
    heights = [len(band.labels) for band in label_bands(source, Eye(Local(), Normalise.plain(3)), tiling)]
    assert sum(heights) == 2000
    assert source.most == 32
    assert max(heights) <= 32


def test_sixteen_bit_images_have_the_same_limits_in_all_tiles() -> None:
    image = np.linspace(100, 900, 60 * 60).reshape(60, 60, 1).astype(np.uint16)
    stretch = Normalise(channels=1, mean=(0.0,), std=(1.0,), range="percentile")
    assert np.allclose(Eye(Local(), stretch).limits(image), stretch.limits(image))


def bad_images() -> list[tuple[np.ndarray, str]]:
    hole = np.ones((40, 40, 3), np.float32)
    hole[33, 7, 1] = np.nan
    return [(hole, "row 33, column 7"), (pixels(40, 40, 2), "2 channels"), (pixels(0, 40), "0x40")]


@pytest.mark.parametrize(("image", "told"), bad_images())
def test_what_the_network_cannot_see_is_refused(image: np.ndarray, told: str) -> None:
    with pytest.raises(BadImage, match=told):
        labels_of(image, Local(), Tiling(tile=(16, 16), always=True))
