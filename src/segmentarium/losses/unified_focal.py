"""Unified focal losses: focal cross-entropy and focal Tversky under one set of three parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from segmentarium.errors import BadArgument
from segmentarium.losses.evidence import Evidence, Scalar, mean_over, ratio
from segmentarium.losses.pixelwise import power
from segmentarium.losses.term import Loss


@dataclass(frozen=True, kw_only=True)
class UnifiedFocal(Loss):
    """``share`` x focal cross-entropy + (1 - ``share``) x focal Tversky.

    Attributes:
        delta: weight of the foreground in the first part, of false negatives in the second.
        gamma: how much easy pixels are pushed down in the first part, rare classes up in the second.
        share: of the first part (the paper's lambda).
        asymmetric: whether foreground keeps its full cross-entropy, and background its plain Tversky loss,
            so that only the background is suppressed and only the foreground enhanced. Class 0 is background.

    Source: Yeung et al. 2022, arXiv:2102.04525, equations 14 to 19.
    """

    delta: float = 0.6
    gamma: float = 0.5
    share: float = 0.5
    asymmetric: bool = False

    def of(self, evidence: Evidence) -> Scalar:
        if not evidence.exclusive:
            raise BadArgument(
                "UnifiedFocal where classes may overlap",
                allowed="two or more exclusive classes, 0 background",
            )
        return self.share * self._focal(evidence) + (1 - self.share) * self._tversky(evidence)

    def _focal(self, evidence: Evidence) -> Scalar:
        surprise = -torch.expm1(evidence.log_true)
        foreground = evidence.labels > 0
        exponent = self.gamma if self.asymmetric else 1 - self.gamma
        damped = -power(surprise, exponent) * evidence.log_true
        if not self.asymmetric:
            return self.delta * mean_over(damped, evidence.worth, evidence.total)
        values = torch.where(foreground, -self.delta * evidence.log_true, (1 - self.delta) * damped)
        return mean_over(values, evidence.worth, evidence.total)

    def _tversky(self, evidence: Evidence) -> Scalar:
        sums = evidence.sums_over("batch")
        misses, alarms = sums.true - sums.hit, sums.predicted - sums.hit
        index = ratio(sums.hit, sums.hit + self.delta * misses + (1 - self.delta) * alarms, empty=1.0)
        lack = 1 - index
        enhanced = power(lack, 1 - self.gamma if self.asymmetric else self.gamma)
        if self.asymmetric:
            enhanced = torch.cat([lack[:, :1], enhanced[:, 1:]], dim=1)
        present = (sums.true > 0).to(lack.dtype)
        return ratio((enhanced * present).sum(), present.sum(), empty=0.0)
