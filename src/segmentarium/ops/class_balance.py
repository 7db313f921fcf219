"""How much a pixel of each class should count, from how many pixels of it there are.

Counts are one row an image and one column a class, without void. A class that has no pixel counts 0 in every
rule: there is nothing to learn it from, and its weight must not shift a mean.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64, Integer

from segmentarium.errors import BadArgument

Counts = Integer[np.ndarray, "n k"]
Weights = Float64[np.ndarray, " k"]


def median_frequency(counts: Counts) -> Weights:
    """median(f) / f with f_c the pixels of class c over all pixels of the images that hold it.

    The median is over the classes that occur.

    Source: Eigen and Fergus 2015, arXiv:1411.4734; SegNet, arXiv:1511.00561.

    >>> median_frequency(np.array([[900, 80, 20], [1000, 0, 0], [700, 300, 0]])).round(5)
    array([0.21923, 1.     , 9.5    ])
    """
    _require(counts)
    of_holders = (counts.sum(1, keepdims=True) * (counts > 0)).sum(0)
    return _where_present(counts, lambda total, present: _median_over(total / of_holders[present]))


def inverse_frequency(counts: Counts) -> Weights:
    """N / (C n_c): pixels of all C classes that occur, over C times the pixels of the class.

    The "balanced" weights of scikit-learn; the mean over pixels is 1.
    """
    return _where_present(counts, lambda total, present: total.sum() / (present.sum() * total))


def inverse_square_root(counts: Counts) -> Weights:
    """sqrt(N / n_c): between no balancing and :func:`inverse_frequency`, for classes that are very rare."""
    return _where_present(counts, lambda total, present: np.sqrt(total.sum() / total))


def enet(counts: Counts, *, c: float = 1.02) -> Weights:
    """1 / ln(c + p) with p = n_c / N: between 1.4 and 50, however rare the class, for the usual ``c``.

    Raises:
        BadArgument: ``c`` is not above 1; a rare class would count infinitely or less than nothing.

    Source: Paszke et al. 2016, arXiv:1606.02147.

    >>> enet(np.array([[900, 80, 20], [1000, 0, 0], [700, 300, 0]])).round(5)
    array([ 1.57527,  7.30678, 37.99781])
    """
    if not c > 1:
        raise BadArgument(f"c: {c}", allowed="above 1", cure="the paper's value is 1.02")
    return _where_present(counts, lambda total, present: 1 / np.log(c + total / total.sum()))


def effective_number(counts: Counts, *, beta: float = 0.9999) -> Weights:
    """(1 - beta) / (1 - beta^n_c): from 1 for a single pixel down to 1 - beta for many.

    The paper multiplies by a number that makes the sum C; :func:`of_mean_one` does that.

    Raises:
        BadArgument: ``beta`` is not in 0..1, 1 left out.

    Source: Cui et al. 2019, arXiv:1901.05555.
    """
    if not 0 <= beta < 1:
        raise BadArgument(f"beta: {beta}", allowed="from 0 to below 1", cure="the paper uses 0.9 to 0.9999")
    return _where_present(counts, lambda total, present: (1 - beta) / (1 - beta**total))


def of_mean_one(weights: Weights) -> Weights:
    """The same proportions with mean 1 over the classes that count at all."""
    present = weights > 0
    return weights / weights[present].mean() if present.any() else weights


RULES: dict[str, Callable[[Counts], Weights]] = {
    "effective_number": effective_number,
    "enet": enet,
    "inverse": inverse_frequency,
    "inverse_sqrt": inverse_square_root,
    "median_frequency": median_frequency,
}
"""The rules by the names that recipes use."""


def _where_present(
    counts: Counts,
    rule: Callable[[Float64[np.ndarray, " m"], np.ndarray], Float64[np.ndarray, " m"]],
) -> Weights:
    """Apply ``rule`` to the pixels of the classes that occur; the others weigh 0."""
    _require(counts)
    total = counts.sum(0)
    present = total > 0
    weights = np.zeros(len(total))
    if present.any():
        weights[present] = rule(total[present].astype(np.float64), present)
    return weights


def _median_over(frequency: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " m"]:
    return np.asarray(np.median(frequency) / frequency)


def _require(counts: Counts) -> None:
    if counts.ndim != 2 or not np.issubdtype(counts.dtype, np.integer) or (counts < 0).any():
        raise BadArgument(
            f"counts: {counts.dtype} of shape {counts.shape}",
            allowed="pixels, one row an image and one column a class, none below 0",
            cure="np.bincount(labels[labels >= 0], minlength=classes) makes such a row",
        )
