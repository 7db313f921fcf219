"""The CRF-RNN layer: mean field in a fully connected field, unrolled, so that it is trained with the network.

Graphs of ``torch.compile`` and ``torch.export`` see one operator, ``segmentarium::mean_field``: how many
points its lattices have depends on the picture, which no graph can know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument
from segmentarium.nn.permutohedral import Lattice, lattice_of

TOP = 255.0
"""Of intensities, for which the standard deviation of the bilateral filter is meant."""

_LEAST = 1e-20

_LANES = 8
"""Numbers in a register of a CPU; of fewer classes the soft-max is ten times as fast plane by plane."""


class CRFLayer(nn.Module):
    """Scores of pixels made to agree with those of pixels that are near, and of those that look alike.

    In each iteration the soft-max of the scores is filtered, spatially and bilaterally; both are mixed among
    classes by matrices that are learned, and added to the scores that came. Matrices begin as 3 I, 5 I and I:
    the mean field of a Potts model. The sign is that of a message that is added, where the paper has it
    subtracted. Logits go in and come out, not probabilities.

    A network sees normalised images, the field wants intensities from 0 to 255: :meth:`sees` tells how to get
    these back. Until then images are taken to lie from 0 to 1. Weight files do not keep it.

    Args:
        channels: of the image.
        iterations: in training and in evaluation.
        alpha: standard deviation of the bilateral filter in pixels.
        beta: the same of its intensities, which are from 0 to 255.
        gamma: standard deviation of the spatial filter in pixels.

    Source: Zheng et al. 2015, arXiv:1502.03240, sections 4 and 5.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        classes: int,
        *,
        channels: int = 3,
        iterations: tuple[int, int] = (5, 10),
        alpha: float = 160.0,
        beta: float = 3.0,
        gamma: float = 3.0,
    ) -> None:
        super().__init__()
        self.iterations, self.widths = iterations, (alpha, beta, gamma)
        self.spatial = nn.Parameter(3 * torch.eye(classes))
        self.bilateral = nn.Parameter(5 * torch.eye(classes))
        self.compatibility = nn.Parameter(torch.eye(classes))
        self.register_buffer("mean", torch.zeros(channels), persistent=False)
        self.register_buffer("std", torch.ones(channels), persistent=False)

    def sees(self, *, mean: Sequence[float], std: Sequence[float]) -> None:
        """Images are intensities from 0 to 1, less ``mean``, divided by ``std``, a number a channel."""
        self.mean.copy_(self.mean.new_tensor(mean))
        self.std.copy_(self.std.new_tensor(std))

    def forward(
        self, logits: Float[Tensor, "b k *s"], image: Float[Tensor, "b c *t"]
    ) -> Float[Tensor, "b k *s"]:
        """Refine ``logits``; gradients go to them and to the three matrices.

        Raises:
            BadArgument: sizes, classes or channels that do not fit each other and the layer.
        """
        wanted = (len(logits), len(self.spatial), *logits.shape[2:]), (len(logits), len(self.mean))
        if logits.shape != wanted[0] or image.shape != (*wanted[1], *logits.shape[2:]):
            raise BadArgument(
                f"logits of shape {tuple(logits.shape)} and an image of {tuple(image.shape)}",
                allowed=f"{len(self.spatial)} classes, {len(self.mean)} channels, and the same size",
            )
        exact = torch.promote_types(logits.dtype, torch.float32)
        mean, std = (values.to(exact).view(-1, *[1] * (image.ndim - 2)) for values in (self.mean, self.std))
        levels = TOP * (image.detach().to(exact) * std + mean)
        learned = self.spatial, self.bilateral, self.compatibility
        spatial, bilateral, compatibility = (matrix.to(exact) for matrix in learned)
        count = self.iterations[0 if self.training else 1]
        unseen = torch.compiler.is_compiling() or logits.is_meta
        field = torch.ops.segmentarium.mean_field if unseen else mean_field
        given = logits.to(exact), levels, spatial, bilateral, compatibility
        return field(*given, count, self.widths).to(logits.dtype)


def mean_field(
    logits: Float[Tensor, "b k *s"],
    levels: Float[Tensor, "b c *s"],
    spatial: Float[Tensor, "k k"],
    bilateral: Float[Tensor, "k k"],
    compatibility: Float[Tensor, "k k"],
    iterations: int,
    widths: Sequence[float],
) -> Float[Tensor, "b k *s"]:
    """The scores after ``iterations``; ``widths`` are alpha, beta and gamma of :class:`CRFLayer`."""
    size = logits.shape[2:]
    with torch.autocast(logits.device.type, enabled=False):
        near, alike = _means(levels, widths)
        unary = logits.flatten(2).mT
        scores = unary
        for _ in range(iterations):
            probs = _softmax(scores)
            message = functional.linear(near(probs), spatial) + functional.linear(alike(probs), bilateral)
            scores = unary + functional.linear(message, compatibility)
        return scores.mT.unflatten(2, size).contiguous()


