"""The fully connected field on pictures that do not fit the memory: tile by tile, in rows from the top.

A tile is read with a margin of some sigmas of the widest kernel around it, and what comes out of the margin
is thrown away. Pixels keep their place in the lattice of the whole picture. What a tile cannot see is what
lies beyond its margin: a share of exp(-margin^2 / 2) of the kernel in the first step, and what such pixels
would have passed on in later ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil, isqrt

import numpy as np
from jaxtyping import Float, Float32, Real

from segmentarium.classical.crf.dense import DenseCRF
from segmentarium.errors import BadArgument
from segmentarium.ops.lanes import padded
from segmentarium.ops.permutohedral import Lattice
from segmentarium.ops.tiles import Window

Energies = Callable[[Window], Float[np.ndarray, "k h w"]]
"""The unary energies of a window; made when they are asked for, or cut from a file."""
Pixels = Callable[[Window], Real[np.ndarray, "h w c"]]
LEAST_CORE = 16  # pixels; with smaller ones all the work would go into margins
USUAL_SHARE = 0.5  # points of all lattices for each pixel of a photograph, at the most


def infer_in_tiles(
    crf: DenseCRF,
    energies: Energies,
    picture: Pixels,
    *,
    size: tuple[int, int],
    classes: int,
    memory_mb: float = 1024.0,
    margin: float = 2.0,
) -> Iterator[tuple[Window, Float32[np.ndarray, "k h w"]]]:
    """Windows that cover the picture once, tiles in rows from the top, each with its probabilities.

    Tiles are as large as fits, since margins are worked on twice. Where a tile turns out to have more lattice
    points than photographs do, it is halved.

    Args:
        energies, picture: are asked for windows with their margins, cut at the picture's border.
        size: height and width of the picture.
        memory_mb: for all that is held at a time, without what ``energies`` and ``picture`` hold themselves.
        margin: in sigmas of the widest kernel.

    Raises:
        BadArgument: the margins alone do not fit the memory.
    """
    reach = _reach(crf, margin, size)
    side = _core_side(crf, picture(Window(0, 0, 1, 1)).shape[-1], classes, memory_mb, reach, size)
    if side < LEAST_CORE:
        raise _too_little(memory_mb, reach, classes)
    for top in range(0, size[0], side):
        for left in range(0, size[1], side):
            core = Window(top, left, min(top + side, size[0]), min(left + side, size[1]))
            yield from _tile(crf, energies, picture, core, size, reach, memory_mb)


def _tile(
    crf: DenseCRF,
    energies: Energies,
    picture: Pixels,
    core: Window,
    size: tuple[int, int],
    reach: tuple[int, int],
    memory_mb: float,
) -> Iterator[tuple[Window, Float32[np.ndarray, "k h w"]]]:
    whole = Window(
        max(0, core.top - reach[0]),
        max(0, core.left - reach[1]),
        min(size[0], core.bottom + reach[0]),
        min(size[1], core.right + reach[1]),
    )
    lattices = crf.lattices(picture(whole), origin=whole[:2])
    unary = energies(whole)
    if _bytes(lattices, len(unary)) > 1e6 * memory_mb:
        if max(core.size) <= LEAST_CORE:
            raise _too_little(memory_mb, reach, len(unary))
        del lattices, unary
        for half in _halves(core):
            yield from _tile(crf, energies, picture, half, size, reach, memory_mb)
        return
    probs = crf.mean_field(unary, lattices).run(crf.iterations).reshape(unary.shape)
    del unary, lattices
    y, x = core.top - whole.top, core.left - whole.left
    yield core, probs[:, y : y + core.size[0], x : x + core.size[1]]


def _halves(core: Window) -> tuple[Window, Window]:
    """Upper and lower, or left and right of what is wider than high."""
    top, left, bottom, right = core
    if right - left > bottom - top:
        middle = (left + right) // 2
        return Window(top, left, bottom, middle), Window(top, middle, bottom, right)
    middle = (top + bottom) // 2
    return Window(top, left, middle, right), Window(middle, left, bottom, right)


def _too_little(memory_mb: float, reach: tuple[int, int], classes: int) -> BadArgument:
    return BadArgument(
        f"memory_mb = {memory_mb:g} for margins of {reach} pixels and {classes} classes",
        allowed="more",
        cure="raise it, or lower the margin or the sigma of the kernels",
    )


def _reach(crf: DenseCRF, margin: float, size: tuple[int, int]) -> tuple[int, int]:
    """Of the widest kernel, in pixels down and across; no further than the picture goes."""
    both = [one.sigma if isinstance(one.sigma, tuple) else (one.sigma, one.sigma) for one in crf.kernels]
    down, across = np.max([(0.0, 0.0), *both], axis=0)
    return min(ceil(margin * down), size[0]), min(ceil(margin * across), size[1])


def _core_side(
    crf: DenseCRF,
    channels: int,
    classes: int,
    memory_mb: float,
    reach: tuple[int, int],
    size: tuple[int, int],
) -> int:
    """How long the sides of a tile may be without its margins; less than 1 if nothing fits."""
    corners = [3 + (0 if kernel.contrast is None else channels) for kernel in crf.kernels]
    each = _bytes_per_pixel(corners, classes) + _bytes_per_point(corners, classes) * USUAL_SHARE
    pixels = int(1e6 * memory_mb / each)
    if pixels >= size[0] * size[1]:
        return max(*size, LEAST_CORE)
    return isqrt(pixels + (reach[0] - reach[1]) ** 2) - sum(reach)


def _bytes(lattices: Sequence[Lattice], classes: int) -> int:
    """What inference will hold at the most."""
    corners = [lattice.offsets.shape[1] for lattice in lattices]
    pixels = max((len(lattice.offsets) for lattice in lattices), default=0)
    points = sum(lattice.size for lattice in lattices)
    return _bytes_per_pixel(corners, classes) * pixels + _bytes_per_point(corners, classes) * points


def _bytes_per_pixel(corners: list[int], classes: int) -> int:
    """Features, offsets and weights; what kernels scale by; maps of energies as they come and as they are
    kept, of probabilities and of those yielded before; scores, and sums of the bands for half the pixels."""
    return 12 * sum(corners) + 12 * len(corners) + 16 * classes + 6 * padded(classes)


def _bytes_per_point(corners: list[int], classes: int) -> int:
    """Neighbours, the table of keys, and sums before and after the blur."""
    return 8 * max(corners, default=0) + 64 + 8 * padded(classes)
