"""Boundaries, bands and their scores on pictures that one can draw."""

import json
from math import isnan

import numpy as np
import pytest

from segmentarium.errors import BadArgument, BadData, BadMask, UnknownName
from segmentarium.metrics import boundaries, bsds
from segmentarium.metrics.boundaries import (
    band_width,
    boundary_f,
    boundary_iou,
    boundary_map,
    inner_band,
    trimap,
)
from segmentarium.metrics.boundary_scores import Boundaries
from segmentarium.metrics.bsds import BoundaryBenchmark, boundary_counts, match_boundaries, thin
from segmentarium.metrics.curves import Curve
from segmentarium.values.classes import VOID

SQUARE = np.zeros((10, 10), bool)
SQUARE[2:8, 2:8] = True
EMPTY = np.zeros((10, 10), bool)


def test_the_boundary_map_stands_up_and_left_of_the_line() -> None:
    labels = np.zeros((4, 4), int)
    labels[2:, 2:] = 7
    assert np.argwhere(boundary_map(labels)).tolist() == [[1, 1], [1, 2], [1, 3], [2, 1], [3, 1]]


@pytest.mark.atlas("M20")
def test_the_band_reaches_as_far_as_erosions_by_squares() -> None:
    assert inner_band(SQUARE, width=1).sum() == 36 - 16
    assert inner_band(SQUARE, width=2).sum() == 36 - 4
    assert inner_band(np.ones((4, 4), bool), width=1).sum() == 12  # beyond the image is outside
    assert inner_band(np.ones((3, 3, 3), bool), width=1).sum() == 26
    assert (band_width((10, 10)), band_width((375, 500))) == (1, 12)
    with pytest.raises(BadArgument, match="width"):
        inner_band(SQUARE, width=0)


@pytest.mark.atlas("M20")
def test_boundary_iou_by_hand() -> None:
    grown = np.zeros_like(SQUARE)
    grown[1:9, 1:9] = True
    assert boundary_iou(SQUARE, SQUARE) == 1
    assert boundary_iou(grown, SQUARE) == 0  # rings one inside the other
    assert boundary_iou(grown, SQUARE, share=0.15) == pytest.approx(20 / (48 + 32 - 20))
    assert isnan(boundary_iou(EMPTY, EMPTY))
    assert boundary_iou(EMPTY, SQUARE) == 0
    void = np.zeros_like(SQUARE)
    void[:, 5:] = True
    assert boundary_iou(np.where(void, ~SQUARE, SQUARE), SQUARE, void=void) == 1


@pytest.mark.atlas("M21", "M22")
def test_boundary_f_by_hand() -> None:
    away = np.roll(SQUARE, 1, axis=0)
    assert boundary_f(away, SQUARE).f == 1  # one pixel is near enough
    exact = boundary_f(away, SQUARE, tolerance_px=0)
    shared = int((boundary_map(away) & boundary_map(SQUARE)).sum())
    assert exact.precision == exact.recall == pytest.approx(shared / boundary_map(SQUARE).sum())
    assert boundary_f(EMPTY, EMPTY).f == 1
    assert boundary_f(EMPTY, SQUARE).f == boundary_f(SQUARE, EMPTY).f == 0
    assert isnan(boundary_f(SQUARE, EMPTY, protocol="csurka").f)
    assert boundary_f(EMPTY, SQUARE, protocol="csurka").f == 0
    assert boundary_f(away, SQUARE, protocol="csurka", tolerance_px=1).f == exact.f  # strictly nearer
    with pytest.raises(UnknownName, match="davis"):
        boundary_f(SQUARE, SQUARE, protocol="davids")
    with pytest.raises(BadMask, match="two axes"):
        boundary_f(SQUARE[None], SQUARE[None])


def test_what_is_no_mask_is_refused() -> None:
    with pytest.raises(BadMask, match="holds 0 to 5"):
        boundary_iou(5 * SQUARE, SQUARE)
    with pytest.raises(BadMask, match="float64"):
        boundary_iou(SQUARE.astype(float), SQUARE)
    with pytest.raises(BadMask, match="void of bool and shape"):
        boundary_iou(SQUARE, SQUARE, void=np.zeros((2, 2), bool))


@pytest.mark.atlas("M34")
def test_a_trimap_grows_from_the_line_and_from_void() -> None:
    labels = np.array([[0, 0, 0, 0, 1, 1, 1, 1, VOID, 1]])
    assert np.flatnonzero(trimap(labels, radius=1)).tolist() == [3, 4, 7, 8, 9]
    assert np.flatnonzero(trimap(labels, radius=2)).tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert not trimap(np.zeros((3, 3), int), radius=4).any()
    with pytest.raises(BadArgument, match="radius"):
        trimap(labels, radius=0)


