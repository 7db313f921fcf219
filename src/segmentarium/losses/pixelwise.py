"""Terms that judge each pixel by itself: the cross-entropy family and the focal family.

All are means over the valid pixels (and over the classes where these may overlap), never over pixels times
classes of a softmax, and never over void.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from segmentarium.errors import BadArgument
from segmentarium.losses.evidence import Evidence, Scalar, mean_over, ratio
from segmentarium.losses.term import Loss

Reduction = Literal["mean", "sum"]


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(Loss):
    """Negative log-likelihood of the truth, natural logarithm: softmax or, for overlapping classes, sigmoid.

    Attributes:
        smoothing: share of the truth that is spread evenly over all classes.
        mean: with weights of classes or pixels, ``weights`` divides by their sum over the valid pixels
            (torch), ``pixels`` by the number of these (Caffe).
        reduction: ``sum`` does not divide.
    """

    smoothing: float = 0.0
    mean: Literal["weights", "pixels"] = "weights"
    reduction: Reduction = "mean"

    def of(self, evidence: Evidence) -> Scalar:
        weight, worth = evidence.weight_of_label, evidence.worth
        values = -evidence.log_true if weight is None else -evidence.log_true * weight
        if self.smoothing:
            values = (1 - self.smoothing) * values - self.smoothing * evidence.mixed_log
        if self.mean == "pixels":
            divisor = (worth > 0).to(worth.dtype)
        else:
            divisor = worth if weight is None else worth * weight
        sums = evidence.total(torch.stack([(values * worth).sum(), divisor.sum()]))
        return sums[0] if self.reduction == "sum" else ratio(sums[0], sums[1], empty=0.0)


def soft_cross_entropy(
    logits: Float[Tensor, "b k *s"],
    target_probs: Float[Tensor, "b k *s"],
    *,
    weight: Float[Tensor, " b *s"] | None = None,
) -> Scalar:
    """Cross-entropy with a distribution over the classes as the truth of each pixel; mean over the pixels.

    Args:
        target_probs: sums to 1 over the classes; a pixel whose numbers are all 0 is void.
        weight: the worth of each pixel.

    Raises:
        BadArgument: the truth is no distribution.
    """
    if target_probs.shape != logits.shape:
        raise BadArgument(
            f"target_probs of shape {tuple(target_probs.shape)}", allowed=f"{tuple(logits.shape)}"
        )
    sums = target_probs.sum(1)
    void = sums == 0
    if bool((target_probs < 0).any()) or not torch.allclose(sums.masked_fill(void, 1), torch.ones_like(sums)):
        raise BadArgument(
            "target_probs that are negative or do not sum to 1 over the classes",
            allowed="a distribution over the classes at each pixel, or all 0 for void",
            cure="give class indices if there is one true class",
        )
    values = -(logits.masked_fill(void[:, None], 0).log_softmax(1) * target_probs).sum(1)
    worth = (~void).to(values.dtype) if weight is None else (~void) * weight
    return mean_over(values, worth, lambda sums: sums)


@dataclass(frozen=True, kw_only=True)
class BinaryCrossEntropy(Loss):
    """Cross-entropy of one or more yes-or-no questions.

    Attributes:
        positive_weight: how much a pixel of class 1 counts ("weighted cross-entropy"; above 1 favours
            recall). The sum is divided by the number of pixels, as torch's ``pos_weight`` does.
        positive_class: the class whose probability the sigmoid gives. 0 is the convention of texts that write
            ``p = P(Y = 0)``.
    """

    positive_weight: float = 1.0
    positive_class: Literal[0, 1] = 1

    def of(self, evidence: Evidence) -> Scalar:
        _require_questions(self, evidence)
        values = -(evidence.log_true if self.positive_class else evidence.log_false)
        positive = evidence.labels == self.positive_class
        return mean_over(values * (1 + (self.positive_weight - 1) * positive), evidence.worth, evidence.total)


@dataclass(frozen=True, kw_only=True)
class BalancedCrossEntropy(Loss):
    """Binary cross-entropy in which positives count ``beta`` and negatives ``1 - beta``.

    Equal to ``1 - beta`` times :class:`BinaryCrossEntropy` with a positive weight of ``beta / (1 - beta)``.

    Attributes:
        beta: ``None`` takes the share of negatives of each image and class, so that both kinds weigh alike.

    Source: Xie and Tu 2015 (HED), arXiv:1504.06375, equation 2; the name is that of lectures.
    """

    beta: float | None = None

    def of(self, evidence: Evidence) -> Scalar:
        _require_questions(self, evidence)
        positive = (evidence.labels == 1).to(evidence.worth.dtype)
        if self.beta is None:
            counted = evidence.worth.sum(2, keepdim=True)
            share = ratio((positive * evidence.worth).sum(2, keepdim=True), counted, empty=0.0)
            beta = 1 - share
        else:
            beta = torch.as_tensor(self.beta).to(positive)
        weight = beta * positive + (1 - beta) * (1 - positive)
        return mean_over(-evidence.log_true * weight, evidence.worth, evidence.total)


@dataclass(frozen=True, kw_only=True)
class Focal(Loss):
    """Cross-entropy in which a pixel whose truth was given probability p counts (1 - p)^gamma.

    Attributes:
        alpha: how much positives count against ``1 - alpha`` for negatives, where classes may overlap; for
            exclusive classes a number a class.

    Source: Lin et al. 2017, arXiv:1708.02002, equations 4 and 5.
    """

    gamma: float = 2.0
    alpha: float | Sequence[float] | None = None

    def of(self, evidence: Evidence) -> Scalar:
        log_true = evidence.log_true
        surprise = -torch.expm1(log_true)  # 1 - p, exact also where p is nearly 1
        values = -power(surprise, self.gamma) * log_true
        return mean_over(values * self._weight(evidence), evidence.worth, evidence.total)

    def _weight(self, evidence: Evidence) -> Tensor:
        weight = evidence.weight_of_label
        if weight is None:
            weight = torch.ones_like(evidence.worth)
        if self.alpha is None:
            return weight
        if evidence.exclusive:
            if isinstance(self.alpha, float) or len(self.alpha) != evidence.logits.shape[1]:
                raise BadArgument(
                    f"focal alpha {self.alpha}", allowed=f"a list of {evidence.logits.shape[1]} numbers"
                )
            return weight * torch.tensor(self.alpha).to(weight)[evidence.labels]
        if not isinstance(self.alpha, float | int):
            raise BadArgument(f"focal alpha {self.alpha}", allowed="one number where classes may overlap")
        return weight * torch.where(evidence.labels == 1, self.alpha, 1 - self.alpha)


@dataclass(frozen=True, kw_only=True)
class TopK(Loss):
    """Cross-entropy of the hardest pixels of the batch only.

    Attributes:
        share: of the valid pixels that is kept, at least one.

    Source: Wu et al. 2016, arXiv:1605.06885 ("bootstrapping"); nnU-Net's TopK loss keeps a tenth.
    """

    share: float = 0.1

    def of(self, evidence: Evidence) -> Scalar:
        values, worth = _valid(evidence)
        kept = max(1, int(self.share * len(values))) if len(values) else 0
        hardest = (values * worth).topk(kept).indices
        return mean_over(values[hardest], worth[hardest], evidence.total)


@dataclass(frozen=True, kw_only=True)
class OnlineHardExamples(Loss):
    """Cross-entropy of the pixels whose truth was given a probability below a threshold (OHEM).

    Attributes:
        threshold: of the probability.
        least: pixels that are kept at least, the hardest ones.

    Source: Shrivastava et al. 2016, arXiv:1604.03540; per pixel as in HRNet and OCRNet.
    """

    threshold: float = 0.7
    least: int = 100_000

    def of(self, evidence: Evidence) -> Scalar:
        values, worth = _valid(evidence)
        if not len(values):
            return evidence.logits.sum() * 0 + mean_over(values, worth, evidence.total)
        chance = (-values.detach()).exp()
        bound = chance.kthvalue(min(max(self.least, 1), len(chance))).values.clamp_min(self.threshold)
        kept = worth * (chance <= bound)
        return mean_over(values, kept, evidence.total)


@dataclass(frozen=True, kw_only=True)
class PrintedUNetPlusPlus(Loss):
    """The loss of UNet++ as its paper prints it: the mean over pixels of -(y log p / 2 + 2 y p / (y + p)).

    The authors trained with ``0.5 * BinaryCrossEntropy() + Dice()``, which is another number.

    Source: Zhou et al. 2018, arXiv:1807.10165, equation 3.
    """

    def of(self, evidence: Evidence) -> Scalar:
        chance = evidence.log_true.exp()
        values = -(evidence.log_true / 2 + 2 * chance / (1 + chance))
        if not evidence.exclusive:
            values = values * (evidence.labels == 1)
        return mean_over(values, evidence.worth, evidence.total)


def power(surprise: Tensor, exponent: float) -> Tensor:
    """``surprise ** exponent`` for numbers from 0, with a finite gradient at 0 also for exponents below 1."""
    if exponent == 2:
        return surprise.square()
    return surprise.clamp_min(torch.finfo(surprise.dtype).tiny ** 0.5).pow(exponent)


def _valid(evidence: Evidence) -> tuple[Float[Tensor, " v"], Float[Tensor, " v"]]:
    """Negative log-likelihood and weight of the valid pixels."""
    valid = evidence.worth > 0
    weight = evidence.weight_of_label
    worth = evidence.worth if weight is None else evidence.worth * weight
    return -evidence.log_true[valid], worth[valid]


def _require_questions(loss: Loss, evidence: Evidence) -> None:
    if evidence.exclusive:
        raise BadArgument(
            f"{type(loss).__name__} with {evidence.logits.shape[1]} exclusive classes",
            allowed="one channel, or labels of the shape of the logits",
            cure="take CrossEntropy with class weights",
        )
