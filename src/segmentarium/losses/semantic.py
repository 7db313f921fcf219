"""The loss of networks that return ``Semantic``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from segmentarium.losses.deep_supervision import head_weights
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
        aux: how much the further heads of a network count, the first number being the main one's; see
            :class:`DeepSupervision`. Their losses are told together as ``aux``.
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
        aux: str | Sequence[float] = "auxiliary",
        total: Total = lambda sums: sums,
    ) -> None:
        super().__init__()
        self.terms, self.border, self.total = named(terms), border, total
        self.aux = aux
        self.register_buffer("class_weights", class_weights)

    def forward(
        self, output: Semantic, labels: Int[Tensor, " b *s"], weight: Float[Tensor, " b *s"] | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Each loss by its name, unweighted, and their weighted sum, with that of further heads, as ``loss``.

        Args:
            output: what the network returned.
            labels: class indices; below zero is void.
            weight: the worth of each pixel, such as the paper's border weights.

        Raises:
            BadArgument, BadMask: see :func:`segmentarium.losses.evidence.gather`.
        """
        values = self._of_logits(output.logits, labels, weight)
        if not output.aux:
            return values
        shares = head_weights(self.aux, 1 + len(output.aux))
        losses = [self._of_logits(logits, labels, weight)["loss"] for logits in output.aux]
        aux = torch.stack([share * loss for share, loss in zip(shares[1:], losses, strict=True)]).sum()
        return values | {"aux": aux, "loss": shares[0] * values["loss"] + aux}

    def _of_logits(
        self,
        logits: Float[Tensor, "b k *s"],
        labels: Int[Tensor, " b *t"],
        weight: Float[Tensor, " b *t"] | None,
    ) -> dict[str, Float[Tensor, ""]]:
        size = logits.shape[2:] if self.border else labels.shape[1:]
        logits = resize(_at_least_single(logits), size)
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
        weighted = [share * values[name] for name, (share, _) in self.terms.items()]
        return values | {"loss": torch.stack(weighted).sum()}


def _at_least_single(logits: Float[Tensor, "b k *s"]) -> Float[Tensor, "b k *s"]:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
