"""Scores of partitions on maps that one can count by eye."""

import json
from math import isnan, log2

import numpy as np
import pytest

from segmentarium.errors import BadArgument, BadData, BadMask, UnknownName
from segmentarium.metrics import (
    contingency,
    curves,
    hierarchy,
    isbi,
    partitions,
    superpixels,
    video,
    warping,
)
from segmentarium.metrics.contingency import Contingency, joint_histogram
from segmentarium.metrics.hierarchy import Hierarchies
from segmentarium.metrics.isbi import Membranes, score_membranes, thin_borders, v_info, v_rand
from segmentarium.metrics.partitions import (
    Partitions,
    adapted_rand_error,
    adjusted_rand_index,
    covering,
    rand_index,
    score_partition,
    variation_of_information,
)
from segmentarium.metrics.superpixels import Superpixels, score_superpixels
from segmentarium.metrics.video import VolumeBenchmark, sequence_statistics, volume_counts
from segmentarium.metrics.warping import Warping, warping_error
from segmentarium.values.classes import VOID

TRUTH = np.array([[1, 1, 1, 2, 2, 2]])
CUT = np.array([[5, 5, 7, 8, 8, 8]])  # the first region in two parts
JOINED = np.array([[4, 4, 4, 4, 9, 9]])  # a pixel of the second given to the first


def table(prediction: np.ndarray = JOINED, truth: np.ndarray = TRUTH) -> Contingency:
    return joint_histogram(prediction, truth)


def test_the_table_counts_pairs_of_regions_whatever_their_ids() -> None:
    truth = np.array([[-7, 2**40, 2**40], [VOID, 3, 3]])
    counts = joint_histogram(np.array([[0, 0, -3], [0, 0, 0]]), truth)
    assert counts.truth_ids.tolist() == [-7, 3, 2**40]
    assert counts.predicted_ids.tolist() == [-3, 0]
    assert counts.dense().tolist() == [[0, 1], [0, 2], [1, 1]]
    assert counts.pixels == 5
    assert counts.transposed().dense().tolist() == [[0, 0, 1], [1, 2, 1]]
    assert counts.without(predicted=0).dense().tolist() == [[1]]


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.int32, np.uint32, np.uint64, np.int64])
def test_every_integer_type_counts_the_same(kind: type) -> None:
    truth = np.array([[0, 1, 1], [0, 0, 1]]).astype(kind)
    assert joint_histogram(truth, truth).dense().tolist() == [[3, 0], [0, 3]]


def test_a_volume_is_the_sum_of_its_slices() -> None:
    random = np.random.default_rng(0)
    prediction, truth = random.integers(0, 5, (2, 3, 6, 7))
    whole = joint_histogram(prediction, truth)
    slices = [joint_histogram(p, t) for p, t in zip(prediction, truth, strict=True)]
    assert (slices[0].plus(slices[1]).plus(slices[2]).dense() == whole.dense()).all()


def test_the_table_outgrows_its_first_room() -> None:
    ids = np.arange(5000).reshape(50, 100)
    counts = joint_histogram(ids, ids[::-1])
    assert len(counts.shared) == 5000
    assert (counts.shared == 1).all()


def test_what_is_no_label_map_is_refused() -> None:
    with pytest.raises(BadMask, match="float64 values"):
        joint_histogram(np.zeros((2, 2)), np.zeros((2, 2), int))
    with pytest.raises(BadMask, match="equal shapes"):
        joint_histogram(np.zeros((2, 2), int), np.zeros((2, 3), int))
    with pytest.raises(BadMask, match="ids below"):
        joint_histogram(np.zeros(1, np.uint64), np.array([2**64 - 1], np.uint64))
    with pytest.raises(UnknownName, match="skimage"):
        adapted_rand_error(table(), protocol="scikit")
    with pytest.raises(UnknownName, match="did you mean 'snemi'"):
        Partitions(protocol="snem")
    with pytest.raises(BadArgument, match="without a single map"):
        Partitions().update(TRUTH, [])


