"""Surface measures under a tool's name are that tool's numbers, and the tools are seen to disagree."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import SimpleITK
import surface_distance
import torch
from medpy.metric import binary as medpy
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy.ndimage import gaussian_filter
from surface_distance import lookup_tables

from segmentarium.metrics.surface import hausdorff_distance, measure_classes, measure_surfaces
from segmentarium.ops.surfel import surfel_areas

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.atlas("M09", "M10", "M11", "M12")]

CASES = {
    "plane": ((48, 40), (1.0, 1.0)),
    "long pixels": ((40, 48), (2.5, 0.7)),
    "volume": ((20, 24, 22), (1.0, 1.0, 1.0)),
    "thick slices": ((12, 26, 24), (3.0, 0.8, 1.3)),
}
Masks = tuple[np.ndarray, np.ndarray]


def blobs(shape: tuple[int, ...], seed: int) -> Masks:
    """Two rough blobs that mostly agree; they may touch the border of the array, and holes may be in them."""
    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.standard_normal((2, *shape)), (0, *(2.5,) * len(shape)))
    smooth /= smooth.std()
    return smooth[0] > 0.3, smooth[0] + 0.5 * smooth[1] > 0.4


def discs() -> Masks:
    """Truth: a disc. Prediction: the disc, shifted by 5 pixels, and 9 pixels far off."""
    row, column = np.mgrid[:80, :80]
    truth = (row - 40) ** 2 + (column - 40) ** 2 <= 15**2
    prediction = (row - 44) ** 2 + (column - 43) ** 2 <= 15**2
    prediction[5:8, 38:41] = True
    return prediction, truth


@pytest.fixture(autouse=True)
def older_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """surface-distance asks NumPy for a name that it no longer has."""
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)


@pytest.fixture(params=list(product(CASES, range(3))), ids=lambda case: f"{case[0]} {case[1]}")
def case(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    name, seed = request.param
    shape, spacing = CASES[name]
    return (*blobs(shape, seed), spacing)


class Monai:
    """The functions of MONAI on one pair of masks."""

    def __init__(self, prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> None:
        self.pair = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth)]
        self.rest: dict[str, Any] = {"include_background": True, "spacing": spacing}

    def hausdorff(self, percentile: float | None = None) -> float:
        return compute_hausdorff_distance(*self.pair, percentile=percentile, **self.rest).item()

    def average(self, *, symmetric: bool = False) -> float:
        return compute_average_surface_distance(*self.pair, symmetric=symmetric, **self.rest).item()

    def dice(self, tolerance: float, *, subvoxels: bool = False) -> float:
        return compute_surface_dice(*self.pair, [tolerance], use_subvoxels=subvoxels, **self.rest).item()


class DeepMind:
    """The functions of surface-distance on one pair of masks."""

    def __init__(self, prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> None:
        self.found = surface_distance.compute_surface_distances(truth, prediction, spacing)

    def hausdorff(self, percent: float) -> float:
        return float(surface_distance.compute_robust_hausdorff(self.found, percent))

    def averages(self) -> tuple[float, float]:
        """From prediction to truth, and back."""
        back, there = surface_distance.compute_average_surface_distance(self.found)
        return float(there), float(back)

    def dice(self, tolerance: float) -> float:
        return float(surface_distance.compute_surface_dice_at_tolerance(self.found, tolerance))


def test_monai(case: Any) -> None:
    prediction, truth, spacing = case
    tool = Monai(*case)
    ours = measure_surfaces(prediction, truth, spacing=spacing, tolerance=1.5, protocol="monai")
    averages = tool.average(), tool.average(symmetric=True)
    expected = tool.hausdorff(), tool.hausdorff(95), *averages, tool.dice(1.5)
    assert (ours.hd, ours.hd95, ours.asd, ours.assd, ours.nsd) == pytest.approx(expected, rel=1e-6)
    for percentile in (1.0, 50.0, 99.5):
        ours_too = hausdorff_distance(prediction, truth, spacing=spacing, percentile=percentile)
        assert ours_too == pytest.approx(tool.hausdorff(percentile), rel=1e-6)


def test_medpy(case: Any) -> None:
    prediction, truth, spacing = case
    ours = measure_surfaces(prediction, truth, spacing=spacing, protocol="medpy")
    there, back = medpy.asd(prediction, truth, spacing), medpy.asd(truth, prediction, spacing)
    symmetric = [tool(prediction, truth, spacing) for tool in (medpy.hd, medpy.hd95, medpy.assd)]
    expected = pytest.approx([*symmetric, there, back], rel=1e-9)
    assert [ours.hd, ours.hd95, ours.assd, ours.asd, ours.asd_back] == expected
    halves = measure_surfaces(prediction, truth, spacing=spacing, protocol="mean-of-means")
    assert halves.assd == pytest.approx((there + back) / 2, rel=1e-9)


def test_deepmind(case: Any) -> None:
    prediction, truth, spacing = case
    tool = DeepMind(*case)
    ours = measure_surfaces(prediction, truth, spacing=spacing, tolerance=1.5, protocol="deepmind-surface")
    expected = tool.hausdorff(100), tool.hausdorff(95), *tool.averages(), tool.dice(1.5)
    assert (ours.hd, ours.hd95, ours.asd, ours.asd_back, ours.nsd) == pytest.approx(expected, rel=1e-9)
    assert ours.nsd == pytest.approx(Monai(*case).dice(1.5, subvoxels=True), rel=1e-5)  # its areas are single
    for percentile in (1.0, 50.0, 99.5):
        ours_too = hausdorff_distance(
            prediction, truth, spacing=spacing, percentile=percentile, protocol="deepmind-surface"
        )
        assert ours_too == pytest.approx(tool.hausdorff(percentile), rel=1e-9)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.3, 0.7), (1.0, 1.0, 1.0), (5.0, 0.7, 1.3)])
def test_pieces_of_every_neighbourhood_have_the_area_of_the_tables(spacing: tuple[float, ...]) -> None:
    if len(spacing) == 2:
        kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL
        areas = lookup_tables.create_table_neighbour_code_to_contour_length(spacing)
    else:
        kernel = lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL
        areas = lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    codes = np.arange(len(areas), dtype=np.uint8)
    bits = codes[:, None] >> np.arange(kernel.size) & 1
    np.testing.assert_allclose(surfel_areas(codes, spacing=spacing), areas[bits @ kernel.ravel()], rtol=1e-12)


def simple_itk(prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> float:
    images = [SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in (prediction, truth)]
    for image in images:
        image.SetSpacing(spacing[::-1])  # x first
    measure = SimpleITK.HausdorffDistanceImageFilter()
    measure.Execute(*images)
    return float(measure.GetHausdorffDistance())


@pytest.mark.parametrize(
    ("centre", "spacing"), [((11, 9, 14), (1.0, 1.0, 1.0)), ((8, 14, 12), (3.0, 0.8, 1.3))]
)
def test_simple_itk_agrees_on_solid_bodies(
    centre: tuple[int, ...], spacing: tuple[float, float, float]
) -> None:
    grid = np.mgrid[:20, :24, :22].T
    truth = (((grid - (10, 11, 12)) ** 2).sum(-1) <= 36).T
    prediction = (((grid - centre) ** 2).sum(-1) <= 25).T
    ours = hausdorff_distance(prediction, truth, spacing=spacing)
    assert ours == pytest.approx(simple_itk(prediction, truth, spacing), rel=1e-6)


def test_simple_itk_does_not_see_the_surface_of_a_hole() -> None:
    row, column = np.mgrid[:41, :41] - 20
    truth = row**2 + column**2 <= 15**2
    prediction = truth & (row**2 + column**2 > 3**2)
    assert simple_itk(prediction, truth, (1.0, 1.0)) < 5
    tool = Monai(prediction, truth, (1.0, 1.0))
    assert hausdorff_distance(prediction, truth) == pytest.approx(tool.hausdorff())
    assert hausdorff_distance(prediction, truth) > 10


DISCS = {
    "hd": {"segmentarium": 20.0998, "deepmind-surface": 20.0998},
    "hd95": {"segmentarium": 18.5109, "medpy": 5.0, "deepmind-surface": 18.1108},
    "assd": {"segmentarium": 3.8050, "mean-of-means": 3.7735, "deepmind-surface": 3.7052},
    "nsd": {"segmentarium": 0.13636, "deepmind-surface": 0.16158},
}
"""Measure → protocol → value for :func:`discs`, where tools differ."""


def test_two_discs_and_an_outlier() -> None:
    prediction, truth = discs()
    for measure, values in DISCS.items():
        for protocol, value in values.items():
            ours = measure_surfaces(prediction, truth, protocol=protocol)
            assert getattr(ours, measure) == pytest.approx(value, abs=5e-5), (measure, protocol)
    monai, deepmind = Monai(prediction, truth, (1.0, 1.0)), DeepMind(prediction, truth, (1.0, 1.0))
    tools = monai.hausdorff(95), medpy.hd95(prediction, truth), deepmind.hausdorff(95)
    assert tools == pytest.approx(tuple(DISCS["hd95"].values()), abs=5e-5)
    assert monai.dice(1.0) == pytest.approx(DISCS["nsd"]["segmentarium"], abs=5e-5)
    assert deepmind.dice(1.0) == pytest.approx(DISCS["nsd"]["deepmind-surface"], abs=5e-5)


EMPTY = np.zeros((8, 9), bool)
SQUARE = np.pad(np.ones((3, 3), bool), ((2, 3), (4, 2)))


@pytest.mark.parametrize("pair", [(EMPTY, EMPTY), (SQUARE, EMPTY), (EMPTY, SQUARE)])
def test_empty_masks_in_monai_and_deepmind(pair: Masks) -> None:
    ours, monai = measure_surfaces(*pair, protocol="monai"), Monai(*pair, (1.0, 1.0))
    averages = monai.average(), monai.average(symmetric=True)
    expected = monai.hausdorff(), monai.hausdorff(95), *averages, monai.dice(1.0)
    np.testing.assert_equal([ours.hd, ours.hd95, ours.asd, ours.assd, ours.nsd], expected)
    ours, tool = measure_surfaces(*pair, protocol="deepmind-surface"), DeepMind(*pair, (1.0, 1.0))
    expected = tool.hausdorff(100), tool.hausdorff(95), *tool.averages(), tool.dice(1.0)
    np.testing.assert_equal([ours.hd, ours.hd95, ours.asd, ours.asd_back, ours.nsd], expected)


@pytest.mark.parametrize("pair", [(SQUARE, EMPTY), (EMPTY, SQUARE)])
def test_a_missed_structure_is_infinitely_far_and_an_error_in_medpy(pair: Masks) -> None:
    ours = measure_surfaces(*pair)
    assert [ours.hd, ours.hd95, ours.asd, ours.asd_back, ours.assd, ours.nsd] == [np.inf] * 5 + [0]
    assert measure_surfaces(*pair, protocol="medpy") == ours
    with pytest.raises(RuntimeError):
        medpy.hd95(*pair)


def test_void_in_label_maps_is_what_monai_does_with_it() -> None:
    rng = np.random.default_rng(5)
    truth = gaussian_filter(rng.standard_normal((3, 16, 18, 20)), (0, 2, 2, 2)).argmax(0)
    prediction = np.roll(truth, (1, 2), (0, 2))
    truth[:, 5:9, 3:12] = -1
    ours = measure_classes(prediction, truth, classes=3, spacing=(2.0, 1.0, 1.0), protocol="monai")
    for index in (1, 2):
        known = truth != -1
        tool = Monai((prediction == index) & known, truth == index, (2.0, 1.0, 1.0))
        assert ours[index].hd95 == pytest.approx(tool.hausdorff(95), rel=1e-6)
        assert ours[index].assd == pytest.approx(tool.average(symmetric=True), rel=1e-6)
