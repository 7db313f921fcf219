"""Cuts on grids by eye, against all cuts there are, and against flows in general graphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segmentarium.errors import BadArgument
from segmentarium.ops.grid_cut import Network, grid_cut
from segmentarium.ops.max_flow import max_flow
from segmentarium.ops.neighbours import both_ends, neighbours

pytestmark = pytest.mark.atlas("C11")

Problem = tuple[np.ndarray, np.ndarray, list[np.ndarray], list[np.ndarray], tuple[tuple[int, ...], ...]]

KINDS = [(1, 2), (2, 4), (2, 8), (3, 6), (3, 18), (3, 26)]


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without the shape hook, as in production: it would refuse before we do."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def drawn(size: Sequence[int], connectivity: int, seed: int, kind: str = "int") -> Problem:
    draw = np.random.default_rng(seed)
    offsets = neighbours(len(size), connectivity)

    def capacities(most: int) -> np.ndarray:
        whole = np.maximum(draw.integers(-most // 2, most, size), 0)
        return whole if kind == "int" else whole * draw.random(size)

    links = [[capacities(9) for _ in offsets] for _ in range(2)]
    return capacities(30), capacities(30), links[0], links[1], offsets


def edges_of(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The same graph for :func:`max_flow`; the source is the last but one node, the sink the last."""
    source, sink, forward, backward, offsets = problem
    count, number = source.size, np.arange(source.size).reshape(source.shape)
    starts, ends = [np.full(count, count), number.ravel()], [number.ravel(), np.full(count, count + 1)]
    capacities = [source.ravel(), sink.ravel()]
    for there, back, offset in zip(forward, backward, offsets, strict=True):
        here, other = both_ends(offset)
        starts += [number[here].ravel(), number[other].ravel()]
        ends += [number[other].ravel(), number[here].ravel()]
        capacities += [there[here].ravel(), back[here].ravel()]
    return np.stack([np.concatenate(starts), np.concatenate(ends)], axis=1), np.concatenate(capacities)


def cost(problem: Problem, inside: np.ndarray) -> float:
    """What a cut costs, by the sum over all links."""
    edges, capacities = edges_of(problem)
    side = np.append(inside.ravel(), [True, False])
    return capacities[side[edges[:, 0]] & ~side[edges[:, 1]]].sum()


@settings(max_examples=40)
@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 10_000), data=st.data())
def test_integers_equal_the_flow_of_a_general_graph(
    kind: tuple[int, int], seed: int, data: st.DataObject
) -> None:
    ndim, connectivity = kind
    size = data.draw(st.lists(st.integers(1, {1: 30, 2: 7, 3: 4}[ndim]), min_size=ndim, max_size=ndim))
    problem = drawn(size, connectivity, seed)
    got = grid_cut(*problem)
    edges, capacities = edges_of(problem)
    count = int(np.prod(size))
    wanted = max_flow(edges, capacities, count, count + 1, engine="scipy")
    assert isinstance(got.flow, int)
    assert got.flow == wanted.value == cost(problem, got.source_side)
    np.testing.assert_array_equal(got.source_side.ravel(), wanted.source_side[:count])


