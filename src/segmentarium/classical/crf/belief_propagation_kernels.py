"""Compiled messages behind :mod:`segmentarium.classical.crf.belief_propagation`.

Messages are costs: what a neighbour thinks of each label, the best of which costs it 0. Place ``p`` keeps
those that reach it in ``messages[p, d]``; of ``2 n`` directions ``d`` the first ``n`` are the offsets, the
others lead back.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
ANY, POTTS, LINEAR, QUADRATIC = range(4)
VANISHED = 1e-280  # sums below it have lost digits


@njit(**PLAIN)
@no_type_check
def link(p, d, links, steps):
    """The place that direction ``d`` leads to, and the weight of that pair; 0 where there is none."""
    n = len(steps)
    if d < n:
        return p + steps[d], links[d, p]
    q = p - steps[d - n]
    return q, links[d - n, q] if 0 <= q < links.shape[1] else 0.0


@njit(**PLAIN)
@no_type_check
def gather(p, unary, messages, belief):
    """What ``p`` thinks of its labels: its own costs and all that reached it."""
    for label in range(belief.size):
        belief[label] = unary[p, label]
    for d in range(messages.shape[1]):
        for label in range(belief.size):
            belief[label] += messages[p, d, label]


@njit(**PLAIN)
@no_type_check
def gather_all(unary, messages, beliefs, labels, begin, end):
    """What all places think of their labels, and the first of the best."""
    for p in range(begin, end):
        gather(p, unary, messages, beliefs[p])
        best = 0
        for label in range(1, unary.shape[1]):
            if beliefs[p, label] < beliefs[p, best]:
                best = label
        labels[p] = best


@njit(**PLAIN)
@no_type_check
def lowest_of(costs):
    """The least of them."""
    lowest = costs[0]
    for label in range(1, costs.size):
        lowest = min(lowest, costs[label])
    return lowest


@njit(**PLAIN)
@no_type_check
def _lower_envelope(costs, a, sent, owner, start):
    """``min_l costs[l] + a (l' - l)**2`` in linear time, exact in integers.

    Parabola ``owner[i]`` is the lowest from label ``start[i]`` on (Felzenszwalb & Huttenlocher 2012, with the
    whole-numbered borders of Meijster, Roerdink & Hesselink 2000).
    """
    k, top = costs.size, 0
    owner[0] = start[0] = 0
    for label in range(1, k):
        while top >= 0:
            here, o = start[top], owner[top]
            if (
                a * ((here - o) * (here - o)) + costs[o]
                <= a * ((here - label) * (here - label)) + costs[label]
            ):
                break
            top -= 1
        if top < 0:
            top, owner[0], start[0] = 0, label, 0
            continue
        o = owner[top]
        meet = (a * (label * label - o * o) + costs[label] - costs[o]) / (2 * a * (label - o))
        if meet < k - 1:
            start[top + 1], owner[top + 1] = max(int(np.floor(meet)), start[top]) + 1, label
            top += 1
    for label in range(k - 1, -1, -1):
        while start[top] > label:
            top -= 1
        apart = label - owner[top]
        sent[label] = a * (apart * apart) + costs[owner[top]]


@njit(**PLAIN)
@no_type_check
def min_message(costs, weight, table, form, cost, bound, sent, owner, start):
    """``sent[l'] = min_l costs[l] + weight * table[l, l']``, in linear time where the form allows it."""
    k = costs.size
    if form == ANY:
        for other in range(k):
            sent[other] = costs[0] + weight * table[0, other]
        for label in range(1, k):
            for other in range(k):
                sent[other] = min(sent[other], costs[label] + weight * table[label, other])
        return
    highest = lowest_of(costs) + weight * bound
    slope = weight * cost
    for label in range(k):
        sent[label] = costs[label]
    if form == LINEAR:
        for label in range(1, k):
            sent[label] = min(sent[label], sent[label - 1] + slope)
        for label in range(k - 2, -1, -1):
            sent[label] = min(sent[label], sent[label + 1] + slope)
    elif form == QUADRATIC and slope > 0:
        _lower_envelope(costs, slope, sent, owner, start)
    for label in range(k):
        sent[label] = min(sent[label], highest)


@njit(**PLAIN)
@no_type_check
def sum_message(costs, weight, table, form, cost, sent):
    """``sent[l'] = -log sum_l exp(-costs[l] - weight * table[l, l'])``."""
    k, lowest = costs.size, lowest_of(costs)
    if form != POTTS:
        for other in range(k):
            best = costs[0] + weight * table[0, other]
            for label in range(1, k):
                best = min(best, costs[label] + weight * table[label, other])
            total = 0.0
            for label in range(k):
                total += np.exp(best - costs[label] - weight * table[label, other])
            sent[other] = best - np.log(total)
        return
    total = 0.0
    for label in range(k):
        sent[label] = np.exp(lowest - costs[label])
        total += sent[label]
    apart, far = np.exp(-weight * cost), np.log(total) - weight * cost
    for label in range(k):
        both = apart * total + (1 - apart) * sent[label]
        if both > VANISHED:
            sent[label] = lowest - np.log(both)
        else:
            near = lowest - costs[label]
            sent[label] = lowest - max(near, far) - np.log1p(np.exp(-abs(near - far)))


@njit(**PLAIN)
@no_type_check
def _settle(fresh, old, damping):
    """Take the lowest off a message, mix it with the old one; the largest change."""
    lowest, change = lowest_of(fresh), 0.0
    for label in range(fresh.size):
        value = fresh[label] - lowest
        if damping > 0:
            value = damping * old[label] + (1 - damping) * value
        change = max(change, abs(value - old[label]))
        fresh[label] = value
    return change


@njit(**PLAIN)
@no_type_check
def send(messages, sent, field, shape, best, damping, places, directions, changes, begin, end):
    """Send the messages of ``places[begin:end]`` in the ``directions``; ``sent`` may be ``messages``.

    Args:
        field: as of ``GridCRF.arrays``.
        shape: of the pairwise costs: form, cost and bound.
        best: tell the best of the costs; else sums of probabilities.
        changes: the largest change at each place, to be raised.
    """
    unary, links, steps, pairwise, turned = field
    form, cost, bound = shape
    n, k = len(steps), unary.shape[1]
    belief, costs, fresh = np.empty(k), np.empty(k), np.empty(k)
    owner, start = np.empty(k, np.int64), np.empty(k, np.int64)
    for i in range(begin, end):
        p = places[i]
        gather(p, unary, messages, belief)
        for d in range(directions[0], directions[1]):
            q, weight = link(p, d, links, steps)
            if weight == 0:
                continue
            for label in range(k):
                costs[label] = belief[label] - messages[p, d, label]
            table, slot = (pairwise, d + n) if d < n else (turned, d - n)
            if best:
                min_message(costs, weight, table, form, cost, bound, fresh, owner, start)
            else:
                sum_message(costs, weight, table, form, cost, fresh)
            changes[p] = max(changes[p], _settle(fresh, messages[q, slot], damping))
            for label in range(k):
                sent[q, slot, label] = fresh[label]


@njit(**PLAIN)
@no_type_check
def bethe(messages, field, shape):
    """Bethe's estimate of ``log Z``: ``sum_p log z_p + sum_(p,q) log kappa_pq - log z_p``.

    ``z_p`` is the sum over the belief of ``p``, ``kappa_pq`` what normalising its message to ``q`` took off.
    """
    unary, links, steps, pairwise, _ = field
    form, cost, _ = shape
    k, total = unary.shape[1], 0.0
    belief, costs, fresh = np.empty(k), np.empty(k), np.empty(k)
    for p in range(len(unary)):
        gather(p, unary, messages, belief)
        lowest, z = lowest_of(belief), 0.0
        for label in range(k):
            z += np.exp(lowest - belief[label])
        log_z = np.log(z) - lowest
        total += log_z
        for d in range(len(steps)):
            _, weight = link(p, d, links, steps)
            if weight != 0:
                for label in range(k):
                    costs[label] = belief[label] - messages[p, d, label]
                sum_message(costs, weight, pairwise, form, cost, fresh)
                total -= lowest_of(fresh) + log_z
    return total
