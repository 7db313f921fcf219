"""k-means: an obvious Lloyd and scikit-learn as twins, pictures and volumes, and what it refuses."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest

from segmentarium.classical.kmeans import Clusters, kmeans, lloyd, plus_plus
from segmentarium.classical.levels import Levels, levels
from segmentarium.errors import BadArgument, BadImage
from segmentarium.ops.components import pieces

pytestmark = pytest.mark.atlas("C01")

FILE = import_module("segmentarium.classical.kmeans")


def points(picture: Levels, weight: float) -> np.ndarray:
    places = np.moveaxis(np.indices(picture.size), 0, -1) * np.array(picture.spacing) * weight
    return np.concatenate([places, picture.values], axis=-1).reshape(-1, places.shape[-1] + picture.channels)


def twin(picture: Levels, start: np.ndarray, weight: float, iterations: int) -> Clusters:
    features, centers, labels, inertia = points(picture, weight), start.copy(), None, []
    for step in range(iterations + 1):
        squares = ((features[:, None] - centers) ** 2).sum(axis=2)
        before, labels = labels, squares.argmin(axis=1)
        inertia.append(float(squares.min(axis=1).sum()))
        if step == iterations or (before is not None and (before == labels).all()):
            break
        for k in np.unique(labels):
            centers[k] = features[labels == k].mean(axis=0)
    return Clusters(labels.reshape(picture.size).astype(np.int32), centers, tuple(inertia))


def photo(*shape: int, seed: int = 0) -> np.ndarray:
    """Patches of colour under noise."""
    random = np.random.default_rng(seed)
    patches = random.integers(30, 226, (*(-(-n // 9) for n in shape[:-1]), shape[-1]))
    for axis, n in enumerate(shape[:-1]):
        patches = patches.repeat(9, axis=axis).take(range(n), axis=axis)
    return np.clip(patches + random.normal(0, 12, shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 20.0])
@pytest.mark.parametrize("shape", [(37, 50, 3), (16, 16, 1), (5, 41, 3)])
def test_the_labels_are_those_of_an_obvious_lloyd(shape: tuple[int, ...], weight: float) -> None:
    picture = levels(photo(*shape))
    start = plus_plus(picture, clusters=9, weight=weight)
    ours, obvious = (method(picture, start, weight=weight, iterations=12) for method in (lloyd, _twin))
    assert len(ours.inertia) == len(obvious.inertia)
    np.testing.assert_array_equal(ours.labels, obvious.labels)
    np.testing.assert_allclose(ours.centers, obvious.centers, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(ours.inertia, obvious.inertia, rtol=1e-9)
    assert (np.diff(ours.inertia) <= 1e-9 * ours.inertia[0]).all()


def _twin(picture: Levels, start: np.ndarray, *, weight: float, iterations: int) -> Clusters:
    return twin(picture, start, weight, iterations)


def test_volumes_are_measured_in_mm() -> None:
    values = photo(6, 20, 18, 1, seed=3).astype(np.float32)
    picture = Levels(values, (4.0, 0.5, 0.5), (4.0, 0.5, 0.5))
    start = plus_plus(picture, clusters=7, weight=2.0)
    ours, obvious = lloyd(picture, start, weight=2.0), twin(picture, start, 2.0, 50)
    assert start.shape == (7, 4)
    np.testing.assert_array_equal(ours.labels, obvious.labels)
    np.testing.assert_allclose(ours.inertia, obvious.inertia, rtol=1e-9)


def test_equals_scikit_learn_from_the_same_start() -> None:
    from skimage.data import astronaut
    from sklearn.cluster import KMeans

    picture = levels(astronaut()[::4, ::4])
    features = points(picture, 1.0)
    start = features[np.random.default_rng(0).choice(len(features), 50, replace=False)]
    ours = lloyd(picture, start, iterations=300)
    theirs = KMeans(50, init=start, n_init=1, tol=0, algorithm="lloyd", max_iter=300).fit(features)
    np.testing.assert_array_equal(ours.labels.ravel(), theirs.labels_)
    assert ours.inertia[-1] == pytest.approx(theirs.inertia_, rel=1e-9)


def test_a_cluster_without_pixels_keeps_its_centre() -> None:
    picture = levels(np.array([[0, 0, 255, 255]], np.uint8))
    start = np.array([[0.0, 0, 10], [0, 0, 900], [0, 0, 240]])
    found = lloyd(picture, start, weight=0.0)
    assert found.labels.tolist() == [[0, 0, 2, 2]]
    assert found.centers[:, 2].tolist() == [0, 900, 255]


def test_the_first_of_equally_near_centres_wins() -> None:
    picture = levels(np.full((3, 3), 7, np.uint8))
    start = np.array([[0.0, 0, 9], [0, 0, 5], [0, 0, 9]])
    assert not lloyd(picture, start, weight=0.0, iterations=0).labels.any()


def test_the_parts_of_the_work_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def backwards(work, count):  # type: ignore[no-untyped-def]
        for start in reversed(range(count)):
            work(start, start + 1)

    picture = levels(photo(70, 70, 3))
    start = plus_plus(picture, clusters=12)
    together = lloyd(picture, start)
    monkeypatch.setattr(FILE, "share", backwards)
    apart = lloyd(picture, start)
    np.testing.assert_array_equal(together.labels, apart.labels)
    assert together.inertia == apart.inertia


def test_the_door_numbers_clusters_or_their_pieces() -> None:
    picture = photo(40, 40, 3)
    clusters = kmeans(picture, clusters=5, weight=0.0)
    parts = kmeans(picture, clusters=5, weight=0.0, connected=True)
    assert len(clusters.classes) == 5
    assert len(parts.classes) > 5
    np.testing.assert_array_equal(kmeans(picture, clusters=5, weight=0.0).labels, clusters.labels)
    assert not np.array_equal(kmeans(picture, clusters=5, weight=0.0, seed=1).labels, clusters.labels)


def test_pieces_are_connected_and_of_one_label() -> None:
    assert pieces(np.array([[0, 1, 0], [0, 1, 1], [2, 0, 1]], np.int32)).tolist() == [
        [0, 1, 2],
        [0, 1, 1],
        [3, 4, 1],
    ]


def test_one_pixel_and_one_colour() -> None:
    assert kmeans(np.zeros((1, 1, 3), np.uint8), clusters=1).labels.tolist() == [[0]]
    flat = kmeans(np.full((20, 20, 3), 90, np.uint8), clusters=4)
    assert len(flat.classes) == 4  # places alone


def test_starting_centres_are_different_pixels() -> None:
    picture = levels(np.array([[0, 0, 0, 0, 0, 80, 80, 255]], np.uint8))
    found = plus_plus(picture, clusters=3, weight=0.0)
    assert sorted(found[:, 2].tolist()) == [0, 80, 255]


def test_starting_centres_miss_no_rare_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FILE, "SAMPLE", 4)
    grey = np.zeros((30, 30), np.uint8)
    grey[17, 3] = 200
    assert sorted(plus_plus(levels(grey), clusters=2, weight=0.0)[:, 2].tolist()) == [0, 200]


def test_refuses_in_one_sentence() -> None:
    picture = np.full((6, 6, 3), 90, np.uint8)
    with pytest.raises(BadArgument, match="clusters = 2; allowed: 1 to 1"):
        kmeans(picture, clusters=2, weight=0.0)
    with pytest.raises(BadArgument, match="clusters = 37; allowed: 1 to 36"):
        kmeans(picture, clusters=37)
    for bad in ({"clusters": 0}, {"weight": -1.0}, {"weight": float("inf")}, {"iterations": -1}):
        with pytest.raises(BadArgument, match=next(iter(bad))):
            kmeans(picture, **{"clusters": 3, **bad})  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="centres of shape"):
        lloyd(levels(picture), np.zeros((2, 4)))
    with pytest.raises(BadImage):
        kmeans(np.full((3, 3), np.nan))