@pytest.mark.parametrize(("ndim", "connectivity"), KINDS)
def test_floats_cost_what_flows(ndim: int, connectivity: int) -> None:
    size = {1: (40,), 2: (12, 9), 3: (5, 4, 6)}[ndim]
    problem = drawn(size, connectivity, 3, "float")
    got = grid_cut(*problem)
    assert got.flow == pytest.approx(cost(problem, got.source_side), rel=1e-12)
    edges, capacities = edges_of(problem)
    count = int(np.prod(size))
    assert got.flow == pytest.approx(max_flow(edges, capacities, count, count + 1).value, rel=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_is_the_least_of_all_cheapest_cuts(seed: int) -> None:
    problem = drawn((3, 3), 8, seed)
    cuts = [np.array(bits).reshape(3, 3) for bits in product([False, True], repeat=9)]
    edges, capacities = edges_of(problem)
    sides = np.array([[*inside.ravel(), True, False] for inside in cuts])
    costs = [capacities[side[edges[:, 0]] & ~side[edges[:, 1]]].sum() for side in sides]
    cheapest = [inside for inside, price in zip(cuts, costs, strict=True) if price == min(costs)]
    got = grid_cut(*problem)
    assert got.flow == min(costs)
    np.testing.assert_array_equal(got.source_side, np.logical_and.reduce(cheapest))


@pytest.mark.parametrize(("ndim", "connectivity"), [(2, 4), (2, 8), (3, 6), (3, 26)])
@pytest.mark.parametrize("kind", ["int", "float"])
def test_equals_pymaxflow(ndim: int, connectivity: int, kind: str) -> None:
    maxflow = pytest.importorskip("maxflow")
    size = {2: (30, 20), 3: (6, 7, 5)}[ndim]
    problem = drawn(size, connectivity, 1, kind)
    edges, capacities = edges_of(problem)
    graph = maxflow.Graph[int if kind == "int" else float]()
    graph.add_nodes(int(np.prod(size)))
    for (start, end), capacity in zip(edges.tolist(), capacities.tolist(), strict=True):
        if start < np.prod(size) and end < np.prod(size):
            graph.add_edge(start, end, capacity, 0)
    for node, come, go in zip(range(int(np.prod(size))), *(a.ravel() for a in problem[:2]), strict=True):
        graph.add_tedge(node, come, go)
    assert grid_cut(*problem).flow == pytest.approx(graph.maxflow(), rel=0 if kind == "int" else 1e-10)


def test_a_line_by_eye() -> None:
    links = [np.array([5, 2, 5, 7])]
    cut = grid_cut(np.array([9, 0, 0, 0]), np.array([0, 0, 0, 9]), links, links, ((1,),))
    assert cut.flow == 2
    np.testing.assert_array_equal(cut.source_side, [True, True, False, False])


def test_offsets_may_be_long() -> None:
    zero, one = np.zeros((3, 4), int), np.full((3, 4), 6)
    source, sink = zero.copy(), zero.copy()
    source[0, 0], sink[1, 2] = 9, 9
    assert grid_cut(source, sink, [one], [zero], ((1, 2),)).flow == 6
    assert grid_cut(source, sink, [zero], [one], ((-1, -2),)).flow == 6
    assert grid_cut(source, sink, [one, one], [one, one], ((0, 1), (2, 3))).flow == 0


def test_a_tie_leaves_nothing_with_the_source() -> None:
    even = np.full((2, 2), 3)
    cut = grid_cut(even, even, [even, even], [even, even], neighbours(2, 4))
    assert cut.flow == 12
    assert not cut.source_side.any()


@pytest.mark.parametrize("number", [np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64])
def test_takes_numbers_of_any_type_and_changes_none(number: type) -> None:
    source, sink, forward, backward, offsets = drawn((6, 5), 4, 7)
    wanted = grid_cut(source, sink, forward, backward, offsets)
    arrays = [np.asfortranarray(a.astype(number)) for a in (source, sink, *forward, *backward)]
    before = [a.copy() for a in arrays]
    got = grid_cut(arrays[0], arrays[1], arrays[2:4], arrays[4:], offsets)
    assert got.flow == wanted.flow
    np.testing.assert_array_equal(got.source_side, wanted.source_side)
    np.testing.assert_array_equal(arrays, before)


def test_buffers_can_be_filled_again() -> None:
    network = Network((6, 5), neighbours(2, 8), "i")
    for seed in range(4):
        problem = drawn((6, 5), 8, seed)
        flow = network.load(*problem[:4]) + network.maximise()
        assert flow == grid_cut(*problem).flow
        np.testing.assert_array_equal(network.source_side(), grid_cut(*problem).source_side)


def test_large_integers_stay_exact() -> None:
    huge = 2**51 + 1
    none = np.zeros(3, int)
    links = [np.array([huge, huge, 0])]
    cut = grid_cut(np.array([huge, 0, 0]), np.array([0, 0, huge]), links, [none], ((1,),))
    assert cut.flow == huge


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("source", -1, r"source: a capacity of -1 at \(1, 1\)"),
        ("sink", np.nan, r"sink: a capacity of nan at \(1, 1\)"),
        ("forward", np.inf, r"forward\[0\]: a capacity of inf at \(1, 1\)"),
        ("backward", -2, r"backward\[0\]: a capacity of -2 at \(1, 1\)"),
        ("source", 2**60, r"source: a capacity of 1152921504606846976"),
        ("source", 2**51 + 2**50, "overflow"),
    ],
)
def test_says_which_capacity_cannot_be(name: str, value: float, said: str) -> None:
    number = float if isinstance(value, float) else np.int64
    arrays = {key: np.zeros((3, 3), number) for key in ("source", "sink", "forward", "backward")}
    arrays[name][1, 1] = value
    if said == "overflow":
        arrays[name][2, 2] = value
    with pytest.raises(BadArgument, match=said) as refusal:
        grid_cut(arrays["source"], arrays["sink"], [arrays["forward"]], [arrays["backward"]], ((0, 1),))
    assert "\n" not in str(refusal.value)


def test_links_out_of_the_grid_may_hold_anything() -> None:
    links = np.array([1.0, 2.0, np.nan])
    cut = grid_cut(np.array([9.0, 0, 0]), np.array([0, 0, 9.0]), [links], [links], ((1,),))
    assert cut.flow == 1


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": np.zeros((0, 3))}, "none of them empty"),
        ({"source": np.zeros((1, 1, 1, 1))}, "one to three axes"),
        ({"sink": np.zeros((2, 4))}, r"capacities of shape \(2, 4\)"),
        ({"forward": []}, "0 and 1 arrays of links for 1 offsets"),
        ({"offsets": ((0, 0),)}, r"the offset \(0, 0\)"),
        ({"offsets": ((1,),)}, r"the offset \(1,\)"),
    ],
)
def test_says_which_shape_does_not_fit(changes: dict[str, object], said: str) -> None:
    zero = np.zeros((2, 3))
    given = {"source": zero, "sink": zero, "forward": [zero], "backward": [zero], "offsets": ((0, 1),)}
    with pytest.raises(BadArgument, match=said):
        grid_cut(**{**given, **changes})  # type: ignore[arg-type]
