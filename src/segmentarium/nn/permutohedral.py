"""The permutohedral lattice: Gaussian filters over features of any dimension, in linear time, with gradients.

Values are spread from each feature to the corners of the simplex around it, blurred along the directions of
the lattice, and gathered again. That is about the sum over all features j of exp(-|f_i - f_j|^2 / 2) v_j,
j = i included, times a factor nearly constant; divided by what ones give, it is a weighted mean.

It is plain PyTorch, on any device; on a CPU the compiled loops of ``ops`` are a second implementation.
"""

from __future__ import annotations

from contextlib import suppress
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from segmentarium.errors import BadArgument
from segmentarium.ops.permutohedral import Lattice as Compiled

FARTHEST = 2.0**40
"""Features must be nearer to 0, in standard deviations; more is beyond what their numbers resolve."""

_ROOM = 2**62
"""Keys stay below it, so that a step to a neighbour does not overflow 64 bits."""


class Lattice:
    """The points around ``features``; each picture of a batch has points of its own.

    Args:
        features: of unit variance, that is divided by the standard deviations of the filter.

    Raises:
        BadArgument: features are not finite, or so far apart that points cannot be numbered.

    Source: Adams, Baek and Davis 2010, "Fast High-Dimensional Filtering Using the Permutohedral Lattice".
    The blur runs over points that a feature has touched and makes no new ones, as in Krähenbühl and Koltun
    2011, arXiv:1210.5644, and the programs that follow it.
    """

    def __init__(self, features: Float[Tensor, "b n d"]) -> None:
        self.batch, _, self.dimensions = features.shape
        simplices = Simplices(features.detach().flatten(0, 1).mT)
        self.weights = simplices.weights
        picture = torch.arange(self.batch, device=features.device).repeat_interleave(features.shape[1])
        points = Points(simplices, picture)
        self.corners, self.neighbours, self.count = points.corners, points.neighbours, points.count

    def filter(self, values: Float[Tensor, "b n c"], *, reverse: bool = False) -> Float[Tensor, "b n c"]:
        """Filter ``values``, one row a feature.

        Gradients go to values alone, by the exact adjoint; features are constants.

        Args:
            reverse: blur along the last direction first. Blurs along two directions do not commute where
                points are missing, so this is the adjoint of the filter.
        """
        filtered: Tensor = _Filter.apply(values, self, reverse)
        return filtered

    def apply(self, values: Float[Tensor, "b n c"], *, reverse: bool) -> Float[Tensor, "b n c"]:
        """:meth:`filter` without gradients."""
        flat = values.flatten(0, 1).to(self.weights.dtype)
        gathered = self._slice(self._blur(self._splat(flat), reverse=reverse))
        return gathered.view_as(values).to(values.dtype)

    def _splat(self, values: Tensor) -> Float[Tensor, "_ c"]:
        """The last row stands for all points that do not exist; it stays zero."""
        points = values.new_zeros(self.count + 1, values.shape[1])
        for corner, weight in zip(self.corners, self.weights, strict=True):
            points.index_add_(0, corner, weight[:, None] * values)
        return points

    def _blur(self, points: Tensor, *, reverse: bool) -> Float[Tensor, "_ c"]:
        for direction in reversed(self.neighbours) if reverse else self.neighbours:
            ahead, behind = (points.index_select(0, places) for places in direction)
            points[:-1].add_(ahead.add_(behind), alpha=0.5)
        return points

    def _slice(self, points: Tensor) -> Float[Tensor, "_ c"]:
        alpha = 1 / (1 + 2.0**-self.dimensions)
        found = points.new_zeros(self.corners.shape[1], points.shape[1])
        for corner, weight in zip(self.corners, self.weights, strict=True):
            found.addcmul_(points.index_select(0, corner), weight[:, None], value=alpha)
        return found


