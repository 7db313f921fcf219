"""Maximal flows in graphs of any form, by ortools where it is installed, else by scipy.

Grids of pixels have a faster way of their own: :mod:`segmentarium.ops.grid_cut`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Int64, Integer, Num
from scipy import sparse

from segmentarium.errors import BadArgument, UnknownName

Engine = Literal["auto", "ortools", "scipy"]
MOST = {"ortools": 2**62, "scipy": 2**31 - 1}
"""What the capacities of all edges may sum up to."""


@dataclass(frozen=True, eq=False)
class Flow:
    """A maximal flow and the cut that bounds it.

    ``source_side`` is the least set of nodes that can stay with the source. Engines reckon in integers:
    floats were multiplied by ``scale`` and rounded, so ``value`` is off by at most half an edge's
    ``1 / scale`` for each edge of the cut. Integers are exact, their scale is 1.
    """

    value: int | float
    source_side: Bool[np.ndarray, " nodes"]
    scale: float
    engine: str


def max_flow(
    edges: Integer[np.ndarray, "m 2"],
    capacities: Num[np.ndarray, " _"],
    source: int,
    sink: int,
    *,
    engine: Engine = "auto",
) -> Flow:
    """Push as much as can flow from source to sink.

    Args:
        edges: from node, to node; numbers from 0. Edges may repeat.
        engine: "ortools" is the faster one; "scipy" has 32 bits only. "auto" takes what is there.

    Raises:
        UnknownName: there is no such engine.
        BadArgument: nodes or capacities cannot be, or capacities sum up to more than the engine can hold.

    Source: Goldberg and Tarjan 1988 (push-relabel, ortools); Dinic 1970 (scipy).

    >>> flow = max_flow(np.array([[0, 1], [1, 2]]), np.array([5, 3]), 0, 2, engine="scipy")
    >>> flow.value, flow.source_side
    (3, array([ True,  True, False]))
    """
    _require(edges, capacities, source, sink)
    if engine not in get_args(Engine):
        raise UnknownName.among("engine", engine, get_args(Engine))
    name = ("ortools" if find_spec("ortools") else "scipy") if engine == "auto" else engine
    whole, scale = _integers(capacities, MOST[name])
    count = max(int(edges.max(initial=0)), source, sink) + 1
    solve = _ortools if name == "ortools" else _scipy
    value, side = solve(edges, whole, source, sink, count)
    return Flow(value if capacities.dtype.kind in "iu" else value / scale, side, scale, name)


def _integers(capacities: Num[np.ndarray, " m"], most: int) -> tuple[Int64[np.ndarray, " m"], float]:
    """Capacities as integers whose sum stays within ``most``, and the power of two that scaled them."""
    total = float(capacities.sum(dtype=float))
    if capacities.dtype.kind in "iu":
        if total > most:
            raise BadArgument(f"capacities that sum up to {total:.4g}", allowed=f"up to {most:.4g}")
        return capacities.astype(np.int64), 1.0
    if total == 0:
        return np.zeros(len(capacities), np.int64), 1.0
    room = (most - len(capacities)) / total  # each may be rounded up
    scale = 2.0 ** np.clip(np.floor(np.log2(room)), -1000, 52)
    return np.rint(capacities.astype(float) * scale).astype(np.int64), float(scale)


def _ortools(
    edges: Integer[np.ndarray, "m 2"], whole: Int64[np.ndarray, " m"], source: int, sink: int, count: int
) -> tuple[int, Bool[np.ndarray, " nodes"]]:
    try:
        from ortools.graph.python.max_flow import SimpleMaxFlow
    except ImportError:
        raise BadArgument(
            "engine 'ortools' is not installed", allowed="scipy", cure="pip install 'segmentarium[flow]'"
        ) from None
    solver = SimpleMaxFlow()
    ends = np.ascontiguousarray(edges.T, np.int32)
    solver.add_arcs_with_capacity(ends[0], ends[1], whole)
    status = solver.solve(source, sink)
    if status != solver.OPTIMAL:
        raise BadArgument(f"ortools gave up: {status}", cure="scale the capacities down")
    side = np.zeros(count, bool)
    side[solver.get_source_side_min_cut()] = True
    side[source] = True
    return int(solver.optimal_flow()), side


def _scipy(
    edges: Integer[np.ndarray, "m 2"], whole: Int64[np.ndarray, " m"], source: int, sink: int, count: int
) -> tuple[int, Bool[np.ndarray, " nodes"]]:
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    graph = sparse.csr_array((whole.astype(np.int32), (edges[:, 0], edges[:, 1])), shape=(count, count))
    graph.sum_duplicates()
    found = maximum_flow(graph, source, sink)
    left = (graph - found.flow).tocsr()
    left.eliminate_zeros()
    side = np.zeros(count, bool)
    side[breadth_first_order(left, source, return_predecessors=False)] = True
    return int(found.flow_value), side


def _require(
    edges: Integer[np.ndarray, "m 2"], capacities: Num[np.ndarray, " _"], source: int, sink: int
) -> None:
    if source == sink or min(source, sink) < 0:
        raise BadArgument(f"source {source} and sink {sink}", allowed="two different nodes, from 0")
    if len(edges) != len(capacities):
        raise BadArgument(f"{len(capacities)} capacities", allowed=f"{len(edges)}, one an edge")
    if edges.min(initial=0) < 0:
        raise BadArgument(f"the node {edges.min()}", allowed="numbers from 0")
    wrong = np.flatnonzero(~((capacities >= 0) & (capacities < np.inf)))
    if len(wrong):
        raise BadArgument(
            f"a capacity of {capacities[wrong[0]]} at edge {wrong[0]}", allowed="finite numbers from 0"
        )
