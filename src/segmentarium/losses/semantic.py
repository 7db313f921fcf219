"""The loss of networks that return ``Semantic``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from segmentarium.errors import BadMask, BadRecipe, UnknownName
from segmentarium.losses.terms import TERMS, Total
from segmentarium.nn import Semantic, crop_or_pad, resize


class SemanticLoss(nn.Module):
    """A weighted sum of named terms over the pixels that are not void.

    Void is any label below zero. The logits beneath it are replaced before anything is computed, so that they
    change no value and get no gradient, whatever they are. Arithmetic is in float32 at least.

    Args:
        terms: how much each of ``cross_entropy``, ``dice``, ``focal``, ``jaccard`` counts.
        class_weights: how much a pixel of each class counts, in every term.
        border: pixels that the network loses on each side, ``geometry_of(network).border``: labels are cut to
            the logits then, where otherwise logits are resized to the labels.
        total: applied to all sums over pixels; ``sum_over_processes`` unites a batch spread over processes.

    Raises:
        BadRecipe: there is no such term, or none is asked for.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        terms: Mapping[str, float],
        *,
        class_weights: Float[Tensor, " k"] | None = None,
        border: int = 0,
        total: Total = lambda sums: sums,
    ) -> None:
        super().__init__()
        _require_terms(terms)
        self.terms, self.border, self.total = dict(terms), border, total
        self.register_buffer("class_weights", class_weights)

    def forward(
        self, output: Semantic, labels: Int[Tensor, " b *s"], weight: Float[Tensor, " b *s"] | None = None
    ) -> dict[str, Float[Tensor, ""]]:
        """Each term by its name, unweighted, and their weighted sum as ``loss``.

        Args:
            output: what the network returned.
            labels: class indices; below zero is void.
            weight: the worth of each pixel, such as the paper's border weights.

        Raises:
            BadMask: a label names a class for which there are no logits (looked for on the CPU only).
        """
        size = output.logits.shape[2:] if self.border else labels.shape[1:]
        logits = resize(_at_least_single(output.logits), size).flatten(2)
        labels = crop_or_pad(labels[:, None], size).flatten(1).long()
        void = labels < 0
        worth = (~void).to(logits.dtype)
        if weight is not None:
            worth = worth * crop_or_pad(weight[:, None], size).flatten(1)
        known = labels.clamp_min(0)
        _require_classes(known, logits.shape[1])
        if self.class_weights is not None:
            worth = worth * self.class_weights.to(logits.dtype)[known]
        log_probs = logits.masked_fill(void[:, None], 0).log_softmax(dim=1)
        values = {name: TERMS[name](log_probs, known, worth, self.total) for name in self.terms}
        return values | {"loss": torch.stack([self.terms[n] * v for n, v in values.items()]).sum()}


def _require_terms(terms: Mapping[str, float]) -> None:
    if not terms:
        raise BadRecipe("a loss without any term", allowed=", ".join(TERMS), cure="try cross_entropy = 1.0")
    for name in terms:
        if name not in TERMS:
            unknown = UnknownName.among("loss term", name, TERMS)
            raise BadRecipe(unknown.came, allowed=unknown.allowed, cure=unknown.cure)


def _require_classes(labels: Int[Tensor, "b n"], classes: int) -> None:
    # reading one number off a GPU would hold it up at each step
    if labels.device.type == "cpu" and labels.numel() and int(labels.max()) >= classes:
        raise BadMask(
            f"class index {int(labels.max())} came to a network of {classes} classes",
            allowed=f"0 to {classes - 1}, and -1 for void",
            cure="`seg check` finds the file",
        )


def _at_least_single(logits: Float[Tensor, "b k *s"]) -> Float[Tensor, "b k *s"]:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
