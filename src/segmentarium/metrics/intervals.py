"""How much a score owes to the choice of images: bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from segmentarium.metrics.scores import Counts, Score, Tally

_BYTES_AT_ONCE = 64 * 2**20


def bootstrap(
    counts: Counts, score: Score, *, rounds: int = 1000, seed: int = 0
) -> tuple[Float[np.ndarray, "*s"], Float[np.ndarray, "*s"]]:
    """The 95% percentile interval of a score when images are drawn again with replacement.

    Args:
        counts: one tally or confusion matrix an image, stacked along the first axis.
        score: any function of :mod:`segmentarium.metrics.scores`, such as ``mean_iou`` or ``iou``.
        rounds: how often as many images as there are get drawn.

    Returns:
        The 2.5th and the 97.5th percentile, of the shape of the score (a number, or one a class); rounds in
        which it is undefined are left out. nan if there are fewer than two images: one image says nothing
        about others.

    Source: Efron 1979; the percentile method.
    """
    tally = Tally.of(counts)
    images = tally.truth.shape[0]
    if images < 2:
        undefined = np.asarray(np.full_like(score(tally), np.nan).sum(0))
        return undefined, undefined
    drawn = _draws(images, rounds, seed=seed)
    at_once = max(1, _BYTES_AT_ONCE // (3 * 8 * tally.truth.shape[-1]))
    parts = [score(_weighted(tally, drawn[i : i + at_once])) for i in range(0, rounds, at_once)]
    low, high = _percentiles(np.concatenate(parts))
    return np.asarray(low), np.asarray(high)


def bootstrap_sums(
    sums: Float[np.ndarray, "n ..."], score: Callable[[Any], Any], *, rounds: int = 1000, seed: int = 0
) -> tuple[Float[np.ndarray, "*s"], Float[np.ndarray, "*s"]]:
    """The same interval for a score of any additive counts.

    Args:
        sums: what each image adds to the state, stacked along the first axis.
        score: takes summed counts with any number of leading axes and answers for all of them at once.
    """
    if len(sums) < 2:
        shape = np.asarray(score(np.zeros_like(sums, np.float64, shape=sums.shape[1:]))).shape
        return np.full(shape, np.nan), np.full(shape, np.nan)
    flat = np.asarray(sums, np.float64).reshape(len(sums), -1)
    drawn = _draws(len(sums), rounds, seed=seed)
    low, high = _percentiles(np.asarray(score((drawn @ flat).reshape(rounds, *sums.shape[1:])), np.float64))
    return np.asarray(low), np.asarray(high)


def bootstrap_mean(
    values: Float[np.ndarray, " n"], *, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The same interval for the mean of one value an image; values that are nan are left out."""
    defined = values[~np.isnan(values)]
    if len(defined) < 2:
        return float("nan"), float("nan")
    means = _draws(len(defined), rounds, seed=seed) @ defined / len(defined)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _draws(images: int, rounds: int, *, seed: int) -> Float[np.ndarray, "rounds images"]:
    """How often each image is drawn in each round."""
    even = np.full(images, 1 / images)
    return np.random.default_rng(seed).multinomial(images, even, size=rounds).astype(np.float64)


def _weighted(tally: Tally, drawn: Float[np.ndarray, "rounds images"]) -> Tally:
    """The summed tally of each round; float64 holds counts up to 2**53 exactly."""
    return Tally(drawn @ tally.correct, truth=drawn @ tally.truth, predicted=drawn @ tally.predicted)


def _percentiles(values: Float[np.ndarray, "rounds ..."]) -> Float[np.ndarray, "2 ..."]:
    """2.5th and 97.5th percentile along the first axis without nan, and nan where there is nothing else."""
    flat = values.reshape(len(values), -1)
    result = np.full((2, flat.shape[1]), np.nan)
    for i, column in enumerate(flat.T):
        defined = column[~np.isnan(column)]
        if defined.size:
            result[:, i] = np.percentile(defined, [2.5, 97.5])
    return result.reshape(2, *values.shape[1:])
