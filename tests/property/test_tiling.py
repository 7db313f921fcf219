"""True of all tilings: every pixel is covered, and cutting up and stitching together changes nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentarium.ops.tiles import Tile, mirror_index, plan_tiles, stitch

sides = st.integers(1, 40)
sizes = st.tuples(sides, sides)
overlaps = st.floats(0, 0.95)


@given(size=sizes, tile=sizes, overlap=overlaps)
def test_every_pixel_is_covered_and_no_window_leaves_the_image(
    size: tuple[int, int], tile: tuple[int, int], overlap: float
) -> None:
    count = np.zeros(size, int)
    for window in plan_tiles(size, tile, overlap):
        assert window.size == (min(tile[0], size[0]), min(tile[1], size[1]))
        assert min(window) >= 0
        assert window.bottom <= size[0]
        assert window.right <= size[1]
        count[window.slices] += 1
    assert count.min() >= 1


@settings(max_examples=50)
@given(size=sizes, tile=sizes, overlap=overlaps, seed=st.integers(0, 100))
def test_tile_and_stitch_is_the_identity(
    size: tuple[int, int], tile: tuple[int, int], overlap: float, seed: int
) -> None:
    scores = np.random.default_rng(seed).normal(size=(2, *size))
    windows = plan_tiles(size, tile, overlap)
    tiles = [Tile(scores[:, w.top : w.bottom, w.left : w.right], at=(w.top, w.left)) for w in windows]
    assert np.allclose(stitch(tiles, size), scores)


@given(start=st.integers(-100, 100), count=st.integers(0, 100), length=sides)
def test_mirrored_pixels_exist_and_neighbours_stay_neighbours(start: int, count: int, length: int) -> None:
    index = mirror_index(start, start + count, length)
    assert ((index >= 0) & (index < length)).all()
    if length > 1:
        assert (np.abs(np.diff(index)) == 1).all()
