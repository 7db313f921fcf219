"""Tiles of a dense field equal the whole, and stay within their memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from segmentarium.classical.crf.dense import DenseCRF, Kernel
from segmentarium.classical.crf.dense_tiles import infer_in_tiles
from segmentarium.errors import BadArgument
from segmentarium.ops.tiles import Window

CRF = DenseCRF((Kernel(1.5, None, 1.0), Kernel(6.0, 20.0, 2.0)), 4)


def scene(height: int, width: int, *, noise: float = 8.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    rows, columns = np.indices((height, width))
    inside = np.sin(rows / 17) + np.cos(columns / 23) > 0
    picture = np.clip(70 + 110 * inside[..., None] + rng.normal(0, noise, (height, width, 3)), 0, 255)
    unary = rng.random((3, height, width), dtype=np.float32)
    unary[0] -= 0.5 * inside
    unary[1] -= 0.5 * ~inside
    return unary, picture.astype(np.uint8)


def tiled(unary: np.ndarray, picture: np.ndarray, **how: float) -> tuple[np.ndarray, list[Window]]:
    out, windows = np.full_like(unary, np.nan), []
    pieces = infer_in_tiles(
        CRF,
        lambda window: unary[(slice(None), *window.slices)],
        lambda window: picture[window.slices],
        size=unary.shape[1:],
        classes=len(unary),
        **how,
    )
    for window, probs in pieces:
        assert np.isnan(out[(slice(None), *window.slices)]).all()  # once
        out[(slice(None), *window.slices)] = probs
        windows.append(window)
    return out, windows


@pytest.mark.atlas("R12")
def test_tiles_equal_the_whole() -> None:
    unary, picture = scene(150, 210)
    whole = CRF.infer(unary, picture)
    one, windows = tiled(unary, picture, memory_mb=100.0)
    np.testing.assert_array_equal(one, whole)
    assert len(windows) == 1
    parts, windows = tiled(unary, picture, memory_mb=5.0, margin=3.0)
    assert len(windows) >= 6
    assert (parts.argmax(0) == whole.argmax(0)).mean() > 0.999
    assert np.abs(parts - whole).mean() < 5e-4


@pytest.mark.atlas("R12")
def test_tiles_stay_within_their_memory() -> None:
    unary, picture = scene(130, 170)
    tracemalloc.start()
    try:
        for _window, _probs in infer_in_tiles(
            CRF,
            lambda window: unary[(slice(None), *window.slices)],
            lambda window: picture[window.slices],
            size=(130, 170),
            classes=3,
            memory_mb=4.0,
        ):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 1e6 < peak < 4e6


def test_noise_halves_the_tiles() -> None:
    unary, picture = scene(120, 120, noise=80.0)
    parts, windows = tiled(unary, picture, memory_mb=5.0)
    assert len(windows) > len(tiled(*scene(120, 120), memory_mb=5.0)[1])
    assert np.isfinite(parts).all()


def test_too_little_memory_is_refused() -> None:
    with pytest.raises(BadArgument, match="memory_mb"):
        tiled(*scene(40, 60), memory_mb=0.1)


def test_a_picture_that_fits_needs_no_margin() -> None:
    unary, picture = scene(64, 64)
    wide = DenseCRF((Kernel(6000.0, 5.0, 4.0),), 2)
    pieces = infer_in_tiles(
        wide,
        lambda window: unary[(slice(None), *window.slices)],
        lambda window: picture[window.slices],
        size=(64, 64),
        classes=3,
    )
    ((window, probs),) = pieces
    assert window == Window(0, 0, 64, 64)
    np.testing.assert_array_equal(probs, wide.infer(unary, picture))
