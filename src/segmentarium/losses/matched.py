"""Sums over queries beside the truths that they answer: of their classes, and of their masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from segmentarium.losses.matching import Match
from segmentarium.losses.points import sample
from segmentarium.nn.blocks import resize
from segmentarium.nn.truth import Truth


class Read(NamedTuple):
    """Matched masks, pixel by pixel: what was answered, what is true, and what the pixel is worth."""

    logits: Float[Tensor, "m n"]
    masks: Float[Tensor, "m n"]
    worth: Float[Tensor, "m n"] | None


def places(matches: Sequence[Match], device: torch.device) -> tuple[Int[Tensor, " m"], Int[Tensor, " m"]]:
    """Image and query of each match, in one transfer."""
    images = torch.cat([torch.full_like(match.queries, image) for image, match in enumerate(matches)])
    both = torch.stack([images, torch.cat([match.queries for match in matches])]).to(device)
    return both[0], both[1]


def class_sums(
    logits: Float[Tensor, "b q k"],
    truths: Sequence[Truth],
    matches: Sequence[Match],
    at: tuple[Int[Tensor, " m"], Int[Tensor, " m"]],
    no_object: float,
) -> Float[Tensor, "2"]:
    """Class losses of all queries, and their weights, both summed; ``at`` is of :func:`places`."""
    nothing = logits.shape[-1] - 1
    classes = torch.full(logits.shape[:2], nothing, device=logits.device)
    answered = [truth.classes[match.truths] for truth, match in zip(truths, matches, strict=True)]
    classes[at] = torch.cat(answered).to(classes)
    worth = torch.where(classes == nothing, no_object, 1.0).to(logits.dtype)
    losses = functional.cross_entropy(logits.flatten(0, 1), classes.flatten(), reduction="none")
    return torch.stack([losses @ worth.flatten(), worth.sum()])


def all_pixels(
    logits: Float[Tensor, " m *s"],
    truths: Sequence[Truth],
    matches: Sequence[Match],
    images: Int[Tensor, " m"],
) -> Read:
    """Read at every pixel of the truth, to whose size answers are resized."""
    read = resize(logits[:, None], truths[0].masks.shape[1:])[:, 0].flatten(1)
    chosen = [truth.masks[match.truths] for truth, match in zip(truths, matches, strict=True)]
    masks = torch.cat(chosen).flatten(1).to(read.dtype)
    void = void_of(truths)
    return Read(read, masks, None) if void is None else _known(read, masks, ~void[images].flatten(1))


def at_points(
    points: Float[Tensor, "m n d"],
    logits: Float[Tensor, " m *s"],
    truths: Sequence[Truth],
    matches: Sequence[Match],
    images: Int[Tensor, " m"],
) -> Read:
    """Read at points of each mask."""
    own = torch.split(points, [len(match.truths) for match in matches])
    chosen = [
        sample(truth.masks, place, rows=match.truths.to(points.device))
        for truth, match, place in zip(truths, matches, own, strict=True)
    ]
    read, masks, void = sample(logits, points), torch.cat(chosen), void_of(truths)
    if void is None:
        return Read(read, masks, None)
    return _known(read, masks, sample(void, points, rows=images) == 0)


def _known(logits: Float[Tensor, "m n"], masks: Float[Tensor, "m n"], known: Bool[Tensor, "m n"]) -> Read:
    # what stands under void may be infinite: replaced, not multiplied
    return Read(logits.masked_fill(~known, 0), masks * known, known.to(logits.dtype))


def void_of(truths: Sequence[Truth]) -> Bool[Tensor, " b *s"] | None:
    """Of the batch; None if there is none."""
    if all(truth.void is None for truth in truths):
        return None
    nowhere = torch.zeros(truths[0].masks.shape[1:], dtype=torch.bool, device=truths[0].masks.device)
    return torch.stack([nowhere if truth.void is None else truth.void for truth in truths])


def mask_sums(read: Read, kind: str) -> Float[Tensor, "2"]:
    """Pixel losses averaged over each mask, and Dice losses, both summed over the masks."""
    logits, masks, worth = read
    probs = logits.sigmoid()
    losses = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    if kind == "focal":
        # Lin et al. 2017, arXiv:1708.02002, equation 5, alpha = 0.25 and gamma = 2
        losses = (0.75 - 0.5 * masks) * (probs + masks - 2 * probs * masks).square() * losses
    if worth is None:
        mean, answered = losses.mean(1), probs.sum(1)
    else:
        mean, answered = (losses * worth).sum(1) / worth.sum(1).clamp_min(1), (probs * worth).sum(1)
    overlap = 1 - (2 * (probs * masks).sum(1) + 1) / (answered + masks.sum(1) + 1)
    return torch.stack([mean.sum(), overlap.sum()])
