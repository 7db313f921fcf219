"""The fully connected field without a lattice: each pair of pixels counted, the Gaussian exact.

The yardstick of accuracy for small pictures, not for parity: a lattice's sums are lower by a nearly constant
factor. With a radius only pairs in a window count, and pictures may be large: the locally connected field.

Source: Krähenbühl and Koltun 2011, equations 1 to 3; Teichmann and Cipolla, "Convolutional CRFs for semantic
segmentation", 2018, for the window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Float64, Real

from segmentarium.classical.crf.dense import DenseCRF, scales
from segmentarium.errors import BadArgument

MOST_PIXELS = 4096
Filter: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""From values (k, n) to the sum over all others, weighed by the Gaussian."""


def infer_exactly(
    crf: DenseCRF,
    unary: Float[np.ndarray, " k *s"],
    picture: Real[np.ndarray, "*t c"],
    *,
    spacing: Sequence[float] | None = None,
    radius: int | None = None,
) -> Float64[np.ndarray, " k *s"]:
    """As :meth:`DenseCRF.infer`, in double precision.

    Args:
        radius: pixels further apart than this along any axis do not see each other; all do if left out.

    Raises:
        BadArgument: too many pixels for all pairs.
    """
    size = picture.shape[:-1]
    if unary.shape[1:] != size or (radius is None and unary[0].size > MOST_PIXELS):
        raise BadArgument(
            f"unary energies of shape {unary.shape} for a picture of {size}",
            allowed=f"equal sizes, and up to {MOST_PIXELS} pixels",
            cure="give a radius for a larger picture",
        )
    terms = []
    for kernel in crf.kernels:
        features = kernel.features(picture, spacing=spacing).astype(np.float64)
        if radius is None:
            filter_ = all_pairs(features, include_self=crf.include_self)
        else:
            filter_ = window(features.reshape(*size, -1), radius, include_self=crf.include_self)
        before, after = scales(filter_(np.ones((1, len(features))))[0], kernel.normalise)
        terms.append((filter_, before, after, kernel.costs(len(unary)).astype(np.float64)))
    flat = unary.reshape(len(unary), -1).astype(np.float64)
    probs = _softmax(-flat)
    for _ in range(crf.iterations):
        messages = [costs @ (after * filter_(before * probs)) for filter_, before, after, costs in terms]
        probs = _softmax(-flat - np.sum(messages, axis=0))
    return probs.reshape(unary.shape)


def all_pairs(features: Float64[np.ndarray, "n d"], *, include_self: bool = True) -> Filter:
    """The Gaussian as a matrix of all features by all features."""
    squares = np.square(features).sum(1)
    distances = squares[:, None] + squares - 2 * features @ features.T
    weights = np.exp(-np.maximum(distances, 0) / 2)
    np.fill_diagonal(weights, float(include_self))
    return lambda values: values @ weights


def window(features: Float64[np.ndarray, "*s d"], radius: int, *, include_self: bool = True) -> Filter:
    """The Gaussian of pixels at most ``radius`` apart along each axis, one shift of the picture at a time."""
    size = features.shape[:-1]
    shifts = [
        shift
        for shift in product(range(-radius, radius + 1), repeat=len(size))
        if all(abs(step) < length for step, length in zip(shift, size, strict=True))
        and (include_self or any(shift))
    ]

    def apply(values: np.ndarray) -> np.ndarray:
        maps = values.reshape(-1, *size)
        out = np.zeros_like(maps)
        for shift in shifts:
            here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(shift, size, strict=True))
            there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(shift, size, strict=True))
            weights = np.exp(-np.square(features[here] - features[there]).sum(-1) / 2)
            out[(slice(None), *here)] += weights * maps[(slice(None), *there)]
        return out.reshape(values.shape)

    return apply


def _softmax(scores: Float64[np.ndarray, "k n"]) -> Float64[np.ndarray, "k n"]:
    powers = np.exp(scores - scores.max(0))
    return np.asarray(powers / powers.sum(0))
