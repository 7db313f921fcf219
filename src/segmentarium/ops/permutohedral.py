"""Gaussian filtering of scattered features in many dimensions at a cost that is linear in their number.

Features live on the lattice A*_d: each gives its values to the d + 1 corners of the simplex around it, the
corners are blurred along d + 1 directions, and each feature takes back what its corners hold.

Source: Adams, Baek and Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010. As in
the code of Krähenbühl and Koltun (2011), the blur makes no new points and its directions run in index order,
so that the filter is not symmetric: its adjoint runs them in reverse.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float, Float32, Int64

from segmentarium.errors import BadArgument
from segmentarium.ops import permutohedral_kernels as kernels
from segmentarium.ops.lanes import padded
from segmentarium.ops.share import share

MOST_DIMENSIONS = 15
BLOCK_NUMBERS = 1 << 16  # that are worked on at once: they fit the cache
BANDS = 16
LEAST_BAND = 4096  # features or points; fewer are not worth a merge or a thread
MOST_CELLS = 2.0**62  # so that a key is an integer of 64 bits
MOST_ALONG = 2.0**22  # so that single precision still tells features apart
MARGIN = 3  # cells around the features: corners and their neighbours, and the rounding of the bounds


class Lattice:
    """The points around n features of dimension d; what is filtered comes later, as often as one likes.

    The features are cut into bands, each of which may be worked on by a thread of its own. The bands depend
    on the features alone, and so do all sums: the number of cores changes nothing.

    Args:
        features: scaled so that the Gaussian has the variance 1 along each axis.

    Raises:
        BadArgument: nothing, NaN, too many dimensions, or features so far apart that their cells cannot be
            numbered.

    >>> Lattice(np.zeros((2, 3), np.float32)).filter(np.ones((2, 1), np.float32)).ravel().round(3)
    array([2., 2.], dtype=float32)
    """

    def __init__(self, features: Float32[np.ndarray, "n d"]) -> None:
        n, d = features.shape
        if n < 1 or not 1 <= d <= MOST_DIMENSIONS:
            raise BadArgument(
                f"features of shape {features.shape}",
                allowed=f"at least one feature of 1 to {MOST_DIMENSIONS} dimensions",
            )
        scale = _scale(d)
        low, strides = _numbering(features, scale)
        count = max(1, min(BANDS, n // LEAST_BAND))
        self.edges = [band * n // count for band in range(count + 1)]
        self.weights = np.empty((n, d + 1), np.float32)
        self.offsets = np.empty((n, d + 1), np.int32)
        found: dict[int, Int64[np.ndarray, " m"]] = {}

        def embed(start: int, stop: int) -> None:
            for band in range(start, stop):
                place = self.weights, self.offsets, self.edges[band], self.edges[band + 1]
                found[band] = kernels.embed(features, scale, low, strides, *place)

        share(embed, count)
        self._connect([found[band] for band in range(count)], strides)

    def _connect(self, bands: list[Int64[np.ndarray, " _"]], strides: Int64[np.ndarray, " corners"]) -> None:
        """Number the points of all bands in the order of their appearance, and find their neighbours."""
        most = sum(map(len, bands))
        slots = 1 << (2 * most - 1).bit_length()
        table, ids = np.full(slots, kernels.EMPTY, np.int64), np.empty(slots, np.int32)
        keys = np.empty(most, np.int64)
        known, ranges = 0, []
        for band, found in enumerate(bands):
            renamed = np.empty(len(found), np.int32)
            known = kernels.merge(table, ids, keys, known, found, renamed)
            ranges.append((int(renamed.min()), int(renamed.max()) + 1))
            start, stop = self.edges[band : band + 2]
            if band > 0:
                share(partial(_rename, self.offsets, renamed, start), stop - start, least=LEAST_BAND)
        self.size = int(known)
        self.ahead = np.full((len(strides), known), known, np.int32)
        self.behind = self.ahead.copy()
        sought = partial(kernels.connect, table, ids, keys, strides, self.ahead, self.behind)
        share(sought, self.size, least=LEAST_BAND)
        self.ranges = np.array(ranges, np.int64)

    @property
    def alpha(self) -> float:
        """What all results are multiplied by: the inverse of what the blur leaves of a value in its place."""
        return float(1 / (1 + 2.0 ** (1 - self.offsets.shape[1])))

    def filter(
        self, values: Float32[np.ndarray, "n c"], *, reverse: bool = False
    ) -> Float32[np.ndarray, "n c"]:
        """Sum over all features about ``exp(-|f - f'|^2 / 2)`` of their values, the own one included.

        Sums are lower than those of the true Gaussian, by a nearly constant factor: 0.87 in two dimensions,
        about 0.6 in five. Divide by :meth:`norm` for a mean.

        Args:
            reverse: the adjoint filter, by which gradients go back.

        Raises:
            BadArgument: not one row a feature.
        """
        n, channels = values.shape
        if n != len(self.offsets):
            raise BadArgument(f"{n} rows of values", allowed=f"{len(self.offsets)}, one a feature")
        sums, same = Sums(self, channels, common_bands([self])), np.ones(n, np.float32)
        out = np.empty_like(values)

        def give(first: int, last: int) -> None:
            for band in range(first, last):
                for start, stop, block in blocks(sums.edges[band], sums.edges[band + 1], channels):
                    block[:, :channels] = values[start:stop]
                    sums.give(block, same, band, start, stop)

        def take(first: int, last: int) -> None:
            for start, stop, block in blocks(first, last, channels):
                block[:] = 0
                sums.take(block, same, start, stop)
                out[start:stop] = block[:, :channels]

        share(give, len(sums.edges) - 1)
        sums.settle(reverse=reverse)
        same *= np.float32(self.alpha)
        share(take, n, least=LEAST_BAND)
        return out

    def norm(self) -> Float32[np.ndarray, " n"]:
        """What the filter makes of ones: how much of the others each feature sees, itself included."""
        return self.filter(np.ones((len(self.offsets), 1), np.float32)).ravel()

    def diagonal(self) -> Float32[np.ndarray, " n"]:
        """How much of its own value each feature gets back: what to leave out of a sum over all others."""
        own = np.empty(len(self.offsets), np.float32)
        place = self.ahead, self.behind, self.offsets, self.weights, own
        share(partial(kernels.own_share, *place), len(own), least=LEAST_BAND)
        own *= np.float32(self.alpha)
        return own


def blocks(first: int, last: int, channels: int) -> Iterator[tuple[int, int, Float32[np.ndarray, "m width"]]]:
    """Parts ``start, stop`` of a range with room for their channels, padded by zeros; the room is reused."""
    width = padded(channels)
    rows = max(1, min(BLOCK_NUMBERS // width, last - first))
    room = np.zeros((rows, width), np.float32)
    for start in range(first, last, rows):
        stop = min(start + rows, last)
        yield start, stop, room[: stop - start]


def common_bands(lattices: Sequence[Lattice]) -> list[int]:
    """Edges of the finest bands whose sums take at most half as many rows as there are features.

    Args:
        lattices: of different features of the same pixels.
    """
    edges = lattices[0].edges
    while len(edges) > 2 and 2 * sum(int(np.diff(_ranges(one, edges)).sum()) for one in lattices) > edges[-1]:
        edges = [*edges[:-1:2], edges[-1]]
    return edges


def _ranges(lattice: Lattice, edges: list[int]) -> Int64[np.ndarray, "bands 2"]:
    """From which to which point the features of each band reach."""
    first = np.searchsorted(lattice.edges, edges[:-1])
    starts, ends = lattice.ranges.T
    return np.stack([np.minimum.reduceat(starts, first), np.maximum.reduceat(ends, first)], axis=1)


class Sums:
    """What the features give to the points of a lattice, and take from them after the blur.

    Values come in rows as long as those of :func:`blocks`. :meth:`give` and :meth:`take` may run at the same
    time, in a thread for each band; :meth:`settle` between them. The points keep their values until the next.
    """

    def __init__(self, lattice: Lattice, channels: int, edges: list[int]) -> None:
        self.lattice, self.edges = lattice, edges
        width = padded(channels)
        self.points = np.zeros((lattice.size + 1, width), np.float32)  # the last row stays 0
        self._spare = np.zeros_like(self.points)
        self._firsts, self._lasts = np.ascontiguousarray(_ranges(lattice, edges).T)
        ends = np.cumsum(self._lasts - self._firsts)
        self._shifts = ends - self._lasts
        self._parts = np.zeros((int(ends[-1]), width), np.float32)

    def give(
        self,
        values: Float32[np.ndarray, "m c"],
        scale: Float32[np.ndarray, " n"],
        band: int,
        start: int,
        stop: int,
    ) -> None:
        """Spread the values of the features ``start .. stop``, which lie in ``band``, times ``scale``."""
        lattice = self.lattice
        place = lattice.offsets, lattice.weights, self._parts, self._shifts[band]
        kernels.give(values, scale, *place, start, stop)

    def settle(self, *, reverse: bool = False) -> None:
        """Sum up what the bands gave, and blur it."""
        size, lattice = self.lattice.size, self.lattice
        bands = self._parts, self._shifts, self._firsts, self._lasts
        least = BLOCK_NUMBERS // self.points.shape[1]
        share(partial(kernels.join, *bands, self.points), size, least=least)
        directions = range(len(lattice.ahead))
        for j in reversed(directions) if reverse else directions:
            blur = partial(kernels.blur, self.points, lattice.ahead[j], lattice.behind[j], self._spare)
            share(blur, size, least=least)
            self.points, self._spare = self._spare, self.points

    def mix(self, matrix: Float32[np.ndarray, "c c"]) -> None:
        """Replace each point's channels by ``matrix`` times them: filters and mixtures commute."""
        c = len(matrix)
        np.matmul(self.points[:, :c], matrix.T, out=self._spare[:, :c])
        self.points, self._spare = self._spare, self.points

    def take(
        self, values: Float32[np.ndarray, "m c"], scale: Float32[np.ndarray, " n"], start: int, stop: int
    ) -> None:
        """Add to the values of the features ``start .. stop`` what their corners hold, times ``scale``."""
        kernels.take(self.points, scale, self.lattice.offsets, self.lattice.weights, values, start, stop)


def _rename(offsets: np.ndarray, renamed: np.ndarray, begin: int, start: int, stop: int) -> None:
    kernels.rename(offsets, renamed, begin + start, begin + stop)


def _scale(d: int) -> Float32[np.ndarray, " d"]:
    """Of each axis in the hyperplane: the blur's variance, and the length of the axes there."""
    steps = np.arange(d)
    return np.asarray(np.sqrt(2 / 3) * (d + 1) / np.sqrt((steps + 1) * (steps + 2)), np.float32)


def _numbering(
    features: Float32[np.ndarray, "n d"], scale: Float32[np.ndarray, " d"]
) -> tuple[Int64[np.ndarray, " corners"], Int64[np.ndarray, " corners"]]:
    """The least multiple of d + 1 along each coordinate of the lattice, and the stride of each in a key.

    A point's last coordinate follows from the others, whose sum with it is 0: its stride is 0.
    """
    d = len(scale)
    ends = features.min(0), features.max(0)
    if not np.isfinite(ends).all():
        raise BadArgument("features that are NaN or infinite", allowed="finite numbers")
    lowest, highest = _bounds(*ends, scale)
    low = np.floor(lowest / (d + 1)) - MARGIN
    counts = np.ceil(highest / (d + 1)) + MARGIN + 1 - low
    cells = (d + 1) * np.prod(counts[:-1])
    if cells >= MOST_CELLS or counts.max() >= MOST_ALONG:
        raise BadArgument(
            f"features that span {cells:.0e} cells of a lattice of {d} dimensions",
            allowed=f"up to {MOST_CELLS:.0e}, and {MOST_ALONG:.0e} along each",
            cure="widen the Gaussian, or cut the features into parts",
        )
    strides = np.concatenate([np.cumprod([d + 1, *counts[:-2]]), [0]]).astype(np.int64)
    return low.astype(np.int64), strides


def _bounds(
    least: Float32[np.ndarray, " d"], most: Float32[np.ndarray, " d"], scale: Float32[np.ndarray, " d"]
) -> tuple[Float[np.ndarray, " corners"], Float[np.ndarray, " corners"]]:
    """Between which values each coordinate in the hyperplane lies, by those of the features."""
    d = len(scale)
    turn = np.triu(np.ones((d + 1, d)))
    turn[np.arange(1, d + 1), np.arange(d)] = -np.arange(1, d + 1)
    ends = turn * scale * least, turn * scale * most
    return np.minimum(*ends).sum(1), np.maximum(*ends).sum(1)
