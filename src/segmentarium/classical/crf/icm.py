"""Iterated conditional modes: each place takes its cheapest label beside its neighbours, until none changes.

Fast, and stuck in the nearest local minimum.

Source: Besag 1986.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Int32, Integer

from segmentarium.classical.crf import sampling_kernels as kernels
from segmentarium.classical.crf.energy import GridCRF
from segmentarium.classical.levels import within
from segmentarium.ops.share import share

LEAST_PIXELS = 2048  # fewer are not worth a thread


@dataclass(frozen=True, eq=False)
class Modes:
    """``changes`` counts the places that changed in each sweep; the last is 0 if a minimum was reached."""

    labels: Int32[np.ndarray, "*s"]
    energy: int | float
    changes: tuple[int, ...]


def icm(crf: GridCRF, *, start: Integer[np.ndarray, "*s"] | None = None, sweeps: int = 100) -> Modes:
    """Never raises the energy: places of one colour change together, and do not see one another.

    Args:
        start: labels to begin with; the best by unary costs if left out.
    """
    within("sweeps", sweeps, 1)
    begin = crf.cheapest() if start is None else start.astype(np.int32)
    crf.energy(begin)  # refuses labels that do not fit
    labels, field = begin.ravel(), crf.arrays()
    changed, changes = np.zeros(labels.size, np.bool_), []
    for _ in range(sweeps):
        for places in crf.colours:
            share(partial(kernels.lowest, labels, field, places, changed), len(places), least=LEAST_PIXELS)
        changes.append(int(changed.sum()))
        if changes[-1] == 0:
            break
    found = labels.reshape(crf.size)
    return Modes(found, crf.energy(found), tuple(changes))
