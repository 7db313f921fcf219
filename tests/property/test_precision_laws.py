"""What holds for all sets of objects: slow twins of AP, shards in any order, runs that are the pixels."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentarium.metrics.average_precision import THRESHOLDS, AveragePrecision
from segmentarium.metrics.objects import Objects, Runs, shared
from segmentarium.metrics.voc_precision import VocPrecision
from segmentarium.values.classes import Classes
from segmentarium.values.instances import Instances
from segmentarium.values.runs import encode

CLASSES = Classes.named("a", "b")
SIZE = (7, 9)


def objects(seed: int) -> Instances:
    """Up to six blocks with holes, in two classes, with coarse scores."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 7))
    corners, sides = rng.integers(0, (5, 3), (count, 2)), rng.integers(2, 5, (count, 2))
    boxes = np.concatenate([corners, corners + sides], 1).astype(np.int32)
    crops = [rng.random((h, w)) < 0.85 for w, h in sides]
    scores = rng.integers(1, 4, count) / 4
    labels = rng.integers(0, 2, count).astype(np.int32)
    return Instances(tuple(encode(c) for c in crops), boxes, scores, labels, CLASSES, SIZE)


def pictures(seeds: list[int]) -> list[tuple[Instances, Instances]]:
    return [(objects(2 * seed), objects(2 * seed + 1)) for seed in seeds]


Seed = st.integers(0, 2**16)


def slow_iou(found: Instances, true: Instances) -> np.ndarray:
    values = np.zeros((len(found), len(true)))
    for p in range(len(found)):
        for t in range(len(true)):
            one, other = found.mask(p), true.mask(t)
            if found.classes_of[p] == true.classes_of[t] and (one | other).any():
                values[p, t] = (one & other).sum() / (one | other).sum()
    return values


def slow_ap(cases: list[Any], label: int, threshold: float, *, second_choice: bool) -> tuple[list[bool], int]:
    """Whether each detection is right, best score first, and how many true objects there are."""
    rows, truths = [], 0
    for found, true in cases:
        iou, free = slow_iou(found, true), set(np.flatnonzero(true.classes_of == label))
        mine, truths = set(free), truths + len(free)
        for p in sorted(np.flatnonzero(found.classes_of == label), key=lambda p: -found.scores[p]):
            choice = sorted(
                free if second_choice else mine, key=lambda t: (iou[p, t], t if second_choice else -t)
            )
            right = bool(choice) and iou[p, choice[-1]] >= threshold and choice[-1] in free
            if right:
                free.discard(choice[-1])
            rows.append((found.scores[p], right))
    return [right for _, right in sorted(rows, key=lambda row: -row[0])], truths


def slow_coco(cases: list[Any], label: int) -> float:
    values = []
    for threshold in THRESHOLDS:
        rights, truths = slow_ap(cases, label, threshold, second_choice=True)
        if not truths:
            return float("nan")
        points = [(sum(rights[:n]) / truths, sum(rights[:n]) / n) for n in range(1, len(rights) + 1)]
        reads = [max((p for r, p in points if r >= level), default=0.0) for level in np.linspace(0, 1, 101)]
        values.append(np.mean(reads))
    return float(np.mean(values))


def slow_voc(cases: list[Any], label: int) -> float:
    rights, truths = slow_ap(cases, label, 0.5, second_choice=False)
    if not truths:
        return float("nan")
    points = [(sum(rights[:n]), sum(rights[:n]) / n) for n in range(1, len(rights) + 1)]
    return sum(max(p for n, p in points if n >= step) for step in range(1, sum(rights) + 1)) / truths


@pytest.mark.atlas("M16")
@given(st.lists(Seed, min_size=1, max_size=3))
@settings(max_examples=15)
def test_coco_equals_its_slow_twin(seeds: list[int]) -> None:
    cases = pictures(seeds)
    metric = AveragePrecision(CLASSES)
    for case in cases:
        metric.update(*case)
    expected = [slow_coco(cases, label) for label in (0, 1)]
    np.testing.assert_allclose(metric.compute(rounds=0).ap, expected, atol=1e-12)


@pytest.mark.atlas("M19")
@given(st.lists(Seed, min_size=1, max_size=3))
@settings(max_examples=25)
def test_voc_equals_its_slow_twin(seeds: list[int]) -> None:
    cases = pictures(seeds)
    metric = VocPrecision(CLASSES)
    for case in cases:
        metric.update(*case)
    expected = [slow_voc(cases, label) for label in (0, 1)]
    np.testing.assert_allclose(metric.compute(rounds=0).ap[0], expected, atol=1e-12)


@pytest.mark.parametrize("make", [AveragePrecision, VocPrecision])
@given(seeds=st.lists(Seed, min_size=1, max_size=4), order=st.permutations(range(4)))
@settings(max_examples=20)
def test_merged_shards_are_one_pass(make: Any, seeds: list[int], order: list[int]) -> None:
    cases, whole, merged = pictures(seeds), make(CLASSES), make(CLASSES)
    for image, case in enumerate(cases):
        whole.update(*case, image=image)
    for image in order:
        shard = make(CLASSES)
        if image < len(cases):
            shard.update(*cases[image], image=image)
        merged.merge(shard)
    one, other = whole.compute(rounds=3), merged.compute(rounds=3)
    assert str(one.as_dict()) == str(other.as_dict())


@given(Seed)
@settings(max_examples=40)
def test_runs_are_the_pixels(seed: int) -> None:
    found, true = pictures([seed])[0]
    sides = [Objects.of(side, name="truth") for side in (found, true)]
    masks = [[side.mask(i) for i in range(len(side))] for side in (found, true)]
    meet = shared(*sides, by_class=False)
    for p, one in enumerate(masks[0]):
        assert sides[0].areas[p] == one.sum()
        assert meet[p].tolist() == [int((one & other).sum()) for other in masks[1]]


@given(Seed, st.floats(0.01, 0.4))
@settings(max_examples=40)
def test_bands_are_masks_less_their_repeated_erosion(seed: int, share: float) -> None:
    found = objects(seed)
    from scipy.ndimage import binary_erosion

    runs = Objects.of(found, name="truth").masks
    bands = runs.band(share)
    times = max(1, round(share * float(np.hypot(*SIZE))))
    for k in range(len(found)):
        mask = found.mask(k)
        band = mask & ~binary_erosion(mask, np.ones((3, 3)), iterations=times)
        inside = [i for a, b in bands.take(np.array([k])).spans for i in range(a, b)]
        np.testing.assert_array_equal(inside, np.flatnonzero(band.T.reshape(-1)))


@given(Seed, st.floats(1e-6, 5))
@settings(max_examples=25)
def test_truth_is_found_whatever_the_scale_of_scores(seed: int, scale: float) -> None:
    true = objects(seed)
    known = [
        len(Objects.of(true, name="truth").masks.take(np.array([k])).spans) > 0 for k in range(len(true))
    ]
    if not len(true) or not all(known):
        return
    scaled = Instances(true.masks, true.boxes, true.scores * scale, true.classes_of, CLASSES, SIZE)
    metric = AveragePrecision(CLASSES)
    metric.update(scaled, true)
    assert metric.compute(rounds=0).means["ar100"] == pytest.approx(1)


def test_runs_of_nothing() -> None:
    runs = Runs.of([], at=np.zeros((0, 2), np.int64), size=SIZE)
    assert runs.areas.tolist() == [] == runs.band().areas.tolist()