def mean_field_gradients(
    gradient: Float[Tensor, "b k *s"],
    logits: Float[Tensor, "b k *s"],
    levels: Float[Tensor, "b c *s"],
    spatial: Float[Tensor, "k k"],
    bilateral: Float[Tensor, "k k"],
    compatibility: Float[Tensor, "k k"],
    iterations: int,
    widths: Sequence[float],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the logits and of the three matrices, where autograd does not reach: in an operator."""
    near, alike = _means(levels, widths)
    unary = logits.flatten(2).mT
    scores, trace = unary, []
    for _ in range(iterations):
        probs = _softmax(scores)
        nearby, similar = near(probs), alike(probs)
        message = functional.linear(nearby, spatial) + functional.linear(similar, bilateral)
        scores = unary + functional.linear(message, compatibility)
        trace.append((probs, nearby, similar, message))
    of_scores = gradient.flatten(2).mT
    of_unary = torch.zeros_like(unary)
    matrices = [torch.zeros_like(matrix) for matrix in (spatial, bilateral, compatibility)]
    for probs, nearby, similar, message in reversed(trace):
        of_unary += of_scores
        of_message = of_scores @ compatibility
        pairs = ((of_message, nearby), (of_message, similar), (of_scores, message))
        for matrix, (later, earlier) in zip(matrices, pairs, strict=True):
            matrix += torch.einsum("bnk,bnl->kl", later, earlier)
        of_probs = near.adjoint(of_message @ spatial) + alike.adjoint(of_message @ bilateral)
        of_scores = probs * (of_probs - (probs * of_probs).sum(-1, keepdim=True))
    of_logits = (of_unary + of_scores).mT.unflatten(2, logits.shape[2:]).contiguous()
    return of_logits, matrices[0], matrices[1], matrices[2]


def _softmax(scores: Float[Tensor, "b n k"]) -> Float[Tensor, "b n k"]:
    if scores.shape[-1] < _LANES and scores.device.type == "cpu":
        return scores.mT.contiguous().softmax(1).mT
    return scores.softmax(-1)


def _means(levels: Float[Tensor, "b c *s"], widths: Sequence[float]) -> tuple[_Mean, _Mean]:
    """The spatial and the bilateral filter."""
    alpha, beta, gamma = widths
    places = _places(levels, alpha).expand(len(levels), -1, -1)
    appearance = torch.cat([places, levels.flatten(2).mT / beta], dim=-1)
    return _Mean(_places(levels, gamma)), _Mean(appearance)


class _Mean:
    """A filter divided by what it makes of ones: a weighted mean over all pixels."""

    def __init__(self, features: Float[Tensor, "b n d"]) -> None:
        self.lattice: Lattice = lattice_of(features)
        self.sums = self.lattice.filter(features.new_ones(*features.shape[:2], 1)) + _LEAST

    def __call__(self, values: Float[Tensor, "b n k"]) -> Float[Tensor, "b n k"]:
        return self._filter(values) / self.sums

    def adjoint(self, gradient: Float[Tensor, "b n k"]) -> Float[Tensor, "b n k"]:
        return self._filter(gradient / self.sums, reverse=True)

    def _filter(self, values: Float[Tensor, "b n k"], *, reverse: bool = False) -> Float[Tensor, "b n k"]:
        batch, _, classes = values.shape
        if batch == len(self.sums):
            return self.lattice.filter(values, reverse=reverse)
        # the same features for all pictures: these are further channels
        together = values.transpose(0, 1).flatten(1)[None]
        filtered = self.lattice.filter(together, reverse=reverse).unflatten(2, (batch, classes))
        return filtered[0].transpose(0, 1)


def _places(levels: Float[Tensor, "b c *s"], width: float) -> Float[Tensor, "1 n a"]:
    """Where pixels are, x first, in standard deviations."""
    axes = [torch.arange(side, dtype=levels.dtype, device=levels.device) for side in levels.shape[2:]]
    grid = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([axis.flatten() for axis in reversed(grid)], dim=-1)[None] / width


# --- the operator that graphs see ---

_TAKES = (
    "Tensor logits, Tensor levels, Tensor spatial, Tensor bilateral, Tensor compatibility, "
    "int iterations, float[] widths"
)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.settings = inputs[5:]


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
    operator = torch.ops.segmentarium.mean_field_gradients
    logits, *matrices = operator(gradient, *ctx.saved_tensors, *ctx.settings)
    return logits, None, *matrices, None, None


def _alike(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in tensors)


_refined = torch.library.custom_op(
    "segmentarium::mean_field", mean_field, mutates_args=(), schema=f"({_TAKES}) -> Tensor"
)
_refined.register_fake(lambda logits, *rest: _alike(logits)[0])
_refined.register_autograd(_differentiate, setup_context=_remember)
torch.library.custom_op(
    "segmentarium::mean_field_gradients",
    mean_field_gradients,
    mutates_args=(),
    schema=f"(Tensor gradient, {_TAKES}) -> (Tensor, Tensor, Tensor, Tensor)",
).register_fake(lambda gradient, logits, levels, *rest: _alike(logits, *rest[:3]))
