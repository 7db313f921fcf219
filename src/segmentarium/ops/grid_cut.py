"""Minimal cuts on grids of pixels or voxels.

A cut parts the grid in a source side and a sink side; it costs the capacities of the links that lead from
the one to the other. The cheapest cut costs as much as can flow (Ford and Fulkerson 1956).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Num

from segmentarium.errors import BadArgument
from segmentarium.ops import grid_cut_kernels as kernels
from segmentarium.ops.neighbours import Offset, both_ends

MOST = {"i": 2.0**52, "f": 1e300}
"""What integers and floats may sum up to: double precision then holds all integers exactly."""


@dataclass(frozen=True, eq=False)
class GridCut:
    """A cheapest cut: what it costs, and the least set of pixels that can stay with the source."""

    flow: int | float
    source_side: Bool[np.ndarray, "*s"]


def grid_cut(
    source: Num[np.ndarray, "*s"],
    sink: Num[np.ndarray, "*s"],
    forward: Sequence[Num[np.ndarray, "*s"]] | Num[np.ndarray, " n *s"],
    backward: Sequence[Num[np.ndarray, "*s"]] | Num[np.ndarray, " n *s"],
    offsets: tuple[Offset, ...],
) -> GridCut:
    """Part a grid of up to three axes at the least cost.

    Integers give the exact flow; of floats it is the cost of the cut up to rounding.

    Args:
        source: capacity of each pixel's link from the source: the price of the sink side.
        sink: capacity of each pixel's link to the sink: the price of the source side.
        forward: for each offset the capacities of the links from each pixel to its neighbour there; what
            leads out of the grid is not looked at.
        backward: the same for the links from those neighbours back to the pixel.
        offsets: index steps, each pair of neighbours named once, as :func:`.neighbours.neighbours` does.

    Raises:
        BadArgument: shapes do not fit, or a capacity is negative, no number or so large that sums overflow.

    Source: Boykov and Kolmogorov 2004.

    >>> links = [np.array([3, 2, 0])]
    >>> cut = grid_cut(np.array([9, 0, 0]), np.array([0, 0, 9]), links, links, ((1,),))
    >>> cut.flow, cut.source_side
    (2, array([ True,  True, False]))
    """
    _require(source, sink, forward, backward, offsets)
    arrays = (source, sink, *forward, *backward)
    network = Network(source.shape, offsets, "f" if any(a.dtype.kind == "f" for a in arrays) else "i")
    flow = network.load(source, sink, forward, backward) + network.maximise()
    return GridCut(int(flow) if network.kind == "i" else flow, network.source_side())


class Network:
    """Buffers for cuts on one grid; fill ``terminal`` and ``residual`` again for the next cut.

    Pixel (z, y, x) is number ``start + z * plane + y * row + x`` of the padded grid, ``frame`` being
    ``(start, plane, row)``. Pads lie between the rows, so that one serves both.

    Args:
        size: of the grid, up to three axes.
        kind: "i" for integers, "f" for floats.
    """

    def __init__(self, size: tuple[int, ...], offsets: tuple[Offset, ...], kind: str = "f") -> None:
        self.size, self.kind = size, kind
        ones = (0,) * (3 - len(size))
        self.offsets = tuple((*ones, *offset) for offset in offsets)
        self.whole = depth, height, width = (*(1 for _ in ones), *size)
        pad_z, pad_y, pad_x = (max((abs(o[axis]) for o in self.offsets), default=0) for axis in range(3))
        row = width + pad_x
        plane = (height + pad_y) * row
        start = pad_z * plane + pad_y * row + pad_x
        self.frame = start, plane, row
        count = depth * plane + 2 * start
        ways = [dz * plane + dy * row + dx for dz, dy, dx in self.offsets]
        self.steps = np.array([sign * way for way in ways for sign in (1, -1)], np.int64)
        self.terminal = np.zeros(count)
        self.residual = np.zeros((count, len(self.steps)))
        self.trees = (
            np.empty(count, np.int8),  # which tree
            np.empty(count, np.int8),  # the arc to the parent
            np.empty(count, np.int32),  # when the distance was last known to be right
            np.empty(count, np.int32),  # arcs to the root
        )
        self._queue, self._orphans = np.empty(count, np.int32), np.empty(count, np.int32)
        self._active = np.empty(count, bool)

    def load(
        self,
        source: Num[np.ndarray, "*s"],
        sink: Num[np.ndarray, "*s"],
        forward: Sequence[Num[np.ndarray, "*s"]] | Num[np.ndarray, " n *s"],
        backward: Sequence[Num[np.ndarray, "*s"]] | Num[np.ndarray, " n *s"],
    ) -> float:
        """Take the capacities of a cut; returns what flows straight from source to sink."""
        most = MOST[self.kind]
        terminals = self._plain(source), self._plain(sink)
        through, fine = kernels.load_terminals(*terminals, self.frame, self.terminal, most)
        if not fine or abs(float(np.sum(source, dtype=float))) > most:
            _refuse("source", source, self.kind)
            _refuse("sink", sink, self.kind)
            raise BadArgument("capacities of the source overflow in sum", allowed=f"up to {most:.3g}")
        for number, (there, back, offset) in enumerate(zip(forward, backward, self.offsets, strict=True)):
            links = self._plain(there), self._plain(back)
            if not kernels.load_links(*links, self.frame, offset, 2 * number, self.residual, most):
                inside, _ = both_ends(offset[3 - len(self.size) :])
                _refuse(f"forward[{number}]", there[inside], self.kind)
                _refuse(f"backward[{number}]", back[inside], self.kind)
        return float(through)

    def maximise(self) -> float:
        """Let flow all that can; the capacities are used up by it."""
        work = self.residual, self.terminal, self.steps, self.trees
        return float(kernels.maximise(*work, self._queue, self._active, self._orphans))

    def source_side(self) -> Bool[np.ndarray, "*s"]:
        """Which pixels stay with the source, after :meth:`maximise`."""
        inside = np.empty(self.whole, bool)
        kernels.read_side(self.trees[0], self.frame, inside)
        return inside.reshape(self.size)

    def _plain(self, values: Num[np.ndarray, "*s"]) -> Num[np.ndarray, "d h w"]:
        """As the compiled loops take it; a copy only where it must be."""
        number = np.float64 if self.kind == "f" else np.int32 if values.dtype == np.int32 else np.int64
        return np.ascontiguousarray(values, number).reshape(self.whole)


def _require(
    source: Num[np.ndarray, "*s"],
    sink: Num[np.ndarray, "*s"],
    forward: Sequence[Num[np.ndarray, "*s"]] | Num[np.ndarray, " n *s"],
    backward: Sequence[Num[np.ndarray, "*s"]] | Num[np.ndarray, " n *s"],
    offsets: tuple[Offset, ...],
) -> None:
    if not 1 <= source.ndim <= 3 or source.size == 0:
        raise BadArgument(f"a grid of shape {source.shape}", allowed="one to three axes, none of them empty")
    if {len(forward), len(backward)} != {len(offsets)}:
        raise BadArgument(f"{len(forward)} and {len(backward)} arrays of links for {len(offsets)} offsets")
    for values in (sink, *forward, *backward):
        if values.shape != source.shape:
            raise BadArgument(f"capacities of shape {values.shape} on a grid of {source.shape}")
    for offset in offsets:
        if len(offset) != source.ndim or not any(offset):
            raise BadArgument(f"the offset {offset}", allowed=f"{source.ndim} steps, not all of them 0")


def _refuse(name: str, values: Num[np.ndarray, "*s"], kind: str) -> None:
    """Name the first capacity that cannot be, if there is one."""
    wrong = np.argwhere(~((values >= 0) & (values <= MOST[kind])))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise BadArgument(
            f"{name}: a capacity of {values[at]} at {at}", allowed=f"numbers from 0 to {MOST[kind]:.3g}"
        )
