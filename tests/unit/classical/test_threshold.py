"""Thresholds against scikit-image, several classes against all combinations, and what cannot be cut."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import get_args

import jaxtyping
import numpy as np
import pytest
from skimage import filters

from segmentarium.classical.threshold import Global, Local, global_cuts, local_limits, threshold
from segmentarium.errors import BadArgument, BadImage, UnknownName
from segmentarium.values import Volume


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape hook, as in production: it would refuse before we do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def peaks(size: tuple[int, ...], *centres: int) -> np.ndarray:
    draw = np.random.default_rng(0)
    levels = draw.choice(centres, size) + draw.normal(0, 12, size)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(40, 50), (9, 12, 14)])
@pytest.mark.parametrize("method", get_args(Global))
def test_one_number_equals_scikit_image(method: str, size: tuple[int, ...]) -> None:
    picture = peaks(size, 60, 190)
    given = picture if picture.ndim == 2 else Volume.plain(picture)
    expected = picture > getattr(filters, f"threshold_{method}")(picture)
    assert (threshold(given, method=method).labels == expected).all()  # type: ignore[arg-type]
    dark = threshold(given, method=method, bright=False)  # type: ignore[arg-type]
    assert (dark.labels != expected).all()


@pytest.mark.parametrize("method", get_args(Local))
def test_a_window_follows_the_light(method: str) -> None:
    light = np.linspace(30, 200, 60)
    picture = np.tile(light, (40, 1))
    marks = np.zeros(picture.shape, bool)
    marks[8:32:6, 5:55:7] = True
    picture[marks] += 50
    shift = {"k": -1.5} if method == "niblack" else {"offset": 8.0}
    result = threshold(picture.astype(np.uint8), method=method, window=9, **shift)  # type: ignore[arg-type]
    limit = local_limits(picture.astype(np.float32), method=method, window=9)
    assert limit.shape == picture.shape
    if method != "sauvola":  # whose threshold lies far below the mean of a calm window: it is made for ink
        assert (result.labels[:, 5:55].astype(bool) == marks[:, 5:55]).mean() > 0.98


def test_windows_by_hand() -> None:
    grey = np.random.default_rng(1).uniform(0, 255, (7, 8)).astype(np.float32)
    padded = np.pad(grey.astype(float), 1, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    mean, spread = windows.mean((2, 3)), windows.std((2, 3))
    niblack = local_limits(grey, method="niblack", window=3, k=0.3)
    np.testing.assert_allclose(niblack, mean - 0.3 * spread, atol=1e-3)
    sauvola = local_limits(grey, method="sauvola", window=3, k=0.3)
    np.testing.assert_allclose(sauvola, mean * (1 + 0.3 * (spread / 128 - 1)), atol=1e-3)


def between_classes(picture: np.ndarray, cuts: tuple[float, ...]) -> float:
    """The variance between the classes that ``cuts`` make, from its definition."""
    whole = picture.astype(float)
    parts = [whole[np.searchsorted(cuts, picture) == i] for i in range(len(cuts) + 1)]
    return sum(len(p) * (p.mean() - whole.mean()) ** 2 for p in parts if len(p))


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_several_classes_beat_every_other_choice(classes: int) -> None:
    picture = (
        np.random.default_rng(classes).choice([3, 40, 41, 90, 120, 121, 200, 250, 255], 60).astype(np.uint8)
    )
    levels = np.unique(picture)[:-1]
    best = max(between_classes(picture, cuts) for cuts in combinations(map(float, levels), classes - 1))
    assert between_classes(picture, global_cuts(picture, classes=classes)) == pytest.approx(best)


def test_three_classes_equal_scikit_image() -> None:
    picture = peaks((50, 60), 40, 120, 210)
    expected = np.searchsorted(filters.threshold_multiotsu(picture), picture)
    result = threshold(picture, classes=3)
    assert (result.labels == expected).all()
    assert result.classes.names == ("background", "level 1", "level 2")
    assert (threshold(picture, classes=3, bright=False).labels == 2 - expected).all()


def test_colours_are_cut_by_their_luma() -> None:
    picture = np.zeros((2, 3, 3), np.uint8)
    picture[:, 1, 1], picture[:, 2, 2] = 255, 255
    assert threshold(picture).labels.tolist() == [[0, 1, 0]] * 2


@pytest.mark.parametrize("method", [*get_args(Global), *get_args(Local)])
@pytest.mark.parametrize("size", [(1, 1), (5, 4)])
def test_one_level_is_all_background(method: str, size: tuple[int, int]) -> None:
    for bright in (True, False):
        flat = np.full(size, 7, np.uint8)
        assert not threshold(flat, method=method, bright=bright, window=3).labels.any()  # type: ignore[arg-type]


def test_what_cannot_be_cut(unchecked: None) -> None:
    picture = peaks((20, 20), 60, 190)
    with pytest.raises(BadArgument, match="3 classes for 2 grey levels"):
        threshold(np.array([[0, 255]], np.uint8), classes=3)
    with pytest.raises(BadArgument, match="odd numbers; take 9"):
        threshold(picture, method="niblack", window=8)
    with pytest.raises(BadArgument, match="with otsu only"):
        threshold(picture, method="li", classes=3)
    with pytest.raises(BadArgument, match="with otsu only"):
        threshold(picture, method="niblack", classes=3)
    with pytest.raises(BadImage, match="without two peaks"):
        threshold(np.arange(256, dtype=np.uint8)[None], method="minimum")
    with pytest.raises(UnknownName, match="did you mean 'otsu'"):
        threshold(picture, method="otzu")  # type: ignore[arg-type]
    with pytest.raises(UnknownName):
        local_limits(picture.astype(np.float32), method="mean")
    with pytest.raises(BadImage):
        threshold(np.full((2, 2), np.nan))
    with pytest.raises(BadImage):
        threshold(np.zeros((0, 3), np.uint8))
