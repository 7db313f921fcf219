"""Compiled loops behind :mod:`segmentarium.ops.gaussian_mixture`."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**PLAIN)
@no_type_check
def likeliest(values, means, whiten, constants, costs, which, start, stop):
    """For the points ``start .. stop`` the component under which they cost least; the first of equal ones."""
    channels = values.shape[1]
    apart = np.empty(channels)
    for n in range(start, stop):
        best, arg = np.inf, 0
        for k in range(constants.size):
            cost = constants[k]
            for i in range(channels):
                apart[i] = values[n, i] - means[k, i]
            for j in range(channels):
                if cost >= best:  # it only grows
                    break
                along = 0.0
                for i in range(channels):
                    along += apart[i] * whiten[k, i, j]
                cost += along * along / 2
            if cost < best:
                best, arg = cost, k
        costs[n], which[n] = best, arg
