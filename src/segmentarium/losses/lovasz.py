"""The Lovász extension of the Jaccard loss: IoU made convex and differentiable by sorting the errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from segmentarium.losses import lovasz_kernels as kernels
from segmentarium.losses.evidence import Evidence, Scalar
from segmentarium.losses.softmax import is_compiled
from segmentarium.losses.softmax_kernels import BLOCK
from segmentarium.losses.term import Loss
from segmentarium.ops.share import share


@dataclass(frozen=True, kw_only=True)
class Lovasz(Loss):
    """Lovász-Softmax for exclusive classes, Lovász hinge where classes may overlap.

    Pixel weights count only as void or not. Processes are not united: each sorts its own pixels.

    Attributes:
        over: whose pixels are sorted together: the ``batch``'s, or each ``image``'s (then the mean over
            images that are not void).
        absent: classes without a true pixel ``leave_out`` (the authors' "present"), or ``count`` ("all").

    Source: Berman, Rannen Triki and Blaschko 2018, arXiv:1705.08790, equations 6 to 9 and algorithm 1.
    """

    over: Literal["batch", "image"] = "batch"
    absent: Literal["leave_out", "count"] = "leave_out"

    def of(self, evidence: Evidence) -> Scalar:
        if evidence.exclusive and is_compiled(evidence.logits):
            return self._compiled(evidence)
        errors, members, valid = _hinge_errors(evidence) if not evidence.exclusive else _errors(evidence)
        images = len(errors)
        groups = [slice(i, i + 1) for i in range(images)] if self.over == "image" else [slice(0, images)]
        means = []
        for group in groups:
            losses, counts = self._classes(errors[group], members[group], valid[group], evidence)
            if valid[group].any():
                means.append((losses * counts).sum() / counts.sum().clamp_min(1e-12))
        return torch.stack(means).mean() if means else errors.sum() * 0

    def _classes(
        self, errors: Tensor, members: Tensor, valid: Tensor, evidence: Evidence
    ) -> tuple[Float[Tensor, " k"], Float[Tensor, " k"]]:
        """Loss and weight of each class."""
        losses, counts = [], []
        for c in range(errors.shape[1]):
            keep = valid[:, c]
            losses.append(lovasz_extension(errors[:, c][keep], members[:, c][keep]))
            present = self.absent == "count" or not evidence.exclusive or bool(members[:, c][keep].any())
            counts.append(float(present))
        weights = torch.tensor(counts).to(errors)
        if evidence.class_weights is not None:
            weights = weights * evidence.class_weights
        return torch.stack(losses), weights

    def _compiled(self, evidence: Evidence) -> Scalar:
        raw = evidence.logits.gather(1, evidence.labels[:, None])[:, 0]
        log_sum = (raw - evidence.statistics.log_true).detach()
        weights = evidence.class_weights
        value: Tensor = _LovaszSoftmax.apply(evidence.logits, log_sum, evidence, weights, self)
        return value


def lovasz_extension(errors: Float[Tensor, " v"], members: Bool[Tensor, " v"]) -> Scalar:
    """The sum of the positive errors, each weighed by what it adds to the Jaccard loss of the worst."""
    if not len(errors):
        return errors.sum()
    order = errors.detach().argsort(descending=True, stable=True)
    sorted_members = members[order].to(errors.dtype)
    inside = sorted_members.sum() - sorted_members.cumsum(0)
    union = sorted_members.sum() + (1 - sorted_members).cumsum(0)
    jaccard = 1 - inside / union
    slopes = torch.diff(jaccard, prepend=jaccard.new_zeros(1))
    return (errors[order].relu() * slopes).sum()


def _errors(evidence: Evidence) -> tuple[Tensor, Tensor, Tensor]:
    """|1[y = c] - p_c|, membership and validity, each ``(b, k, n)``."""
    members = evidence.truth.flatten(2)
    valid = (evidence.worth > 0)[:, None].expand_as(members)
    return (members - evidence.probs.flatten(2)).abs(), members > 0, valid


def _hinge_errors(evidence: Evidence) -> tuple[Tensor, Tensor, Tensor]:
    """1 - logit x sign, membership and validity, each ``(b, k, n)``."""
    members, valid = evidence.labels == 1, evidence.worth > 0
    sign = 2 * members.to(evidence.logits.dtype) - 1
    return 1 - evidence.logits.masked_fill(~valid, 0) * sign, members, valid


class _LovaszSoftmax(torch.autograd.Function):
    """The gradient is found on the way and kept in a tensor of the size of the logits until asked for."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, log_sum: Tensor, evidence: Evidence, weights: Tensor | None, loss: Lovasz
    ) -> Tensor:
        images, classes, pixels = logits.shape
        scores, sums = logits.detach().numpy(), log_sum.contiguous().numpy()
        labels, valid = evidence.labels.numpy(), (evidence.worth > 0).numpy()
        groups = [[i, i + 1] for i in range(images)] if loss.over == "image" else [[0, images]]
        slopes = np.zeros((images, classes, pixels), np.float32)
        losses, members = np.zeros((len(groups), classes)), np.zeros((len(groups), classes))

        def sort(start: int, stop: int) -> None:
            for task in range(start, stop):
                g, c = divmod(task, classes)
                part = slice(*groups[g])
                found = kernels.slopes_of_class(
                    scores[part, c], sums[part], labels[part], valid[part], c, slopes[part, c]
                )
                losses[g, c], members[g, c] = found

        share(sort, len(groups) * classes)
        counts = np.asarray(members > 0 if loss.absent == "leave_out" else np.ones_like(members), np.float64)
        counts *= 1 if weights is None else weights.numpy()
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)
        living = [bool(valid[slice(*group)].any()) for group in groups]
        shares *= np.asarray(living)[:, None] / max(1, sum(living))
        for (first, last), share_of_class in zip(groups, shares.astype(np.float32), strict=True):
            for image in range(first, last):
                _through_softmax(scores[image], sums[image], valid[image], share_of_class, slopes[image])
        ctx.gradient = torch.from_numpy(slopes)
        return logits.new_tensor((losses * shares).sum())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return ctx.gradient * gradient, None, None, None, None


def _through_softmax(
    scores: np.ndarray, sums: np.ndarray, valid: np.ndarray, shares: np.ndarray, slopes: np.ndarray
) -> None:
    def work(start: int, stop: int) -> None:
        kernels.through_softmax(scores, sums, valid, shares, slopes, start, stop)

    share(work, -(-scores.shape[1] // BLOCK))
