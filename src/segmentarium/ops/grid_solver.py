"""Linear systems on a grid that couple each pixel with its next neighbours only: diffusions, in a word.

``diagonal[p] x[p] + sum over neighbours q of link(p, q) (x[p] - x[q]) = right[p]``, in any number of
dimensions. The matrix is symmetric and positive, is never built, and is solved by conjugate gradients with
its diagonal as preconditioner.

Source: Hestenes and Stiefel 1952, section 3.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float64
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
FINEST = 1e-14
"""Share of the residual of x = 0 below which there is nothing but rounding."""


def solve(
    diagonal: Float64[np.ndarray, "*s"],
    links: Float64[np.ndarray, " a *s"],
    right: Float64[np.ndarray, "*s"],
    start: Float64[np.ndarray, "*s"],
    *,
    tolerance: float = 1e-4,
    most: int = 1000,
) -> Float64[np.ndarray, "*s"]:
    """The x of the system in the head, from ``start`` on.

    Every iteration lowers ``x'Ax / 2 - x'right``, so stopping early never makes a start worse.

    Args:
        diagonal: 0 or more; more than 0 somewhere in each part that links hold together.
        links: 0 or more; ``links[a][p]`` joins p with the next pixel along axis a. Those at the far end lead
            nowhere and are set to 0.
        tolerance: the share of the start's residual at which it stops.
        most: iterations, at the most.
    """
    for axis in range(right.ndim):
        links[axis][along(axis, slice(-1, None))] = 0
    strides = np.array([int(np.prod(right.shape[axis + 1 :])) for axis in range(right.ndim)])
    x = np.array(start, order="C").ravel()
    flat = np.ascontiguousarray(links).reshape(len(links), -1)
    _descend(np.ascontiguousarray(diagonal).ravel(), flat, strides, right.ravel(), x, tolerance, most)
    return x.reshape(right.shape)


def along(axis: int, part: slice) -> tuple[slice, ...]:
    """An index that takes ``part`` of one axis and all of those before and after it."""
    return (slice(None),) * axis + (part,)


def step(values: Float64[np.ndarray, "*s"], axis: int) -> Float64[np.ndarray, "*s"]:
    """The next pixel along an axis minus this one; 0 for the last."""
    last = np.take(values, [-1], axis)
    return np.diff(values, axis=axis, append=last)


def midway(values: Float64[np.ndarray, "*s"], axis: int) -> Float64[np.ndarray, "*s"]:
    """The mean of each pixel and the next one along an axis; the last as it is."""
    return values + step(values, axis) / 2


@njit(**PLAIN)
@no_type_check
def _multiply(diagonal, links, strides, x, product):  # pragma: no cover (compiled)
    """Two passes an axis: a sum and a difference of whole rows, which the processor does four at a time."""
    for i in range(x.size):
        product[i] = diagonal[i] * x[i]
    for axis in range(strides.size):
        stride, link = strides[axis], links[axis]
        for i in range(x.size - stride):
            product[i] += link[i] * (x[i] - x[i + stride])
        for i in range(x.size - stride):
            product[i + stride] += link[i] * (x[i + stride] - x[i])


@njit(**PLAIN)
@no_type_check
def _descend(diagonal, links, strides, right, x, tolerance, most):  # pragma: no cover (compiled)
    size = x.size
    inverse, residual = diagonal.copy(), np.empty(size)
    for axis in range(strides.size):
        for i in range(size - strides[axis]):
            inverse[i] += links[axis, i]
            inverse[i + strides[axis]] += links[axis, i]
    product = np.empty(size)
    _multiply(diagonal, links, strides, x, product)
    slope, scale = 0.0, 0.0
    direction = np.empty(size)
    for i in range(size):
        inverse[i] = 1 / inverse[i] if inverse[i] > 0 else 0.0
        residual[i] = right[i] - product[i]
        direction[i] = inverse[i] * residual[i]
        slope += residual[i] * direction[i]
        scale += right[i] * inverse[i] * right[i]
    bound = max(tolerance * tolerance * slope, FINEST * FINEST * scale)
    for _ in range(most):
        if slope <= bound:
            break
        _multiply(diagonal, links, strides, direction, product)
        bend = 0.0
        for i in range(size):
            bend += direction[i] * product[i]
        length, before = slope / bend, slope
        slope = 0.0
        for i in range(size):
            x[i] += length * direction[i]
            residual[i] -= length * product[i]
            slope += residual[i] * inverse[i] * residual[i]
        for i in range(size):
            direction[i] = inverse[i] * residual[i] + slope / before * direction[i]
