"""What holds for all pairs of segment maps: the slow twin, shards in any order, other numbers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentarium.metrics.panoptic import (
    PROTOCOLS,
    PanopticQuality,
    Segments,
    count_segments,
    panoptic_quality,
)
from segmentarium.metrics.panoptic_kernels import shared_pixels
from segmentarium.values.classes import Classes

CLASSES = Classes.from_json([{"id": i, "name": str(i), "isthing": i < 2} for i in range(3)])


@st.composite
def sides(draw: st.DrawFn) -> tuple[Segments, Segments]:
    """A prediction and a truth of up to six segments in three classes, with void and crowd."""
    pixels = draw(st.integers(1, 30))
    made = []
    for crowds in (False, True):
        ids = np.array(draw(st.lists(st.integers(0, 6), min_size=pixels, max_size=pixels)), np.int32)
        numbers = np.unique(ids[ids > 0]).astype(np.int64)
        count = len(numbers)
        of = np.array(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)), np.int64)
        crowd = np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool) & crowds
        made.append(Segments(ids=ids[None], numbers=numbers, classes_of=of, crowd=crowd))
    return made[0], made[1]


def slow_counts(found: Segments, true: Segments) -> np.ndarray:
    """The rules of panopticapi on sets of pixels, one segment at a time."""
    counts = np.zeros((3, 4))
    masks = [[side.ids == n for n in side.numbers] for side in (found, true)]
    void = true.ids == 0
    hit = set()
    for t, other in enumerate(masks[1]):
        if true.crowd[t]:
            continue
        k = true.classes_of[t]
        for p, mask in enumerate(masks[0]):
            union = ((mask & ~void) | other).sum()
            iou = (mask & other).sum() / union
            if found.classes_of[p] == k and iou > 0.5:
                counts[k] += (iou, 1, 0, 0)
                hit.add(p)
                break
        else:
            counts[k, 3] += 1
    for p, mask in enumerate(masks[0]):
        k = found.classes_of[p]
        crowds = [m for m, c, of in zip(masks[1], true.crowd, true.classes_of, strict=True) if c and of == k]
        forgiven = void | crowds[-1] if crowds else void
        if p not in hit and (mask & forgiven).sum() / mask.sum() <= 0.5:
            counts[k, 2] += 1
    return counts


@pytest.mark.atlas("M13")
@given(sides())
def test_counts_equal_their_slow_twin(case: tuple[Segments, Segments]) -> None:
    np.testing.assert_allclose(count_segments(*case, classes=CLASSES), slow_counts(*case), atol=1e-12)


@given(st.lists(sides(), min_size=1, max_size=4), st.permutations(range(4)), st.sampled_from([*PROTOCOLS]))
@settings(max_examples=40)
def test_merged_shards_are_one_pass(cases: list[Any], order: list[int], protocol: str) -> None:
    whole = PanopticQuality(CLASSES, protocol=protocol)
    for case in cases:
        whole.update(*case)
    merged = PanopticQuality(CLASSES, protocol=protocol)
    for i in order:
        shard = PanopticQuality(CLASSES, protocol=protocol)
        for case in cases[i : i + 1]:
            shard.update(*case)
        merged.merge(shard)
    one, other = whole.compute(rounds=2), merged.compute(rounds=2)
    np.testing.assert_allclose(one.pq, other.pq, atol=1e-12)
    np.testing.assert_array_equal(one.false_positives, other.false_positives)
    np.testing.assert_allclose(np.sort(one.per_image), np.sort(other.per_image))


@given(sides(), st.permutations(range(1, 7)), st.sampled_from([*PROTOCOLS]))
@settings(max_examples=50)
def test_numbers_of_segments_are_only_names(case: Any, names: list[int], protocol: str) -> None:
    found, true = case
    table = np.array([0, *names]) * 70_001
    renamed = Segments(
        ids=table[found.ids], numbers=table[found.numbers], classes_of=found.classes_of, crowd=found.crowd
    )
    counts = [count_segments(side, true, classes=CLASSES, protocol=protocol) for side in (found, renamed)]
    np.testing.assert_allclose(*counts, atol=1e-12)


@given(sides(), st.sampled_from([*PROTOCOLS]))
@settings(max_examples=40)
def test_qualities_are_bounded_and_factor(case: Any, protocol: str) -> None:
    scores = panoptic_quality(*case, classes=CLASSES, protocol=protocol)
    defined = ~np.isnan(scores.pq)
    assert ((scores.pq[defined] >= 0) & (scores.pq[defined] <= 1 + 1e-12)).all()
    product = np.nan_to_num(scores.sq) * scores.rq
    np.testing.assert_allclose(product[defined], scores.pq[defined], atol=2e-6)
    same = panoptic_quality(case[0], case[0], classes=CLASSES, protocol=protocol)
    np.testing.assert_allclose(same.pq[~np.isnan(same.pq) & (same.true_positives > 0)], 1, atol=1e-5)


@given(st.integers(0, 99), st.sampled_from([np.uint8, np.int16, np.int32, np.int64]))
@settings(max_examples=20)
def test_shared_pixels_are_a_joint_histogram(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    step = int(
        rng.choice([1, 1 if dtype == np.uint8 else 300])
    )  # close together, and far apart as colours are
    found, true = ((rng.integers(0, 100, (70, 80)) * step).astype(dtype) for _ in range(2))
    pairs, pixels = shared_pixels(found, true)
    keys, counts = np.unique(np.stack([true.ravel(), found.ravel()], 1), axis=0, return_counts=True)
    np.testing.assert_array_equal(pairs, keys)
    np.testing.assert_array_equal(pixels, counts)
