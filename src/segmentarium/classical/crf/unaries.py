"""Unary energies of a dense field: from a network's probabilities, or from a first guess of the labels.

Source: the conventions of pydensecrf (Krähenbühl and Koltun 2011, wrapped by Beyer 2015), whose numbers come
out. A network's scores should be enlarged to the picture before they become energies.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Integer

from segmentarium.errors import BadArgument


def from_softmax(
    probs: Float[np.ndarray, " k *s"], *, trust: float = 1.0, least: float = 1e-5
) -> Float32[np.ndarray, " k *s"]:
    """Negative logarithms of probabilities.

    Args:
        trust: below 1, probabilities are mixed with equal ones, to this share.
        least: what smaller probabilities are raised to, so that nothing is impossible.

    Raises:
        BadArgument: numbers that are no probabilities.
    """
    if probs.size == 0 or not (probs.min() >= 0 and probs.max() <= 1 + 1e-4):
        raise BadArgument(f"probabilities of shape {probs.shape}", allowed="at least one, all from 0 to 1")
    if not 0 < trust <= 1 or not 0 < least < 1:
        raise BadArgument(
            f"trust = {trust:g}, least = {least:g}", allowed="above 0, least below 1, trust up to 1"
        )
    if trust < 1:
        probs = trust * probs + (1 - trust) / len(probs)
    energies = np.asarray(np.clip(probs, least, 1), np.float32)
    np.log(energies, out=energies)
    np.negative(energies, out=energies)
    return energies


def from_labels(
    labels: Integer[np.ndarray, "*s"], *, classes: int, sure: float = 0.7, zero_unsure: bool = True
) -> Float32[np.ndarray, " k *s"]:
    """Energies of a map of labels that are right with the probability ``sure``; the others share the rest.

    Args:
        classes: how many there are, "unsure" not counted.
        zero_unsure: 0 stands for "anything" and the labels count from 1; else they count from 0.

    Raises:
        BadArgument: a label outside the range, fewer than two classes, or ``sure`` not between 0 and 1.
    """
    first = int(zero_unsure)
    if not 0 < sure < 1 or classes < 2:
        raise BadArgument(f"sure = {sure:g} of {classes} classes", allowed="between 0 and 1, of at least 2")
    if labels.size == 0 or labels.min() < 0 or labels.max() >= classes + first:
        raise BadArgument(
            f"labels of shape {labels.shape} that are not all classes",
            allowed=f"at least one, from {first} to {classes - 1 + first}" + ", or 0 for unsure" * first,
        )
    energies = np.full((classes, *labels.shape), -np.log((1 - sure) / (classes - 1)), np.float32)
    for index in range(classes):
        energies[index][labels == index + first] = -np.log(sure)
    if zero_unsure:
        energies[:, labels == 0] = -np.log(1 / classes)
    return energies
