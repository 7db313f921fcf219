"""Compiled loops behind :mod:`segmentarium.classical.ddcrp`."""

from __future__ import annotations

from math import lgamma, log, pi
from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**PLAIN)
@no_type_check
def evidence(stats, prior):
    """The log of the marginal likelihood of points under a Gaussian of unknown mean and covariance.

    Args:
        stats: how many points, their sum (d) and the sum of their outer products (d d), the mean of the prior
            being the origin.
        prior: kappa, nu and psi, the prior's scale matrix being psi times the unit matrix.

    Source: Murphy, "Conjugate Bayesian analysis of the Gaussian distribution", 2007, equation 266.
    """
    kappa, nu, psi = prior
    dims, n = int((np.sqrt(4 * stats.size - 3) - 1) / 2), stats[0]
    root = np.empty((dims, dims))  # of the posterior's scale matrix: Cholesky
    value = -n * dims / 2 * log(pi) + nu / 2 * dims * log(psi) + dims / 2 * log(kappa / (kappa + n))
    for i in range(dims):
        for j in range(i + 1):
            total = stats[1 + dims + i * dims + j] - stats[1 + i] * stats[1 + j] / (kappa + n)
            total += psi if i == j else 0.0
            for k in range(j):
                total -= root[i, k] * root[j, k]
            root[i, j] = np.sqrt(total) if i == j else total / root[j, j]
        value += lgamma((nu + n - i) / 2) - lgamma((nu - i) / 2) - (nu + n) * log(root[i, i])
    return value


@njit(**PLAIN)
@no_type_check
def _gather(first, links, starts, ends, marks, mark, stack, stats, total):
    """Mark the segment of a superpixel and sum its statistics."""
    total[:] = 0
    stack[0], held, marks[first] = first, 1, mark
    while held:
        held -= 1
        at = stack[held]
        total += stats[at]
        for edge in range(starts[at], starts[at + 1]):
            to = ends[edge]
            if marks[to] != mark and (links[at] == to or links[to] == at):
                marks[to] = mark
                stack[held] = to
                held += 1


@njit(**PLAIN)
@no_type_check
def sweep(links, starts, ends, stats, alpha, prior, chances, drawn):
    """Draw the link of each superpixel in turn, given all others, once for each row of ``chances``.

    Args:
        links: written over.
        starts, ends: the graph of superpixels, in rows.
        stats: of each, see :func:`evidence`.
        chances: uniform numbers ``(sweeps, n)``.
        drawn: the links after each sweep, ``(sweeps, n)``.
    """
    count = len(links)
    marks, stack, mark = np.full(count, -1), np.empty(count, np.int64), 0
    here, there = np.empty(stats.shape[1]), np.empty(stats.shape[1])
    widest = 1
    for i in range(count):
        widest = max(widest, 1 + starts[i + 1] - starts[i])
    scores, gains = np.empty(widest), np.empty(widest)
    for step in range(len(chances)):
        for i in range(count):
            links[i], begun = i, mark
            _gather(i, links, starts, ends, marks, mark, stack, stats, here)
            alone, degree = evidence(here, prior), starts[i + 1] - starts[i]
            scores[degree] = log(alpha)
            for at in range(degree):
                j = ends[starts[i] + at]
                if marks[j] < begun:
                    mark += 1
                    _gather(j, links, starts, ends, marks, mark, stack, stats, there)
                    gains[mark - begun - 1] = evidence(here + there, prior) - evidence(there, prior) - alone
                scores[at] = gains[marks[j] - begun - 1] if marks[j] > begun else 0.0
            mark += 1
            highest, total = scores[: degree + 1].max(), 0.0
            for at in range(degree + 1):
                scores[at] = np.exp(scores[at] - highest)
                total += scores[at]
            left, at = chances[step, i] * total, 0
            while at < degree and left >= scores[at]:
                left -= scores[at]
                at += 1
            links[i] = i if at == degree else ends[starts[i] + at]
        drawn[step] = links
