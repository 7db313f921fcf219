"""Flows in general graphs: engines against each other and against all cuts there are."""

from __future__ import annotations

import sys
from itertools import product

import numpy as np
import pytest

from segmentarium.errors import BadArgument
from segmentarium.ops.max_flow import Engine, max_flow

pytestmark = pytest.mark.atlas("C11")


def engine(name: str) -> Engine:
    if name == "ortools":
        pytest.importorskip("ortools")
    return name  # type: ignore[return-value]


def drawn(nodes: int, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    return draw.integers(0, nodes, (count, 2)), draw.integers(0, 20, count)


def cost(edges: np.ndarray, capacities: np.ndarray, side: np.ndarray) -> float:
    return capacities[side[edges[:, 0]] & ~side[edges[:, 1]]].sum()


@pytest.mark.parametrize("name", ["scipy", "ortools"])
@pytest.mark.parametrize("seed", range(8))
def test_is_the_least_of_all_cheapest_cuts(name: str, seed: int) -> None:
    edges, capacities = drawn(7, 20, seed)
    flow = max_flow(edges, capacities, 0, 6, engine=engine(name))
    sides = [np.array([True, *bits, False]) for bits in product([False, True], repeat=5)]
    costs = [cost(edges, capacities, side) for side in sides]
    cheapest = [side for side, price in zip(sides, costs, strict=True) if price == min(costs)]
    assert flow.value == min(costs)
    np.testing.assert_array_equal(flow.source_side, np.logical_and.reduce(cheapest))
    assert flow.scale == 1


@pytest.mark.parametrize("seed", range(4))
def test_engines_agree(seed: int) -> None:
    edges, capacities = drawn(300, 2000, seed)
    flows = [max_flow(edges, capacities, 0, 1, engine=engine(name)) for name in ("scipy", "ortools")]
    assert flows[0].value == flows[1].value == cost(edges, capacities, flows[0].source_side)
    np.testing.assert_array_equal(flows[0].source_side, flows[1].source_side)


@pytest.mark.parametrize("name", ["networkx", "maxflow"])
def test_equals_other_libraries(name: str) -> None:
    other = pytest.importorskip(name)
    edges, capacities = drawn(60, 400, 5)
    value = max_flow(edges, capacities, 0, 1, engine="scipy").value
    if name == "networkx":
        graph = other.DiGraph()
        for (start, end), capacity in zip(edges.tolist(), capacities.tolist(), strict=True):
            before = graph.get_edge_data(start, end, {"capacity": 0})["capacity"]
            graph.add_edge(start, end, capacity=before + capacity)
        assert value == other.maximum_flow_value(graph, 0, 1)
        return
    graph = other.Graph[int]()
    graph.add_nodes(60)
    for (start, end), capacity in zip(edges.tolist(), capacities.tolist(), strict=True):
        if start != end:
            graph.add_edge(start, end, capacity, 0)
    graph.add_tedge(0, 10**6, 0)
    graph.add_tedge(1, 0, 10**6)
    assert value == graph.maxflow()


@pytest.mark.parametrize(("name", "close"), [("scipy", 1e-6), ("ortools", 1e-12)])
def test_floats_are_scaled_by_a_power_of_two(name: str, close: float) -> None:
    edges, _ = drawn(30, 200, 2)
    capacities = np.random.default_rng(2).random(200)
    flow = max_flow(edges, capacities, 0, 1, engine=engine(name))
    assert flow.value == pytest.approx(cost(edges, capacities, flow.source_side), rel=close)
    assert np.log2(flow.scale) == round(np.log2(flow.scale))
    assert flow.engine == name


def test_halves_are_exact() -> None:
    flow = max_flow(np.array([[0, 1], [1, 2]]), np.array([0.75, 0.5]), 0, 2, engine="scipy")
    assert flow.value == 0.5


@pytest.mark.parametrize("name", ["scipy", "ortools"])
def test_nothing_flows_without_a_way(name: str) -> None:
    flow = max_flow(np.array([[0, 1], [3, 2]]), np.array([4, 4]), 0, 2, engine=engine(name))
    assert flow.value == 0
    np.testing.assert_array_equal(flow.source_side, [True, True, False, False])
    empty = max_flow(np.zeros((0, 2), int), np.zeros(0, int), 0, 1, engine=engine(name))
    assert empty.value == 0
    np.testing.assert_array_equal(empty.source_side, [True, False])


@pytest.mark.parametrize(
    ("edges", "capacities", "ends", "said"),
    [
        ([[0, 1]], [-1], (0, 1), "a capacity of -1 at edge 0"),
        ([[0, 1]], [np.nan], (0, 1), "a capacity of nan at edge 0"),
        ([[0, 1]], [np.inf], (0, 1), "a capacity of inf at edge 0"),
        ([[0, -1]], [1], (0, 1), "the node -1"),
        ([[0, 1]], [1], (1, 1), "source 1 and sink 1"),
        ([[0, 1], [0, 1]], [2**31, 1], (0, 1), "sum up to 2.147e"),
    ],
)
def test_says_what_cannot_be(
    edges: list[list[int]], capacities: list[float], ends: tuple[int, int], said: str
) -> None:
    with pytest.raises(BadArgument, match=said):
        max_flow(np.array(edges), np.array(capacities), *ends, engine="scipy")


def test_says_that_ortools_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ortools.graph.python.max_flow", None)
    with pytest.raises(BadArgument, match=r"pip install 'segmentarium\[flow\]'"):
        max_flow(np.array([[0, 1]]), np.array([1]), 0, 1, engine="ortools")


@pytest.mark.filterwarnings("error")
def test_nothing_flows_where_nothing_can() -> None:
    assert max_flow(np.array([[0, 1]]), np.array([0.0]), 0, 1, engine="scipy").value == 0


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(BadArgument, match="3 capacities; allowed: 1, one an edge"):
        max_flow(np.array([[0, 1]]), np.array([1, 2, 3]), 0, 1)
