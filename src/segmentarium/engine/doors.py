"""The one door to learning: a network and a batch in, the named terms of a loss out.

Networks that answer for every pixel or with queries are given to a loss from outside; two-stage networks
sample proposals against the truth, so theirs is inside, behind their method ``terms``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from segmentarium.data.batch import Batch
from segmentarium.engine.recipe import USUAL_LOSS, Train
from segmentarium.errors import BadRecipe, UnknownName
from segmentarium.losses import (
    MaskClassificationLoss,
    SemanticLoss,
    detr,
    mask_classification,
    sum_over_processes,
)
from segmentarium.losses.detr import DetrLoss
from segmentarium.nn import Truth, geometry_of
from segmentarium.values.classes import VOID

Terms = dict[str, Float[Tensor, ""]]
_TINY = 1e-12


@runtime_checkable
class Door(Protocol):
    """What a network learns through; the sum to learn from is the term ``loss``."""

    def __call__(self, network: Any, batch: Batch, /, *, draw: torch.Generator) -> Terms: ...

    def to(self, device: torch.device, /) -> Any: ...


class PixelDoor(nn.Module):
    """For networks that return ``Semantic``."""

    def __init__(self, loss: SemanticLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, network: Any, batch: Batch, *, draw: torch.Generator) -> Terms:
        terms: Terms = self.loss(network(batch.images), batch.labels, batch.weights)
        return terms


class MaskDoor(nn.Module):
    """For networks that return ``Queries``; labels of pixels become one mask a class."""

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, network: Any, batch: Batch, *, draw: torch.Generator) -> Terms:
        truths = batch.truths if batch.labels is None else tuple(map(masks_of_classes, batch.labels))
        terms: Terms = self.loss(network(batch.images), truths, draw=draw)
        return terms


class RegionDoor(nn.Module):
    """For networks with a training door of their own."""

    def forward(self, network: Any, batch: Batch, *, draw: torch.Generator) -> Terms:
        terms: Terms = network.terms(batch.images, batch.truths, draw=draw)
        return terms


def door_of(network: nn.Module, train: Train, *, class_weights: Float[Tensor, " k"] | None = None) -> Door:
    """The door that fits ``network``.

    Args:
        class_weights: what a pixel of each class counts.

    Raises:
        BadRecipe: the recipe names losses, or weights of classes, for a network that has its own; or a number
            that its loss does not have.
    """
    if not hasattr(network, "terms") and not hasattr(network, "loss"):
        loss = SemanticLoss(
            train.loss,
            class_weights=class_weights,
            border=geometry_of(network).border,
            aux=getattr(network, "aux_weights", "auxiliary"),
            total=sum_over_processes,
        )
        return PixelDoor(loss)
    numbers = {} if train.loss == USUAL_LOSS else train.loss
    if class_weights is not None or (numbers and hasattr(network, "terms")):
        raise BadRecipe(
            f"recipe.train: {type(network).__name__} has a loss of its own",
            allowed="no train.loss and no train.class_weights for it",
            cure="leave them out",
        )
    if hasattr(network, "terms"):
        return RegionDoor()
    if network.loss == "detr":
        return MaskDoor(DetrLoss(_with_numbers(detr.SETTINGS["detr"], numbers), total=sum_over_processes))
    setting = _with_numbers(mask_classification.SETTINGS[str(network.loss)], numbers)
    return MaskDoor(MaskClassificationLoss(setting, total=sum_over_processes))


def _with_numbers(setting: Any, numbers: Mapping[str, Any]) -> Any:
    """A paper's setting with numbers of the recipe in place of its own."""
    known = {f.name: type(getattr(setting, f.name)) for f in fields(setting)}
    for name, value in numbers.items():
        if name not in known:
            raise BadRecipe(f"recipe.train.loss: {UnknownName.among('number of the loss', name, known)}")
        if not isinstance(value, int | float):
            raise BadRecipe(f"recipe.train.loss.{name}: got {value!r}", allowed="a number")
    return replace(setting, **{name: known[name](value) for name, value in numbers.items()})


def masks_of_classes(labels: Int[Tensor, "*s"]) -> Truth:
    """One mask for each class that is present."""
    present = torch.unique(labels[labels != VOID])
    void = labels == VOID
    each = present.reshape(-1, *[1] * labels.ndim)
    return Truth(labels[None] == each, present, void if bool(void.any()) else None)


def placed(batch: Batch, device: torch.device, *, memory_format: torch.memory_format) -> Batch:
    """``batch`` on ``device``."""
    images = batch.images.to(device, memory_format=memory_format, non_blocking=True)
    labels, weights = (
        None if t is None else t.to(device, non_blocking=True) for t in (batch.labels, batch.weights)
    )
    truths = tuple(_truth_on(device, *truth) for truth in batch.truths)
    return replace(batch, images=images, labels=labels, weights=weights, truths=truths)


def _truth_on(device: torch.device, masks: Tensor, classes: Tensor, void: Tensor | None) -> Truth:
    masks, classes = masks.to(device, non_blocking=True), classes.to(device, non_blocking=True)
    return Truth(masks, classes, None if void is None else void.to(device, non_blocking=True))


def halves(batch: Batch, parts: int) -> Iterator[tuple[Batch, Tensor | float]]:
    """``batch`` in parts, and the share of each in the loss of the whole: of pixels, or of images."""
    if parts == 1:
        yield batch, 1.0
        return
    whole = _worth(batch)
    images = batch.images.chunk(parts)
    start = 0
    for some in images:
        chosen = slice(start, start + len(some))
        start += len(some)
        part = Batch(
            some,
            _cut(batch.labels, chosen),
            batch.stems[chosen],
            _cut(batch.weights, chosen),
            batch.truths[chosen],
        )
        yield part, _worth(part) / whole


def _cut(tensor: Tensor | None, chosen: slice) -> Tensor | None:
    return None if tensor is None else tensor[chosen]


def _worth(batch: Batch) -> Tensor:
    """What the pixels that are not void count for together; the number of images where masks are learned."""
    if batch.labels is None:
        return torch.tensor(float(len(batch.images)))
    seen = batch.labels != VOID
    return (seen.sum() if batch.weights is None else (batch.weights * seen).sum()).clamp_min(_TINY)
