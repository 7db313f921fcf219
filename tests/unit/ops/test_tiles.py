"""Tiles: where they lie, what they weigh, and what is said when they leave a hole."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.errors import BadRecipe, CoverageError
from segmentarium.ops.blend import RollingBand
from segmentarium.ops.resize import neighbours
from segmentarium.ops.share import share
from segmentarium.ops.tiles import (
    Tile,
    gaussian_profile,
    gaussian_weights,
    mirror_index,
    plan_tiles,
    spread,
    stitch,
)


def test_a_quarter_overlap_on_8192_pixels_takes_21_tiles_of_512() -> None:
    starts = spread(8192, 512, 0.25)
    assert (len(starts), starts[0], starts[-1]) == (21, 0, 7680)
    assert set(np.diff(starts)) == {384}


def test_tiles_are_spread_evenly_and_the_last_is_flush() -> None:
    starts = spread(1000, 256, 0.25)
    assert starts[-1] == 1000 - 256
    assert np.ptp(np.diff(starts)) <= 1


def test_an_image_smaller_than_a_tile_is_its_own_tile() -> None:
    assert plan_tiles((3, 5), (512, 512)) == [(0, 0, 3, 5)]


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0.25), (8, 1.0), (8, -0.1)])
def test_impossible_tiles_are_refused(tile: int, overlap: float) -> None:
    with pytest.raises(BadRecipe):
        spread(100, tile, overlap)


def test_weights_are_a_bell_of_an_eighth_and_nowhere_zero() -> None:
    profile = gaussian_profile(512)
    assert profile.max() == 1
    assert profile[256 + 64] == pytest.approx(np.exp(-0.5), rel=0.02)
    weights = gaussian_weights((64, 32))
    assert weights.min() > 0
    assert np.array_equal(weights, weights[::-1, ::-1])


def test_stitching_takes_the_weighted_mean() -> None:
    tiles = [Tile(np.full((1, 4, 4), 2.0), at=(0, 0)), Tile(np.full((1, 4, 4), 6.0), at=(0, 2))]
    whole = stitch(tiles, size=(4, 6))
    assert np.allclose(whole[0, :, :2], 2)
    assert np.allclose(whole[0, :, 4:], 6)
    assert 2 < whole[0, 0, 2] < whole[0, 0, 3] < 6


def test_the_first_uncovered_pixel_is_named() -> None:
    with pytest.raises(CoverageError, match="row 1, column 0"):
        stitch([Tile(np.ones((1, 1, 3)), at=(0, 0))], size=(2, 3))


def test_no_tiles_and_tiles_outside_are_refused() -> None:
    with pytest.raises(CoverageError, match="no tiles"):
        stitch([], size=(2, 3))
    with pytest.raises(CoverageError, match="windows inside"):
        stitch([Tile(np.ones((1, 2, 3)), at=(1, 0))], size=(2, 3))


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_mirroring_repeats_as_often_as_needed(length: int) -> None:
    wide = np.pad(np.arange(length), (20, 20), mode="reflect") if length > 1 else np.zeros(41, int)
    assert np.array_equal(mirror_index(-20, length + 20, length), wide)


def test_neighbours_of_a_doubled_axis() -> None:
    before, after = neighbours(3, 6, 1, 5)
    assert before.tolist() == [0, 0, 1, 1]
    assert after.tolist() == [0.25, 0.75, 0.25, 0.75]


def test_shared_loops_cover_the_range_once() -> None:
    seen = np.zeros(1000, int)

    def work(start: int, stop: int) -> None:
        seen[start:stop] += 1

    share(work, 1000)
    assert (seen == 1).all()


@pytest.mark.parametrize("size", [(50, 61), (10, 61), (50, 9), (7, 5)])
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("keep", [False, True])
def test_the_rolling_band_equals_stitching(
    size: tuple[int, int], stride: int, overlap: float, keep: bool
) -> None:
    classes, tile, random = 5, (16, 16), np.random.default_rng(0)
    band = RollingBand(classes=classes, size=size, tile=tile, overlap=overlap, keep=keep)
    tiles, labels, scores = [], [], []
    windows = plan_tiles(size, tile, overlap)
    tops = sorted({window.top for window in windows})
    for top, stop in zip(tops, [*tops[1:], size[0]], strict=True):
        for window in (w for w in windows if w.top == top):
            small = random.normal(size=(tile[0] // stride, tile[1] // stride, classes)).astype(np.float32)
            band.add(small, window)
            tiles.append(Tile(_resized(small, tile, window.size), at=(window.top, window.left)))
        scores += [band.scores(stop)] if keep else []
        labels.append(band.finish(stop))
    whole = _weighted(tiles, size, tile)
    if keep:
        assert np.allclose(np.concatenate(scores), whole.transpose(1, 2, 0), atol=1e-5)
    assert np.mean(np.concatenate(labels) == whole.argmax(0)) > 0.999


def _resized(small: np.ndarray, tile: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """The middle of a tile's scores at full resolution, classes first; slow and obvious."""
    out = small
    for axis in (0, 1):
        margin = (tile[axis] - size[axis]) // 2
        before, after = neighbours(small.shape[axis], tile[axis], margin, margin + size[axis])
        share_after = np.expand_dims(after, [a for a in range(3) if a != axis])
        last = small.shape[axis] - 1
        out = (
            out.take(before, axis) * (1 - share_after)
            + out.take(np.minimum(before + 1, last), axis) * share_after
        )
    return out.transpose(2, 0, 1)


def _weighted(tiles: list[Tile], size: tuple[int, int], tile: tuple[int, int]) -> np.ndarray:
    """As ``stitch``, but a tile that is cut by a small image keeps the weights of its middle."""
    total, weight = np.zeros((len(tiles[0].scores), *size)), np.zeros(size)
    for one in tiles:
        height, width = one.window.size
        y, x = (tile[0] - height) // 2, (tile[1] - width) // 2
        importance = gaussian_weights(tile)[y : y + height, x : x + width]
        rows, columns = one.window.slices
        total[:, rows, columns] += one.scores * importance
        weight[rows, columns] += importance
    return total / weight
