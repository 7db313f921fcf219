"""Surface elements ("surfels") between voxels: where they are, and how much of the surface each one is.

Eight voxels meet at a corner of the grid (in the plane, four pixels). A corner is part of the surface if some
of them lie in the mask and some do not; which ones is its *code*, and the code decides the piece of surface
that passes there, as in marching cubes. No table is stored: the pieces are built from the code.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from math import factorial
from operator import add, ne

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

Cell = tuple[int, ...]
"""One of the voxels around a corner: 0 before or 1 behind it, an axis each."""
Point = tuple[int, ...]
"""A place among them in half voxels: 0 and 2 are centres of cells, 1 is midway."""


def surfels(
    mask: Bool[np.ndarray, "*s"],
) -> tuple[Int64[np.ndarray, "n d"], UInt8[np.ndarray, " n"]]:
    """The corners of the grid that lie on the surface of a mask of two or three dimensions.

    Returns:
        Corner ``i`` lies between the voxels ``i - 1`` and ``i`` of each axis, half a voxel before the centre
        of voxel ``i``; outside the array nothing is in the mask. With it the code of each.
    """
    box = _bounding_box(mask)
    padded = np.pad(mask[box], 1)
    codes = np.zeros([side - 1 for side in padded.shape], np.uint8)
    for bit, cell in enumerate(_cells(mask.ndim)):
        window = tuple(slice(c, c + side) for c, side in zip(cell, codes.shape, strict=True))
        codes |= padded[window].view(np.uint8) << np.uint8(bit)
    full = (1 << 2**mask.ndim) - 1
    corners = np.nonzero((codes != 0) & (codes != full))
    first = np.array([part.start for part in box], np.int64)
    return np.stack(corners, -1).astype(np.int64) + first, codes[corners]


def surfel_areas(codes: UInt8[np.ndarray, " n"], *, spacing: tuple[float, ...]) -> Float64[np.ndarray, " n"]:
    """Area of each surfel (in the plane, length), in the square of the unit of ``spacing``.

    Source: marching cubes (Lorensen and Cline 1987) with the surface half-way between voxel centres; of the
    voxels in the mask and those outside, the fewer ones are cut off, those that share a face together. In the
    plane, marching squares. Equal to the tables of DeepMind's surface-distance.
    """
    owners, simplices = _pieces(len(spacing))
    edges = (simplices[:, 1:] - simplices[:, :1]) * np.asarray(spacing)
    squared = np.linalg.det(edges @ edges.transpose(0, 2, 1))  # Gram: of parallelograms, squared
    areas = np.sqrt(squared) / factorial(len(spacing) - 1)
    return np.asarray(np.bincount(owners, areas, minlength=1 << 2 ** len(spacing))[codes])


def _bounding_box(mask: Bool[np.ndarray, "*s"]) -> tuple[slice, ...]:
    """The smallest window that holds the mask; an empty one at the origin if nothing is in it."""
    window = []
    for axis in range(mask.ndim):
        inside = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        window.append(slice(int(inside[0]), int(inside[-1]) + 1) if inside.size else slice(0, 0))
    return tuple(window)


def _cells(dimensions: int) -> tuple[Cell, ...]:
    """The voxels around a corner, in the order of the bits of a code."""
    return tuple(product((0, 1), repeat=dimensions))


@cache
def _pieces(dimensions: int) -> tuple[Int64[np.ndarray, " p"], Float64[np.ndarray, "p d d"]]:
    """The surface of every code, cut into segments or triangles: the code and the ends of each piece."""
    cells = _cells(dimensions)
    owners: list[int] = []
    simplices: list[tuple[Point, ...]] = []
    for code in range(1, (1 << len(cells)) - 1):
        inside = [cell for bit, cell in enumerate(cells) if code >> bit & 1]
        fewer = inside if 2 * len(inside) <= len(cells) else [cell for cell in cells if cell not in inside]
        for part in _parts(fewer):
            found = list(_triangles(_loop(part)) if dimensions == 3 else [tuple(_crossings(part))])
            owners += [code] * len(found)
            simplices += found
    return np.array(owners, np.int64), np.array(simplices, np.float64) / 2


def _parts(cells: list[Cell]) -> Iterator[list[Cell]]:
    """Groups of cells that hang together by faces."""
    left = set(cells)
    while left:
        part = [left.pop()]
        for cell in part:  # grows while it is walked
            beside = {other for other in left if sum(map(ne, cell, other)) == 1}
            left -= beside
            part += sorted(beside)
        yield part


def _crossings(part: list[Cell]) -> list[Point]:
    """Midpoints between a cell of the part and a neighbour that is not; cells with fewest of them first."""
    points = []
    for cell in part:
        across = [(*cell[:axis], 1 - cell[axis], *cell[axis + 1 :]) for axis in range(len(cell))]
        points.append([tuple(map(add, cell, other)) for other in across if other not in part])
    return [point for group in sorted(points, key=len) for point in group]


def _loop(part: list[Cell]) -> list[Point]:
    """The crossings in order around the part: neighbours lie on one side of the cube of cells."""
    first, *left = _crossings(part)
    loop = [first]
    while left:
        beside = next(p for p in left if any(a == b != 1 for a, b in zip(loop[-1], p, strict=True)))
        left.remove(beside)
        loop.append(beside)
    return loop


def _triangles(loop: list[Point]) -> Iterator[tuple[Point, ...]]:
    """Cut every second corner off a polygon that need not be flat, until a triangle is left.

    Two polygons are not flat. Around three cells the first corner must go, which is why :func:`_crossings`
    begins with it. Around a chain of four that turns twice, either three of the six give the same area.
    """
    while len(loop) > 3:
        yield loop[-1], loop[0], loop[1]
        loop = [*loop[2:], loop[1]]
    yield tuple(loop)
