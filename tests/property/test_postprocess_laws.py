"""Every finisher beside a slow and obvious twin, and what holds for all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from postprocess_twins import (
    by_elimination,
    by_laying,
    by_likelihood,
    by_slots,
    pairs,
    pasted,
    semantic,
    some_classes,
    some_queries,
)

from segmentarium.nn.outputs import Queries, Regions, Semantic, SemanticRegions
from segmentarium.ops.rle import decode
from segmentarium.ops.tiles import Window
from segmentarium.post import INSTANCES, RULES, finish, paste, paste_full
from segmentarium.post.contest import _by_strips, contest
from segmentarium.post.query_instances import pair_instances
from segmentarium.post.query_labels import sigmoid_semantic
from segmentarium.values.results import Instances, Panoptic

CLASSES = some_classes(3, 3)
MASKS = (11, 14)
CASES = st.tuples(
    st.integers(0, 2**20),
    st.sampled_from([1, 2, 9, 30]),
    st.sampled_from([0.3, 1.0, 3.0]),
    st.sampled_from([(44, 56), (37, 61), (11, 14), (8, 9), (90, 15)]),
)


def queries_of(case: tuple[int, int, float, tuple[int, int]]) -> tuple[Queries, tuple[int, int]]:
    seed, queries, sure, size = case
    return some_queries(seed, queries=queries, classes=len(CLASSES), masks=MASKS, sure=sure), size


def nearly(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """Equal but for pixels on the edge between two answers, where the last bit decides."""
    return int((ours != theirs).sum()) <= 2 + ours.size // 2000


@settings(max_examples=25)
@given(CASES)
def test_the_semantic_read_out_is_the_largest_sum(case: tuple[int, int, float, tuple[int, int]]) -> None:
    output, size = queries_of(case)
    sums = semantic(output, size)
    labels = sigmoid_semantic(output, size=size, classes=CLASSES).labels
    chosen = sums.gather(0, torch.from_numpy(labels.astype(np.int64))[None])[0]
    assert float((sums.amax(0) - chosen).max()) < 1e-5


@settings(max_examples=20)
@given(CASES, st.sampled_from([1, 7, 100]))
def test_instances_of_pairs(case: tuple[int, int, float, tuple[int, int]], top: int) -> None:
    output, size = queries_of(case)
    found = pair_instances(output, size=size, classes=CLASSES, top=top)
    expected = [entry for entry in pairs(output, size, top) if CLASSES[entry[0]].thing and entry[2].any()]
    if len(found) != len(expected):  # a mask of a single pixel on the edge
        assert min(int(mask.sum()) for _, _, mask in expected) <= 2
        return
    for n, (label, score, mask) in enumerate(expected):
        assert found.classes_of[n] == label
        assert found.scores[n] == pytest.approx(score, rel=1e-3)
        assert nearly(found.mask(n), mask)


@settings(max_examples=30)
@given(CASES, st.sampled_from([0.2, 0.8]), st.sampled_from([0.3, 0.8]))
def test_maskformer_and_mask2former(
    case: tuple[int, int, float, tuple[int, int]], score: float, overlap: float
) -> None:
    output, size = queries_of(case)
    for name, inside in (("maskformer", False), ("mask2former", True)):
        found = RULES[name](output, size=size, classes=CLASSES, score=score, overlap=overlap)
        ids, labels = by_likelihood(output, size, CLASSES, score=score, overlap=overlap, inside=inside)
        if [s.class_index for s in found.segments] == labels:
            assert nearly(found.ids, ids)
        else:  # one share of a mask that lies on the limit
            assert abs(len(found.segments) - len(labels)) <= 1


@settings(max_examples=25)
@given(CASES, st.sampled_from([0.2, 0.85]), st.sampled_from([0, 4, 60]))
def test_detr(case: tuple[int, int, float, tuple[int, int]], score: float, area: int) -> None:
    output, size = queries_of(case)
    found = RULES["detr"](output, size=size, classes=CLASSES, score=score, area=area)
    ids, labels = by_elimination(output, size, CLASSES, score=score, area=area)
    if [s.class_index for s in found.segments] == labels:
        assert nearly(found.ids, ids)
    else:
        assert abs(len(found.segments) - len(labels)) <= 1


@settings(max_examples=25)
@given(CASES, st.sampled_from([0.2, 0.7]), st.sampled_from([0.2, 0.4]))
def test_max_deeplab(case: tuple[int, int, float, tuple[int, int]], score: float, pixel: float) -> None:
    output, size = queries_of(case)
    limits = {"score": score, "pixel": pixel, "thing_area": 6, "stuff_area": 20}
    found = RULES["max_deeplab"](output, size=size, classes=CLASSES, **limits)
    expected = by_slots(output, size, CLASSES, **limits)
    assert abs(len(found.segments) - len(expected)) <= 1
    if len(found.segments) == len(expected):
        drawn = np.full(size, -1)
        for label, mask in expected:
            drawn[mask] = label
        assert nearly(found.labels(), drawn)


@settings(max_examples=25)
@given(CASES, st.sampled_from([0.2, 0.4]), st.sampled_from([0.3, 0.8]))
def test_kmax_deeplab(case: tuple[int, int, float, tuple[int, int]], pixel: float, overlap: float) -> None:
    output, size = queries_of(case)
    limits = {"thing_score": 0.4, "stuff_score": 0.3, "pixel": pixel, "overlap": overlap}
    found = RULES["kmax_deeplab"](output, size=size, classes=CLASSES, **limits)
    ids, labels = by_laying(output, size, CLASSES, **limits)
    if [s.class_index for s in found.segments] == labels:
        assert nearly(found.ids, ids)
    else:
        assert abs(len(found.segments) - len(labels)) <= 1


@settings(max_examples=30)
@given(CASES, st.sampled_from(sorted(RULES)))
def test_segments_are_dense_have_pixels_and_do_not_overlap(
    case: tuple[int, int, float, tuple[int, int]], rule: str
) -> None:
    output, size = queries_of(case)
    found = RULES[rule](output, size=size, classes=CLASSES)
    sound(found, size)


def sound(found: Panoptic, size: tuple[int, int]) -> None:
    assert found.ids.shape == size
    assert found.ids.dtype == np.int32
    assert [s.id for s in found.segments] == list(range(1, len(found.segments) + 1))
    assert set(np.unique(found.ids)) - {0} == {s.id for s in found.segments}
    stuff = [s.class_index for s in found.segments if not found.classes[s.class_index].thing]
    assert len(stuff) == len(set(stuff))
    assert all(0 < s.score <= 1.001 for s in found.segments)


@settings(max_examples=30)
@given(CASES, st.sampled_from(sorted(INSTANCES)))
def test_instances_have_pixels_and_tight_boxes(
    case: tuple[int, int, float, tuple[int, int]], rule: str
) -> None:
    output, size = queries_of(case)
    tight(INSTANCES[rule](output, size=size, classes=CLASSES), size)


def tight(found: Instances, size: tuple[int, int]) -> None:
    assert found.size == size
    for n in range(len(found)):
        crop = decode(found.masks[n])
        x0, y0, x1, y1 = found.boxes[n].tolist()
        assert crop.shape == (y1 - y0, x1 - x0)
        assert 0 <= x0 < x1 <= size[1]
        assert 0 <= y0 < y1 <= size[0]
        assert crop[0].any()
        assert crop[-1].any()
        assert crop[:, 0].any()
        assert crop[:, -1].any()
        assert CLASSES[int(found.classes_of[n])].thing


WINDOWED = {  # rules that ask nothing of a whole mask, once their limits are off
    "mask2former": {"overlap": 0.0},
    "max_deeplab": {"thing_area": 0, "stuff_area": 0},
    "kmax_deeplab": {"overlap": 0.0, "mask_weight": 0.0},
}


@settings(max_examples=25)
@given(CASES, st.sampled_from(sorted(RULES)))
def test_a_window_is_a_part_of_the_whole(case: tuple[int, int, float, tuple[int, int]], rule: str) -> None:
    output, size = queries_of(case)
    window = Window(size[0] // 4, 1, size[0] - 1, size[1] - 2)

    def both(task: str, **limits: float) -> list[Any]:
        more = {"size": size, "classes": CLASSES, "rule": rule, "settings": limits}
        return [finish(output, task=task, window=w, **more) for w in (None, window)]

    whole, part = both("semantic")
    assert np.array_equal(part.labels, whole.labels[window.slices])
    whole, part = both("instance")
    crops = [whole.mask(n)[window.slices] for n in range(len(whole))]
    crops = [crop for crop in crops if crop.any()]
    assert len(crops) == len(part)
    assert all(np.array_equal(part.mask(n), crop) for n, crop in enumerate(crops))
    if rule in WINDOWED:
        whole, part = both("panoptic", **WINDOWED[rule])
        assert np.array_equal(part.labels(), whole.labels()[window.slices])


@settings(max_examples=25)
@given(CASES)
def test_strips_give_what_the_fused_loop_gives(case: tuple[int, int, float, tuple[int, int]]) -> None:
    output, size = queries_of(case)
    part, logits = Window(1, 2, size[0], size[1]), output.mask_logits[0]
    weights = torch.linspace(0.5, 1, len(logits))
    fused = contest(logits, weights, size, part)
    plain = _by_strips(logits, weights, size, part, np.empty(part.size, np.int16))
    assert nearly(fused.winners, plain.winners)
    for ours, theirs in zip(fused[1:], plain[1:], strict=True):
        assert np.abs(ours - theirs).max() <= 2
    assert fused.won.sum() == fused.winners.size


BOXES = st.lists(
    st.tuples(st.floats(-8, 40), st.floats(-8, 30), st.floats(0.5, 45), st.floats(0.5, 40)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=40)
@given(BOXES, st.integers(0, 2**20), st.sampled_from([1, 5, 28]))
def test_pasting_beside_sampling_each_pixel(
    rows: list[tuple[float, float, float, float]], seed: int, side: int
) -> None:
    size = (33, 41)
    boxes = torch.tensor([(x, y, x + w, y + h) for x, y, w, h in rows])
    logits = 3 * torch.randn(len(rows), side, side, generator=torch.Generator().manual_seed(seed))
    full, crops = paste_full(boxes, logits, size), paste(boxes, logits, size)
    for n in range(len(rows)):
        assert nearly(full[n], pasted(boxes[n], logits[n], size))
        x0, y0, x1, y1 = crops.boxes[n].tolist()
        again = np.zeros(size, bool)
        if crops.areas[n]:
            again[y0:y1, x0:x1] = decode(crops.masks[n])
        assert np.array_equal(again, full[n])
        assert crops.areas[n] == full[n].sum()


@settings(max_examples=25)
@given(st.integers(0, 2**20), st.integers(0, 12), st.sampled_from([0, 30]))
def test_the_heuristic_merge(seed: int, count: int, stuff_area: int) -> None:
    draw, size = torch.Generator().manual_seed(seed), (40, 52)
    corners = torch.rand(count, 2, generator=draw) * 35
    boxes = torch.cat([corners, corners + 3 + torch.rand(count, 2, generator=draw) * 25], 1)
    regions = Regions(
        torch.zeros(count, dtype=torch.int64),
        boxes,
        torch.rand(count, generator=draw),
        torch.randint(0, 3, (count,), generator=draw),
        2 * torch.randn(count, 7, 7, generator=draw) + 2,
    )
    output = SemanticRegions(Semantic(torch.randn(1, 4, 10, 13, generator=draw)), regions)
    limits = {"stuff_area": stuff_area, "score": 0.3}
    found = finish(output, task="panoptic", size=size, classes=CLASSES, rule="heuristic", settings=limits)
    sound(found, size)
    masks = paste_full(boxes, regions.mask_logits, size)
    expected = merged_slowly(masks, regions, output.semantic.logits, size, stuff_area)
    assert np.array_equal(found.labels(), expected)


def merged_slowly(
    masks: np.ndarray, regions: Regions, logits: torch.Tensor, size: tuple[int, int], stuff_area: int
) -> np.ndarray:
    labels = np.full(size, -1)
    for n in torch.argsort(regions.scores, descending=True, stable=True).tolist():
        covered = masks[n] & (labels >= 0)
        if regions.scores[n] < 0.3 or not masks[n].any() or covered.sum() / masks[n].sum() > 0.5:
            continue
        labels[masks[n] & (labels < 0)] = int(regions.classes[n])
    stuff = torch.nn.functional.interpolate(logits, size=size, mode="bilinear").argmax(1)[0].numpy()
    empty = labels < 0
    for channel in range(3):
        mask = empty & (stuff == channel)
        if mask.sum() >= max(stuff_area, 1):
            labels[mask] = channel + 3
    return labels
