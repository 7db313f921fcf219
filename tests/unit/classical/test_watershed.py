"""Watershed: every pixel equal to SimpleITK's, basins by their depth, touching objects, seeds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import h_minima

from segmentarium.classical.levels import levels
from segmentarium.classical.watershed import distance_relief, edge_relief, flooded, markers, watershed
from segmentarium.errors import BadArgument, BadImage
from segmentarium.ops.components import components
from segmentarium.values import Volume

pytestmark = pytest.mark.atlas("C16")


def rough(size: tuple[int, ...], *, smooth: float, seed: int = 0) -> np.ndarray:
    field = np.random.default_rng(seed).uniform(0, 1, size)
    field = ndimage.gaussian_filter(field, smooth) if smooth else field
    return ((field - field.min()) / np.ptp(field) * 255).astype(np.uint8)


def scattered(size: tuple[int, ...], count: int) -> np.ndarray:
    known = np.zeros(size, np.int32)
    known.flat[np.random.default_rng(1).choice(known.size, count, replace=False)] = np.arange(1, count + 1)
    return known


@pytest.mark.parametrize("line", [False, True])
@pytest.mark.parametrize("smooth", [0.0, 1.5])
@pytest.mark.parametrize(
    ("size", "connectivity"), [((40, 50), 4), ((40, 50), 8), ((9, 12, 14), 6), ((9, 12, 14), 26)]
)
def test_equals_simpleitk(size: tuple[int, ...], connectivity: int, smooth: float, line: bool) -> None:
    sitk = pytest.importorskip("SimpleITK")
    relief, known = rough(size, smooth=smooth), scattered(size, 15)
    ours = flooded(relief, known, connectivity=connectivity, line=line)
    images = sitk.GetImageFromArray(relief), sitk.GetImageFromArray(known)
    theirs = sitk.MorphologicalWatershedFromMarkers(*images, line, connectivity in (8, 26))
    np.testing.assert_array_equal(ours, sitk.GetArrayFromImage(theirs))


def test_equals_scikit_image_within_a_mask() -> None:
    from skimage.segmentation import watershed as of_skimage

    relief, known = rough((40, 50), smooth=1.5), scattered((40, 50), 12)
    inside = rough((40, 50), smooth=3, seed=2) > 110
    ours = flooded(relief, known, inside=inside)
    np.testing.assert_array_equal(ours, of_skimage(relief, known, mask=inside))
    assert not ours[~inside].any()


def test_markers_keep_their_labels_and_regions_hold_together() -> None:
    relief, known = rough((40, 50), smooth=1), scattered((40, 50), 20)
    labels = flooded(relief, known)
    assert (labels[known > 0] == known[known > 0]).all()
    assert labels.min() == 1
    assert all(components(labels == i)[1] == 1 for i in range(1, 21))


def deep_enough(relief: np.ndarray, depth: int, connectivity: int) -> np.ndarray:
    """The first lowest pixel of a basin filled to just below ``depth``, for all fillings."""
    kept = np.zeros(relief.shape, bool)
    for floor in np.unique(relief):
        parts, count = components(relief < int(floor) + depth, connectivity=connectivity)
        for part in range(1, count + 1):
            lowest = np.argmin(np.where(parts == part, relief.astype(int), 999))
            kept.flat[lowest] |= relief.flat[lowest] == floor
    return kept


@pytest.mark.parametrize("depth", [1, 10, 40])
@pytest.mark.parametrize(("size", "connectivity"), [((24, 30), 4), ((24, 30), 8), ((6, 8, 9), 6)])
def test_basins_by_filling(size: tuple[int, ...], connectivity: int, depth: int) -> None:
    relief = rough(size, smooth=1.2)
    found = markers(relief, depth=depth, connectivity=connectivity)
    kept = deep_enough(relief, depth, connectivity)
    assert ((found > 0) == kept).all()
    assert found[kept].tolist() == list(range(1, kept.sum() + 1))


@pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning")  # scikit-image on NumPy 2.5
def test_basins_lie_in_those_of_scikit_image() -> None:
    """It also counts a second basin with an equally low floor, however low the ridge between them."""
    relief = rough((40, 50), smooth=1.2)
    found = markers(relief, depth=10)
    theirs, count = ndimage.label(h_minima(relief, 10, ndimage.generate_binary_structure(2, 1)))
    numbers = theirs[found > 0]
    assert numbers.min() > 0
    assert len(set(numbers)) == found.max() <= count <= found.max() + 2


def two_balls(size: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Two touching balls of 10 mm side by side, and which of them each pixel is nearer to."""
    at = np.indices(size) * np.array(spacing).reshape(-1, *(1,) * len(size))
    middle = (np.array(size) - 1) * spacing / 2
    apart = [np.array([*(0.0,) * (len(size) - 1), side * 8.0]) for side in (-1, 1)]
    far = [np.sqrt(sum((a - m) ** 2 for a, m in zip(at, middle + shift, strict=True))) for shift in apart]
    return np.minimum(*far) < 10, np.where(far[0] <= far[1], 1, 2)


