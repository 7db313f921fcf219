"""Surfaces, their distances and lesions on arrays that one can check by eye; what does not fit is refused."""

from __future__ import annotations

import json
from math import hypot, inf, nan, sqrt

import numpy as np
import pytest

from segmentarium.errors import BadArgument, BadData, BadMask, UnknownName
from segmentarium.metrics import aggregate as aggregation
from segmentarium.metrics import lesions, surface
from segmentarium.metrics.aggregate import aggregate
from segmentarium.metrics.lesions import LesionDetection, match_lesions
from segmentarium.metrics.surface import (
    SurfaceMeasures,
    hausdorff_distance,
    measure_classes,
    measure_surfaces,
)
from segmentarium.metrics.surface_scores import SurfaceDistances
from segmentarium.ops.surface import nearest_distances, surface_voxels
from segmentarium.ops.surfel import surfel_areas, surfels

SQUARE = np.zeros((9, 10), bool)
SQUARE[2:6, 2:6] = True
MOVED = np.roll(SQUARE, 3, axis=1)
EMPTY = np.zeros_like(SQUARE)
NOTHING = SurfaceMeasures(hd=nan, hd95=nan, asd=nan, asd_back=nan, assd=nan, nsd=nan)


def test_the_surface_of_a_square_is_its_rim_and_the_border_counts() -> None:
    inner = np.zeros_like(SQUARE)
    inner[3:5, 3:5] = True
    np.testing.assert_array_equal(surface_voxels(SQUARE) & SQUARE, SQUARE & ~inner)
    assert (surface_voxels(np.ones((4, 4), bool)) == ~np.pad(np.ones((2, 2), bool), 1)).all()
    assert surface_voxels(np.zeros((0, 3), int)).shape == (0, 3)


def test_surfaces_of_touching_classes_come_from_one_pass() -> None:
    labels = np.array([[1, 1, 1, 2, 2, 2]] * 5)
    expected = np.array([[1, 1, 1, 1, 1, 1], *[[1, 0, 1, 1, 0, 1]] * 3, [1, 1, 1, 1, 1, 1]], bool)
    np.testing.assert_array_equal(surface_voxels(labels), expected)


def test_distances_near_and_far_take_spacing_in_the_order_of_the_axes() -> None:
    sites, points = np.array([[0, 0, 0]]), np.array([[1, 0, 0], [0, 1, 0], [0, 0, 2], [300, 0, 400]])
    found = nearest_distances(points, sites, spacing=(3.0, 0.5, 1.0))
    np.testing.assert_allclose(found, [3.0, 0.5, 2.0, sqrt(900**2 + 400**2)])
    assert nearest_distances(points, sites[:0], spacing=(1.0, 1.0, 1.0)).tolist() == [inf] * 4


def test_surfels_of_one_voxel_are_its_corners() -> None:
    corners, codes = surfels(np.ones((1, 1, 1), bool))
    assert corners.tolist() == np.argwhere(np.ones((2, 2, 2))).tolist()
    np.testing.assert_allclose(surfel_areas(codes, spacing=(1.0, 1.0, 1.0)), sqrt(3) / 8)
    corners, codes = surfels(np.pad(np.ones((1, 2), bool), ((2, 0), (3, 1))))
    assert corners.min(0).tolist() == [2, 3]
    assert surfel_areas(codes, spacing=(3.0, 4.0)).sum() == pytest.approx(4 * 2.5 + 2 * 4)
    assert len(surfels(EMPTY)[0]) == 0


@pytest.mark.atlas("M09", "M10", "M11", "M12")
def test_a_square_moved_by_three_pixels() -> None:
    found = measure_surfaces(MOVED, SQUARE, tolerance=2.0)
    slow = [min(hypot(a - c, b - d) for c, d in rim(SQUARE)) for a, b in rim(MOVED)]
    assert found.hd == max(slow) == 3
    assert found.hd95 == pytest.approx(np.percentile(slow, 95))
    assert found.asd == found.asd_back == found.assd == pytest.approx(np.mean(slow))
    assert found.nsd == np.mean(np.array(slow) <= 2)


