"""Exact answers for small fields: the oracle that every other inference is held against.

``enumeration`` visits all labelings; ``transfer_matrix`` adds one place after the other and keeps a table
over the last few of them, so that the length of a grid costs little and its width much.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32, Int64, Shaped
from scipy.special import logsumexp

from segmentarium.classical.crf.energy import GridCRF
from segmentarium.errors import BadArgument

MOST_LABELINGS = 2**24
MOST_ENTRIES = 2**26
"""Of all tables of the transfer matrix together: places times labels to the power of (reach + 1)."""

Table = Shaped[np.ndarray, "..."]


@dataclass(frozen=True, eq=False)
class Exact:
    """``labels`` is one of the best labelings, ``energy`` what they cost."""

    log_partition: float
    marginals: Float64[np.ndarray, "*s k"]
    labels: Int32[np.ndarray, "*s"]
    energy: int | float


def enumeration(crf: GridCRF) -> Exact:
    """All ``k**n`` labelings, at most 2**24.

    Raises:
        BadArgument: there are more.
    """
    k, places = crf.labels, int(np.prod(crf.size))
    if places * np.log2(k) > np.log2(MOST_LABELINGS):
        raise BadArgument(
            f"{k} labels at {places} places",
            allowed=f"at most {MOST_LABELINGS} labelings",
            cure="use transfer_matrix on narrow grids",
        )
    line = _Line(crf, np.arange(places))
    energies = np.zeros(1, crf.unary.dtype)
    for i in range(places):
        energies = line.extended(energies, i).ravel()
    lowest = energies.min()
    weights = np.exp(-(energies - lowest).astype(np.float64))
    total = weights.sum()
    marginals = [weights.reshape(k**i, k, -1).sum(axis=(0, 2)) / total for i in range(places)]
    best = int(energies.argmin())
    labels = np.array([best // k ** (places - 1 - i) % k for i in range(places)], np.int32).reshape(crf.size)
    return Exact(
        float(np.log(total) - lowest),
        np.reshape(marginals, crf.unary.shape),
        labels,
        crf.energy(labels),
    )


def transfer_matrix(crf: GridCRF) -> Exact:
    """Dynamic programming along the longest axis: exact for long grids of up to eight or so places across.

    Raises:
        BadArgument: the tables would be too large.
    """
    axes = np.argsort([-length for length in crf.size], kind="stable")
    order = np.arange(np.prod(crf.size)).reshape(crf.size).transpose(axes).ravel()
    line = _Line(crf, order)
    if np.log2(len(order)) + (line.reach + 1) * np.log2(crf.labels) > np.log2(MOST_ENTRIES):
        raise BadArgument(
            f"{crf.labels} labels on a grid of {crf.size}",
            allowed="narrow grids and few labels",
            cure="use belief_propagation or sampling",
        )
    softened, last = line.forward(_soft_minimum)
    marginals, labels = np.empty((len(order), crf.labels)), np.empty(len(order), np.int32)
    marginals[order] = line.marginals(softened)
    labels[order] = line.best(*line.forward(lambda table: table.min(axis=0)))
    best = labels.reshape(crf.size)
    log_partition = float(logsumexp(-last))
    return Exact(log_partition, marginals.reshape(crf.unary.shape), best, crf.energy(best))


class _Line:
    """The places one after the other; a table holds a number for each labeling of up to ``reach`` of them.

    The newest place is the last axis of a table.
    """

    def __init__(self, crf: GridCRF, order: Int64[np.ndarray, " n"]) -> None:
        self.k = crf.labels
        self.unary = crf.unary.reshape(-1, self.k)[order]
        self.pairs: list[list[tuple[int, Table]]] = [[] for _ in order]
        position = np.argsort(order)
        for links, step in zip(crf.links, crf.steps, strict=True):
            for p in np.flatnonzero(links):
                a, b = int(position[p]), int(position[p + step])
                costs = links[p] * crf.pairwise
                self.pairs[max(a, b)].append((abs(a - b), costs if a < b else costs.T))
        self.reach = max((back for pairs in self.pairs for back, _ in pairs), default=1)

    def extended(self, table: Table, i: int) -> Table:
        """The table with one more place and its costs: ``(labelings before, k)``."""
        larger = table.reshape(-1, 1) + self.unary[i]
        for back, costs in self.pairs[i]:
            view = larger.reshape(-1, self.k, self.k ** (back - 1), self.k)
            view += costs[:, None, :]
        return np.asarray(larger)

    def forward(self, reduce: Callable[[Table], Table]) -> tuple[list[Table], Table]:
        """The tables before each place, and the one after the last; older places are reduced away."""
        tables, table = [], np.zeros(1, self.unary.dtype)
        for i in range(len(self.unary)):
            tables.append(table)
            table = self.extended(table, i).ravel()
            if i >= self.reach:
                table = reduce(table.reshape(self.k, -1))
        return tables, table

    def marginals(self, tables: list[Table]) -> Float64[np.ndarray, "n k"]:
        marginals = np.empty(self.unary.shape)
        after = np.zeros(self.k ** min(self.reach, len(tables)))
        for i in reversed(range(len(tables))):
            whole = self.extended(tables[i], i).reshape(-1, after.size) + after
            marginals[i] = -_soft_minimum(whole.reshape(-1, self.k))
            bare = self.extended(np.zeros_like(tables[i]), i).reshape(-1, after.size) + after
            after = _soft_minimum(bare.reshape(-1, self.k).T)
        return np.asarray(np.exp(marginals - logsumexp(marginals, axis=1, keepdims=True)))

    def best(self, tables: list[Table], last: Table) -> Int32[np.ndarray, " n"]:
        labels = np.empty(len(tables), np.int32)
        state = int(last.argmin())
        for i in reversed(range(len(tables))):
            labels[i] = state % self.k
            if i >= self.reach:
                choices = self.extended(tables[i], i).reshape(self.k, -1)[:, state]
                state += int(choices.argmin()) * last.size
            state //= self.k
        return labels


def _soft_minimum(table: Table) -> Table:
    """``-log sum exp(-e)`` over the first axis."""
    return np.asarray(-logsumexp(-table, axis=0))
