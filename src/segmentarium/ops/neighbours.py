"""Neighbourhoods of grids: each pair of neighbours named once, by the step from the first to the second."""

from __future__ import annotations

from itertools import product

import numpy as np
from jaxtyping import Int64

from segmentarium.errors import BadArgument

Offset = tuple[int, ...]

AXES = {(1, 2): 1, (2, 4): 1, (2, 8): 2, (3, 6): 1, (3, 18): 2, (3, 26): 3}
"""(axes of the grid, number of neighbours) → how many axes one step may move along."""


def neighbours(ndim: int, connectivity: int) -> tuple[Offset, ...]:
    """Half a neighbourhood: steps that go forward in the order of memory, the nearest first.

    Args:
        connectivity: 2 of a chain; 4 or 8 of a picture; 6, 18 or 26 of a volume.

    Raises:
        BadArgument: the grid has no such neighbourhood.

    >>> neighbours(2, 8)
    ((0, 1), (1, 0), (1, -1), (1, 1))
    """
    if (ndim, connectivity) not in AXES:
        counts = ", ".join(str(count) for axes, count in AXES if axes == ndim)
        raise BadArgument(f"{connectivity} neighbours in {ndim} dimensions", allowed=counts or "1 to 3 axes")
    steps = (step for step in product((-1, 0, 1), repeat=ndim) if step > (0,) * ndim)
    near = [step for step in steps if _moves(step) <= AXES[ndim, connectivity]]
    return tuple(sorted(near, key=lambda step: (_moves(step), step)))


def strides_of(size: tuple[int, ...], connectivity: int | None) -> Int64[np.ndarray, " n"]:
    """How far in memory all neighbours are, in its order; the fewest neighbours if left out.

    >>> strides_of((5, 6), 8)
    array([-7, -6, -5, -1,  1,  5,  6,  7])
    """
    strides = np.array([int(np.prod(size[axis + 1 :])) for axis in range(len(size))])
    half = np.array(neighbours(len(size), 2 * len(size) if connectivity is None else connectivity)) @ strides
    return np.sort(np.concatenate([-half, half]))


def both_ends(offset: Offset) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Two views of a grid of which each place of the first is one ``offset`` before that of the second."""
    return tuple(map(_start, offset)), tuple(_start(-step) for step in offset)


def _start(step: int) -> slice:
    return slice(None, -step) if step > 0 else slice(-step, None)


def _moves(step: Offset) -> int:
    return sum(map(abs, step))
