"""Large moves by minimal cuts: each lets many places change their label at once, in the best way there is.

A move offers every place two labels, the ``low`` and the ``high`` one, which depend on the label it has. What
to take is a cut: the source side takes the high one.

Source: Boykov, Veksler and Zabih 2001, sections 3 and 4; the graph of a move after Kolmogorov and Zabih 2004,
section 4, each pair's term being halved between both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float64, Int32, Int64, Integer

from segmentarium.classical.crf import moves_kernels as kernels
from segmentarium.classical.crf.energy import GridCRF, is_metric, is_semimetric
from segmentarium.classical.levels import within
from segmentarium.errors import BadArgument
from segmentarium.ops.grid_cut import Network

Move = tuple[Int64[np.ndarray, " k"], Int64[np.ndarray, " k"]]
"""By the label that a place has: the low and the high label it may take."""


@dataclass(frozen=True, eq=False)
class Moved:
    """``energies`` are those at the start and after each sweep; ``settled``: no move helps any more."""

    labels: Int32[np.ndarray, "*s"]
    energy: int | float
    energies: tuple[int | float, ...]
    settled: bool


def expansion(
    crf: GridCRF,
    *,
    start: Integer[np.ndarray, "*s"] | None = None,
    sweeps: int = 100,
    truncate: bool = False,
) -> Moved:
    """Let each label in turn take whatever places it gains by, until none gains.

    The energy is then at most ``2 * max / min`` of the pairwise costs of different labels times the least.

    Args:
        start: labels to begin with; the best by unary costs if left out.
        truncate: take costs that are no metric, and cut off what breaks the triangle inequality in a move
            (Rother et al. 2005). The energy still never rises, but a move need not be the best one.

    Raises:
        BadArgument: pairwise costs are no metric.
    """
    if not (is_metric(crf.pairwise) or truncate):
        raise BadArgument(
            "pairwise costs that are no metric",
            allowed="symmetric costs from 0, 0 for equal labels, that obey the triangle inequality",
            cure="take swap, or truncate=True",
        )
    same = np.arange(crf.labels)
    return _descend(crf, [(same, np.full_like(same, label)) for label in same], start, sweeps)


def swap(crf: GridCRF, *, start: Integer[np.ndarray, "*s"] | None = None, sweeps: int = 100) -> Moved:
    """Let the places of each two labels be shared out anew, until no two gain.

    Args:
        start: labels to begin with; the best by unary costs if left out.

    Raises:
        BadArgument: pairwise costs are no semimetric.
    """
    if not is_semimetric(crf.pairwise):
        raise BadArgument(
            "pairwise costs that are no semimetric", allowed="symmetric costs from 0, 0 for equal labels"
        )
    same = np.arange(crf.labels)
    pairs = combinations(same, 2)
    moves = [(np.where(same == a, b, same), np.where(same == b, a, same)) for a, b in pairs]
    return _descend(crf, moves, start, sweeps)


def _descend(
    crf: GridCRF, moves: Sequence[Move], start: Integer[np.ndarray, "*s"] | None, sweeps: int
) -> Moved:
    within("sweeps", sweeps, 1)
    labels = (crf.cheapest() if start is None else start).astype(np.int32, order="C")
    energies, idle = [crf.energy(labels)], 0
    network, buffers = Network(crf.size, crf.offsets), _Buffers(crf, labels)
    for _ in range(sweeps):
        for move in moves:
            idle = 0 if buffers.make(move, network) else idle + 1
            if idle == len(moves):
                break
        energies.append(crf.energy(labels))
        if idle == len(moves):
            break
    return Moved(labels, energies[-1], tuple(energies), idle == len(moves))


class _Buffers:
    """A field as the compiled loops take it, and the labels that the moves change in place."""

    def __init__(self, crf: GridCRF, labels: Int32[np.ndarray, "*s"]) -> None:
        whole = (*(1 for _ in range(3 - len(crf.size))), *crf.size)
        self.labels = labels.reshape(whole)
        self.unary = np.asarray(crf.unary, np.float64).reshape(*whole, crf.labels)
        self.links = np.asarray(crf.links, np.float64).reshape(-1, *whole)
        self.pairwise = np.asarray(crf.pairwise, np.float64)

    def make(self, move: Move, network: Network) -> bool:
        """Make the best of a move; returns whether the energy fell."""
        target = network.frame, network.terminal, network.residual
        kernels.load_unary(self.labels, self.unary, *move, *target[:2])
        terms = _terms(self.pairwise, *move)
        for number, offset in enumerate(network.offsets):
            kernels.load_pairs(self.labels, self.links[number], terms, offset, 2 * number, *target)
        network.maximise()
        moved = kernels.moved(self.labels, *move, network.trees[0], network.frame)
        change = kernels.change(self.labels, moved, self.unary, self.links, self.pairwise, network.offsets)
        if change >= 0:
            return False
        self.labels[:] = moved
        return True


def _terms(
    pairwise: Float64[np.ndarray, "k k"], low: Int64[np.ndarray, " k"], high: Int64[np.ndarray, " k"]
) -> Float64[np.ndarray, "3 k k"]:
    """What a pair of labels adds: to the links in both directions, and to the high labels of either place.

    ``neither`` is made no dearer than the sum of the others allows: nothing changes by it with a metric.
    """
    both, first = pairwise[np.ix_(high, high)], pairwise[np.ix_(high, low)]
    second, neither = pairwise[np.ix_(low, high)], pairwise[np.ix_(low, low)]
    neither = np.minimum(neither, first + second - both)
    return (
        np.stack(
            [
                first + second - both - neither,
                first + both - second - neither,
                second + both - first - neither,
            ]
        )
        / 2
    )
