"""Uncertainty maps from several predictions of one image: dropout at prediction, ensembles, flipped inputs.

The entropy of the mean prediction is all that is uncertain; the mean entropy of the predictions is what more
data of the kind would not cure; their difference, the mutual information, is what predictions disagree on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from segmentarium.errors import BadArgument, BadData
from segmentarium.metrics.definition import Definition


@dataclass(frozen=True, eq=False, kw_only=True)
class UncertaintyMaps:
    """One number a pixel of each kind, in nats unless normalised; :data:`DEFINED` says what they mean.

    ``predictive_entropy == expected_entropy + mutual_information``, to rounding.
    """

    samples: int
    mean: Float[np.ndarray, "k ..."]
    predictive_entropy: Float[np.ndarray, "*s"]
    expected_entropy: Float[np.ndarray, "*s"]
    mutual_information: Float[np.ndarray, "*s"]
    variance: Float[np.ndarray, "*s"]

    def as_dict(self) -> dict[str, Any]:
        """For machines: the mean of each map over the image; None if there is no sample."""
        maps = ("predictive_entropy", "expected_entropy", "mutual_information", "variance")
        means = {name: float(np.mean(getattr(self, name))) if self.samples else None for name in maps}
        return {"samples": self.samples, **means}


class Uncertainty:
    """Gathers predictions of one image one by one, in the memory of two of them.

    Args:
        normalised: entropies are divided by the log of the number of classes and so run from 0 to 1.

    >>> uncertainty = Uncertainty()
    >>> uncertainty.update(np.array([1.0, 0.0]))
    >>> uncertainty.update(np.array([0.0, 1.0]))
    >>> round(float(uncertainty.compute().mutual_information), 4)
    0.6931
    """

    def __init__(self, *, normalised: bool = False) -> None:
        self.normalised = normalised
        self.reset()

    def reset(self) -> None:
        """Forget all predictions; the next may have another shape."""
        self._samples = 0
        self._sum = self._squares = self._entropies = np.zeros(0)

    def update(self, probabilities: Float[np.ndarray, "k ..."]) -> None:
        """Add one prediction: (k, *s), summing to one over the classes.

        Raises:
            BadArgument: these are no probabilities, or another shape than before; nothing is added then.
        """
        probs = _checked(probabilities)
        if not self._samples:
            self._sum, self._squares = np.zeros(probs.shape), np.zeros(probs.shape)
            self._entropies = np.zeros(probs.shape[1:])
        elif probs.shape != self._sum.shape:
            raise BadArgument(
                f"probabilities: shape {probs.shape}",
                allowed=f"{self._sum.shape}, that of the first prediction",
            )
        self._samples += 1
        self._sum += probs
        self._squares += probs**2
        self._entropies = np.asarray(self._entropies + _entropy(probs))

    def merge(self, other: Uncertainty) -> None:
        """Add the predictions that another has gathered of the same image."""
        if other.normalised != self.normalised:
            raise BadData("uncertainty in other units", allowed=f"normalised={self.normalised}")
        if not other._samples:
            return
        if self._samples and other._sum.shape != self._sum.shape:
            raise BadData(f"uncertainty of shape {other._sum.shape}", allowed=f"{self._sum.shape}")
        blank = not self._samples
        self._samples += other._samples
        self._sum = other._sum + (0 if blank else self._sum)
        self._squares = other._squares + (0 if blank else self._squares)
        self._entropies = other._entropies + (0 if blank else self._entropies)

    def compute(self) -> UncertaintyMaps:
        """The maps of all predictions so far.

        Raises:
            BadData: there is none.
        """
        if not self._samples:
            raise BadData("no prediction", allowed="one or more; two for any disagreement")
        unit = np.log(len(self._sum)) if self.normalised and len(self._sum) > 1 else 1.0
        mean = self._sum / self._samples
        total = np.asarray(_entropy(mean) / unit)
        expected = np.asarray(self._entropies / self._samples / unit)
        spread = np.maximum(self._squares / self._samples - mean**2, 0)  # rounding can fall below
        return UncertaintyMaps(
            samples=self._samples,
            mean=mean,
            predictive_entropy=total,
            expected_entropy=expected,
            mutual_information=np.asarray(np.maximum(total - expected, 0)),
            variance=np.asarray(spread.sum(0)),
        )


def uncertainty_maps(samples: Float[np.ndarray, "n k *s"], *, normalised: bool = False) -> UncertaintyMaps:
    """The maps of several predictions of one image: (n, k, *s), each summing to one over the classes.

    Args:
        normalised: as for :class:`Uncertainty`.

    Raises:
        BadArgument: these are no probabilities.
        BadData: there is no prediction.
    """
    uncertainty = Uncertainty(normalised=normalised)
    for probabilities in samples:
        uncertainty.update(probabilities)
    return uncertainty.compute()


def _entropy(probs: Float[np.ndarray, "k ..."]) -> Float[np.ndarray, "*s"]:
    """-sum_c p_c log p_c, with 0 log 0 = 0."""
    logs = np.log(probs, out=np.zeros_like(probs), where=probs > 0)
    return np.asarray(np.maximum(-(probs * logs).sum(0), 0.0))


def _checked(probabilities: Any) -> Float[np.ndarray, "k ..."]:
    probs = np.asarray(probabilities, np.float64)
    tolerance = 1e-2 if probabilities.dtype == np.float16 else 1e-3
    sums = probs.sum(0)
    if not ((probs >= 0).all() and (np.abs(sums - 1) <= tolerance).all()):
        raise BadArgument(
            f"probabilities: from {probs.min():.4g} to {probs.max():.4g}, with sums over the {len(probs)}"
            f" classes from {sums.min():.4g} to {sums.max():.4g}",
            allowed="0 to 1, with sum 1 over the classes",
            cure="apply soft-max to logits first",
        )
    return probs


_SOURCE = "Depeweg et al. 2018; Smith and Gal 2018"
_UNITS = "nats"

DEFINED: tuple[Definition, ...] = (
    Definition(
        name="predictive_entropy",
        title="predictive entropy (total uncertainty)",
        formula="H(mean_n p_n) = -sum_c m_c log m_c, with m the mean prediction; / log k if normalised",
        best="neither",
        unit=_UNITS,
        edges={"a probability of 0": "adds 0"},
        source=_SOURCE,
        atlas=("M33",),
    ),
    Definition(
        name="expected_entropy",
        title="expected entropy (data uncertainty)",
        formula="mean_n H(p_n)",
        best="neither",
        unit=_UNITS,
        source=_SOURCE,
        atlas=("M33",),
    ),
    Definition(
        name="mutual_information",
        title="mutual information (model uncertainty)",
        formula="H(mean_n p_n) - mean_n H(p_n), never below 0",
        best="neither",
        unit=_UNITS,
        edges={"one prediction, or all alike": "0"},
        source=_SOURCE,
        atlas=("M33",),
    ),
    Definition(
        name="variance",
        title="predictive variance",
        formula="sum_c (mean_n p_nc^2 - m_c^2), over n predictions, not n - 1",
        best="neither",
        edges={"one prediction, or all alike": "0"},
        source=_SOURCE,
        atlas=("M33",),
    ),
)
