"""GrabCut: boxes and marks, an energy that falls, and its mixtures of Gaussians."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from segmentarium.classical.crf.energy import contrast_weights
from segmentarium.classical.grabcut import grab, grabcut
from segmentarium.classical.levels import levels
from segmentarium.errors import BadArgument, BadImage
from segmentarium.ops.gaussian_mixture import LEAST_VARIANCE, learn, parted
from segmentarium.ops.neighbours import both_ends, neighbours

pytestmark = pytest.mark.atlas("C13")

Y, X = np.mgrid[:48, :64]
THING = (Y - 24) ** 2 + (X - 32) ** 2 < 196
BOX = (14, 6, 50, 42)


def scene(seed: int = 0) -> np.ndarray:
    """A disk of two colours on ground of two colours, noisy."""
    noise = np.random.default_rng(seed).normal(0, 10, (*THING.shape, 3))
    thing = np.where((X < 32)[..., None], [200, 60, 50], [220, 190, 70])
    ground = np.where((Y < 30)[..., None], [70, 120, 190], [60, 110, 50])
    return np.clip(np.where(THING[..., None], thing, ground) + noise, 0, 255).astype(np.uint8)


def marks(box: tuple[int, int, int, int] = BOX) -> np.ndarray:
    known = np.ones(THING.shape, np.int32)
    known[box[1] : box[3], box[0] : box[2]] = 0
    return known


def test_finds_the_thing_in_the_box() -> None:
    found = grabcut(scene(), box=BOX)
    assert (found.labels == THING).mean() > 0.995
    assert [c.name for c in found.classes] == ["background", "foreground"]


def test_outside_the_box_is_background_whatever_the_colours() -> None:
    labels = grabcut(scene(), box=(20, 6, 50, 42)).labels
    assert not labels[:, :20].any()
    assert labels[24, 40] == 1


@pytest.mark.parametrize("seed", range(3))
def test_energy_falls_and_is_that_of_the_cut(seed: int) -> None:
    values = levels(scene(seed)).values
    found = grab(values, marks(), seed=seed, components=3)
    assert all(b < a for a, b in pairwise(found.energies))
    once = grab(values, marks(), seed=seed, components=3, iterations=1)
    flat, offsets = values.reshape(-1, 3), neighbours(2, 8)
    start = [learn(values[side], parted(values[side], 3, seed), 3) for side in (marks() == 1, marks() == 0)]
    costs = [mixture.costs(flat)[0].reshape(THING.shape) for mixture in start]
    wanted = np.where(once.inside, costs[1], costs[0]).sum()
    for link, offset in zip(contrast_weights(values, offsets), offsets, strict=True):
        first, second = both_ends(offset)
        wanted += 50 * link[first][once.inside[first] != once.inside[second]].sum()
    assert once.energies == pytest.approx((wanted,), rel=1e-9)


def test_marks_correct_the_box() -> None:
    plain = grabcut(scene(), box=BOX).labels
    assert plain[24, 25] == 1
    assert plain[10, 16] == 0
    fixed = grabcut(scene(), box=BOX, foreground=[(16, 10)], background=[(25, 24)]).labels
    assert fixed[24, 25] == 0
    assert fixed[10, 16] == 1


def test_a_map_of_marks_needs_no_box() -> None:
    seeds = np.where(np.abs(X - 32) > 20, 1, 0).astype(np.int32)
    seeds[22:26, 26:38] = 2
    assert (grabcut(scene(), seeds=seeds).labels == THING).mean() > 0.99


def test_the_seed_decides_all_that_is_drawn() -> None:
    first, second = (grabcut(scene(), box=BOX, seed=7).labels for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_constant_picture_has_no_foreground_but_its_marks() -> None:
    constant = np.full((12, 12, 3), 90, np.uint8)
    assert not grabcut(constant, box=(5, 5, 8, 8)).labels.any()
    assert grabcut(constant, box=(5, 5, 8, 8), foreground=[(6, 6)]).labels.sum() == 1


def test_grey_pictures_and_more_components_than_colours_work() -> None:
    grey = np.where(THING, 200, 40).astype(np.uint8)
    np.testing.assert_array_equal(grabcut(grey, box=BOX, components=9).labels, THING)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "leave no background"),
        ({"box": (0, 0, 64, 48)}, "leave no background"),
        ({"box": (5, 5, 5, 9)}, r"the box \(5, 5, 5, 9\)"),
        ({"box": (5, 5, 65, 9)}, "x1 <= 64"),
        ({"box": BOX, "foreground": [(2, 3)]}, r"foreground marked at \(2, 3\), outside the box"),
        ({"seeds": np.ones((48, 64), np.int32)}, "leave no foreground"),
        ({"seeds": np.full((48, 64), 3, np.int32)}, "the seed 3"),
        ({"box": BOX, "gamma": -1.0}, "gamma = -1"),
        ({"box": BOX, "components": 0}, "components = 0"),
    ],
)
def test_says_what_cannot_be(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(BadArgument, match=said):
        grabcut(scene(), **arguments)


def test_one_pixel_and_volumes_are_refused() -> None:
    with pytest.raises(BadArgument, match="leave no background"):
        grabcut(np.zeros((1, 1, 3), np.uint8), box=(0, 0, 1, 1))
    with pytest.raises(BadImage, match=r"NaN|nan"):
        grabcut(np.full((4, 4), np.nan), box=(1, 1, 2, 2))


def test_a_mixture_is_the_likeliest_of_its_points() -> None:
    draw = np.random.default_rng(0)
    values = (draw.normal(0, 1, (500, 3)) @ np.diag([30.0, 8.0, 2.0]) + 100).astype(np.float32)
    mixture = learn(values, np.zeros(500, np.int64), 2)
    apart = values - values.mean(axis=0, dtype=float)
    spread = apart.T @ apart / 500
    wanted = np.einsum("ni,ij,nj->n", apart, np.linalg.inv(spread), apart) / 2
    wanted += np.log(np.linalg.det(2 * np.pi * spread)) / 2
    costs, which = mixture.costs(values)
    np.testing.assert_allclose(costs, wanted)
    assert not which.any()
    fives = np.full((9, 3), 5, np.float32)
    flat = learn(fives, np.zeros(9, np.int64), 1)
    assert flat.costs(fives[:1])[0] == pytest.approx(1.5 * np.log(2 * np.pi * LEAST_VARIANCE))


def test_centres_spread_over_the_colours() -> None:
    values = np.repeat(np.array([[0.0], [100.0], [200.0]]), 20, axis=0)
    which = parted(values, 3, 1)
    assert sorted(np.bincount(which)) == [20, 20, 20]
    assert len(np.unique(parted(values, 8, 1))) == 3


def test_cuts_out_the_same_cup_as_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    data = pytest.importorskip("skimage.data")
    image, (x0, y0, x1, y1) = np.ascontiguousarray(data.coffee()[::4, ::4]), (35, 12, 133, 98)
    ours = grabcut(image, box=(x0, y0, x1, y1), iterations=10).labels == 1
    codes, blank = np.zeros(ours.shape, np.uint8), (np.zeros((1, 65)), np.zeros((1, 65)))
    cv2.setRNGSeed(0)
    bgr, corner = np.ascontiguousarray(image[..., ::-1]), (x0, y0, x1 - x0, y1 - y0)
    cv2.grabCut(bgr, codes, corner, *blank, 10, cv2.GC_INIT_WITH_RECT)
    theirs = codes % 2 == 1
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.9