@pytest.mark.atlas("M24", "M25")
def test_rand_indices_by_hand() -> None:
    """Pairs joined: 6 in truth, 7 in the prediction, 4 in both, of 15."""
    assert rand_index(table()) == pytest.approx((4 + 15 - 6 - 7 + 4) / 15)
    expected = 6 * 7 / 15
    assert adjusted_rand_index(table()) == pytest.approx((4 - expected) / (6.5 - expected))
    one, alone = np.zeros((3, 3), int), np.arange(9).reshape(3, 3)
    assert adjusted_rand_index(table(one, one)) == adjusted_rand_index(table(alone, alone)) == 1
    assert adjusted_rand_index(table(one, alone)) == 0
    single = np.zeros((1, 1), int)
    assert isnan(rand_index(table(single, single)))
    assert isnan(adjusted_rand_index(table(single, single)))


@pytest.mark.atlas("M26")
def test_adapted_rand_error_by_hand() -> None:
    truth, prediction = np.array([[1, 1, 2, 2, 0]]), np.array([[3, 3, 3, 0, 3]])
    snemi = adapted_rand_error(table(prediction, truth))
    assert (snemi.precision, snemi.recall) == ((4 + 1 + 1) / (9 + 1), 6 / 8)
    assert snemi.error == pytest.approx(1 - 12 / 18)
    cremi = adapted_rand_error(table(prediction, truth), protocol="cremi")
    assert cremi.precision == pytest.approx((5 + 1 / 5) / (9 + 1 / 5))
    skimage = adapted_rand_error(table(prediction, truth), protocol="skimage")
    assert (skimage.precision, skimage.recall) == ((6 - 4) / (8 - 4), (6 - 4) / (10 - 4))


@pytest.mark.atlas("M27")
def test_variation_of_information_by_hand() -> None:
    cut = variation_of_information(table(CUT))
    third = -(2 / 3) * log2(2 / 3) - (1 / 3) * log2(1 / 3)
    assert (cut.split, cut.merge) == (pytest.approx(third / 2), 0)
    joined = variation_of_information(table(TRUTH, CUT))
    assert (joined.split, joined.merge) == (0, pytest.approx(third / 2))
    assert joined.total == pytest.approx(cut.total)


@pytest.mark.atlas("M28")
def test_covering_has_a_direction() -> None:
    assert covering(table()) == pytest.approx((3 * 3 / 4 + 3 * 2 / 3) / 6)
    assert covering(table(), of="prediction") == pytest.approx((4 * 3 / 4 + 2 * 2 / 3) / 6)
    assert covering(table(CUT)) == pytest.approx((3 * 2 / 3 + 3) / 6)
    assert covering(table(CUT), of="prediction") == pytest.approx((2 * 2 / 3 + 1 * 1 / 3 + 3) / 6)


def test_void_leaves_every_score() -> None:
    truth = np.concatenate([TRUTH, [[VOID] * 6]])
    assert score_partition(np.concatenate([CUT, JOINED]), truth) == score_partition(CUT, TRUTH)


def test_nothing_but_void_is_undefined() -> None:
    scores = score_partition(CUT, np.full_like(CUT, VOID))
    assert all(isnan(value) for value in vars(scores).values())


@pytest.mark.atlas("M24")
def test_several_annotators_are_averaged() -> None:
    scores = Partitions()
    scores.update(JOINED, [TRUTH, CUT], name="a")
    result = scores.compute()
    assert result["rand_index"] == pytest.approx((rand_index(table()) + rand_index(table(truth=CUT))) / 2)
    told = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert told["images"][0]["name"] == "a"
    assert told["rand_index"]["interval"] == [None, None]


def test_partitions_of_another_setup_are_not_merged() -> None:
    with pytest.raises(BadData, match="score all parts alike"):
        Partitions(ignore=0).merge(Partitions())


