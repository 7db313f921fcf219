"""Signed distances by eye, against a twin that looks at all pairs of pixels, and where void begins."""

from __future__ import annotations

from collections.abc import Iterator

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentarium.errors import BadArgument, BadMask
from segmentarium.ops.signed_distance import SHIFTS, class_distances, signed_distance

pytestmark = pytest.mark.atlas("L14")


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape hook, as in production: it would refuse before we do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def slow_twin(mask: np.ndarray, known: np.ndarray, spacing: tuple[float, ...], shift: float) -> np.ndarray:
    """Every pixel to every known pixel of the other side."""
    result = np.zeros(mask.shape)
    if not ((mask & known).any() and (~mask & known).any()):
        return result
    beyond, within = SHIFTS[shift]
    for here in np.ndindex(*mask.shape):
        others = np.argwhere((mask != mask[here]) & known)
        distance = np.sqrt((((others - here) * spacing) ** 2).sum(1)).min()
        result[here] = within * min(spacing) - distance if mask[here] else distance - beyond * min(spacing)
    return result


@settings(max_examples=40)
@given(
    size=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    seed=st.integers(0, 1000),
    spacing=st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=3, max_size=3),
    shift=st.sampled_from(sorted(SHIFTS)),
)
def test_equals_its_slow_twin(size: list[int], seed: int, spacing: list[float], shift: float) -> None:
    draw = np.random.default_rng(seed)
    mask, known = draw.random(size) < 0.4, draw.random(size) < 0.8
    steps = tuple(spacing[: len(size)])
    got = signed_distance(mask, known=known, spacing=steps, shift=shift)
    np.testing.assert_allclose(got, slow_twin(mask, known, steps, shift), atol=1e-5)


@pytest.mark.parametrize(
    ("shift", "expected"),
    [(0.0, [2, 1, -1, -2, 1]), (0.5, [1.5, 0.5, -0.5, -1.5, 0.5]), (1.0, [2, 1, 0, -1, 1])],
)
def test_where_zero_lies(shift: float, expected: list[float]) -> None:
    mask = np.array([0, 0, 1, 1, 0], bool)
    mask_of_two = np.array([0, 0, 1, 1, 1], bool)
    got = signed_distance(mask_of_two, shift=shift)
    assert got[:4].tolist() == pytest.approx([expected[0], expected[1], got[2], got[3]])
    assert signed_distance(mask, shift=shift)[[1, 2, 3, 4]].tolist() == pytest.approx(
        [expected[1], expected[2], expected[2], expected[4]]
    )


def test_the_published_toy() -> None:
    square = np.zeros((8, 8), bool)
    square[2:6, 2:6] = True
    probs = np.where(square, 0.8, 0.3)
    losses = {shift: (probs * signed_distance(square, shift=shift)).mean() for shift in SHIFTS}
    assert losses == pytest.approx({1.0: 0.3384, 0.0: 0.1384, 0.5: 0.1259}, abs=5e-5)


def test_without_a_border_there_is_no_distance() -> None:
    for mask in (np.zeros((3, 4), bool), np.ones((3, 4), bool)):
        assert not signed_distance(mask, shift=1.0).any()
    half_known = np.array([[True, True, False]])
    assert not signed_distance(half_known, known=half_known).any()


def test_void_around_an_image_changes_nothing() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (6, 7))
    padded = np.pad(labels, 4, constant_values=-1)
    inner = class_distances(padded, classes=4, shift=0.5)[:, 4:-4, 4:-4]
    np.testing.assert_array_equal(inner, class_distances(labels, classes=4, shift=0.5))


def test_each_class_has_its_map() -> None:
    labels = np.array([[0, 0, 2, 255]])
    maps = class_distances(labels, classes=4, ignore=255, spacing=(1.0, 2.0))
    assert maps.dtype == np.float32
    assert maps[0, 0].tolist() == [-4, -2, 2, 4]
    assert maps[2, 0].tolist() == [4, 2, -2, 2]
    assert not maps[[1, 3]].any()


def test_no_inside_turns_positive() -> None:
    mask = np.array([0, 1, 1, 0, 1], bool)
    for spacing in (0.1, 0.7, 5.0):
        for shift in SHIFTS:
            assert (signed_distance(mask, spacing=(spacing,), shift=shift)[mask] <= 0).all()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"spacing": (1.0,)}, "spacing: .* for a mask of 2 axes"),
        ({"spacing": (1.0, 0.0)}, "spacing: "),
        ({"spacing": (1.0, float("nan"))}, "spacing: "),
        ({"shift": 0.25}, "shift: 0.25"),
        ({"known": np.ones((2, 3), bool)}, "known: shape"),
    ],
)
def test_what_does_not_fit_is_told(arguments: dict[str, object], told: str, unchecked: None) -> None:
    with pytest.raises(BadArgument, match=told):
        signed_distance(np.eye(3, dtype=bool), **arguments)  # type: ignore[arg-type]


def test_labels_that_are_no_class_are_told(unchecked: None) -> None:
    with pytest.raises(BadArgument, match="mask: values of type int64"):
        signed_distance(np.eye(3, dtype=np.int64))  # type: ignore[arg-type]
    for labels in ([[0, 3]], [[0, -2]], [[0.0, 1.5]]):
        with pytest.raises(BadMask, match="integers from 0 to 2"):
            class_distances(np.array(labels), classes=3)
