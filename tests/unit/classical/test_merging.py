"""Region merging: an obvious twin, adjacency kept, the limits of the threshold, and the whole recipe."""

from __future__ import annotations

import numpy as np
import pytest

from segmentarium.classical.levels import Levels, levels
from segmentarium.classical.merging import merge, merging
from segmentarium.classical.partition import renumbered
from segmentarium.errors import BadArgument
from segmentarium.ops.adjacency import adjacency
from segmentarium.ops.components import pieces

pytestmark = pytest.mark.atlas("C02")


def twin(labels: np.ndarray, picture: Levels, threshold: float, smallest: int) -> np.ndarray:
    """All neighbours looked at anew before each step."""
    labels = renumbered(labels)[0].astype(np.int64)

    def apart(a: int, b: int) -> float:
        means = [picture.values[labels == r].astype(np.float64).mean(axis=0) for r in (a, b)]
        return float(np.linalg.norm(means[0] - means[1]))

    def pairs() -> list[tuple[float, int, int]]:
        return [(apart(int(a), int(b)), int(a), int(b)) for a, b in adjacency(labels).pairs]

    while (found := pairs()) and min(found)[0] < threshold:
        _, a, b = min(found)
        labels[labels == b] = a
    while True:
        sizes = np.bincount(labels.ravel())
        small = sorted((int(n), a) for a, n in enumerate(sizes) if 0 < n < smallest)
        found = pairs()
        if not small or not found:
            return renumbered(labels)[0]
        _, a = small[0]
        _, b = min((weight, p + q - a) for weight, p, q in found if a in (p, q))
        labels[labels == max(a, b)] = min(a, b)


def example(*shape: int, seed: int = 0, regions: int = 30) -> tuple[np.ndarray, Levels]:
    """Scraps of regions, and a picture whose few values make many ties."""
    random = np.random.default_rng(seed)
    picture = levels(random.integers(0, 5, (*shape, 3)).astype(np.uint8) * 40)
    return pieces(random.integers(0, regions, shape).astype(np.int32) // 7), picture


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("threshold", "smallest"), [(35.0, 0), (0.0, 4), (25.0, 9), (70.0, 5)])
def test_equals_the_obvious_twin(seed: int, threshold: float, smallest: int) -> None:
    labels, picture = example(9, 8, seed=seed)
    found = merge(labels, picture, threshold=threshold, smallest=smallest)
    np.testing.assert_array_equal(found, twin(labels, picture, threshold, smallest))


def test_equals_scikit_image() -> None:
    from skimage import graph

    random = np.random.default_rng(0)
    labels = pieces(random.integers(0, 6, (24, 30)).astype(np.int32))
    picture = Levels(random.random((24, 30, 3), np.float32) * 255, (1.0, 1.0))

    def join(regions: graph.RAG, source: int, target: int) -> None:
        one, two = regions.nodes[source], regions.nodes[target]
        two["total color"] += one["total color"]
        two["pixel count"] += one["pixel count"]
        two["mean color"] = two["total color"] / two["pixel count"]

    def weigh(regions: graph.RAG, source: int, target: int, other: int) -> dict[str, float]:
        colors = [regions.nodes[n]["mean color"] for n in (target, other)]
        return {"weight": float(np.linalg.norm(colors[0] - colors[1]))}

    regions = graph.rag_mean_color(picture.values.astype(float), labels, connectivity=1)
    theirs = graph.merge_hierarchical(
        labels, regions, thresh=70.0, rag_copy=False, in_place_merge=True, merge_func=join, weight_func=weigh
    )
    ours = merge(labels, picture, threshold=70.0)
    np.testing.assert_array_equal(ours, renumbered(theirs)[0])
    assert 1 < ours.max() < labels.max()


@pytest.mark.parametrize("shape", [(30, 40), (6, 9, 8)])
def test_only_neighbours_are_joined(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(1)
    labels = pieces(random.integers(0, 4, shape).astype(np.int32))
    values = random.integers(0, 255, (*shape, 3)).astype(np.float32)
    found = merge(labels, Levels(values, (1.0,) * len(shape)), threshold=60.0, smallest=3)
    assert 1 < found.max() < labels.max()
    np.testing.assert_array_equal(pieces(found), found)  # each region is still in one piece
    together = renumbered(labels.astype(np.int64) * (found.max() + 1) + found)[0]
    np.testing.assert_array_equal(together, labels)  # and holds whole regions


def test_none_merge_at_zero_and_all_at_infinity() -> None:
    labels, picture = example(20, 20)
    np.testing.assert_array_equal(merge(labels, picture, threshold=0.0), renumbered(labels)[0])
    assert not merge(labels, picture, threshold=1e12).any()


def test_two_regions_that_do_not_touch_stay_apart() -> None:
    values = np.full((3, 5, 1), 10, np.float32)
    values[:, 2] = 200
    labels = np.repeat([[0, 0, 1, 2, 2]], 3, axis=0)
    found = merge(labels, Levels(values, (1.0, 1.0)), threshold=50.0)
    np.testing.assert_array_equal(found, labels)


def test_means_follow_the_regions() -> None:
    """A chain of small steps: 0, 8 and 20 merge at a threshold of 17 only if the mean of 0 and 8 counts."""
    values = np.array([[0, 8, 20]], np.float32)[..., None]
    picture = Levels(values, (1.0, 1.0))
    labels = np.array([[0, 1, 2]])
    assert merge(labels, picture, threshold=16.0).tolist() == [[0, 0, 1]]
    assert merge(labels, picture, threshold=16.1).tolist() == [[0, 0, 0]]


def test_small_regions_go_to_the_nearest_colour() -> None:
    values = np.array([[0, 0, 0, 90, 100, 100]], np.float32)[..., None]
    found = merge(np.array([[0, 0, 0, 1, 2, 2]]), Levels(values, (1.0, 1.0)), threshold=0.0, smallest=2)
    assert found.tolist() == [[0, 0, 0, 1, 1, 1]]


@pytest.mark.parametrize("start", ["kmeans", "slic"])
def test_the_recipe_finds_four_patches(start: str) -> None:
    random = np.random.default_rng(0)
    truth = np.repeat(np.repeat([[0, 1], [2, 3]], 20, axis=0), 20, axis=1)
    colors = np.array([[200, 40, 40], [40, 200, 40], [40, 40, 200], [220, 220, 60]])
    picture = np.clip(colors[truth] + random.normal(0, 4, (40, 40, 3)), 0, 255).astype(np.uint8)
    found = merging(picture, start=start, clusters=12, segments=60)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.labels, truth)


def test_a_constant_picture_is_one_region() -> None:
    assert len(merging(np.full((30, 30, 3), 9, np.uint8), clusters=6).classes) == 1
    assert merging(np.zeros((1, 1), np.uint8), clusters=1).labels.tolist() == [[0]]


def test_refuses_in_one_sentence() -> None:
    labels, picture = example(4, 4)
    with pytest.raises(BadArgument, match="threshold"):
        merge(labels, picture, threshold=-1.0)
    with pytest.raises(BadArgument, match="smallest"):
        merge(labels, picture, threshold=1.0, smallest=-1)
