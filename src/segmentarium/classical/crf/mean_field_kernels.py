"""The compiled loop behind :mod:`segmentarium.classical.crf.mean_field`."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**PLAIN)
@no_type_check
def update(probs, fresh, field, places, changes, begin, end):
    """``Q_p = softmax(-unary_p - sum_q weight_pq psi Q_q)`` at ``places[begin:end]``.

    ``fresh`` takes the new values and may be ``probs``; ``changes`` takes the largest change at each place.
    """
    unary, links, steps, pairwise, turned = field
    k = unary.shape[1]
    after, before, costs = np.empty(k), np.empty(k), np.empty(k)
    for i in range(begin, end):
        p = places[i]
        for label in range(k):
            after[label], before[label], costs[label] = 0.0, 0.0, unary[p, label]
        for n in range(len(steps)):
            weight = links[n, p]
            if weight != 0:
                q = p + steps[n]
                for label in range(k):
                    after[label] += weight * probs[q, label]
            q = p - steps[n]
            if 0 <= q < len(probs) and links[n, q] != 0:
                weight = links[n, q]
                for label in range(k):
                    before[label] += weight * probs[q, label]
        for other in range(k):
            for label in range(k):
                costs[label] += after[other] * turned[other, label] + before[other] * pairwise[other, label]
        lowest, total = costs.min(), 0.0
        for label in range(k):
            costs[label] = np.exp(lowest - costs[label])
            total += costs[label]
        changes[p] = 0.0
        for label in range(k):
            value = costs[label] / total
            changes[p] = max(changes[p], abs(value - probs[p, label]))
            fresh[p, label] = value
