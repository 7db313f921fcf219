"""Terms that judge each class by its overlap: Dice, Jaccard, Tversky and their kin.

They differ between libraries in four independent switches, all of which are parameters here: the power in
the denominator, the images over which sums are taken, what becomes of absent classes, and smoothing.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from segmentarium.losses.evidence import Evidence, Scalar, Sums, ratio
from segmentarium.losses.pixelwise import power
from segmentarium.losses.term import Loss

Over = Literal["batch", "image"]
Absent = Literal["leave_out", "count", "zero"]


@dataclass(frozen=True, kw_only=True)
class Overlap(Loss):
    """One loss a class, from sums over pixels; then the mean over classes, and over images if they are apart.

    Class weights weigh this mean.

    Attributes:
        over: ``batch`` sums over all its images first, over those of other processes too; ``image`` has a
            loss for each.
        absent: classes without a true pixel ``leave_out`` leaves out of the mean: their false alarms are
            charged to the classes they are taken from; ``count`` counts like any other; ``zero`` counts as a
            loss of 0.
        background: whether class 0 takes part.
        smooth_nr, smooth_dr: added to numerator and denominator. Without them, nothing over nothing is a
            perfect score.
    """

    over: Over = "batch"
    absent: Absent = "leave_out"
    background: bool = True
    smooth_nr: float = 0.0
    smooth_dr: float = 0.0

    @abstractmethod
    def score(self, sums: Sums) -> Float[Tensor, "g k"]:
        """Between 0 for no overlap and 1 for a perfect one."""

    def loss(self, score: Float[Tensor, "g k"]) -> Float[Tensor, "g k"]:
        """What is made of the score."""
        return 1 - score

    def of(self, evidence: Evidence) -> Scalar:
        sums = evidence.sums_over(self.over)
        losses, counts = self.loss(self.score(sums)), self._counted(sums)
        if evidence.class_weights is not None:
            counts = counts * evidence.class_weights
        if self.absent == "zero":
            losses = losses * (sums.true > 0)
        if not self.background and losses.shape[1] > 1:
            losses, counts = losses[:, 1:], counts[:, 1:]
        return self._mean(losses, counts, evidence)

    def _counted(self, sums: Sums) -> Float[Tensor, "g k"]:
        some = sums.true > 0 if self.absent == "leave_out" else sums.valid > 0
        return some.to(sums.true.dtype)

    def _mean(self, losses: Tensor, counts: Tensor, evidence: Evidence) -> Scalar:
        parts = torch.stack([(losses * counts).sum(), counts.sum()])
        parts = parts if self.over == "batch" else evidence.total(parts)
        return ratio(parts[0], parts[1], empty=0.0)

    def _smoothed(self, part: Tensor, whole: Tensor) -> Tensor:
        return ratio(part + self.smooth_nr, whole + self.smooth_dr, empty=1.0)


@dataclass(frozen=True, kw_only=True)
class Dice(Overlap):
    """1 - (2 sum(p t) + s) / (sum(p^q) + sum(t) + s').

    Attributes:
        exponent: q, 1 or the 2 of V-Net.
        log: minus the logarithm of the score in place of 1 minus it.

    Source: Milletari et al. 2016, arXiv:1606.04797, section 3 (q = 2).
    """

    exponent: Literal[1, 2] = 1
    log: bool = False

    def score(self, sums: Sums) -> Tensor:
        predicted = sums.predicted if self.exponent == 1 else sums.squares
        return self._smoothed(2 * sums.hit, predicted + sums.true)

    def loss(self, score: Tensor) -> Tensor:
        return -score.clamp_min(1e-7).log() if self.log else 1 - score


@dataclass(frozen=True, kw_only=True)
class Jaccard(Overlap):
    """1 - (sum(p t) + s) / (sum(p) + sum(t) - sum(p t) + s').

    Attributes:
        log: minus the logarithm of the score, as TernausNet takes it.

    Source: Rahman and Wang 2016, "Optimizing Intersection-over-Union in Deep Neural Networks", equation 3.
    """

    log: bool = False

    def score(self, sums: Sums) -> Tensor:
        return self._smoothed(sums.hit, sums.predicted + sums.true - sums.hit)

    def loss(self, score: Tensor) -> Tensor:
        return -score.clamp_min(1e-7).log() if self.log else 1 - score


@dataclass(frozen=True, kw_only=True)
class Tversky(Overlap):
    """1 - TP / (TP + alpha FP + beta FN); alpha = beta = 1/2 is Dice. More beta favours recall.

    Attributes:
        alpha: on false positives.
        beta: on false negatives.
        exponent: of 1 minus the index.

    Source: Salehi et al. 2017, arXiv:1706.05721, equation 4 (there 0.3 and 0.7).
    """

    alpha: float = 0.3
    beta: float = 0.7
    exponent: float = 1.0

    def score(self, sums: Sums) -> Tensor:
        false_positive, false_negative = sums.predicted - sums.hit, sums.true - sums.hit
        return self._smoothed(sums.hit, sums.hit + self.alpha * false_positive + self.beta * false_negative)

    def loss(self, score: Tensor) -> Tensor:
        return 1 - score if self.exponent == 1 else power(1 - score, self.exponent)


@dataclass(frozen=True, kw_only=True)
class FocalTversky(Tversky):
    """(1 - Tversky index)^(1 / gamma) with gamma = 4/3. One library raises to gamma itself: set ``exponent``.

    Source: Abraham and Khan 2018, arXiv:1810.07842, equation 4.
    """

    exponent: float = 0.75


@dataclass(frozen=True, kw_only=True)
class GeneralizedDice(Overlap):
    """1 - 2 sum_c w_c sum(p t) / sum_c w_c (sum(p) + sum(t)): one ratio over all classes.

    Attributes:
        balance: w_c is one over the ``square`` of the class's pixels, one over its pixels (``simple``), or 1
            (``uniform``).
        weight_of_absent: of a class without pixels: ``zero``, or the ``largest`` weight of the others.

    Source: Sudre et al. 2017, arXiv:1707.03237, section 2.1.
    """

    balance: Literal["square", "simple", "uniform"] = "square"
    weight_of_absent: Literal["zero", "largest"] = "zero"

    def score(self, sums: Sums) -> Tensor:
        weights = self._weights(sums.true)
        hit, both = (weights * sums.hit).sum(1), (weights * (sums.predicted + sums.true)).sum(1)
        return self._smoothed(2 * hit, both)[:, None]

    def of(self, evidence: Evidence) -> Scalar:
        sums = evidence.sums_over(self.over)
        valid = (sums.valid[:, :1] > 0).to(sums.hit.dtype)
        if not self.background and sums.hit.shape[1] > 1:
            sums = Sums(*(part[:, 1:] for part in sums))
        return self._mean(self.loss(self.score(sums)), valid, evidence)

    def _weights(self, true: Tensor) -> Tensor:
        exponent = {"square": 2, "simple": 1, "uniform": 0}[self.balance]
        weights = torch.where(true > 0, true.clamp_min(1e-30) ** -exponent, 0)
        if self.weight_of_absent == "largest":
            weights = torch.where(true > 0, weights, weights.amax(1, keepdim=True))
        return weights


@dataclass(frozen=True, kw_only=True)
class MatthewsCorrelation(Overlap):
    """1 - the Matthews correlation coefficient of soft counts; an undefined one counts as 0.

    Source: Abhishek and Hamarneh 2020, arXiv:2010.13454, equation 4.
    """

    def score(self, sums: Sums) -> Tensor:
        positive = sums.hit, sums.predicted - sums.hit
        false_negative = sums.true - sums.hit
        true_negative = sums.valid - sums.predicted - false_negative
        top = positive[0] * true_negative - positive[1] * false_negative
        bottom = sums.predicted * sums.true * (sums.valid - sums.true) * (sums.valid - sums.predicted)
        some = bottom > 0  # a root of 0 would have an infinite slope
        root = torch.where(some, torch.where(some, bottom, 1).sqrt(), 0)
        return ratio(top + self.smooth_nr, root + self.smooth_dr, empty=0.0)
