"""What holds for all partitions and boundaries: slow twins, renaming, order, bounds, topology."""

from __future__ import annotations

from collections import Counter
from functools import cache
from itertools import combinations
from math import isnan, log2, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from segmentarium.metrics.boundaries import boundary_map, boundary_overlap, inner_band, trimap
from segmentarium.metrics.boundary_scores import Boundaries
from segmentarium.metrics.bsds import match_boundaries
from segmentarium.metrics.contingency import joint_histogram
from segmentarium.metrics.curves import Curve
from segmentarium.metrics.hierarchy import Hierarchies
from segmentarium.metrics.isbi import thin_borders, v_info, v_rand
from segmentarium.metrics.partitions import Partitions, adapted_rand_error, covering, score_partition
from segmentarium.metrics.superpixels import achievable_accuracy, undersegmentation_error
from segmentarium.metrics.video import volume_counts
from segmentarium.metrics.warping import is_simple, warp, warping_error
from segmentarium.values.classes import VOID

Pair = tuple[np.ndarray, np.ndarray]


@st.composite
def pairs(draw: st.DrawFn, *, void: bool = False, most: int = 4) -> Pair:
    """A prediction and a truth with few regions; 0 is among them, void if asked."""
    shape = draw(st.integers(1, 5)), draw(st.integers(2, 6))
    pixels = shape[0] * shape[1]
    ids = st.integers(VOID if void else 0, most)
    truth = draw(st.lists(ids, min_size=pixels, max_size=pixels))
    found = draw(st.lists(st.integers(0, most), min_size=pixels, max_size=pixels))
    return np.array(found, np.int32).reshape(shape), np.array(truth, np.int32).reshape(shape)


def divide(part: float, whole: float) -> float:
    return part / whole if whole else nan


def close(ours: float, twin: float) -> bool:
    return (isnan(ours) and isnan(twin)) or ours == pytest.approx(twin, abs=1e-9)


@given(pairs(void=True))
def test_the_table_equals_its_slow_twin(case: Pair) -> None:
    prediction, truth = case
    table = joint_histogram(prediction, truth)
    twin = Counter(zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True))
    ours = {
        (int(table.truth_ids[i]), int(table.predicted_ids[j])): int(n)
        for i, j, n in zip(table.truth_of, table.predicted_of, table.shared, strict=True)
    }
    assert ours == {pair: n for pair, n in twin.items() if pair[0] != VOID}


@pytest.mark.atlas("M24", "M25", "M27", "M28")
@given(pairs(void=True))
def test_scores_equal_their_definition_on_pixels(case: Pair) -> None:
    prediction, truth = case
    seen = [(p, t) for p, t in zip(prediction.ravel(), truth.ravel(), strict=True) if t != VOID]
    scores = score_partition(prediction, truth)
    agree = [(a[0] == b[0]) == (a[1] == b[1]) for a, b in combinations(seen, 2)]
    assert close(scores.rand_index, divide(sum(agree), len(agree)))
    size = Counter(seen)
    found, true = Counter(p for p, _ in seen), Counter(t for _, t in seen)
    split = sum(n / len(seen) * log2(true[t] / n) for (_, t), n in size.items())
    merge = sum(n / len(seen) * log2(found[p] / n) for (p, _), n in size.items())
    assert close(scores.voi_split, split if seen else nan)
    assert close(scores.voi_merge, merge if seen else nan)
    iou = {(p, t): n / (found[p] + true[t] - n) for (p, t), n in size.items()}
    covered = sum(n * max(iou.get((p, t), 0) for p in found) for t, n in true.items())
    assert close(scores.covering_of_truth, divide(covered, len(seen)))


