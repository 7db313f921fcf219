"""Random walker: harmonic on a chain and everywhere, equal to scikit-image, walks that are really walked."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.segmentation import random_walker as of_skimage

from segmentarium.classical.levels import levels
from segmentarium.classical.random_walker import first_reached, random_walker, walk_weights
from segmentarium.errors import BadArgument, BadImage
from segmentarium.values import Volume

pytestmark = pytest.mark.atlas("C20")


def scene(size: tuple[int, ...], channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    truth = np.indices(size)[-1] * 3 // size[-1]
    picture = np.clip(60 + 70 * truth[..., None] + draw.normal(0, 12, (*size, channels)), 0, 255).astype(
        np.uint8
    )
    seeds = np.zeros(size, np.int32)
    middle = tuple(n // 2 for n in size[:-1])
    for label in range(3):
        seeds[(*middle, size[-1] * (2 * label + 1) // 6)] = label + 1
    return picture, seeds


def test_harmonic_on_a_chain() -> None:
    known = np.zeros((1, 11), np.int32)
    known[0, 0], known[0, 10] = 1, 2
    probs = first_reached(walk_weights(levels(np.full((1, 11), 5, np.uint8))), known, accuracy=1e-12)
    np.testing.assert_allclose(probs[1, 0], np.arange(11) / 10, atol=1e-9)
    weights = np.zeros((2, 1, 11))
    weights[1, 0, :10] = np.random.default_rng(0).uniform(0.1, 1, 10)
    way = np.concatenate([[0], np.cumsum(1 / weights[1, 0, :10])])  # resistances add up
    probs = first_reached(weights, known, accuracy=1e-12)
    np.testing.assert_allclose(probs[1, 0], way / way[-1], atol=1e-9)


@pytest.mark.parametrize("size", [(12, 15), (4, 6, 9)])
def test_each_pixel_is_the_mean_of_its_neighbours(size: tuple[int, ...]) -> None:
    picture, known = scene(size)
    taken = levels(picture[..., 0] if len(size) == 2 else Volume.plain(picture[..., 0]))
    weights = walk_weights(taken)
    probs = first_reached(weights, known, accuracy=1e-10)
    flow, total = np.zeros_like(probs), np.zeros(size)
    for axis in range(len(size)):
        near = (slice(None),) * axis + (slice(-1),)
        far = (slice(None),) * axis + (slice(1, None),)
        weight = weights[axis][near]
        for here, there in ((near, far), (far, near)):
            total[here] += weight
            for label in range(3):
                flow[label][here] += weight * probs[label][there]
    np.testing.assert_allclose((probs * total)[:, known == 0], flow[:, known == 0], atol=1e-7)
    np.testing.assert_allclose(probs.sum(0), 1, atol=1e-9)
    for label in (1, 2, 3):
        assert (probs[label - 1][known == label] == 1).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_equals_scikit_image(channels: int) -> None:
    picture, seeds = scene((24, 30), channels)
    ours = random_walker(picture, seeds=seeds, accuracy=1e-9)
    given = picture / 255 if channels == 3 else picture[..., 0] / 255
    axis = -1 if channels == 3 else None
    theirs = of_skimage(given, seeds, beta=130, mode="bf", return_full_prob=True, channel_axis=axis)
    np.testing.assert_allclose(ours.probs, theirs, atol=1e-5)
    assert (ours.labels == theirs.argmax(0)).mean() > 0.999
    np.testing.assert_allclose(ours.probs.sum(0), 1, atol=1e-6)  # type: ignore[union-attr]


def test_spacing_equals_scikit_image() -> None:
    picture, seeds = scene((5, 10, 12))
    volume = Volume.plain(picture[..., 0], spacing_mm=(3.0, 1.0, 1.0))
    ours = random_walker(volume, seeds=seeds, accuracy=1e-9)
    spacing = np.array([3.0, 1.0, 1.0])
    theirs = of_skimage(picture[..., 0] / 255, seeds, mode="bf", spacing=spacing, return_full_prob=True)
    np.testing.assert_allclose(ours.probs, theirs, atol=1e-5)


def test_walks_that_are_walked() -> None:
    draw = np.random.default_rng(1)
    known = np.zeros((3, 4), np.int32)
    known[0, 0], known[2, 3], known[0, 3] = 1, 2, 3
    weights = walk_weights(levels(draw.integers(90, 150, (3, 4)).astype(np.uint8)))
    probs = first_reached(weights, known, accuracy=1e-10)[:, 2, 0]
    counts = np.zeros(3)
    for _ in range(3000):
        at = (2, 0)
        while known[at] == 0:
            y, x = at
            ways = [(y + 1, x), (y, x + 1), (y - 1, x), (y, x - 1)]
            odds = [
                weights[0, y, x],
                weights[1, y, x],
                weights[0, y - 1, x] if y else 0,
                weights[1, y, x - 1] if x else 0,
            ]
            at = ways[int(np.searchsorted(np.cumsum(odds), draw.uniform(0, sum(odds))))]
        counts[known[at] - 1] += 1
    np.testing.assert_allclose(counts / 3000, probs, atol=0.035)


def test_an_island_without_seed_gets_even_odds() -> None:
    picture = np.zeros((9, 20), np.uint8)
    picture[3:6, 8:12] = 255
    result = random_walker(picture, foreground=((0, 4),), background=((19, 4),), beta=10000.0)
    assert np.isfinite(result.probs).all()  # type: ignore[arg-type]
    np.testing.assert_allclose(result.probs[:, 4, 9:11], 0.5, atol=0.2)  # type: ignore[index]


def test_one_colour_is_shared_by_distance() -> None:
    result = random_walker(np.full((5, 9), 8, np.uint8), foreground=((8, 2),), background=((0, 2),))
    assert (result.labels[:, :4] == 0).all()
    assert (result.labels[:, 5:] == 1).all()
    assert result.classes.names == ("background", "foreground")


def test_what_is_refused() -> None:
    picture = np.zeros((4, 5), np.uint8)
    with pytest.raises(BadArgument, match="at least 2"):
        random_walker(picture, foreground=((0, 0),))
    with pytest.raises(BadArgument, match="marked as"):
        random_walker(picture, foreground=((0, 0),), background=((0, 0),))
    with pytest.raises(BadArgument, match="without a gap"):
        random_walker(picture, seeds=np.array([[1, 3, 0, 0, 0]] * 4, np.int32))
    with pytest.raises(BadArgument, match="as large as the picture"):
        random_walker(picture, seeds=np.ones((2, 2), np.int32))
    with pytest.raises(BadArgument, match="outside"):
        random_walker(picture, foreground=((0, 4),), background=((0, 0),))
    with pytest.raises(BadImage):
        random_walker(np.full((2, 2), np.nan), foreground=((0, 0),), background=((1, 1),))
