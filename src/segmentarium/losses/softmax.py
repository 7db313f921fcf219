"""All that losses need of a softmax, in one pass over the logits and one over their gradient.

Most losses see the probabilities only through a few numbers: the log-probability of each pixel's true class,
and sums over the pixels of each class. One function yields these; losses are small differentiable functions
of them, so that a sum of ten losses costs one softmax, and no tensor of the size of the logits is kept for
the way back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from segmentarium.losses import softmax_kernels as kernels
from segmentarium.ops.share import share


class SoftmaxStatistics(NamedTuple):
    """What losses see of a batch; every field is differentiable.

    Attributes:
        log_true: natural logarithm of the probability of each pixel's true class.
        mixed_log: weighted sum over the classes of the logarithms of their probabilities; empty without
            weights.
        hit: sum over the pixels of a class of the worth times the probability given to that class.
        predicted: sum over all pixels of worth times probability.
        squares: sum over all pixels of worth times squared probability.
    """

    log_true: Float[Tensor, "b n"]
    mixed_log: Float[Tensor, "..."]
    hit: Float[Tensor, "b k"]
    predicted: Float[Tensor, "b k"]
    squares: Float[Tensor, "b k"]


def softmax_statistics(
    logits: Float[Tensor, "b k n"],
    labels: Int[Tensor, "b n"],
    worth: Float[Tensor, "b n"],
    *,
    mix: Float[Tensor, " k"] | None = None,
) -> SoftmaxStatistics:
    """The statistics of ``softmax(logits, dim=1)``, image by image.

    Args:
        labels: class indices from 0; anything valid where ``worth`` is 0.
        worth: of each pixel; those of 0 have no influence, whatever their logits are, and get no gradient.
        mix: the weights of the classes in ``mixed_log``; they get no gradient.
    """
    if is_compiled(logits):
        log_true, mixed_log, sums = _Compiled.apply(logits, labels, worth, mix)
        return SoftmaxStatistics(log_true, mixed_log, *sums.unbind(1))
    return plain_statistics(logits, labels, worth, mix=mix)


def is_compiled(logits: Tensor) -> bool:
    """Whether the compiled loops take these logits."""
    return logits.device.type == "cpu" and logits.dtype == torch.float32 and logits.numel() > 0


def plain_statistics(
    logits: Float[Tensor, "b k n"],
    labels: Int[Tensor, "b n"],
    worth: Float[Tensor, "b n"],
    *,
    mix: Float[Tensor, " k"] | None = None,
) -> SoftmaxStatistics:
    """The same in plain torch: for other devices and precisions, and to compare the compiled loops with."""
    logs = logits.masked_fill((worth == 0)[:, None], 0).log_softmax(dim=1)
    log_true = logs.gather(1, labels[:, None])[:, 0]
    probs = logs.exp()
    nothing = logits.new_zeros(logits.shape[:2])
    return SoftmaxStatistics(
        log_true,
        logits.new_zeros(0, 0) if mix is None else torch.einsum("bkn,k->bn", logs, mix),
        nothing.scatter_add(1, labels, log_true.exp() * worth),
        torch.einsum("bkn,bn->bk", probs, worth),
        torch.einsum("bkn,bn->bk", probs.square(), worth),
    )


class _Compiled(torch.autograd.Function):
    """Keeps the logits and one number a pixel; probabilities are made anew on the way back."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, worth: Tensor, mix: Tensor | None) -> Any:
        images, classes, pixels = logits.shape
        weights = logits.new_zeros(0) if mix is None else mix.float()
        ctx.constants = [t.detach().contiguous().numpy() for t in (labels, worth, weights)]
        log_sum, log_true = np.empty((2, images, pixels), np.float32)
        mixed = np.zeros((images, pixels) if weights.numel() else (0, 0), np.float32)
        given, filled = (logits.detach().numpy(), *ctx.constants), (log_sum, log_true, mixed)

        def work(sums: np.ndarray, start: int, stop: int) -> None:
            kernels.sum_up(*given, *filled, sums, start, stop)

        sums = _gathered(work, (images, 3, classes), _blocks(images, pixels))
        ctx.save_for_backward(logits)
        ctx.log_sum = log_sum
        single = sums.astype(np.float32)
        return torch.from_numpy(log_true), torch.from_numpy(mixed), torch.from_numpy(single)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *of: Tensor) -> Any:
        (logits,) = ctx.saved_tensors
        derivatives = [gradient.contiguous().numpy() for gradient in of]
        gradient = empty_like(logits)
        given, target = (logits.detach().numpy(), *ctx.constants, ctx.log_sum), gradient.numpy()

        def work(start: int, stop: int) -> None:
            kernels.differentiate(*given, *derivatives, target, start, stop)

        share(work, _blocks(logits.shape[0], logits.shape[2]))
        return gradient, None, None, None


def empty_like(logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """As torch's, from memory in large pages, which NumPy asks the system for: a quarter of the time."""
    room = torch.from_numpy(np.empty(logits.numel(), np.float32))
    order = sorted(range(logits.ndim), key=logits.stride, reverse=True)
    dense = room.reshape([logits.shape[axis] for axis in order])
    return dense.permute([order.index(axis) for axis in range(logits.ndim)])


def _blocks(images: int, pixels: int) -> int:
    return images * -(-pixels // kernels.BLOCK)


def _gathered(
    work: Callable[[np.ndarray, int, int], object], shape: tuple[int, ...], count: int
) -> Float[np.ndarray, "b 3 k"]:
    """Each part of the work adds to zeros of its own; they are added in order, so sums are repeatable."""
    parts: dict[int, np.ndarray] = {}

    def one(start: int, stop: int) -> None:
        mine = np.zeros(shape)
        work(mine, start, stop)
        parts[start] = mine

    share(one, count)
    return np.asarray(sum(parts[start] for start in sorted(parts)))