@pytest.mark.atlas("M26", "M30")
@given(pairs())
def test_adapted_rand_error_counts_pairs(case: Pair) -> None:
    """Ordered pairs with themselves; a pixel predicted 0 pairs with itself alone."""
    prediction, truth = case
    names = [
        (p or f"alone {i}", t) for i, (p, t) in enumerate(zip(prediction.flat, truth.flat, strict=True)) if t
    ]
    both = sum(a == b for a in names for b in names)
    found = sum(a[0] == b[0] for a in names for b in names)
    true = sum(a[1] == b[1] for a in names for b in names)
    table = joint_histogram(prediction, truth)
    ours = adapted_rand_error(table)
    assert close(ours.precision, divide(both, found))
    assert close(ours.recall, divide(both, true))
    assert close(v_rand(table), 1 - ours.error)
    for alpha in (0.2, 0.8):
        assert close(v_rand(table, alpha=alpha), divide(both, alpha * found + (1 - alpha) * true))


@pytest.mark.atlas("M30")
@given(pairs())
def test_v_info_is_mutual_information_over_mean_entropy(case: Pair) -> None:
    prediction, truth = case
    names = [
        (p or f"alone {i}", t) for i, (p, t) in enumerate(zip(prediction.flat, truth.flat, strict=True)) if t
    ]

    def entropy(of: list) -> float:
        return -sum(n / len(of) * log2(n / len(of)) for n in Counter(of).values())

    found, true, both = entropy([p for p, _ in names]), entropy([t for _, t in names]), entropy(names)
    ours = v_info(joint_histogram(prediction, truth))
    if found + true > 0:
        assert close(ours, (found + true - both) / ((found + true) / 2))
    else:
        assert isnan(ours)


@given(pairs(), st.permutations(range(5)), st.integers(-(2**40), 2**40))
def test_names_of_regions_mean_nothing(case: Pair, order: list[int], shift: int) -> None:
    prediction, truth = case
    ours = score_partition(prediction, truth)
    renamed = score_partition(np.array(order)[prediction].astype(np.int64) + shift, truth)
    for score in ("rand_index", "adjusted_rand_index", "voi", "covering_of_truth", "covering_of_prediction"):
        assert close(getattr(ours, score), getattr(renamed, score))


@given(pairs())
def test_exchanged_roles_exchange_halves(case: Pair) -> None:
    ours, other = score_partition(*case), score_partition(*case[::-1])
    assert close(ours.rand_index, other.rand_index)
    assert close(ours.adjusted_rand_index, other.adjusted_rand_index)
    assert close(ours.voi_split, other.voi_merge)
    assert close(ours.covering_of_truth, other.covering_of_prediction)
    assert covering(joint_histogram(*case)) == ours.covering_of_truth


@pytest.mark.atlas("M40")
@given(pairs(void=True))
def test_superpixel_scores_equal_their_definition(case: Pair) -> None:
    prediction, truth = case
    seen = truth != VOID
    table = joint_histogram(prediction, truth)
    bleeding, best = 0, 0
    for s in np.unique(prediction):
        inside = [int((seen & (prediction == s) & (truth == g)).sum()) for g in np.unique(truth[seen])]
        bleeding += sum(min(n, sum(inside) - n) for n in inside if n)
        best += max(inside, default=0)
    assert close(undersegmentation_error(table), divide(bleeding, int(seen.sum())))
    assert close(achievable_accuracy(table), divide(best, int(seen.sum())))


@pytest.mark.atlas("M36")
@given(pairs(void=True))
def test_volume_counts_equal_their_definition(case: Pair) -> None:
    prediction, truth = case
    valid = truth >= 0
    regions, volumes = np.unique(truth[valid]), [s for s in np.unique(prediction[valid]) if s > 0]

    def shared(g: int, s: int) -> int:
        return int((valid & (truth == g) & (prediction == s)).sum())

    met = [g for g in regions if any(shared(g, s) for s in volumes)]
    found = sum(max((shared(g, s) for s in volumes), default=0) for g in regions)
    right = sum(max(shared(g, s) for g in regions) for s in volumes)
    largest = max((sum(shared(g, s) for s in volumes) for g in regions), default=0)
    labelled = int((valid & (prediction > 0)).sum())
    twin = [found - len(met), int(valid.sum()) - len(met), right - largest, labelled - largest]
    assert volume_counts(joint_histogram(prediction, truth)).tolist() == twin