@pytest.mark.atlas("M28")
def test_hierarchy_chooses_levels_for_all_for_each_and_for_regions() -> None:
    whole = np.ones_like(TRUTH)
    scores = Hierarchies(2)
    scores.update([TRUTH, whole], TRUTH, name="first")
    scores.update([CUT, whole], whole, name="second")
    result = scores.compute()
    assert result.covering.tolist() == pytest.approx([(1 + 0.5) / 2, (0.5 + 1) / 2])
    assert result.covering_level == 0
    assert result.covering_ods == pytest.approx(0.75)
    assert result.covering_ois == result.covering_best == 1
    assert result.rand_index_ois == 1
    assert result.voi_ois == 0
    assert result.per_image.tolist() == [1, 0.5]
    json.dumps(result.as_dict(), allow_nan=False)
    scores.update([CUT, CUT], np.full_like(CUT, VOID), name="void")
    assert scores.compute().undefined == ("void",)
    assert scores.compute().covering_ods == result.covering_ods
    with pytest.raises(BadArgument, match="1 partitions"):
        scores.update([TRUTH], TRUTH)
    with pytest.raises(BadData, match="without an image"):
        Hierarchies(1).compute()


@pytest.mark.atlas("M30")
def test_borders_are_worn_down_to_lines() -> None:
    odd, even = np.ones((3, 9), bool), np.ones((3, 8), bool)
    odd[:, 3:6], even[:, 3:5] = False, False
    assert thin_borders(odd)[1].tolist() == [1, 1, 1, 1, 0, 2, 2, 2, 2]
    assert thin_borders(even)[1].tolist() == [1, 1, 1, 1, 2, 2, 2, 2]


@pytest.mark.atlas("M30")
def test_the_width_of_predicted_membranes_costs_nothing() -> None:
    truth = np.ones((12, 21), bool)
    truth[:, 10] = False
    wide = truth.copy()
    wide[:, 7:14] = False
    scores = score_membranes(wide, truth)
    assert (scores.v_rand, scores.v_info) == (1, pytest.approx(1))
    assert score_membranes(wide, truth, thinning=False).v_rand < 0.8


@pytest.mark.atlas("M30")
def test_v_rand_and_v_info_by_hand() -> None:
    """Two cells of truth grown together: recall of pairs 1, precision 1/2; one bit of two is lost."""
    truth, joined = np.array([[1, 1, 2, 2, 0]]), np.array([[3, 3, 3, 3, 3]])
    counts = table(joined, truth)
    assert (v_rand(counts, alpha=0), v_rand(counts, alpha=1)) == (1, 0.5)
    assert v_rand(counts) == pytest.approx(2 / 3) == 1 - adapted_rand_error(counts).error
    assert v_info(counts) == 0
    cut = table(np.array([[3, 3, 4, 5, 5]]), truth)
    assert v_info(cut, alpha=1) == pytest.approx(1)
    assert v_info(cut, alpha=0) == pytest.approx(1 / 1.5)
    scores = Membranes()
    with pytest.raises(BadMask, match="True inside cells"):
        scores.update(truth, truth)
    with pytest.raises(BadArgument, match="alpha"):
        v_rand(counts, alpha=2)


@pytest.mark.atlas("M40")
def test_superpixel_scores_by_hand() -> None:
    truth = np.zeros((4, 8), int)
    truth[:, 4:] = 1
    tiles = np.zeros((4, 8), int)
    tiles[:, 5:] = 1
    scores = score_superpixels(tiles, truth)
    assert scores.undersegmentation_error == pytest.approx((4 + 4) / 32)
    assert scores.achievable_accuracy == pytest.approx((16 + 12) / 32)
    assert scores.boundary_recall == 1  # one pixel away
    assert score_superpixels(tiles, truth, tolerance_px=0).boundary_recall == 0
    assert isnan(score_superpixels(tiles, np.zeros((4, 8), int)).boundary_recall)


@pytest.mark.atlas("M40")
def test_boundaries_against_void_are_not_recalled() -> None:
    truth = np.zeros((6, 8), int)
    truth[:, 4:] = VOID
    one = np.zeros((6, 8), int)
    assert isnan(score_superpixels(one, truth).boundary_recall)
    assert score_superpixels(one, truth, ignore=None).boundary_recall == 0
    several = Superpixels()
    several.update(one, [truth, one])
    assert several.compute()["achievable_accuracy"] == 1
    with pytest.raises(BadArgument, match="tolerance_px"):
        Superpixels(tolerance_px=-1)


