"""Why another tool reports another number: one evaluation under the rules of every tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from segmentarium.metrics import scores as score
from segmentarium.metrics.region_protocols import PROTOCOLS, Averaged, Rule, average
from segmentarium.metrics.scores import Tally

Name = Literal["iou", "dice"]
_SAME = 5e-7
_SCORES: dict[Name, score.Score] = {"iou": score.iou, "dice": score.dice}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one tool would have reported of the same predictions.

    Attributes:
        score: ``mean_iou`` or ``mean_dice``.
        value: nan where the tool's own answer is undefined.
        why: the rule in a sentence; for the first protocol, ours, what the others are compared with.
        on_this_data: what about this data makes the difference, as far as it can be told.
    """

    score: str
    protocol: str
    value: float
    why: str
    on_this_data: str = ""

    def equals(self, ours: float) -> bool:
        """Whether the tool's number is ours, or both are undefined."""
        return bool(np.isclose(self.value, ours, rtol=0, atol=_SAME, equal_nan=True))

    def sentence(self, ours: float) -> str:
        """For people: value, difference, reason."""
        number = "undefined" if np.isnan(self.value) else f"{self.value:.6f}"
        apart = "the same" if self.equals(ours) else f"{self.value - ours:+.6f}"
        reason = f"; here: {self.on_this_data}" if self.on_this_data and not self.equals(ours) else ""
        return f"{self.protocol} {number} ({apart}): {self.why}{reason}"

    def as_dict(self) -> dict[str, Any]:
        """For machines; None where undefined, "inf" where infinite."""
        value: Any = None if np.isnan(self.value) else ("inf" if np.isinf(self.value) else self.value)
        return {
            "score": self.score,
            "protocol": self.protocol,
            "value": value,
            "why": self.why,
            "on_this_data": self.on_this_data,
        }


def explain(tally: Tally, names: Sequence[str]) -> tuple[Reading, ...]:
    """Mean IoU and mean Dice as each tool would report them, ours first.

    Args:
        tally: of each image, stacked along the first axis.
        names: of the classes.
    """
    facts = _facts(tally, names)
    found = []
    for name, function in _SCORES.items():
        for protocol, rules in PROTOCOLS.items():
            rule: Rule | None = getattr(rules, name)
            if rule is not None:
                averaged = average_of(rule, tally, function)
                found.append(_reading(f"mean_{name}", protocol, rule, averaged, facts))
    return tuple(found)


def average_of(rule: Rule, tally: Tally, function: score.Score) -> Averaged:
    """One score under one rule, all classes taking part that the rule lets."""
    return average(rule, tally, function, columns=np.ones(tally.truth.shape[-1], bool))


@dataclass(frozen=True)
class _Facts:
    """What about the data makes rules differ."""

    images: int
    nowhere: tuple[str, ...]
    lacking: int
    false_alarms: int
    first: str


def _facts(tally: Tally, names: Sequence[str]) -> _Facts:
    nowhere = tuple(n for n, pixels in zip(names, tally.union.sum(0), strict=True) if not pixels)
    lacking = int((tally.union == 0).sum())
    alarms = int(((tally.truth == 0) & (tally.predicted > 0)).sum())
    return _Facts(len(tally.truth), nowhere, lacking, alarms, names[0] if names else "")


def _reading(score_name: str, protocol: str, rule: Rule, found: Averaged, facts: _Facts) -> Reading:
    return Reading(
        score=score_name,
        protocol=protocol,
        value=found.mean,
        why=rule.says,
        on_this_data=", ".join(_reasons(rule, facts)),
    )


def _reasons(rule: Rule, facts: _Facts) -> list[str]:
    reasons = []
    pooled = rule.average == "pooled"
    if pooled and facts.nowhere and not np.isnan(rule.empty) and rule.absent_counts:
        reasons.append(f"{', '.join(facts.nowhere)} occurs nowhere and scores {rule.empty:g}")
    if not pooled:
        reasons.append(f"{facts.images} images are scored one by one")
        if np.isnan(rule.unseen) and facts.false_alarms:
            count = _times(facts.false_alarms)
            reasons.append(f"{count} a class is predicted in an image without it: forgiven")
        if not np.isnan(rule.empty) and facts.lacking:
            reasons.append(f"{_times(facts.lacking)} an image lacks a class, which scores {rule.empty:g}")
    if not rule.background:
        reasons.append(f"{facts.first!r} takes no part")
    return reasons


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
