"""What holds for all masks: fast distances are slow distances, order and cutting make no difference."""

from __future__ import annotations

from itertools import product
from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segmentarium.metrics.aggregate import aggregate
from segmentarium.metrics.lesions import LesionDetection, match_lesions
from segmentarium.metrics.surface import PROTOCOLS, measure_surfaces
from segmentarium.metrics.surface_gaps import gaps_of_masks
from segmentarium.metrics.surface_scores import MEASURES, SurfaceDistances
from segmentarium.ops.surfel import surfel_areas, surfels

Pair = tuple[np.ndarray, np.ndarray, tuple[float, ...]]


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """Two masks of two or three dimensions, often empty or full in places, and their spacing."""
    dimensions = draw(st.integers(2, 3))
    shape = tuple(draw(st.lists(st.integers(1, 6), min_size=dimensions, max_size=dimensions)))
    one, other = (draw(arrays(bool, shape)) for _ in range(2))
    spacing = draw(st.lists(st.sampled_from([0.5, 1.0, 1.7, 40.0]), min_size=dimensions, max_size=dimensions))
    return one, other, tuple(spacing)


def slow_surface(mask: np.ndarray) -> list[tuple[int, ...]]:
    """Voxels with a face neighbour that is not in the mask, or that does not exist."""
    inside = {tuple(map(int, index)) for index in np.argwhere(mask)}
    steps = [
        tuple(int(i == axis) * way for i in range(mask.ndim)) for axis in range(mask.ndim) for way in (1, -1)
    ]
    return [
        v
        for v in sorted(inside)
        if any(tuple(map(sum, zip(v, step, strict=True))) not in inside for step in steps)
    ]


def slow_gaps(one: np.ndarray, other: np.ndarray, spacing: tuple[float, ...]) -> list[float]:
    sites = slow_surface(other)
    return [
        min(
            (sqrt(sum(((a - b) * s) ** 2 for a, b, s in zip(p, q, spacing, strict=True))) for q in sites),
            default=np.inf,
        )
        for p in slow_surface(one)
    ]


@pytest.mark.atlas("M09", "M10", "M11", "M12")
@given(pairs())
def test_measures_equal_their_slow_twins(pair: Pair) -> None:
    one, other, spacing = pair
    there, back = slow_gaps(one, other, spacing), slow_gaps(other, one, spacing)
    ours = measure_surfaces(one, other, spacing=spacing, tolerance=1.8)
    gaps = gaps_of_masks(one, other, spacing=spacing)
    np.testing.assert_allclose(gaps.there, there, rtol=1e-12)
    np.testing.assert_allclose(gaps.back, back, rtol=1e-12)
    if there and back:
        assert ours.hd == pytest.approx(max(there + back))
        assert ours.hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
        assert (ours.asd, ours.asd_back) == pytest.approx((np.mean(there), np.mean(back)))
        assert ours.assd == pytest.approx(np.mean(there + back))
        assert ours.nsd == pytest.approx(np.mean([gap <= 1.8 for gap in there + back]))


@given(pairs(), st.sampled_from(sorted(PROTOCOLS)))
def test_symmetric_bounded_and_zero_on_the_truth(pair: Pair, protocol: str) -> None:
    one, other, spacing = pair
    there = measure_surfaces(one, other, spacing=spacing, protocol=protocol)
    back = measure_surfaces(other, one, spacing=spacing, protocol=protocol)
    for name, swapped in zip(MEASURES, ("hd", "hd95", "asd_back", "asd", "assd", "nsd"), strict=True):
        np.testing.assert_allclose(getattr(there, name), getattr(back, swapped), rtol=1e-12)
    if one.any() and other.any():
        assert 0 <= there.hd95 <= there.hd
        assert max(there.asd, there.asd_back) <= there.hd * (1 + 1e-12)
        assert 0 <= there.nsd <= 1
    if one.any():
        same = measure_surfaces(one, one, spacing=spacing, protocol=protocol)
        assert (same.hd, same.assd, same.nsd) == (0, 0, 1)


@given(pairs(), st.integers(0, 2), st.integers(0, 3))
def test_ground_around_the_masks_changes_nothing(pair: Pair, before: int, behind: int) -> None:
    one, other, spacing = pair
    for protocol in ("segmentarium", "deepmind-surface"):
        tight = measure_surfaces(one, other, spacing=spacing, protocol=protocol)
        wide = [np.pad(mask, (before, behind)) for mask in (one, other)]
        assert measure_surfaces(*wide, spacing=spacing, protocol=protocol).as_dict() == tight.as_dict()


