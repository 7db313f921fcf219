"""The loss of networks that return ``Semantic``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from segmentarium.losses.evidence import Total, gather
from segmentarium.losses.named import named
from segmentarium.losses.term import even_mix
from segmentarium.nn import Semantic, crop_or_pad, resize


class SemanticLoss(nn.Module):
    """A weighted sum of named losses over the pixels that are not void; the softmax is computed once.

    Void is any label below zero. Arithmetic is in float32 at least.

    Args:
        terms: how much each loss of ``TERMS`` counts, or a table of its ``weight`` and settings.
        class_weights: how much each class counts: a pixel of it in pixel terms, its score in overlap terms.
        border: pixels that the network loses on each side, ``geometry_of(network).border``: labels are cut to
            the logits then, where otherwise logits are resized to the labels.
        total: applied to all sums over pixels; ``sum_over_processes`` unites a batch spread over processes.

    Raises:
        BadRecipe: there is no such loss or setting, or none is asked for.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        terms: Mapping[str, float | Mapping[str, Any]],
        *,
        class_weights: Float[Tensor, " k"] | None = None,
        border: int = 0,
        total: Total = lambda sums: sums,
    ) -> None:
        super().__init__()
        self.terms, self.border, self.total = named(terms), border, total
        self.register_buffer("class_weights", class_weights)

    def forward(
        self, output: Semantic, labels: Int[Tensor, " b *s"], weight: Float[Tensor, " b *s"] | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Each loss by its name, unweighted, and their weighted sum as ``loss``.

        Args:
            output: what the network returned.
            labels: class indices; below zero is void.
            weight: the worth of each pixel, such as the paper's border weights.

        Raises:
            BadArgument, BadMask: see :func:`segmentarium.losses.evidence.gather`.
        """
        size = output.logits.shape[2:] if self.border else labels.shape[1:]
        logits = resize(_at_least_single(output.logits), size)
        smoothed = any(loss.smoothing for _, loss in self.terms.values())
        evidence = gather(
            logits,
            crop_or_pad(labels[:, None], size)[:, 0],
            weight=None if weight is None else crop_or_pad(weight[:, None], size)[:, 0],
            class_weights=self.class_weights,
            mix=even_mix(logits, self.class_weights) if smoothed else None,
            total=self.total,
        )
        values = {name: loss.of(evidence) for name, (_, loss) in self.terms.items()}
        weighted = [weight * values[name] for name, (weight, _) in self.terms.items()]
        return values | {"loss": torch.stack(weighted).sum()}


def _at_least_single(logits: Float[Tensor, "b k *s"]) -> Float[Tensor, "b k *s"]:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
