"""TextonBoost (an approximation): its filters, its counts beside brute force, and that it learns textures."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.classical.levels import levels
from segmentarium.classical.textonboost import (
    FILTERS,
    Features,
    TextonBoost,
    filter_bank,
    lattice,
    pixel_boxes,
)
from segmentarium.classical.textonboost_kernels import integrate, layout_counts
from segmentarium.errors import BadArgument, BadImage


def textures(seed: int, size: tuple[int, int] = (48, 64)) -> tuple[np.ndarray, np.ndarray]:
    """Stripes beside checks of the same mean colour, at a random border."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    labels = (x > rng.integers(20, 44)).astype(np.int32)
    pattern = np.where(labels == 0, y % 6 < 3, (x // 2 + y // 2) % 2 == 0)
    noise = rng.integers(-10, 11, (*size, 3))
    return (90 + 70 * pattern[..., None] + noise).astype(np.uint8), labels


def features(textons: int = 5, boxes: int = 9) -> Features:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(-0.5, 0.5, (boxes, 2, 2)), axis=1).reshape(boxes, 4).astype(np.float32)
    return Features(
        rng.random(FILTERS).astype(np.float32),
        rng.uniform(0.5, 2, FILTERS).astype(np.float32),
        rng.standard_normal((textons, FILTERS)).astype(np.float32),
        corners,
        rng.integers(0, textons, boxes),
    )


@pytest.mark.atlas("R18")
def test_the_bank_has_seventeen_filters_that_know_what_they_see() -> None:
    flat = filter_bank(levels(np.full((20, 30, 3), 128, np.uint8)))
    assert flat.shape == (17, 20, 30)
    assert np.abs(flat[9:]).max() < 0.02  # no edge, no answer
    assert np.abs(flat[[1, 2, 4, 5, 7, 8]]).max() < 0.05  # grey has no colour
    ramp = np.broadcast_to(np.arange(0, 240, 4, dtype=np.uint8), (40, 60))
    answers = filter_bank(levels(ramp))[:, 20, 30]
    assert answers[13] > 1  # along x, sigma 2 and 4
    assert answers[15] > 1
    assert np.abs(answers[[14, 16]]).max() < 1e-3  # along y


@pytest.mark.atlas("R18")
def test_counts_equal_brute_force() -> None:
    rng = np.random.default_rng(1)
    textons = rng.integers(0, 4, (13, 17)).astype(np.int32)
    boxes = np.sort(rng.integers(-9, 10, (30, 2, 2)), axis=1).reshape(30, 4)
    which = rng.integers(0, 4, 30)
    rows, columns = lattice((13, 17), 1)
    counts = np.empty((len(rows), 30), np.float32)
    layout_counts(integrate(textons, 4), rows, columns, boxes, which, counts, 0, len(rows))
    for i, (y, x) in enumerate(zip(rows, columns, strict=True)):
        for f, (top, left, bottom, right) in enumerate(boxes):
            inside = textons[max(0, y + top) : max(0, y + bottom), max(0, x + left) : max(0, x + right)]
            assert counts[i, f] == (inside == which[f]).sum()


def test_textons_are_the_nearest_centres() -> None:
    asked = features()
    answers = np.random.default_rng(2).random((FILTERS, 6, 7)).astype(np.float32) * 3
    scaled = (answers - asked.mean[:, None, None]) / asked.deviation[:, None, None]
    apart = np.square(scaled[None] - asked.centres[:, :, None, None]).sum(1)
    assert np.array_equal(asked.textons(answers), apart.argmin(0))


def test_each_pixel_has_a_row_of_finite_shares() -> None:
    asked, taken = features(), levels(textures(0)[0])
    rows, columns = lattice(taken.size, 7)
    table = asked.describe(taken, rows, columns)
    assert table.shape == (len(rows), 2 + FILTERS + 9)
    assert np.isfinite(table).all()
    assert (table[:, 19:] >= 0).all()
    assert (table[:, 19:] <= 1).all()
    sizes = pixel_boxes(asked.boxes, 3)
    assert (sizes[:, 2:] > sizes[:, :2]).all()


@pytest.mark.atlas("R18")
def test_learns_textures_that_have_the_same_colour() -> None:
    pictures, labels = map(list, zip(*map(textures, range(4)), strict=True))
    labels[0][:3] = -1
    settings = {"textons": 10, "boxes": 30, "rounds": 6, "step": 4}
    model = TextonBoost.fit(pictures, labels, **settings)
    picture, truth = textures(9)
    probs = model.predict(picture)
    assert probs.shape == (2, 48, 64)
    assert np.allclose(probs.sum(0), 1, atol=1e-5)
    assert (probs.argmax(0) == truth).mean() > 0.88
    again = TextonBoost.fit(pictures, labels, **settings).predict(picture)
    assert np.array_equal(probs, again)


def test_classes_that_were_not_seen_have_no_chance() -> None:
    pictures, labels = map(list, zip(*map(textures, range(2)), strict=True))
    model = TextonBoost.fit(pictures, [2 * map_ for map_ in labels], textons=4, boxes=5, rounds=2, step=6)
    probs = model.predict(pictures[0])
    assert len(probs) == 3
    assert probs[1].max() == 0


def test_what_does_not_fit_is_refused() -> None:
    picture, truth = textures(0)
    with pytest.raises(BadArgument, match="as many"):
        TextonBoost.fit([picture], [truth[1:]])
    with pytest.raises(BadArgument, match="two classes"):
        TextonBoost.fit([picture], [0 * truth])
    with pytest.raises(BadArgument, match="rounds = 0"):
        TextonBoost.fit([picture], [truth], rounds=0)
    with pytest.raises(BadImage, match="2 channels"):
        filter_bank(levels(picture[..., :2].copy()))
