"""Mean field: the distribution nearest to the field among those in which all places are independent.

    F(Q) = <E>_Q - H(Q) >= -log Z

Source: Jordan, Ghahramani, Jaakkola & Saul 1999.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64, Int32
from scipy.special import entr, softmax

from segmentarium.classical.crf import mean_field_kernels as kernels
from segmentarium.classical.crf.energy import GridCRF
from segmentarium.classical.levels import within
from segmentarium.errors import UnknownName
from segmentarium.ops.share import share

Updates = Literal["coloured", "parallel"]


@dataclass(frozen=True, eq=False)
class MeanField:
    """``free_energies`` holds F before the first iteration and after each; -F is a lower bound of log Z.

    ``residuals`` holds the largest change of a probability in each iteration.
    """

    marginals: Float64[np.ndarray, "*s k"]
    free_energies: tuple[float, ...]
    residuals: tuple[float, ...]

    @property
    def labels(self) -> Int32[np.ndarray, "*s"]:
        return np.asarray(self.marginals.argmax(axis=-1), np.int32)


def mean_field(
    crf: GridCRF,
    *,
    updates: Updates = "coloured",
    iterations: int = 50,
    tolerance: float = 1e-6,
) -> MeanField:
    """Lower the free energy, starting from the unary costs alone.

    Args:
        updates: ``coloured`` renews one colour of the checkerboard after the other, which is coordinate
            descent: F never rises. ``parallel`` renews all places from the old values; it may oscillate for
            ever.
        tolerance: stop when no probability changes by more.
    """
    if updates not in get_args(Updates):
        raise UnknownName.among("updates", updates, get_args(Updates))
    within("iterations", iterations, 1)
    field = crf.arrays()
    probs = softmax(-field[0], axis=-1)
    changes = np.zeros(len(probs))
    coloured = updates == "coloured"
    turns = crf.colours if coloured else (np.arange(len(probs)),)
    fresh = probs if coloured else probs.copy()
    free, residuals = [free_energy(crf, probs.reshape(crf.unary.shape))], []
    for _ in range(iterations):
        for places in turns:
            share(partial(kernels.update, probs, fresh, field, places, changes), len(places))
        probs, fresh = fresh, probs
        free.append(free_energy(crf, probs.reshape(crf.unary.shape)))
        residuals.append(float(changes.max()))
        if residuals[-1] <= tolerance:
            break
    return MeanField(probs.reshape(crf.unary.shape), tuple(free), tuple(residuals))


def free_energy(crf: GridCRF, probs: Float64[np.ndarray, "*s k"]) -> float:
    """``F(Q)``, in nats: the mean energy less the entropy.

    ``F(Q) + log Z`` is the divergence of the field from Q, so that falling values are progress.
    """
    return crf.expected(probs) - float(entr(probs).sum())
