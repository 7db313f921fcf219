"""Compiled sweeps behind :mod:`icm` and :mod:`sampling`: they renew places of which no two are neighbours.

So the order within a sweep does not matter, and all chains and cores give the same labels.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**PLAIN)
@no_type_check
def conditional(labels, p, field, costs):
    """What each label would cost at ``p`` beside the labels that its neighbours have."""
    unary, links, steps, pairwise, turned = field
    k = costs.size
    for label in range(k):
        costs[label] = unary[p, label]
    for n in range(len(steps)):
        weight = links[n, p]
        if weight != 0:
            row = turned[labels[p + steps[n]]]
            for label in range(k):
                costs[label] += weight * row[label]
        q = p - steps[n]
        if 0 <= q < labels.size and links[n, q] != 0:
            weight, row = links[n, q], pairwise[labels[q]]
            for label in range(k):
                costs[label] += weight * row[label]


@njit(**PLAIN)
@no_type_check
def lowest(labels, field, places, changed, begin, end):
    """Give each place its cheapest label; a tie changes nothing. ``changed`` says where one did change."""
    costs = np.empty(field[0].shape[1])
    for i in range(begin, end):
        p = places[i]
        conditional(labels, p, field, costs)
        best = labels[p]
        for label in range(costs.size):
            if costs[label] < costs[best]:
                best = label
        changed[p] = best != labels[p]
        labels[p] = best


@njit(**PLAIN)
@no_type_check
def gibbs(chains, field, temperature, places, chances, begin, end):
    """Draw each place anew from its conditional distribution, by one uniform number each.

    ``begin:end`` counts the places of all chains, one chain after the other.
    """
    costs = np.empty(field[0].shape[1])
    for i in range(begin, end):
        labels, p = chains[i // places.size], places[i % places.size]
        conditional(labels, p, field, costs)
        least, total = costs.min(), 0.0
        for label in range(costs.size):
            total += np.exp((least - costs[label]) / temperature)
            costs[label] = total
        drawn = 0
        while drawn < costs.size - 1 and costs[drawn] <= chances[i] * total:
            drawn += 1
        labels[p] = drawn


@njit(**PLAIN)
@no_type_check
def metropolis(chains, field, temperature, places, chances, begin, end):
    """Propose any label, each as likely, and accept it with probability ``min(1, exp(-dE / T))``.

    The whole part of ``chances * k`` is the proposal; its fraction, uniform as well, decides.
    """
    unary, links, steps, pairwise, turned = field
    k = unary.shape[1]
    for i in range(begin, end):
        labels, p = chains[i // places.size], places[i % places.size]
        new, old = int(chances[i] * k), labels[p]
        if new == old:
            continue
        rise = unary[p, new] - unary[p, old]
        for n in range(len(steps)):
            if links[n, p] != 0:
                y = labels[p + steps[n]]
                rise += links[n, p] * (turned[y, new] - turned[y, old])
            q = p - steps[n]
            if 0 <= q < labels.size and links[n, q] != 0:
                y = labels[q]
                rise += links[n, q] * (pairwise[y, new] - pairwise[y, old])
        if rise <= 0 or chances[i] * k - new < np.exp(-rise / temperature):
            labels[p] = new


@njit(**PLAIN)
@no_type_check
def count(chains, counts):
    """Add 1 to ``counts[p, label]`` for each label of each chain."""
    for labels in chains:
        for p in range(labels.size):
            counts[p, labels[p]] += 1


@njit(**PLAIN)
@no_type_check
def energies(chains, field):
    """The energy of each chain."""
    unary, links, steps, pairwise, _ = field
    found = np.zeros(len(chains))
    for c in range(len(chains)):
        labels, total = chains[c], 0.0
        for p in range(labels.size):
            total += unary[p, labels[p]]
            for n in range(len(steps)):
                if links[n, p] != 0:
                    total += links[n, p] * pairwise[labels[p], labels[p + steps[n]]]
        found[c] = total
    return found