@pytest.mark.atlas("M29")
def test_warping_forgives_bending_and_counts_tearing() -> None:
    truth = np.zeros((12, 12), bool)
    truth[2:10, 2:10] = True
    moved = np.roll(truth, 1, axis=1)
    bent = warping_error(moved, truth)
    assert (bent.error, bent.pixel_error) == (0, pytest.approx(16 / 144))
    cut = truth.copy()
    cut[:, 6] = False
    torn = warping_error(cut, truth)
    assert (torn.error, torn.splits) == (pytest.approx(1 / 144), 1)
    assert warping_error(truth, cut).merges == 1
    assert warping_error(np.zeros_like(truth), truth).deletions == 1
    assert warping_error(truth, np.zeros_like(truth)).additions == 1
    holed = truth.copy()
    holed[5, 5] = False
    assert warping_error(holed, truth).hole_changes == warping_error(truth, holed).hole_changes == 1
    assert warping_error(moved, truth, within=np.zeros_like(truth)).error == bent.pixel_error


@pytest.mark.atlas("M29")
def test_cells_touch_by_edges_and_a_line_to_the_border_keeps_them_apart() -> None:
    """Membranes are what 4-connected cells leave over; beyond the image nothing is connected."""
    cells = np.ones((9, 9), bool)
    cells[4] = False
    shifted = np.roll(cells, 1, axis=0)
    assert warping_error(shifted, cells, connectivity=4).error == 0
    gap = cells.copy()
    gap[4, 4] = True
    leak = warping_error(gap, cells, connectivity=4)
    assert (leak.error, leak.merges) == (pytest.approx(1 / 81), 1)
    scores = Warping(connectivity=4)
    scores.update(gap, cells)
    assert scores.compute()["merges"] == 1
    with pytest.raises(BadArgument, match="4 or 8"):
        warping_error(gap, cells, connectivity=6)
    with pytest.raises(BadMask, match="True on objects"):
        warping_error(gap.astype(int), cells)


@pytest.mark.atlas("M35")
def test_statistics_of_a_sequence() -> None:
    values = np.array([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
    found = sequence_statistics(values)
    assert found.mean == pytest.approx(0.65)
    assert found.recall == 5 / 8
    assert found.decay == pytest.approx((1 + 0.9 + 0.8) / 3 - (0.5 + 0.4 + 0.3) / 3)
    nothing = sequence_statistics(np.zeros(0))
    assert isnan(nothing.mean)
    long = np.concatenate([np.ones(150), np.zeros(150)])  # 8-bit frame numbers would wrap at 256
    assert sequence_statistics(long).decay == 1


@pytest.mark.atlas("M36")
def test_volume_precision_and_recall_by_hand() -> None:
    truth = np.array([[[1, 1, 2, 2]], [[1, 1, 1, 2]]])
    one, alone = np.ones_like(truth), np.arange(1, 9).reshape(truth.shape)
    assert volume_counts(table(one, truth)).tolist() == [8 - 2, 8 - 2, 5 - 5, 8 - 5]
    assert volume_counts(table(alone, truth)).tolist() == [2 - 2, 8 - 2, 8 - 5, 8 - 5]
    half = np.where(truth == 1, 3, 0)  # the second object is not labelled
    assert volume_counts(table(half, truth)).tolist() == [5 - 1, 8 - 1, 5 - 5, 5 - 5]
    benchmark = VolumeBenchmark(3)
    benchmark.update([one, truth, alone], truth, name="clip")
    scores = benchmark.compute()
    assert scores.ods == 1
    assert scores.recall.tolist() == [1, 1, 0]
    assert scores.precision.tolist() == [0, 1, 1]
    with pytest.raises(BadArgument, match="1 levels"):
        benchmark.update([one], truth)


def test_a_video_needs_frames_between_its_ends() -> None:
    with pytest.raises(BadMask, match="three or more"):
        video.VideoObjects().update(np.zeros((2, 3, 3), int), np.ones((2, 3, 3), int))


def test_every_module_says_what_it_computes() -> None:
    modules = (partitions, hierarchy, isbi, superpixels, video, warping)
    rows = {row for module in modules for definition in module.DEFINED for row in definition.atlas}
    numbers = [*range(24, 31), 35, 36, 40]
    assert rows >= {f"M{number}" for number in numbers}
    assert contingency.Labels is not None
    assert curves.Curve([0.5]).thresholds.tolist() == [0.5]
