"""Segments in one map of parts: nothing is lost, and every way of picking pixels keeps them apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segmentarium.data.segments import Crowd, Segments
from segmentarium.data.transforms import Augment, augmented
from segmentarium.errors import BadMask
from segmentarium.metrics.average_precision import AveragePrecision
from segmentarium.metrics.panoptic import PanopticQuality
from segmentarium.ops.crops import Crop, tight
from segmentarium.values.classes import VOID, Class, Classes

THINGS = Classes(Class(id=i, name=f"c{i}", color=(0, 0, i), thing=i > 0) for i in range(3))
STACKS = st.tuples(st.integers(0, 6), st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda shape: arrays(np.bool_, shape, elements=st.booleans())
)


def of(stack: np.ndarray, *, crowds: tuple[Crowd, ...] = ()) -> Segments:
    size = (int(stack.shape[1]), int(stack.shape[2]))
    masks = [tight(Crop((0, 0, size[1], size[0]), mask)) for mask in stack]
    return Segments.from_masks(masks, [1 + i % 2 for i in range(len(stack))], size=size, crowds=crowds)


@settings(max_examples=50)
@given(STACKS)
def test_masks_come_back(stack: np.ndarray) -> None:
    segments = of(stack)
    masks, which = segments.masks_in(segments.atoms)
    assert which.tolist() == np.flatnonzero(stack.any((1, 2))).tolist()
    assert (masks == stack[which]).all()
    assert (segments.pixels == stack.sum((1, 2))).all()
    assert ((segments.atoms > 0) == stack.any(0)).all()
    for crop, mask in zip(segments.crops(), stack, strict=True):
        assert crop.mask.sum() == mask.sum()
        assert (crop.mask == mask[crop.window]).all()


@given(STACKS.filter(len))
def test_parts_are_as_few_as_can_be(stack: np.ndarray) -> None:
    combinations = {tuple(column) for column in stack.reshape(len(stack), -1).T.tolist() if any(column)}
    assert of(stack).atoms.max(initial=0) == len(combinations)


@settings(max_examples=60)
@given(STACKS.filter(len), st.integers(0, 2**31), st.integers(4, 16))
def test_transforms_do_to_segments_what_they_do_to_masks(stack: np.ndarray, seed: int, side: int) -> None:
    segments = of(stack)
    augment = Augment(rotate_deg=40.0, vflip=0.5, rot90=True, elastic=0.5)
    pixels = np.zeros((*segments.size, 1), np.uint8)

    def bent(labels: np.ndarray) -> np.ndarray:
        return augmented(pixels, labels, augment=augment, crop=(side, side), seed=seed)[1]

    atoms = bent(segments.atoms.astype(np.int16))
    masks, which = segments.masks_in(atoms)
    for place, mask in enumerate(stack):
        alone = bent(mask.astype(np.int16)) == 1
        found = masks[which == place]
        assert (found[0] == alone).all() if len(found) else not alone.any()


@given(STACKS)
def test_the_smaller_lies_on_top(stack: np.ndarray) -> None:
    segments = of(stack)
    labels, areas = segments.labels(background=0), stack.sum((1, 2))
    for (row, column), label in np.ndenumerate(labels):
        here = np.flatnonzero(stack[:, row, column])
        smallest = here[areas[here] == areas[here].min()] if len(here) else []
        assert label in ({1 + i % 2 for i in smallest} if len(here) else {0})
    assert ((segments.labels() == VOID) == ~stack.any(0)).all()


@given(arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(-1, 5)))
def test_numbers_there_and_back(numbers: np.ndarray) -> None:
    known = {5: 1, 3: 2, 4: 1, 1: 2, 2: 1}
    segments = Segments.from_numbers(numbers, known)
    assert len(segments) == 5
    for place, number in enumerate(known):
        assert ((segments.numbers() == place + 1) == (numbers == number)).all()
    assert ((segments.atoms == VOID) == (numbers == VOID)).all()
    assert (segments.labels(background=0)[numbers == 3] == 2).all()
    panoptic = segments.to_panoptic(THINGS)
    assert (panoptic.ids > 0).sum() == (numbers > 0).sum()


def test_more_objects_than_sixteen_bits_count() -> None:
    numbers = np.arange(1, 300 * 300 + 1, dtype=np.int32).reshape(300, 300)
    segments = Segments.from_numbers(numbers, 1)
    assert len(segments) == 90_000
    masks, which = segments.masks_in(segments.atoms[-2:, -3:])
    assert which.tolist() == [89697, 89698, 89699, 89997, 89998, 89999]
    assert masks.sum((1, 2)).tolist() == [1] * 6
    assert len(np.unique(segments.numbers())) == 90_000


def test_a_number_without_class() -> None:
    with pytest.raises(BadMask, match="number 9 is no segment"):
        Segments.from_numbers(np.array([[0, 9]], np.int32), {1: 1})


@settings(max_examples=40)
@given(STACKS.filter(lambda stack: stack.any()))
def test_the_truth_scores_itself_perfectly(stack: np.ndarray) -> None:
    kept = stack[stack.any((1, 2))]
    segments = of(np.unique(kept, axis=0))
    metric = AveragePrecision(THINGS)
    metric.update(segments.to_instances(THINGS), **segments.for_average_precision(THINGS))
    assert metric.compute(rounds=0).means["ap"] == pytest.approx(1.0)


def test_crowds_forgive_and_hide() -> None:
    crowd = Crowd(1, Crop((0, 0, 4, 2), np.ones((2, 4), bool)), 8.0)
    stack = np.zeros((1, 4, 4), bool)
    stack[0, 1:3, 1:3] = True
    segments = of(stack, crowds=(crowd,))
    assert (segments.atoms == VOID).sum() == 6
    truth = segments.for_average_precision(THINGS)
    assert truth["crowd"].tolist() == [False, True]
    assert truth["areas"].tolist() == [4.0, 8.0]
    found = of(np.stack([stack[0], np.pad(np.ones((1, 2), bool), ((0, 3), (0, 2)))]))
    metric = AveragePrecision(THINGS)
    same = Segments(found.atoms, found.pairs, np.array([1, 1], np.int32), found.areas)
    metric.update(same.to_instances(THINGS), **truth)
    assert metric.compute(rounds=0).means["ap"] == pytest.approx(1.0)
    quality = PanopticQuality(THINGS)
    quality.update(same.to_panoptic(THINGS), segments.for_panoptic_quality())
    assert quality.compute(rounds=10).all.pq == pytest.approx(1.0)


def test_a_segment_without_pixels_stays_a_segment() -> None:
    segments = of(np.zeros((2, 3, 3), bool))
    assert len(segments) == 2
    assert len(segments.to_instances(THINGS)) == 2
    assert segments.masks_in(segments.atoms)[0].shape == (0, 3, 3)
    assert segments.for_panoptic_quality().numbers.tolist() == [1, 2]


def test_only_things_are_counted() -> None:
    segments = Segments.from_numbers(np.array([[1, 2, 3]], np.int32), {1: 0, 2: 1, 3: 2})
    assert segments.to_instances(THINGS).classes_of.tolist() == [1, 2]
    assert len(segments.to_instances(Classes.named("a", "b", "c"))) == 3