def rim(mask: np.ndarray) -> list[list[int]]:
    return np.argwhere(surface_voxels(mask) & mask).tolist()


@pytest.mark.atlas("M09", "M10", "M11", "M12")
def test_nothing_on_both_sides_is_undefined_and_on_one_side_infinite() -> None:
    np.testing.assert_equal(measure_surfaces(EMPTY, EMPTY).as_dict(), NOTHING.as_dict())
    for pair in ((SQUARE, EMPTY), (EMPTY, SQUARE)):
        missed = measure_surfaces(*pair)
        assert missed == SurfaceMeasures(hd=inf, hd95=inf, asd=inf, asd_back=inf, assd=inf, nsd=0.0)
        assert np.isnan(measure_surfaces(*pair, protocol="monai").hd95)
    assert missed.as_dict()["hd"] == "inf"


def test_the_tolerance_is_included_in_spite_of_rounding() -> None:
    assert 3 * 0.1 > 0.3
    assert measure_surfaces(MOVED, SQUARE, spacing=0.1, tolerance=0.3).nsd == 1
    assert measure_surfaces(MOVED, SQUARE, spacing=0.1, tolerance=0.29).nsd < 1


def test_void_is_taken_out_of_both_maps() -> None:
    truth, prediction = SQUARE.astype(np.int32), MOVED.astype(np.uint8)
    truth[:, 6:] = 255  # what is predicted there counts for nothing
    found = measure_classes(prediction, truth, classes=2, ignore=255)[1]
    assert found == measure_surfaces(MOVED & (truth != 255), SQUARE)
    assert measure_classes(np.where(truth == 255, 7, truth), truth, classes=2, ignore=255)[1].hd == 0


def test_each_class_of_a_map_is_measured_by_itself() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 3, (2, 5, 6, 7))
    spacing, tolerances = (2.0, 1.0, 1.0), [0.0, 0.5, 1.0, 1.0]
    found = measure_classes(prediction, truth, classes=4, spacing=spacing, tolerance=tolerances)
    assert list(found) == [1, 2, 3]
    for index in found:
        alone = measure_surfaces(
            prediction == index, truth == index, spacing=spacing, tolerance=tolerances[index]
        )
        np.testing.assert_equal(found[index].as_dict(), alone.as_dict())
    assert 0 in measure_classes(prediction, truth, classes=4, background=None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spacing": (1.0, 1.0, 1.0)}, "spacing"),
        ({"spacing": 0.0}, "spacing"),
        ({"spacing": (1.0, -1.0)}, "spacing"),
        ({"spacing": (1.0, inf)}, "spacing"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"tolerance": nan}, "tolerance"),
        ({"prediction": SQUARE.astype(float)}, "prediction: 2 axes of float64"),
        ({"truth": SQUARE.astype(int)}, "truth: 2 axes of int64"),
        ({"prediction": SQUARE[None, None]}, "prediction: 4 axes"),
        ({"prediction": SQUARE[1:]}, "prediction: shape"),
    ],
)
def test_masks_that_do_not_fit(change: dict[str, object], words: str) -> None:
    given = {"prediction": MOVED, "truth": SQUARE} | change
    with pytest.raises(BadArgument, match=words):
        measure_surfaces(**given)


def test_percentiles_and_protocols_that_do_not_exist() -> None:
    for percentile in (0.0, 101.0, nan):
        with pytest.raises(BadArgument, match="percentile"):
            hausdorff_distance(MOVED, SQUARE, percentile=percentile)
    with pytest.raises(UnknownName, match="deepmind-surface"):
        measure_surfaces(MOVED, SQUARE, protocol="deepmind")


