"""Resampling through affines, and bending voxels with labels: against scipy, torch and SimpleITK."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter, map_coordinates

from segmentarium.errors import BadArgument
from segmentarium.ops.resample_volume import resample, resample_labels, resize
from segmentarium.ops.splines import spline_taps
from segmentarium.ops.warp_volume import warp_volume
from segmentarium.values.classes import VOID
from segmentarium.values.grid import Grid

SIZE = (12, 17, 15)
GRID = Grid.plain(SIZE, (3.0, 1.0, 1.2))


def smooth(seed: int = 0) -> np.ndarray:
    return gaussian_filter(np.random.default_rng(seed).normal(size=SIZE), 1.5).astype(np.float32)


def blobs(dtype: type = np.int32) -> np.ndarray:
    heights = [gaussian_filter(np.random.default_rng(k).normal(size=SIZE), 2) for k in range(4)]
    return (np.argmax(heights, axis=0) - 1).astype(dtype)


def coordinates(target: Grid) -> np.ndarray:
    """Where the voxels of the target lie in ``GRID``."""
    indices = np.indices(target.size).reshape(3, -1)
    there = target.affine[:3, :3] @ indices + target.affine[:3, 3:]
    back = np.linalg.inv(GRID.affine)
    return (back[:3, :3] @ there + back[:3, 3:]).reshape(3, *target.size)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.0, 1.2), (0.7, 2.0, 5.0)])
def test_linear_interpolation_is_scipys(spacing: tuple[float, float, float]) -> None:
    target = GRID.at_spacing(spacing)
    theirs = map_coordinates(smooth(), coordinates(target), order=1, mode="nearest")
    np.testing.assert_allclose(resample(smooth(), GRID, target, antialias=False), theirs, atol=1e-6)


def test_simpleitk_agrees() -> None:
    sitk = pytest.importorskip("SimpleITK")
    target = GRID.at_spacing((1.0, 1.5, 0.8))
    image = sitk.GetImageFromArray(smooth())
    image.SetSpacing(GRID.spacing_mm[::-1])
    wanted = sitk.Image(*target.size[::-1], sitk.sitkFloat32)
    wanted.SetSpacing(target.spacing_mm[::-1])
    wanted.SetOrigin((target.affine[:3, 3] * [-1, -1, 1]).tolist())
    theirs = sitk.GetArrayFromImage(sitk.Resample(image, wanted, sitk.Transform(), sitk.sitkLinear, np.nan))
    inside = np.isfinite(theirs)
    assert inside.mean() > 0.5
    ours = resample(smooth(), GRID, target, antialias=False)
    np.testing.assert_allclose(ours[inside], theirs[inside], atol=1e-5)


@pytest.mark.parametrize("antialias", [False, True])
def test_resizing_is_torchs(antialias: bool) -> None:
    wanted = (20, 6, 15)
    tensor = torch.from_numpy(smooth())
    if antialias:  # torch has it in the plane only
        plane = torch.nn.functional.interpolate(
            tensor[None], (6, 15), mode="bilinear", antialias=True, align_corners=False
        )[0]
        np.testing.assert_allclose(resize(smooth()[None], (12, 6, 15))[0], plane.numpy(), atol=1e-5)
        return
    theirs = torch.nn.functional.interpolate(
        tensor[None, None], wanted, mode="trilinear", align_corners=False
    )
    np.testing.assert_allclose(resize(smooth()[None], wanted, antialias=False), theirs[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32])
def test_every_type_and_channels(dtype: type) -> None:
    voxels = np.random.default_rng(0).integers(0, 200, (2, *SIZE)).astype(dtype)
    target = GRID.at_spacing((1.0, 2.0, 1.2))
    made = resample(voxels, GRID, target)
    assert (made.dtype, made.shape) == (np.float32, (2, *target.size))
    np.testing.assert_allclose(made[1], resample(voxels[1].astype(np.float32), GRID, target), rtol=1e-6)


def test_shrinking_means_over_what_lies_under_a_voxel() -> None:
    noise = np.random.default_rng(0).normal(size=(32, 32, 32)).astype(np.float32)
    grid = Grid.plain((32, 32, 32))
    target = grid.at_spacing((4.0, 4.0, 4.0))
    assert resample(noise, grid, target).std() < 0.3 * resample(noise, grid, target, antialias=False).std()


def test_a_vote_is_the_best_of_interpolated_masks() -> None:
    labels = blobs()
    for spacing in ((1.0, 0.7, 2.6), (6.0, 1.0, 1.2)):
        target = GRID.at_spacing(spacing)
        masks = np.stack([resample((labels == k).astype(np.float32), GRID, target) for k in (VOID, 0, 1, 2)])
        ours = resample_labels(labels, GRID, target)
        near = np.sort(masks, axis=0)
        clear = near[-1] - near[-2] > 1e-5
        np.testing.assert_array_equal(ours[clear], masks.argmax(0)[clear] - 1)


@pytest.mark.parametrize("method", ["vote", "nearest"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
def test_labels_go_there_and_back(method: str, dtype: type) -> None:
    labels = np.maximum(blobs(), 0).astype(dtype)
    finer = GRID.at_spacing((1.0, 0.5, 0.6))
    there = resample_labels(labels, GRID, finer, method=method)
    back = resample_labels(there, finer, GRID, method=method)
    assert (back.shape, back.dtype) == (SIZE, dtype)
    assert {*np.unique(there)} <= {*np.unique(labels)}
    assert (back == labels).mean() > 0.99
    theirs = map_coordinates(labels.astype(np.float64), coordinates(finer), order=0, mode="nearest")
    assert method == "vote" or (there == theirs).mean() > 0.99


def test_grids_that_are_turned_against_each_other() -> None:
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ GRID.affine[:3, :3]
    middle = GRID.affine[:3, :3] @ ((np.array(SIZE) - 1) / 2) + GRID.affine[:3, 3]
    affine[:3, 3] = middle - affine[:3, :3] @ [5.5, 4, 3.5]
    target = Grid((12, 9, 8), affine)
    theirs = map_coordinates(smooth(), coordinates(target), order=1, mode="nearest")
    np.testing.assert_allclose(resample(smooth(), GRID, target), theirs, atol=1e-4)
    labels = blobs()
    near = map_coordinates(labels.astype(float), coordinates(target), order=0, mode="nearest")
    np.testing.assert_array_equal(resample_labels(labels, GRID, target, method="nearest"), near)
    with pytest.raises(BadArgument, match="nearest"):
        resample_labels(labels, GRID, target)


def test_what_does_not_lie_in_one_place_is_refused() -> None:
    far = GRID.affine.copy()
    far[2, 3] += 20
    with pytest.raises(BadArgument, match="beyond its source"):
        resample(smooth(), GRID, Grid(SIZE, far))
    with pytest.raises(BadArgument, match="equal sizes"):
        resample(smooth()[1:], GRID, GRID)


def dense(field: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """The field at every voxel, axis by axis."""
    for axis, length in enumerate(size, 1):
        points, weights = spline_taps(length, field.shape[axis])
        matrix = np.zeros((length, field.shape[axis]))
        for tap in range(4):
            np.add.at(matrix, (np.arange(length), points[tap]), weights[tap])
        field = np.moveaxis(np.tensordot(matrix, field, (1, axis)), 0, axis)
    return field


@pytest.mark.parametrize("mirror", [True, False])
def test_warping_is_its_slow_twin(mirror: bool) -> None:
    rng = np.random.default_rng(2)
    voxels, labels = np.stack([smooth(0), smooth(1)]), blobs(np.int16)
    matrix = np.hstack([np.eye(3) + rng.normal(scale=0.1, size=(3, 3)), rng.normal(size=(3, 1))])
    field = rng.normal(scale=1.5, size=(3, 4, 3, 5)).astype(np.float32)
    size = (10, 21, 13)
    made, picked = warp_volume(
        voxels, labels, size=size, matrix=matrix.astype(np.float32), field=field, fill=None if mirror else 7.0
    )
    places = np.indices(size) + dense(field, size)
    places = np.tensordot(matrix[:, :3], places, 1) + matrix[:, 3, None, None, None]
    near = map_coordinates(labels.astype(float), places, order=0, mode="grid-constant", cval=VOID)
    outside = ((places < -0.5) | (places >= np.array(SIZE)[:, None, None, None] - 0.5)).any(axis=0)
    assert (near == picked).mean() > 0.999  # but for places half way between two voxels
    assert ((picked == VOID) >= outside).mean() > 0.999
    for k in range(2):
        theirs = map_coordinates(voxels[k], places, order=1, mode="reflect")
        theirs = theirs if mirror else np.where(outside, 7.0, theirs)
        assert np.mean(np.abs(made[k] - theirs) < 1e-4) > 0.999


def test_nothing_changes_without_a_map() -> None:
    made, picked = warp_volume(smooth()[None], blobs(), size=SIZE)
    np.testing.assert_array_equal(made[0], smooth())
    np.testing.assert_array_equal(picked, blobs())