@settings(max_examples=12)
@given(st.lists(pairs(most=2), min_size=1, max_size=6), st.integers(0, 6), st.randoms(use_true_random=False))
def test_merged_parts_in_any_order_are_one_pass(cases: list[Pair], cut: int, random: object) -> None:
    makers = (
        lambda: Partitions(),
        lambda: Hierarchies(1),
        lambda: Boundaries(3, radii=[2]),
    )
    for make in makers:
        whole, first, second = make(), make(), make()
        shuffled = list(enumerate(cases))
        random.shuffle(shuffled)  # type: ignore[attr-defined]
        for i, (prediction, truth) in enumerate(cases):
            feed(whole, prediction, truth, str(i))
        for place, (i, (prediction, truth)) in enumerate(shuffled):
            feed(first if place < cut else second, prediction, truth, str(i))
        second.merge(first)
        assert second.compute().as_dict() == whole.compute().as_dict()


def feed(scores: object, prediction: np.ndarray, truth: np.ndarray, name: str) -> None:
    if isinstance(scores, Hierarchies):
        scores.update([prediction], truth, name=name)
    else:
        scores.update(prediction, truth, name=name)  # type: ignore[attr-defined]


@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=2, max_size=5))
def test_curves_do_not_depend_on_order(numbers: list[list[int]]) -> None:
    rows = [[[min(a, b), max(a, b), min(c, d), max(c, d)]] * 2 for a, b, c, d in numbers]
    one, other = Curve([0.3, 0.6]), Curve([0.3, 0.6])
    for row in rows:
        one.add(np.array(row, float))
    for row in rows[::-1]:
        other.add(np.array(row, float))
    assert one.compute().as_dict() == other.compute().as_dict()


@pytest.mark.atlas("M20")
@given(pairs(most=1), st.integers(1, 3))
def test_the_inner_band_is_what_erosions_take(case: Pair, width: int) -> None:
    mask = case[1].astype(bool)
    core = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0)
    np.testing.assert_array_equal(inner_band(mask, width=width), mask & ~core)
    intersection, union = boundary_overlap(case[0].astype(bool), mask)
    assert 0 <= intersection <= union


@pytest.mark.atlas("M21", "M34")
@given(pairs())
def test_boundaries_and_trimaps_equal_their_definition(case: Pair) -> None:
    labels = case[1]
    h, w = labels.shape
    marked, near = boundary_map(labels), trimap(labels, radius=1)
    for y in range(h):
        for x in range(w):
            block = labels[y : y + 2, x : x + 2]
            assert marked[y, x] == (len(np.unique(block)) > 1)
            cross = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            others = [labels[p] for p in cross if 0 <= p[0] < h and 0 <= p[1] < w]
            assert near[y, x] == any(other != labels[y, x] for other in others)


@pytest.mark.atlas("M23")
@given(pairs(most=1), st.sampled_from([0.15, 0.3, 0.6]))
def test_matching_is_the_largest_and_pairs_are_near(case: Pair, tolerance: float) -> None:
    ours, theirs = case[0].astype(bool), case[1].astype(bool)
    found, missed = match_boundaries(ours, theirs, tolerance=tolerance)
    assert not (found & ~ours).any()
    assert not (missed & ~theirs).any()
    p, t = np.argwhere(ours), np.argwhere(theirs)
    gap = (
        np.hypot(*(p[:, None] - t[None]).transpose(2, 0, 1))
        if len(p) and len(t)
        else np.zeros((len(p), len(t)))
    )
    assert found.sum() == missed.sum() == largest_matching(gap <= tolerance * np.hypot(*ours.shape))


def largest_matching(near: np.ndarray) -> int:
    """Augmenting paths, one row at a time."""
    partner: dict[int, int] = {}

    def place(i: int, tried: set[int]) -> bool:
        for j in np.flatnonzero(near[i]):
            if int(j) not in tried:
                tried.add(int(j))
                if int(j) not in partner or place(partner[int(j)], tried):
                    partner[int(j)] = i
                    return True
        return False

    return sum(place(i, set()) for i in range(len(near)))