class CompiledLattice(Lattice):
    """The same lattice by the compiled loops of ``ops``, in single precision on a CPU.

    Raises:
        BadArgument: as for :class:`Lattice`; or features have more dimensions than the loops know.
    """

    def __init__(self, features: Float32[Tensor, "b n d"]) -> None:
        self._pictures = [Compiled(one) for one in features.detach().contiguous().numpy()]

    def apply(self, values: Float32[Tensor, "b n c"], *, reverse: bool) -> Float32[Tensor, "b n c"]:
        pairs = zip(self._pictures, values.detach().contiguous().numpy(), strict=True)
        return torch.from_numpy(np.stack([lattice.filter(one, reverse=reverse) for lattice, one in pairs]))


def lattice_of(features: Float[Tensor, "b n d"]) -> Lattice:
    """The lattice that is quickest for ``features``, by where they are and of which type."""
    if features.device.type == "cpu" and features.dtype == torch.float32:
        with suppress(BadArgument):  # too many dimensions, or NaN, for which the plain lattice finds words
            return CompiledLattice(features)
    return Lattice(features)


class _Filter(torch.autograd.Function):
    """A linear map; its transpose is itself with the directions reversed."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, lattice: Lattice, reverse: bool) -> Tensor:
        ctx.lattice, ctx.reverse = lattice, reverse
        return lattice.apply(values, reverse=reverse)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return ctx.lattice.filter(gradients[0], reverse=not ctx.reverse), None, None


class Simplices:
    """Where features lie in the lattice; axes are coordinates (or corners) and features.

    ``origin`` is the corner of remainder 0, d + 1 coordinates that are multiples of d + 1. ``rank`` tells how
    many residuals are larger than that of each coordinate. ``weights`` are barycentric, corner by corner.
    """

    def __init__(self, features: Float[Tensor, "d n"]) -> None:
        sides = len(features) + 1
        elevated = elevate(features)
        if not elevated.abs().amax() < FARTHEST:  # so that NaN is refused too
            raise BadArgument(
                f"features up to {features.abs().amax():g} standard deviations",
                allowed=f"finite numbers well below {FARTHEST:.0e}",
            )
        multiples = (elevated * (1 / sides)).round()  # a half goes to the even neighbour
        order = (elevated - multiples * sides).argsort(dim=0, descending=True, stable=True)
        places = torch.arange(sides, device=order.device)[:, None].expand_as(order)
        rank = torch.empty_like(order).scatter_(0, order, places)
        # the rounded point may lie off the plane of sum 0: the coordinates that were rounded most turn back
        rank += multiples.sum(0).long()
        turn = (rank < 0).long() - (rank >= sides).long()
        self.rank = rank + turn * sides
        self.origin = (multiples.long() + turn) * sides
        residual = (elevated - self.origin) * (1 / sides)
        falling = torch.empty_like(residual).scatter_(0, self.rank, residual)
        steps = (falling[:-1] - falling[1:]).flip(0)
        self.weights = torch.cat([1 + falling[-1:] - falling[:1], steps])


def elevate(features: Float[Tensor, "d n"]) -> Float[Tensor, "d+1 n"]:
    """Turn features into the plane of sum 0, scaled so that the blur has unit variance."""
    d = len(features)
    rows, tail = [], torch.zeros_like(features[0])
    for i in range(d, 0, -1):
        turned = features[i - 1] * (sqrt(2 / 3) * (d + 1) / sqrt(i * (i + 1)))
        rows.append(tail - i * turned)
        tail = tail + turned
    return torch.stack([tail, *reversed(rows)])


class Points:
    """The corners of all simplices, numbered without repetition.

    ``corners`` (d + 1, n) are the numbers of each feature's corners, ``neighbours`` (d + 1, 2, m) those of
    the points one step ahead and one behind along each direction; m stands for a point that does not exist.

    A point is told by its picture and coordinates, the digits of a number in mixed radix, so that a step
    along a direction adds a constant. Digits for which 64 bits are too few begin another word.
    """

    def __init__(self, simplices: Simplices, picture: Int[Tensor, " n"]) -> None:
        sides = len(simplices.rank)
        digits = torch.cat([picture[None], simplices.origin[:-1]])  # the last follows from the others
        low, high = digits.amin(1), digits.amax(1)
        reach = 2 * sides  # from an origin to any corner's neighbours
        words = _words((high - low + 2 * reach + 1).tolist(), limit=_ROOM // simplices.rank.numel())
        keys, steps = [], []
        for word in words:
            strides = digits.new_tensor(word.strides)
            shifts = digits.new_tensor([*word.strides[1:], 0])  # of each coordinate
            origin = (strides[:, None] * (digits - low[:, None] + reach)).sum(0)
            keys.append(_corner_keys(origin, shifts[simplices.rank.argsort(dim=0)]).flatten())
            steps.append(shifts.sum() - sides * shifts)
        numbers, known = _number(keys, words)
        self.count = len(known[-1])
        self.corners = numbers.view_as(simplices.rank).int()
        places = torch.arange(len(numbers), device=numbers.device)
        some = torch.empty_like(known[-1]).scatter_(0, numbers, places)  # where each point occurs
        own = [key[some] for key in keys]
        both = [
            _find([key + way * step for key, step in zip(own, along, strict=True)], words, known)
            for along in zip(*steps, strict=True)
            for way in (1, -1)
        ]
        self.neighbours = torch.stack(both).int().unflatten(0, (sides, 2))


class _Word(NamedTuple):
    """Some of the digits as one number below ``size``; the others have stride 0."""

    size: int
    strides: list[int]


def _words(spans: list[int], *, limit: int) -> list[_Word]:
    """As few words as hold digits below ``spans``, each word below ``limit``."""
    words = [_Word(1, [0] * len(spans))]
    for place, span in enumerate(spans):
        if span > limit:
            raise BadArgument(
                f"features that lie {span} steps of the lattice apart",
                allowed=f"up to {limit} for so many features",
                cure="widen the filter's standard deviations",
            )
        if words[-1].size * span > limit:
            words.append(_Word(1, [0] * len(spans)))
        size, strides = words[-1]
        words[-1] = _Word(size * span, [*strides[:place], size, *strides[place + 1 :]])
    return words


def _corner_keys(origin: Int[Tensor, " n"], shifts: Int[Tensor, "r n"]) -> Int[Tensor, "r n"]:
    """Keys of the corners: corner r adds r to all coordinates, and takes d + 1 from the r of highest rank.

    Args:
        shifts: what one more of the coordinate of each rank adds to the key.
    """
    sides = len(shifts)
    remainders = torch.arange(sides, device=shifts.device)[:, None]
    highest = shifts.flip(0).cumsum(0).roll(1, 0)
    highest[0] = 0
    return origin + remainders * shifts.sum(0) - sides * highest


def _number(keys: list[Tensor], words: list[_Word]) -> tuple[Int[Tensor, " e"], list[Int[Tensor, " _"]]]:
    """A number for each entry, equal for equal keys; and what is known after each word, sorted."""
    numbers, known = torch.zeros_like(keys[0]), []
    for key, word in zip(keys, words, strict=True):
        distinct, numbers = torch.unique(numbers * word.size + key, return_inverse=True)
        known.append(distinct)
    return numbers, known


def _find(keys: list[Tensor], words: list[_Word], known: list[Tensor]) -> Int[Tensor, " e"]:
    """The numbers of points with these keys; as many as there are points for those that do not exist."""
    numbers = torch.zeros_like(keys[0])
    exists = torch.ones_like(numbers, dtype=torch.bool)
    for key, word, distinct in zip(keys, words, known, strict=True):
        sought = numbers * word.size + key
        numbers = torch.searchsorted(distinct, sought).clamp_(max=len(distinct) - 1)
        exists &= distinct[numbers] == sought
    return numbers.where(exists, len(known[-1]))
