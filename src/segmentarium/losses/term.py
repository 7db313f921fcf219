"""What a loss is: something to call, to scale and to add.

    loss = CrossEntropy() + 0.5 * Dice()
    value = loss(logits, labels)

However many terms are added, the softmax is computed once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from segmentarium.losses.evidence import Evidence, Scalar, Total, gather


class Loss(ABC):
    """A number that falls as predictions get better; :mod:`segmentarium.losses.evidence` says what it takes.

    Whatever stands under void, logits included, changes neither the value nor any gradient. Where nothing is
    valid, the value is 0 and so is the gradient.
    """

    smoothing: float = 0.0
    """Share of the truth that is spread evenly over all classes."""

    def __call__(
        self,
        logits: Float[Tensor, "b k *s"],
        labels: Shaped[Tensor, "..."],
        *,
        weight: Float[Tensor, "..."] | None = None,
        class_weights: Float[Tensor, " k"] | None = None,
        total: Total = lambda sums: sums,
    ) -> Scalar:
        """The loss of a batch.

        Args:
            labels: class indices of the shape of space, or 0 and 1 of the shape of the logits; below zero is
                void.
            weight: the worth of each pixel.
            class_weights: how much each class counts: per pixel in pixel terms, per class in overlap terms.
            total: applied to sums over pixels; ``sum_over_processes`` unites a batch spread over processes.

        Raises:
            BadArgument, BadMask: see :func:`segmentarium.losses.evidence.gather`.
        """
        mix = even_mix(logits, class_weights) if self.smoothing else None
        return self.of(
            gather(logits, labels, weight=weight, class_weights=class_weights, mix=mix, total=total)
        )

    @abstractmethod
    def of(self, evidence: Evidence) -> Scalar:
        """The loss of evidence that may be shared with other losses."""

    def __add__(self, other: Loss) -> Sum:
        return Sum((*_parts(self), *_parts(other)))

    def __mul__(self, weight: float) -> Sum:
        return Sum(tuple((weight * w, term) for w, term in _parts(self)))

    __rmul__ = __mul__


@dataclass(frozen=True)
class Sum(Loss):
    """A weighted sum of losses."""

    parts: tuple[tuple[float, Loss], ...]

    @property
    def smoothing(self) -> float:  # type: ignore[override]
        return max((term.smoothing for _, term in self.parts), default=0.0)

    def of(self, evidence: Evidence) -> Scalar:
        return torch.stack([weight * term.of(evidence) for weight, term in self.parts]).sum()


def _parts(loss: Loss) -> tuple[tuple[float, Loss], ...]:
    return loss.parts if isinstance(loss, Sum) else ((1.0, loss),)


def even_mix(
    logits: Float[Tensor, "b k *s"], class_weights: Float[Tensor, " k"] | None
) -> Float[Tensor, " k"]:
    """The weights of the classes in the part of the truth that label smoothing spreads."""
    classes = logits.shape[1]
    if class_weights is None:
        return torch.full((classes,), 1 / classes, device=logits.device, dtype=torch.float32)
    return class_weights / classes