@given(pairs())
def test_surfels_lie_where_neighbours_differ_and_both_sides_have_one_area(pair: Pair) -> None:
    mask, _, spacing = pair
    corners, codes = surfels(mask)
    padded = np.pad(mask, 1)
    slow = [
        corner
        for corner in product(*(range(side + 1) for side in mask.shape))
        if 0 < padded[tuple(slice(c, c + 2) for c in corner)].sum() < 2**mask.ndim
    ]
    assert [tuple(corner) for corner in corners.tolist()] == slow
    full = np.uint8((1 << 2**mask.ndim) - 1)
    areas = surfel_areas(codes, spacing=spacing)
    assert (areas > 0).all()
    np.testing.assert_allclose(areas, surfel_areas(full - codes, spacing=spacing))


@st.composite
def cases(draw: st.DrawFn) -> list[tuple[np.ndarray, np.ndarray]]:
    labels = arrays(np.int32, (4, 5), elements=st.integers(0, 2))
    return draw(st.lists(st.tuples(labels, labels), min_size=1, max_size=5))


@settings(max_examples=25)
@given(cases(), st.data())
@pytest.mark.atlas("M41")
def test_merged_parts_in_any_order_are_one_pass(
    some: list[tuple[np.ndarray, np.ndarray]], data: st.DataObject
) -> None:
    cut, order = data.draw(st.integers(0, len(some))), data.draw(st.permutations(range(len(some))))
    whole, first, second = (SurfaceDistances(3) for _ in range(3))
    found = [LesionDetection() for _ in range(3)]
    for i, (prediction, truth) in enumerate(some):
        whole.update(prediction, truth)
        found[0].update(prediction == 1, truth == 1)
        part = 1 if order.index(i) < cut else 2
        (whole, first, second)[part].update(prediction, truth)
        found[part].update(prediction == 1, truth == 1)
    second.merge(first)
    found[2].merge(found[1])
    for merged, at_once in ((second, whole), (found[2], found[0])):
        told = [scores.compute().as_dict() | {"per_case": None} for scores in (merged, at_once)]
        assert told[0] == told[1]


@given(
    st.lists(st.floats(0, 100) | st.sampled_from([np.inf, np.nan]), max_size=12),
    st.randoms(use_true_random=False),
)
@pytest.mark.atlas("M41")
def test_aggregates_count_every_case_once_in_any_order(values: list[float], random: object) -> None:
    found = aggregate(np.array(values))
    assert found.finite + found.infinite + found.undefined == len(values)
    finite = [value for value in values if np.isfinite(value)]
    if finite:
        assert found.mean == pytest.approx(sum(finite) / len(finite))
    defined = [value for value in values if not np.isnan(value)]
    if defined:
        assert found.median == pytest.approx(sorted(defined)[len(defined) // 2]) or len(defined) % 2 == 0
    random.shuffle(values)
    assert aggregate(np.array(values)).as_dict() == found.as_dict()


def slow_components(mask: np.ndarray) -> list[set[tuple[int, ...]]]:
    left = {tuple(map(int, index)) for index in np.argwhere(mask)}
    parts = []
    while left:
        part, edge = set(), [min(left)]
        while edge:
            voxel = edge.pop()
            if voxel in left:
                left.remove(voxel)
                part.add(voxel)
                edge += [
                    tuple(map(sum, zip(voxel, step, strict=True)))
                    for step in product((-1, 0, 1), repeat=mask.ndim)
                ]
        parts.append(part)
    return parts


@given(pairs())
@pytest.mark.atlas("M43")
def test_lesions_equal_their_definition_on_sets(pair: Pair) -> None:
    prediction, truth, _ = pair
    lesions, findings = slow_components(truth), slow_components(prediction)
    match = match_lesions(prediction, truth)
    assert match.found == sum(any(lesion & finding for finding in findings) for lesion in lesions)
    assert match.found + match.missed == len(lesions)
    assert match.false == sum(not any(lesion & finding for lesion in lesions) for finding in findings)
    dice = []
    for lesion in lesions:
        touching = set().union(*(finding for finding in findings if finding & lesion))
        dice.append(2 * len(lesion & touching) / (len(lesion) + len(touching)))
    assert sorted(match.dice.tolist()) == pytest.approx(sorted(dice))
    paired = match_lesions(prediction, truth, rule="iou")
    assert paired.found <= min(match.found, len(findings))
    assert paired.found + paired.false == len(findings)