@pytest.mark.atlas("M30")
@given(pairs(most=1))
def test_thinned_borders_leave_lines_only_between_regions(case: Pair) -> None:
    interior = case[0].astype(bool)
    cells = thin_borders(interior)
    seeds = ndimage.label(interior)[0]
    np.testing.assert_array_equal(cells[interior], seeds[interior])
    for y, x in np.argwhere(cells == 0):
        around = cells[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        assert not interior.any() or len(np.unique(around[around > 0])) != 1


def topology(mask: np.ndarray) -> tuple[int, int]:
    return ndimage.label(mask, np.ones((3, 3)))[1], ndimage.label(~mask)[1]


@pytest.mark.atlas("M29")
@given(pairs(most=1))
def test_warping_keeps_the_number_of_objects_and_holes(case: Pair) -> None:
    prediction, truth = case[0].astype(bool), case[1].astype(bool)
    warped = warp(prediction, truth)
    assert topology(warped) == topology(truth)
    scores = warping_error(prediction, truth)
    assert scores.error <= scores.pixel_error
    other = warping_error(~prediction, ~truth, connectivity=4)
    assert (other.error, other.pixel_error) == (scores.error, scores.pixel_error)


@pytest.mark.atlas("M29")
@pytest.mark.parametrize("places", [(1, 1), (0, 1), (0, 0)])
def test_simple_points_by_counting_components(places: tuple[int, int]) -> None:
    """All 512 masks of 3x3, in the middle, at an edge and in a corner."""
    for bits in range(512):
        mask = (bits >> np.arange(9) & 1).astype(np.uint8).reshape(3, 3)
        y, x = places
        window = mask[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        at = min(y, 1), min(x, 1)
        objects, rest = window == 1, window == 0
        objects[at] = rest[at] = False
        pieces = ndimage.label(rest)[0]
        cross = [(at[0] + dy, at[1] + dx) for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0))]
        inside = [p for p in cross if 0 <= p[0] < window.shape[0] and 0 <= p[1] < window.shape[1]]
        touching = {pieces[p] for p in inside} - {0}
        expected = ndimage.label(objects, np.ones((3, 3)))[1] == 1 and len(touching) == 1
        assert is_simple(mask, y, x) == expected


@cache
def homotopy_classes() -> np.ndarray:
    """For each of the 65536 masks of 4x4 the class of those that simple flips lead to."""
    states = np.arange(1 << 16)
    masks = (states[:, None] >> np.arange(16) & 1).astype(np.uint8).reshape(-1, 4, 4)
    edges = []
    for k in range(16):
        y, x = divmod(k, 4)
        window = masks[:, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        shape = window.shape[1:]
        keys = window.reshape(len(states), -1) @ (1 << np.arange(shape[0] * shape[1]))
        at = min(y, 1), min(x, 1)
        simple = np.array(
            [
                is_simple((key >> np.arange(shape[0] * shape[1]) & 1).astype(np.uint8).reshape(shape), *at)
                for key in range(1 << (shape[0] * shape[1]))
            ]
        )
        edges.append(np.stack([states, states ^ (1 << k)])[:, simple[keys]])
    rows, columns = np.concatenate(edges, axis=1)
    graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(1 << 16, 1 << 16))
    return connected_components(graph, directed=False)[1]


@pytest.mark.atlas("M29")
def test_greedy_warping_against_every_mask_of_the_same_topology() -> None:
    """Brute force over 4x4: never below the true minimum, and mostly it where little changed."""
    classes = homotopy_classes()
    random = np.random.default_rng(0)
    states = np.arange(1 << 16)
    exact = 0
    for _ in range(200):
        truth = int(random.integers(0, 1 << 16))
        prediction = truth ^ sum(1 << int(k) for k in random.choice(16, 2, replace=False))
        alike = states[classes == classes[truth]]
        best = min(int(state ^ prediction).bit_count() for state in alike.tolist())
        masks = [(n >> np.arange(16) & 1).astype(bool).reshape(4, 4) for n in (prediction, truth)]
        greedy = int((warp(*masks) != masks[0]).sum())
        assert best <= greedy <= 2
        exact += greedy == best
    assert exact >= 150
