"""Whether several chains of samples agree, and how many independent draws they are worth.

Source: Gelman et al. 2013, section 11.4 (split R-hat); Geyer 1992 and Vehtari et al. 2021 (effective size).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Shaped
from scipy import fft


def r_hat(traces: Shaped[np.ndarray, "chains draws *rest"]) -> Float64[np.ndarray, "*rest"]:
    """Near 1 when all halves of all chains have the same mean; above 1.01 they ran too short.

    1 where nothing ever changed, infinite where each half stands still at a value of its own.
    """
    halves = _split(traces)
    within, between = halves.var(axis=1, ddof=1).mean(axis=0), halves.mean(axis=1).var(axis=0, ddof=1)
    draws = halves.shape[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt((draws - 1) / draws + between / within)
    return np.where((within == 0) & (between == 0), 1.0, ratio)


def effective_size(traces: Shaped[np.ndarray, "chains draws *rest"]) -> Float64[np.ndarray, "*rest"]:
    """The number of independent draws whose mean would be as sure; never more than there are.

    All draws where nothing ever changed.
    """
    halves = _split(traces)
    chains, draws = halves.shape[:2]
    auto = _autocovariance(halves).mean(axis=0)
    within = auto[0] * draws / (draws - 1)
    pooled = auto[0] + halves.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rho = 1 - (within - auto) / pooled
    rho[0] = 1
    even = draws // 2 * 2
    pairs = np.where(pooled == 0, 0.0, rho[:even:2] + rho[1:even:2])
    pairs = np.minimum.accumulate(np.where(np.minimum.accumulate(pairs, axis=0) > 0, pairs, 0), axis=0)
    time = np.maximum(2 * pairs.sum(axis=0) - 1, 1.0)
    return np.asarray(chains * draws / time)


def _split(traces: Shaped[np.ndarray, "chains draws *rest"]) -> Float64[np.ndarray, "halves half *rest"]:
    half = traces.shape[1] // 2
    return np.concatenate([traces[:, :half], traces[:, -half:]]).astype(np.float64)


def _autocovariance(chains: Float64[np.ndarray, "c n *rest"]) -> Float64[np.ndarray, "c n *rest"]:
    """Of each chain at the lags 0, 1, ... n - 1, divided by n."""
    draws = chains.shape[1]
    centred = chains - chains.mean(axis=1, keepdims=True)
    spectrum = fft.rfft(centred, n=fft.next_fast_len(2 * draws), axis=1)
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(fft.irfft(power, n=fft.next_fast_len(2 * draws), axis=1)[:, :draws] / draws)