@pytest.mark.atlas("M20", "M22", "M34")
def test_boundaries_of_a_data_set() -> None:
    truth = np.zeros((20, 20), np.int32)
    truth[5:15, 5:15] = 1
    truth[0] = VOID
    found = np.where(truth == VOID, 2, truth)
    wrong = found.copy()
    wrong[10, 10] = 0  # far from the boundary of truth
    scores = Boundaries(3, names=["ground", "cell", "none"], radii=[1, 2])
    scores.update(found, truth, name="b")
    scores.update(wrong, truth, name="a")
    result = scores.compute()
    assert result.undefined == ("none",)
    assert result.images == ("a", "b")
    assert result.bf_per_image[1].tolist()[:2] == [1, 1]
    assert isnan(result.bf_score[2])
    assert result.bf_per_image[0, 1] < 1
    assert result.trimap_mean_iou == {1.0: 1.0, 2.0: 1.0}
    assert 0.9 < result.mean_boundary_iou < 1
    json.dumps(result.as_dict(), allow_nan=False)
    with pytest.raises(BadMask, match="prediction holds 9"):
        scores.update(np.full_like(truth, 9), truth)
    assert len(scores.compute().images) == 2
    with pytest.raises(BadData, match="setup"):
        scores.merge(Boundaries(3))
    scores.reset()
    assert isnan(scores.compute().mean_bf_score)


@pytest.mark.atlas("M34")
def test_the_band_forgets_what_is_far_from_boundaries() -> None:
    truth = np.zeros((30, 30), np.int32)
    truth[:, 15:] = 1
    found = truth.copy()
    found[:, 0] = 1
    scores = Boundaries(2, radii=[3, 30])
    scores.update(found, truth)
    assert scores.compute().trimap_mean_iou[3.0] == 1
    assert scores.compute().trimap_mean_iou[30.0] == pytest.approx((420 / 450 + 450 / 480) / 2)


@pytest.mark.atlas("M23")
def test_matches_are_one_to_one_many_and_near() -> None:
    ours, theirs = np.zeros((2, 30, 40), bool)
    ours[10, 5], ours[10, 7] = True, True
    theirs[10, 6] = True
    found, missed = match_boundaries(ours, theirs, tolerance=0.04)
    assert (found.sum(), missed.sum()) == (1, 1)
    theirs[10, 9] = True  # now each has a partner: 5-6 and 7-9, though 7-6 is nearer
    assert [part.sum() for part in match_boundaries(ours, theirs, tolerance=0.04)] == [2, 2]
    assert [part.sum() for part in match_boundaries(ours, theirs, tolerance=0.01)] == [0, 0]
    assert not match_boundaries(ours, np.zeros_like(ours))[0].any()


@pytest.mark.atlas("M23")
def test_thinning_keeps_a_line() -> None:
    bar = np.zeros((9, 20), bool)
    bar[3:6, 2:18] = True
    line = thin(bar)
    assert (line.sum(0) <= 1).all()
    assert line[4].sum() == line.sum() >= 12


@pytest.mark.atlas("M23")
def test_a_perfect_map_and_two_annotators() -> None:
    line, other = np.zeros((2, 40, 50), bool)
    line[20, 5:45], other[30, 5:45] = True, True
    benchmark = BoundaryBenchmark(thresholds=9)
    benchmark.update(line * 0.55, line, name="one")
    scores = benchmark.compute()
    assert (scores.ods, scores.ois) == (1, 1)
    assert scores.precision.tolist() == [1] * 5 + [0] * 4
    assert scores.per_image.tolist() == [1]
    counts = boundary_counts(line * 0.55, [line, other], thresholds=np.array([0.5]))
    assert counts.tolist() == [[40, 80, 40, 40]]
    json.dumps(scores.as_dict(), allow_nan=False)
    with pytest.raises(BadArgument, match="0 to 1"):
        benchmark.update(line * 255.0, line)
    with pytest.raises(BadMask, match="booleans"):
        benchmark.update(line * 0.5, line.astype(int))
    with pytest.raises(BadData, match="same thresholds"):
        benchmark.merge(BoundaryBenchmark(thresholds=9, thinning=False))


@pytest.mark.atlas("M36")
def test_frames_of_a_video_are_one_case() -> None:
    line = np.zeros((3, 40, 50), bool)
    line[:, 20, 5:45] = True
    video, frames = BoundaryBenchmark(thresholds=1), BoundaryBenchmark(thresholds=1)
    video.update(line.astype(float), line)
    for one in line:
        frames.update(one.astype(float), one)
    assert len(video.compute().per_image) == 1
    assert video.compute().ods == frames.compute().ods == 1


@pytest.mark.atlas("M23")
def test_ods_ois_and_area_of_a_curve_by_hand() -> None:
    curve = Curve([0.25, 0.75])
    curve.add(np.array([[8.0, 10, 8, 16], [4, 10, 4, 4]]))
    curve.add(np.array([[2.0, 10, 2, 4], [1, 10, 1, 1]]))
    scores = curve.compute()
    assert scores.recall.tolist() == [0.5, 0.25]
    assert scores.precision.tolist() == [0.5, 1]
    assert scores.ods == pytest.approx(9 - 6 * 2**0.5, abs=1e-5)  # best point between the two thresholds
    chosen = (8 + 2) / (10 + 10), (8 + 2) / (16 + 4)
    assert scores.ois == pytest.approx(2 * chosen[0] * chosen[1] / sum(chosen))
    steps = np.arange(25, 51) / 100
    assert scores.ap == pytest.approx((1 - (steps - 0.25) * 2).sum() / 100)
    nothing = Curve([0.5])
    nothing.add(np.array([[0.0, 0, 0, 3]]))
    assert isnan(nothing.compute().ods)
    with pytest.raises(BadData, match="without an image"):
        Curve([0.5]).compute()


def test_both_modules_say_what_they_compute() -> None:
    rows = {row for module in (boundaries, bsds) for one in module.DEFINED for row in one.atlas}
    assert rows >= {"M20", "M21", "M22", "M23", "M34"}
