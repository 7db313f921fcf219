"""Belief propagation: neighbours tell each other what they think of the labels, until they agree.

Exact on chains and trees; on grids with loops an approximation that is often good and need not settle.
Messages are costs (negative logarithms), so that nothing underflows.

Source: Pearl 1988; Felzenszwalb & Huttenlocher 2006 (messages in linear time, checkerboard); Yedidia, Freeman
& Weiss 2005 (Bethe free energy).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64, Int32, Int64, Shaped
from scipy.special import softmax

from segmentarium.classical.crf import belief_propagation_kernels as kernels
from segmentarium.classical.crf.energy import GridCRF, truncated_linear, truncated_quadratic
from segmentarium.classical.levels import within
from segmentarium.errors import UnknownName
from segmentarium.ops.share import share

Schedule = Literal["checkerboard", "flood", "scanline"]
"""Who speaks when. ``flood``: all at once; ``checkerboard``: one colour after the other, each hearing what
the last one said; ``scanline``: one place after the other, forth and back (on one core)."""


@dataclass(frozen=True, eq=False)
class Marginals:
    """Beliefs of sum-product. ``log_partition`` is Bethe's estimate, exact on trees.

    ``residuals`` holds the largest change of a message in each iteration.
    """

    marginals: Float64[np.ndarray, "*s k"]
    log_partition: float
    residuals: tuple[float, ...]

    @property
    def labels(self) -> Int32[np.ndarray, "*s"]:
        """The most probable label of each place by itself."""
        return np.asarray(self.marginals.argmax(axis=-1), np.int32)


@dataclass(frozen=True, eq=False)
class Lowest:
    """The best labels that min-sum came by.

    ``costs`` are the last min-marginals up to a constant a place; ``energies`` and ``residuals`` follow the
    iterations.
    """

    labels: Int32[np.ndarray, "*s"]
    energy: int | float
    costs: Float64[np.ndarray, "*s k"]
    energies: tuple[int | float, ...]
    residuals: tuple[float, ...]


def sum_product(
    crf: GridCRF,
    *,
    schedule: Schedule = "checkerboard",
    iterations: int = 50,
    damping: float = 0.0,
    tolerance: float = 1e-6,
) -> Marginals:
    """Marginals of every place.

    Args:
        damping: the share of the old message, from 0 to below 1; a half calms fields that oscillate.
        tolerance: stop when no message changes by more.
    """
    field, residuals = crf.arrays(), []
    for messages, residual in _rounds(crf, field, schedule, damping, iterations, best=False):  # noqa: B007
        residuals.append(residual)
        if residual <= tolerance:
            break
    beliefs, _ = _beliefs(crf, field[0], messages)
    log_partition = float(kernels.bethe(messages, field, form(crf)))
    return Marginals(softmax(-beliefs, axis=-1), log_partition, tuple(residuals))


def min_sum(
    crf: GridCRF,
    *,
    schedule: Schedule = "checkerboard",
    iterations: int = 30,
    damping: float = 0.0,
    tolerance: float = 1e-6,
) -> Lowest:
    """Max-product in the domain of energies: labels of low energy, the lowest on chains and trees.

    The time of a message grows with the number of labels where the pairwise costs are ``potts``,
    ``truncated_linear`` or ``truncated_quadratic``, else with its square. Whole-numbered costs give
    whole-numbered messages, unless damped.
    """
    field = crf.arrays()
    costs, best = crf.unary.astype(np.float64), crf.cheapest()
    lowest, energies, residuals = crf.energy(best), [], []
    for messages, residual in _rounds(crf, field, schedule, damping, iterations, best=True):
        costs, labels = _beliefs(crf, field[0], messages)
        energies.append(crf.energy(labels))
        residuals.append(residual)
        if energies[-1] < lowest:
            best, lowest = labels, energies[-1]
        if residual <= tolerance:
            break
    return Lowest(best, lowest, costs, tuple(energies), tuple(residuals))


def form(crf: GridCRF) -> tuple[int, float, float]:
    """Which of the forms with fast messages the pairwise costs have, their ``cost`` and ``bound``."""
    if crf.labels > 1:
        cost, bound = float(crf.pairwise[0, 1]), float(crf.pairwise.max())
        if cost >= 0 and np.array_equal(truncated_linear(crf.labels, cost, bound), crf.pairwise):
            return (kernels.POTTS if cost == bound else kernels.LINEAR), cost, bound
        if cost >= 0 and np.array_equal(truncated_quadratic(crf.labels, cost, bound), crf.pairwise):
            return kernels.QUADRATIC, cost, bound
    return kernels.ANY, 0.0, 0.0


def _rounds(
    crf: GridCRF,
    field: tuple[Shaped[np.ndarray, "..."], ...],
    schedule: Schedule,
    damping: float,
    iterations: int,
    *,
    best: bool,
) -> Iterator[tuple[Float64[np.ndarray, "n d k"], float]]:
    """Messages and their largest change after each iteration."""
    if schedule not in get_args(Schedule):
        raise UnknownName.among("schedule", schedule, get_args(Schedule))
    within("iterations", iterations, 1)
    within("damping", damping, 0, 0.999)
    messages = np.zeros((len(field[0]), 2 * len(crf.offsets), crf.labels))
    sent = messages.copy() if schedule == "flood" else messages
    shape, changes = form(crf), np.empty(len(messages))
    for _ in range(iterations):
        changes[:] = 0
        for places, directions in _turns(crf, schedule):
            order = shape, best, float(damping), places, directions, changes
            work = partial(kernels.send, messages, sent, field, *order)
            if schedule == "scanline":
                work(0, len(places))
            else:
                share(work, len(places))
        messages, sent = sent, messages
        yield messages, float(changes.max())


def _beliefs(
    crf: GridCRF, unary: Float64[np.ndarray, "n k"], messages: Float64[np.ndarray, "n d k"]
) -> tuple[Float64[np.ndarray, "*s k"], Int32[np.ndarray, "*s"]]:
    beliefs, labels = np.empty(unary.shape), np.empty(len(unary), np.int32)
    share(partial(kernels.gather_all, unary, messages, beliefs, labels), len(unary))
    return beliefs.reshape(crf.unary.shape), labels.reshape(crf.size)


def _turns(crf: GridCRF, schedule: Schedule) -> list[tuple[Int64[np.ndarray, " m"], tuple[int, int]]]:
    """Which places speak in which directions, one turn after the other."""
    n, everyone = len(crf.offsets), np.arange(int(np.prod(crf.size)))
    if schedule == "flood":
        return [(everyone, (0, 2 * n))]
    if schedule == "scanline":
        return [(everyone, (0, n)), (everyone[::-1].copy(), (n, 2 * n))]
    return [(places, (0, 2 * n)) for places in crf.colours]
