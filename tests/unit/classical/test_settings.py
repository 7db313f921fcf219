"""Through the one door: whatever a keyword of a method is given, an answer or one sentence comes out."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

from segmentarium import classical
from segmentarium.classical.settings import checked
from segmentarium.engine.methods import method
from segmentarium.errors import BadArgument, OutOfMemory, SegError, UnknownName
from segmentarium.values import LabelMap

NAMES = [name for names in classical.METHODS.values() for name in names]
MARKS = {"foreground": [(6, 6)], "background": [(0, 0)]}
SEEDED = ("graph_cut", "random_walker", "region_growing")
STRANGE = (-1, 0, math.nan, math.inf, 1e30, 1e200, -1e6)


def picture() -> np.ndarray:
    draw = np.random.default_rng(3)
    scene = np.full((14, 15, 3), 60, np.uint8)
    scene[4:10, 5:12] = (180, 90, 30)
    return np.asarray(scene + draw.integers(0, 9, scene.shape, np.uint8), np.uint8)


def given(name: str) -> dict[str, Any]:
    """What the method cannot do without."""
    if name == "grabcut":
        return {"box": (3, 2, 14, 12)}
    if name == "dense_crf":
        return {"seeds": np.where(np.arange(14 * 15).reshape(14, 15) % 15 < 7, 1, 2)}
    return dict(MARKS) if name in SEEDED else {}


NUMBERS = [(n, s.name, s.kind) for n in NAMES for s in method(n).settings if s.kind in ("int", "float")]


@pytest.mark.parametrize(("name", "setting", "kind"), NUMBERS)
def test_a_strange_number_is_answered_or_refused_in_a_sentence(name: str, setting: str, kind: str) -> None:
    for value in STRANGE:
        strange = int(value) if kind == "int" and math.isfinite(value) else float(value)
        try:
            found = getattr(classical, name)(picture(), **given(name) | {setting: strange})
        except SegError:
            continue
        assert isinstance(found, LabelMap)
        assert math.isfinite(value)
        assert found.probs is None or np.isfinite(found.probs).all()


@pytest.mark.parametrize("name", NAMES)
def test_takes_a_seed(name: str) -> None:
    function = getattr(classical, name)
    assert "seed" in inspect.signature(function).parameters
    for wrong in (-1, 2**32, 3.0, "x"):
        with pytest.raises(BadArgument, match=f"seed = {wrong}; allowed: 0 to 4294967295"):
            function(picture(), **given(name), seed=wrong)
    first, again = (function(picture(), **given(name), seed=2**32 - 1) for _ in range(2))
    np.testing.assert_array_equal(first.labels, again.labels)


def test_words_that_do_not_exist() -> None:
    words = {"merging": "start", "chan_vese": "start", "watershed": "split", "mean_shift": "kernel"}
    words |= {"region_growing": "rule", "field": "method", "graph_cut": "model"}
    for name, word in words.items():
        with pytest.raises(UnknownName, match=f"unknown {word} 'bogus'; allowed: "):
            getattr(classical, name)(picture(), **given(name), **{word: "bogus"})


def test_points_boxes_and_polygons_are_whole_and_complete() -> None:
    for points in ([(2.5, 3)], [(math.nan, 3)]):
        with pytest.raises(BadArgument, match=r"foreground = (2.5|nan); allowed: (whole|finite) numbers"):
            classical.graph_cut(picture(), foreground=points, background=[(0, 0)])
    with pytest.raises(BadArgument, match=r"box = 5.5; allowed: whole numbers"):
        classical.grabcut(picture(), box=(1, 1, 5.5, 6))
    with pytest.raises(BadArgument, match="polygon of 3 corners"):
        classical.snake(picture(), polygon=[(1, 1, 3), (5, 5), (9, 9)])


def test_maps_of_seeds_that_cannot_be() -> None:
    for seeds in (np.full((14, 15), math.nan), [[1, 2]], "seeds.png"):
        with pytest.raises(BadArgument, match="array of whole numbers"):
            classical.field(picture(), seeds=seeds)
    with pytest.raises(BadArgument, match="the seed 17179869184; allowed: labels up to"):
        classical.field(picture(), seeds=np.full((14, 15), 2**34))
    with pytest.raises(BadArgument, match="mark the labels none"):
        classical.field(picture(), seeds=np.zeros((14, 15), np.uint8))


def test_memory_that_is_not_there_is_an_error_of_ours() -> None:
    def greedy(picture: Any, *, room: int = 1) -> None:
        raise MemoryError

    with pytest.raises(OutOfMemory, match="greedy needs more memory than there is"):
        checked(greedy)(None)


def test_seeds_hold_whatever_borders_cost() -> None:
    for smoothness in (1e3, 1e6, 1e9):
        marks = np.zeros((14, 15), np.uint8)
        marks[0, 0], marks[6, 7], marks[7, 7] = 1, 2, 1
        found = classical.field(picture(), seeds=marks, smoothness=smoothness)
        assert [found.labels[0, 0], found.labels[6, 7], found.labels[7, 7]] == [0, 1, 0]


def test_a_rare_colour_is_a_class_too() -> None:
    scene = np.zeros((190, 190, 3), np.uint8)
    scene[:, 90:] = 120
    scene[7, 7] = 250
    labels = classical.field(scene, classes=3, smoothness=0.0).labels
    assert len({labels[0, 0], labels[0, 189], labels[7, 7]}) == 3
