"""What the terms of a loss may ask of one batch: each thing is computed once, whoever asks.

Three kinds of task share one calling convention, told apart by the shape of the labels:

=============  =================  ======================================  ===========
kind           logits             labels                                  probability
=============  =================  ======================================  ===========
multi-class    ``(b, k, *s)``     ``(b, *s)``, class indices              softmax
binary         ``(b, 1, *s)``     ``(b, *s)``, 0 or 1                     sigmoid
multi-label    ``(b, k, *s)``     ``(b, k, *s)``, 0 or 1                  sigmoid
=============  =================  ======================================  ===========

Space may have any number of axes. A label below zero is void: it leaves every numerator and denominator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional

from segmentarium.errors import BadArgument, BadMask
from segmentarium.losses.softmax import SoftmaxStatistics, softmax_statistics

Total = Callable[[Float[Tensor, " ..."]], Float[Tensor, " ..."]]
Scalar = Float[Tensor, ""]


class Sums(NamedTuple):
    """Sums over the pixels of each class, in groups ``g`` of images; all are weighted by worth.

    Attributes:
        hit: probability on the pixels of the class.
        predicted: probability anywhere.
        squares: squared probability anywhere.
        true: pixels of the class.
        valid: pixels in all.
    """

    hit: Float[Tensor, "g k"]
    predicted: Float[Tensor, "g k"]
    squares: Float[Tensor, "g k"]
    true: Float[Tensor, "g k"]
    valid: Float[Tensor, "g k"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """One batch, its truth, and what was computed from both; made by :func:`gather`.

    Attributes:
        logits: in single precision at least.
        labels: with 0 in place of void.
        worth: of each label: 0 for void, otherwise the pixel's weight or 1.
        space: the sizes behind ``n``.
        exclusive: whether a pixel has exactly one class (softmax), or each class is a question of its own.
        class_weights: how much a class counts.
        mix: see :func:`softmax_statistics`.
        total: applied to sums over pixels before ratios are formed; may add those of other processes.
    """

    logits: Float[Tensor, "b k n"]
    labels: Int[Tensor, "b n"] | Int[Tensor, "b k n"]
    worth: Float[Tensor, "b n"] | Float[Tensor, "b k n"]
    space: tuple[int, ...]
    exclusive: bool
    class_weights: Float[Tensor, " k"] | None
    mix: Float[Tensor, " k"] | None
    total: Total

    @cached_property
    def statistics(self) -> SoftmaxStatistics:
        """Of the softmax; only where classes exclude each other."""
        return softmax_statistics(self.logits, self.labels, self.worth, mix=self.mix)

    @cached_property
    def log_true(self) -> Float[Tensor, "b n"] | Float[Tensor, "b k n"]:
        """Log-probability of what is true at each label."""
        if self.exclusive:
            return self.statistics.log_true
        sign = 2 * self.labels.to(self.logits.dtype) - 1
        return functional.logsigmoid(self._quiet * sign)

    @cached_property
    def log_false(self) -> Float[Tensor, "b k n"]:
        """Log-probability of the other answer, where each class is a question of its own."""
        sign = 1 - 2 * self.labels.to(self.logits.dtype)
        return functional.logsigmoid(self._quiet * sign)

    @cached_property
    def mixed_log(self) -> Float[Tensor, "b n"] | Float[Tensor, "b k n"]:
        """Mean log-probability of all that could have been true; classes weigh as ``mix`` says."""
        if self.exclusive:
            return self.statistics.mixed_log
        return (functional.logsigmoid(self._quiet) + functional.logsigmoid(-self._quiet)) / 2

    @cached_property
    def sums(self) -> Sums:
        """Of each image."""
        nothing = self.logits.new_zeros(self.logits.shape[:2])
        if self.exclusive:
            s, valid = self.statistics, self.worth.sum(1, keepdim=True)
            true = nothing.scatter_add(1, self.labels, self.worth)
            return Sums(s.hit, s.predicted, s.squares, true, valid.expand_as(true))
        probs, truth = self._quiet.sigmoid(), self.labels * self.worth
        squares = (probs.square() * self.worth).sum(2)
        return Sums(
            (probs * truth).sum(2), (probs * self.worth).sum(2), squares, truth.sum(2), self.worth.sum(2)
        )

    def sums_over(self, images: str) -> Sums:
        """Sums of each ``image``, or one group over the ``batch``, that of all processes."""
        if images == "image":
            return self.sums
        return Sums(*self.total(torch.stack(self.sums).sum(1, keepdim=True)).unbind(0))

    @cached_property
    def probs(self) -> Float[Tensor, "b k *s"]:
        """Probabilities as maps, for terms that look at shapes; under void they are even."""
        chances = self._quiet.softmax(1) if self.exclusive else self._quiet.sigmoid()
        return self._mapped(chances)

    @cached_property
    def truth(self) -> Float[Tensor, "b k *s"]:
        """Memberships, 0 or 1, as maps; under void the first class."""
        if not self.exclusive:
            return self._mapped(self.labels.to(self.logits.dtype))
        empty = torch.zeros_like(self.logits, memory_format=torch.contiguous_format)
        return self._mapped(empty.scatter_(1, self.labels[:, None], 1))

    @cached_property
    def worth_map(self) -> Float[Tensor, "b c *s"]:
        """The worth as maps with one channel, or one a class for questions of their own."""
        return self._mapped(self.worth[:, None] if self.exclusive else self.worth)

    def _mapped(self, flat: Float[Tensor, "b c n"]) -> Float[Tensor, "b c *s"]:
        return flat.reshape(*flat.shape[:2], *self.space)

    @cached_property
    def _quiet(self) -> Float[Tensor, "b k n"]:
        """Logits with 0 under void, so that nothing there can reach a value or a gradient."""
        void = self.worth == 0
        return self.logits.masked_fill(void[:, None] if self.exclusive else void, 0)

    @property
    def weight_of_label(self) -> Float[Tensor, "b n"] | Float[Tensor, "b k n"] | None:
        """The class weight of each label; ``None`` where all count alike."""
        if self.class_weights is None:
            return None
        if self.exclusive:
            return self.class_weights[self.labels]
        return self.class_weights[:, None].expand_as(self.worth)


def gather(
    logits: Float[Tensor, "b k *s"],
    labels: Shaped[Tensor, "..."],
    *,
    weight: Float[Tensor, "..."] | None = None,
    class_weights: Float[Tensor, " k"] | None = None,
    mix: Float[Tensor, " k"] | None = None,
    total: Total = lambda sums: sums,
) -> Evidence:
    """Check a batch and lay it out for the terms.

    Args:
        weight: the worth of each pixel.

    Raises:
        BadArgument: labels are not whole numbers, or a shape does not fit the logits.
        BadMask: a label names a class for which there are no logits (looked for on the CPU only).
    """
    _require_whole(labels)
    _require_shape(logits, labels)
    exclusive = labels.ndim < logits.ndim and logits.shape[1] > 1
    if not exclusive and labels.ndim < logits.ndim:
        labels = labels[:, None]
    flat = labels.flatten(1 if exclusive else 2).long()
    known = flat.clamp_min(0)
    _require_classes(known, logits.shape[1] if exclusive else 2)
    single = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    worth = (flat >= 0).to(single.dtype)
    if weight is not None:
        _require_weight(weight, logits)
        values = weight.to(single.dtype).flatten(1)
        worth = torch.where(flat >= 0, values if exclusive else values[:, None], 0)
    if class_weights is not None:
        class_weights = class_weights.to(single)
    return Evidence(
        logits=single.flatten(2),
        labels=known,
        worth=worth,
        space=tuple(logits.shape[2:]),
        exclusive=exclusive,
        class_weights=class_weights,
        mix=None if mix is None else mix.to(single),
        total=total,
    )


def _require_whole(labels: Tensor) -> None:
    if labels.is_floating_point() or labels.is_complex():
        raise BadArgument(
            f"labels of type {str(labels.dtype).removeprefix('torch.')}",
            allowed="whole numbers: class indices, and below 0 for void",
            cure="labels.long() if they hold indices; logits.argmax(1) never goes here",
        )


def _require_shape(logits: Tensor, labels: Tensor) -> None:
    indices, members = (logits.shape[0], *logits.shape[2:]), tuple(logits.shape)
    if tuple(labels.shape) not in (indices, members):
        raise BadArgument(
            f"labels of shape {tuple(labels.shape)} for logits of shape {tuple(logits.shape)}",
            allowed=f"{indices} of class indices, or {members} of 0 and 1 for classes that may overlap",
        )


def _require_weight(weight: Tensor, logits: Tensor) -> None:
    wanted = (logits.shape[0], *logits.shape[2:])
    if tuple(weight.shape) != wanted:
        raise BadArgument(f"weight of shape {tuple(weight.shape)}", allowed=f"{wanted}, one number a pixel")


def _require_classes(labels: Int[Tensor, "..."], classes: int) -> None:
    # reading one number off a GPU would hold it up at each step
    if labels.device.type == "cpu" and labels.numel() and int(labels.max()) >= classes:
        raise BadMask(
            f"class index {int(labels.max())} came to a network of {classes} classes",
            allowed=f"0 to {classes - 1}, and below 0 for void",
            cure="`seg check` finds the file",
        )


def mean_over(values: Tensor, weights: Tensor, total: Total) -> Scalar:
    """``sum(values * weights) / sum(weights)`` over all processes; 0 with zero gradient without weight."""
    sums = total(torch.stack([(values * weights).sum(), weights.sum()]))
    return ratio(sums[0], sums[1], empty=0.0)


def ratio(part: Tensor, whole: Tensor, *, empty: float) -> Tensor:
    """``part / whole``, and ``empty`` without any gradient where there is nothing to divide by."""
    some = whole > 0
    return torch.where(some, part / torch.where(some, whole, 1), empty)