@pytest.mark.parametrize(
    "labels", [SQUARE.astype(np.float32), SQUARE[1:].astype(int), SQUARE.astype(int) * 2]
)
def test_label_maps_that_do_not_fit(labels: np.ndarray) -> None:
    with pytest.raises(BadMask):
        measure_classes(labels, SQUARE.astype(int), classes=2)
    with pytest.raises(BadMask):
        measure_classes(SQUARE.astype(int), labels, classes=2)


@pytest.mark.atlas("M09", "M41")
def test_a_data_set_tells_what_was_missed_and_what_was_undefined() -> None:
    surfaces = SurfaceDistances(3, names=["ground", "organ", "tumour"], tolerance=[0.0, 1.0, 2.0])
    for prediction in (MOVED, SQUARE, EMPTY):
        surfaces.update(prediction.astype(int), SQUARE.astype(int), spacing=(1.0, 2.0))
    scores = surfaces.compute()
    organ = scores.per_class["organ"]["hd"]
    assert (organ.mean, organ.median, organ.finite, organ.infinite) == (3.0, 6.0, 2, 1)
    assert scores.per_case["hd"][:, 0].tolist() == [6.0, 0.0, inf]
    assert scores.undefined == ("tumour",)
    assert scores.per_class["tumour"]["hd"].undefined == scores.overall["hd"].undefined == 3
    assert json.loads(json.dumps(scores.as_dict()))["per_case"]["hd"][2] == ["inf", None]
    surfaces.reset()
    assert surfaces.compute().per_case["hd"].shape == (0, 2)
    assert np.isnan(surfaces.compute().overall["hd"].mean)


def test_only_parts_of_one_setup_merge() -> None:
    with pytest.raises(BadData):
        SurfaceDistances(2).merge(SurfaceDistances(2, protocol="medpy"))
    with pytest.raises(BadArgument, match="names"):
        SurfaceDistances(2, names=["one"])
    with pytest.raises(BadArgument, match="tolerance"):
        SurfaceDistances(2, tolerance=[1.0])
    with pytest.raises(BadData):
        LesionDetection().merge(LesionDetection(rule="iou"))


@pytest.mark.atlas("M41")
def test_infinite_and_undefined_cases_are_counted_not_averaged() -> None:
    found = aggregate(np.array([1.0, 3.0, inf, nan, nan]))
    assert (found.mean, found.median, found.finite, found.infinite, found.undefined) == (2, 3, 2, 1, 2)
    assert str(found) == "2 over 2 of 5 cases, 1 infinite, 2 undefined"
    assert found.penalised(11.0) == 5
    assert aggregate(np.array([inf, 1.0])).as_dict()["median"] == "inf"
    with pytest.raises(BadArgument, match="penalty"):
        found.penalised(inf)
    nothing = aggregate(np.array([nan]))
    assert np.isnan([nothing.mean, nothing.median, nothing.penalised(1.0), *nothing.interval]).all()


@pytest.mark.atlas("M41")
def test_missing_more_structures_never_looks_better() -> None:
    distances = np.array([1.0, 2.0, 3.0, 30.0])
    missed = np.where(distances == 30, inf, distances)
    better, worse = aggregate(distances), aggregate(missed)
    assert worse.mean < better.mean  # which is why the mean never stands alone
    assert worse.infinite == 1
    assert "1 infinite" in str(worse)
    assert worse.median >= better.median
    assert worse.penalised(100.0) > better.penalised(100.0)


@pytest.mark.atlas("M41")
def test_classes_of_one_case_are_drawn_together() -> None:
    values = np.random.default_rng(0).normal(5, 1, (40, 1)).repeat(6, axis=1)
    low, high = aggregate(values).interval
    assert (low, high) == pytest.approx(aggregate(values[:, 0]).interval)
    assert low < values.mean() < high


LESIONS = np.zeros((12, 12), bool)
LESIONS[0:3, 0:3] = LESIONS[3, 3] = LESIONS[0:2, 8:12] = LESIONS[8:12, 0:4] = True
"""Three lesions of 10, 8 and 16 pixels; the first hangs together by a corner."""


