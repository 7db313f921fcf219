"""Drawn shapes for all seeds and sizes: equal seeds, equal pixels; three truths that never disagree."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentarium.data.shapes import Scene, draw_scene, draw_volume

SEEDS = st.integers(0, 2**32 - 1)
SCENES = st.fixed_dictionaries(
    {
        "size": st.tuples(st.integers(1, 40), st.integers(1, 40)),
        "classes": st.integers(2, 12),
        "objects": st.integers(0, 12),
        "channels": st.sampled_from([1, 3, 5]),
        "dtype": st.sampled_from(["uint8", "uint16", "float32"]),
        "void_share": st.sampled_from([0.0, 0.1, 1.0]),
    }
)


def assert_agree(scene: Scene) -> None:
    ids, labels, numbers = scene.segment_ids, scene.labels, scene.numbers
    class_of = np.array([-1, 0, *scene.classes_of])  # void, ground, objects
    assert (class_of[ids] == labels).all()
    assert ((ids == 0) == (labels == -1)).all()
    assert ((numbers > 0) == (labels > 0)).all()
    assert set(np.unique(numbers)) - {0} == set(range(1, len(scene.classes_of) + 1))


@settings(max_examples=40, deadline=None)
@given(SEEDS, SCENES)
def test_the_three_truths_agree_in_every_pixel(seed, options):
    scene = draw_scene(seed, **options)
    assert scene.image.size == options["size"] == scene.labels.shape
    assert scene.image.channels == options["channels"]
    assert scene.image.pixels.dtype == options["dtype"]
    assert_agree(scene)
    assert (scene.panoptic.labels() == scene.labels).all()
    assert (scene.semantic.labels == scene.labels).all()
    assert (scene.instances.numbers() == scene.numbers).all()
    assert tuple(scene.instances.classes_of) == scene.classes_of


@settings(max_examples=10, deadline=None)
@given(SEEDS, SCENES)
def test_the_same_seed_draws_the_same_pixels(seed, options):
    once, again = draw_scene(seed, **options), draw_scene(seed, **options)
    assert (once.image.pixels == again.image.pixels).all()
    assert (once.segment_ids == again.segment_ids).all()


@settings(max_examples=10, deadline=None)
@given(SEEDS, st.tuples(*[st.integers(1, 14)] * 3), st.integers(2, 10), st.sampled_from([0.0, 0.2]))
def test_volumes_keep_the_same_promises(seed, size, classes, void_share):
    scene = draw_volume(seed, size=size, classes=classes, void_share=void_share)
    assert scene.image.pixels.shape == (*size, 1)
    assert_agree(scene)
    assert (draw_volume(seed, size=size, classes=classes, void_share=void_share).labels == scene.labels).all()


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.floats(0, 1))
def test_void_covers_the_asked_share_to_the_pixel(seed, share):
    scene = draw_scene(seed, size=(16, 20), void_share=share)
    assert (scene.labels == -1).sum() == round(share * 16 * 20)
