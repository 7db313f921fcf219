"""Samples of a field: Metropolis-Hastings, Gibbs and Swendsen-Wang chains, and annealing to a low energy.

A sweep renews all places of one colour at once, then those of the next. Places of one colour do not see each
other, so this is a product of steps that each keep the field's distribution, as if made one by one.

Source: Metropolis et al. 1953; Hastings 1970; Kirkpatrick et al. 1983; Geman & Geman 1984; Swendsen & Wang
1987.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float64, Int32, Int64, Integer, Shaped
from scipy import sparse

from segmentarium.classical.crf import sampling_kernels as kernels
from segmentarium.classical.crf.belief_propagation import form
from segmentarium.classical.crf.belief_propagation_kernels import POTTS
from segmentarium.classical.crf.convergence import effective_size, r_hat
from segmentarium.classical.crf.energy import GridCRF
from segmentarium.classical.crf.icm import LEAST_PIXELS, icm
from segmentarium.classical.levels import within
from segmentarium.errors import BadArgument
from segmentarium.ops.share import share

Chains = Int32[np.ndarray, "c n"]
Sweep = Callable[[Chains, np.random.Generator], None]
Field = tuple[Shaped[np.ndarray, "..."], ...]


@dataclass(frozen=True, eq=False)
class Samples:
    """What the chains saw after burning in.

    ``marginals`` are frequencies. ``r_hat`` and ``effective`` judge the chains by their energies: near 1, and
    how many independent draws the kept ones are worth. ``draws`` is kept only when asked for.
    """

    marginals: Float64[np.ndarray, "*s k"]
    energies: Float64[np.ndarray, "chains kept"]
    r_hat: float
    effective: float
    draws: Integer[np.ndarray, "chains kept *s"] | None = None

    @property
    def labels(self) -> Int32[np.ndarray, "*s"]:
        """The most frequent label of each place."""
        return np.asarray(self.marginals.argmax(axis=-1), np.int32)


@dataclass(frozen=True, eq=False)
class Annealed:
    """``energies`` follows the sweeps."""

    labels: Int32[np.ndarray, "*s"]
    energy: int | float
    energies: Float64[np.ndarray, " sweeps"]


def gibbs(
    crf: GridCRF,
    *,
    sweeps: int = 200,
    burn_in: int = 100,
    thin: int = 1,
    chains: int = 4,
    keep: bool = False,
    seed: int = 0,
) -> Samples:
    """Draw each place from its distribution given its neighbours.

    Args:
        sweeps: after burning in; every ``thin``-th is counted, four at least.
        burn_in: sweeps that are thrown away.
        chains: each begins with labels of its own, drawn at random.
        keep: also return every counted sample.
    """
    return _run(crf, _coloured(crf, kernels.gibbs), sweeps, burn_in, thin, chains, keep, seed)


def metropolis_hastings(
    crf: GridCRF,
    *,
    sweeps: int = 400,
    burn_in: int = 200,
    thin: int = 1,
    chains: int = 4,
    keep: bool = False,
    seed: int = 0,
) -> Samples:
    """Propose any label at each place and accept it by the rise of the energy; arguments as of :func:`gibbs`.

    A sweep costs less than one of Gibbs, and changes less where there are many labels.
    """
    return _run(crf, _coloured(crf, kernels.metropolis), sweeps, burn_in, thin, chains, keep, seed)


def swendsen_wang(
    crf: GridCRF,
    *,
    sweeps: int = 200,
    burn_in: int = 50,
    thin: int = 1,
    chains: int = 4,
    keep: bool = False,
    seed: int = 0,
) -> Samples:
    """Bind equal neighbours by chance and label each cluster anew; arguments as of :func:`gibbs`.

    Mixes where single places are stuck: strong coupling and weak unary costs. Strong ones hold large clusters
    fast, and then Gibbs is better. Only for ``potts`` costs.

    Raises:
        BadArgument: the pairwise costs are others.
    """
    shape, cost, _ = form(crf)
    if shape != POTTS and crf.labels > 1:
        raise BadArgument(
            "pairwise costs that are not Potts", allowed="potts(labels, cost)", cure="use gibbs"
        )
    unary, links, steps, *_ = crf.arrays()
    firsts = [np.flatnonzero(row) for row in links]
    ends = np.concatenate([[p, p + step] for p, step in zip(firsts, steps, strict=True)], axis=1)
    bound = -np.expm1(-cost * np.concatenate([row[p] for row, p in zip(links, firsts, strict=True)]))

    def sweep(state: Chains, rng: np.random.Generator) -> None:
        for labels in state:
            _clusters(labels, unary, ends, bound, rng)

    return _run(crf, sweep, sweeps, burn_in, thin, chains, keep, seed)


def simulated_annealing(
    crf: GridCRF, *, sweeps: int = 200, hot: float = 0.5, cold: float = 0.01, seed: int = 0
) -> Annealed:
    """Gibbs sweeps while the temperature falls geometrically; from the best of them to the nearest minimum.

    Args:
        hot: the first temperature, in units of what a place has at stake: the spread of its unary costs and
            the largest pairwise cost, both in the mean.
        cold: the last.
    """
    within("sweeps", sweeps, 2)
    within("cold", cold, 0, open_low=True)
    rng, field = np.random.default_rng(seed), crf.arrays()
    stake = float(np.ptp(field[0], axis=-1).mean() + np.abs(field[3]).max() * field[1].mean()) or 1.0
    state = rng.integers(crf.labels, size=(1, len(field[0])), dtype=np.int32)
    energies, best = np.empty(sweeps), state
    for i, temperature in enumerate(np.geomspace(hot, cold, sweeps)):
        _sweep(crf.colours, field, kernels.gibbs, state, rng, temperature=stake * float(temperature))
        energies[i] = kernels.energies(state, field)[0]
        if i == 0 or energies[i] < energies[:i].min():
            best = state.copy()
    found = icm(crf, start=best.reshape(crf.size), sweeps=1000)
    return Annealed(found.labels, found.energy, energies)


def _coloured(crf: GridCRF, kernel: Callable[..., None]) -> Sweep:
    return partial(_sweep, crf.colours, crf.arrays(), kernel)


def _sweep(
    colours: tuple[Int64[np.ndarray, " _"], ...],
    field: Field,
    kernel: Callable[..., None],
    state: Chains,
    rng: np.random.Generator,
    temperature: float = 1.0,
) -> None:
    for places in colours:
        chances = rng.random(len(state) * len(places))
        draw = partial(kernel, state, field, temperature, places, chances)
        share(draw, len(chances), least=LEAST_PIXELS)


def _run(
    crf: GridCRF, sweep: Sweep, sweeps: int, burn_in: int, thin: int, chains: int, keep: bool, seed: int
) -> Samples:
    """Burn in, then sweep and count."""
    for name, value, low in (("burn_in", burn_in, 0), ("thin", thin, 1), ("chains", chains, 1)):
        within(name, value, low)
    within("sweeps", sweeps, 4 * thin)
    rng, field, kept = np.random.default_rng(seed), crf.arrays(), sweeps // thin
    state = rng.integers(crf.labels, size=(chains, len(field[0])), dtype=np.int32)
    counts, energies = np.zeros(field[0].shape, np.int64), np.zeros((chains, kept))
    draws = np.empty((chains, kept, state.shape[1]), np.min_scalar_type(crf.labels)) if keep else None
    for _ in range(burn_in):
        sweep(state, rng)
    for i in range(kept):
        for _ in range(thin):
            sweep(state, rng)
        kernels.count(state, counts)
        energies[:, i] = kernels.energies(state, field)
        if draws is not None:
            draws[:, i] = state
    return Samples(
        (counts / (chains * kept)).reshape(crf.unary.shape),
        energies,
        float(r_hat(energies)),
        float(effective_size(energies)),
        None if draws is None else draws.reshape(chains, kept, *crf.size),
    )


def _clusters(
    labels: Int32[np.ndarray, " n"],
    unary: Float64[np.ndarray, "n k"],
    ends: Int64[np.ndarray, "2 e"],
    bound: Float64[np.ndarray, " e"],
    rng: np.random.Generator,
) -> None:
    """Join equal neighbours with the probability ``bound``, and draw one label for each cluster."""
    first, second = ends[:, (labels[ends[0]] == labels[ends[1]]) & (rng.random(len(bound)) < bound)]
    graph = sparse.coo_array((np.ones(len(first), np.int8), (first, second)), (len(labels),) * 2)
    count, cluster = sparse.csgraph.connected_components(graph, directed=False)
    costs = np.stack([np.bincount(cluster, column, minlength=count) for column in unary.T], axis=1)
    chances = np.exp(costs.min(axis=1, keepdims=True) - costs).cumsum(axis=1)
    drawn = (rng.random((count, 1)) * chances[:, -1:] >= chances[:, :-1]).sum(axis=1)
    labels[:] = drawn[cluster]
