"""One door to all inference over a field: labels, their energy, and how sure they are where that is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float64, Int32

from segmentarium.classical.crf.energy import GridCRF
from segmentarium.errors import UnknownName

Lowering = Literal["expansion", "swap", "icm", "min_sum", "annealing"]
"""These seek labels of low energy."""

Averaging = Literal["sum_product", "mean_field", "gibbs", "metropolis_hastings", "swendsen_wang"]
"""These find, or draw, how probable each label is at each place; labels are the most probable ones."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Labels, their energy, and the probabilities of all labels where the method averages."""

    labels: Int32[np.ndarray, "*s"]
    energy: int | float
    marginals: Float64[np.ndarray, "*s k"] | None = None


def solve(crf: GridCRF, *, method: Lowering | Averaging = "expansion", seed: int = 0) -> Solution:
    """Infer labels by the method's defaults.

    Args:
        seed: of the methods that draw at random: annealing and the three samplers.

    Raises:
        UnknownName: there is no such method.
        BadArgument: the pairwise costs are not what the method asks for.
    """
    if method in get_args(Lowering):
        return _lowered(crf, method, seed)
    if method in get_args(Averaging):
        return _averaged(crf, method, seed)
    raise UnknownName.among("inference", method, (*get_args(Lowering), *get_args(Averaging)))


def _lowered(crf: GridCRF, method: str, seed: int) -> Solution:
    from segmentarium.classical.crf import belief_propagation, icm, moves, sampling

    ways: dict[str, Callable[[GridCRF], Any]] = {
        "expansion": moves.expansion,
        "swap": moves.swap,
        "icm": icm.icm,
        "min_sum": belief_propagation.min_sum,
        "annealing": lambda crf: sampling.simulated_annealing(crf, seed=seed),
    }
    found = ways[method](crf)
    return Solution(found.labels, found.energy)


def _averaged(crf: GridCRF, method: str, seed: int) -> Solution:
    from segmentarium.classical.crf import belief_propagation, mean_field, sampling

    if method == "sum_product":
        marginals = belief_propagation.sum_product(crf).marginals
    elif method == "mean_field":
        marginals = mean_field.mean_field(crf).marginals
    else:
        marginals = getattr(sampling, method)(crf, seed=seed).marginals
    labels = np.asarray(marginals.argmax(axis=-1), np.int32)
    return Solution(labels, crf.energy(labels), marginals)