@pytest.mark.atlas("M43")
def test_lesions_found_missed_and_false_by_hand() -> None:
    found = np.zeros_like(LESIONS)
    found[2:4, 2:4] = True  # 2 of the first and 2 beside it
    found[8:12, 0:1] = found[8:12, 2:3] = True  # two findings in the third
    found[6, 9:11] = True  # false
    match = match_lesions(found, LESIONS)
    assert (match.found, match.missed, match.false) == (2, 1, 1)
    assert match.voxels.tolist() == [10, 8, 16]
    assert match.dice.tolist() == pytest.approx([2 * 2 / (10 + 4), 0, 2 * 8 / (16 + 8)])
    paired = match_lesions(found, LESIONS, rule="iou")
    assert (paired.found, paired.missed, paired.false) == (2, 1, 2)
    assert paired.dice.tolist() == pytest.approx([2 * 2 / (10 + 4), 0, 2 * 4 / (16 + 4)])
    strict = match_lesions(found, LESIONS, rule="iou", threshold=0.25)
    assert (strict.found, strict.missed, strict.false) == (1, 2, 3)


@pytest.mark.atlas("M43")
def test_voxels_that_touch_by_a_corner_are_one_lesion() -> None:
    diagonal = np.zeros((3, 3, 3), bool)
    diagonal[[0, 1, 2], [0, 1, 2], [0, 1, 2]] = True
    match = match_lesions(diagonal, diagonal)
    assert (match.found, match.voxels.tolist(), match.dice.tolist()) == (1, [3], [1.0])


@pytest.mark.atlas("M43")
def test_pairs_are_as_many_as_possible() -> None:
    """One finding would take the larger lesion greedily and leave nothing to the other."""
    truth = np.array([[1, 1, 1, 1, 0, 1, 1]], bool)
    found = np.array([[1, 0, 1, 1, 1, 1, 1]], bool)
    match = match_lesions(found, truth, rule="iou")
    assert (match.found, match.missed, match.false) == (2, 0, 0)


@pytest.mark.atlas("M43")
def test_scores_of_lesions_over_cases() -> None:
    detection = LesionDetection()
    detection.update(LESIONS, LESIONS)
    detection.update(EMPTY, SQUARE)
    detection.update(SQUARE, EMPTY)
    scores = detection.compute()
    assert (scores.found, scores.missed, scores.false) == (3, 1, 1)
    assert (scores.f1, scores.sensitivity, scores.precision) == (0.75, 0.75, 0.75)
    assert (scores.mean_dice, scores.penalised_dice) == (0.75, 0.6)
    assert json.loads(json.dumps(scores.as_dict()))["per_case"][1] == [0, 1, 0, 0]
    detection.reset()
    detection.update(EMPTY, EMPTY)
    assert set(detection.compute().undefined) == set(lesions.SCORES)


def test_lesions_that_do_not_fit() -> None:
    with pytest.raises(BadArgument, match="truth"):
        match_lesions(SQUARE, SQUARE.astype(int))
    with pytest.raises(BadArgument, match="shape"):
        match_lesions(SQUARE[1:], SQUARE)
    with pytest.raises(BadArgument, match="threshold"):
        match_lesions(SQUARE, SQUARE, rule="iou", threshold=0.0)


def test_definitions_name_the_default_first_and_every_protocol() -> None:
    by_name = {entry.name: entry for module in (surface, lesions, aggregation) for entry in module.DEFINED}
    assert set(by_name) == {"hd", "hd95", "assd", "nsd", "lesion_f1", "aggregate"}
    spoken = [entry.protocols for entry in surface.DEFINED]
    assert all(next(iter(words)) == "segmentarium" for words in spoken)
    assert set().union(*spoken) == set(surface.PROTOCOLS)