@pytest.mark.parametrize(("size", "spacing"), [((30, 50), (1.0, 1.0)), ((8, 30, 50), (3.0, 1.0, 1.0))])
def test_touching_objects_are_parted(size: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    inside, side = two_balls(size, spacing)
    picture = np.where(inside, 220, 30).astype(np.uint8)
    given = picture if len(size) == 2 else Volume.plain(picture, spacing_mm=spacing)  # type: ignore[arg-type]
    result = watershed(given, split="distance")
    assert result.classes.names == ("background", "object 1", "object 2")
    assert ((result.labels > 0) == inside).all()
    assert (result.labels[inside] == side[inside]).mean() > 0.98
    dark = np.where(inside, 30, 220).astype(np.uint8)
    assert (watershed(given, split="distance", depth=30.0).labels == inside).all()
    assert (watershed(dark, split="distance", bright=False).labels.max() == 2) or len(size) == 3


def test_regions_between_edges() -> None:
    draw = np.random.default_rng(0)
    blocks = np.kron(np.add.outer(np.arange(3), 2 * np.arange(4)) % 5 * 50, np.ones((14, 15)))
    picture = np.clip(blocks + draw.normal(0, 2, blocks.shape), 0, 255).astype(np.uint8)
    labels = watershed(picture, depth=20.0).labels
    assert labels.max() == 11
    middles = labels.reshape(3, 14, 4, 15)[:, 3:-3, :, 3:-3]
    assert (middles == middles[:, :1, :, :1]).all()
    with_line = watershed(picture, depth=20.0, line=True)
    assert with_line.labels.min() == -1
    assert with_line.labels.max() == 11
    assert 0.05 < (with_line.labels == -1).mean() < 0.2


def test_seeds() -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[5:15, 8:22, 1] = 200
    result = watershed(picture, foreground=((15, 10),), background=((0, 0),))
    assert result.classes.names == ("background", "foreground")
    assert (result.labels[6:14, 9:21] == 1).all()
    assert result.labels[:4].sum() == 0
    seeds = np.zeros((20, 30), np.int32)
    seeds[0, 0], seeds[10, 15], seeds[19, 29] = 1, 2, 3
    assert set(np.unique(watershed(picture, seeds=seeds).labels)) == {0, 1, 2}
    assert set(np.unique(watershed(picture, seeds=seeds, line=True).labels)) == {-1, 0, 1, 2}


def test_reliefs() -> None:
    step = np.zeros((9, 20), np.uint8)
    step[:, 10:] = 90
    strength = edge_relief(levels(step), sigma=2.0)
    assert strength.dtype == np.uint8
    assert abs(int(strength[4].max()) - 90) <= 4  # the edge lies between two pixels
    inside = np.zeros((5, 9), bool)
    inside[:, 2:7] = True
    relief, scale = distance_relief(inside, (1.0, 1.0))
    assert scale == 16
    assert relief[0].tolist() == [48, 48, 32, 16, 0, 16, 32, 48, 48]


def test_one_colour_and_one_pixel() -> None:
    for picture in (np.full((7, 8), 3, np.uint8), np.full((1, 1, 3), 9, np.uint8)):
        assert not watershed(picture).labels.any()
        assert not watershed(picture, split="distance").labels.any()


def test_what_is_refused() -> None:
    picture = np.zeros((6, 6), np.uint8)
    with pytest.raises(BadArgument, match="outside the picture"):
        watershed(picture, foreground=((0, 6),), background=((0, 0),))
    with pytest.raises(BadArgument, match="marked as"):
        watershed(picture, foreground=((0, 0),), background=((0, 0),))
    with pytest.raises(BadArgument, match="at least 2"):
        watershed(picture, foreground=((0, 0),))
    with pytest.raises(BadArgument, match="seeds with split = edges"):
        watershed(picture, split="distance", foreground=((0, 0),))
    with pytest.raises(BadArgument, match="5 neighbours"):
        watershed(picture, connectivity=5)
    with pytest.raises(BadImage):
        watershed(np.full((3, 3), np.nan))
