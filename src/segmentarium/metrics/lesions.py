"""Detection of lesions: which of the separate structures of truth were found, and which findings are false.

A lesion is a connected component of one class; in a volume voxels hang together by faces, edges and corners
(26 neighbours), in the plane by edges and corners (8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from segmentarium.errors import BadArgument, BadData, UnknownName
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.intervals import bootstrap_sums
from segmentarium.metrics.undefined import plain, ratio

Rule: TypeAlias = Literal["any-overlap", "iou"]
RULES = ("any-overlap", "iou")


@dataclass(frozen=True, eq=False, kw_only=True)
class LesionMatch:
    """The lesions of one case.

    Attributes:
        dice: one a lesion of truth, 0 where it was missed. With ``any-overlap`` between the lesion and all
            findings that touch it together, with ``iou`` between the lesion and its one finding.
        voxels: of each lesion of truth.
        found: how many lesions of truth were found; the true positives.
        missed: how many were not.
        false: how many components of the prediction answer to no lesion.
    """

    dice: Float64[np.ndarray, " n"]
    voxels: Int64[np.ndarray, " n"]
    found: int
    missed: int
    false: int


@dataclass(frozen=True, eq=False, kw_only=True)
class LesionScores:
    """Detection over all lesions of all cases; nan where there is nothing to divide by.

    Attributes:
        f1: 2 found / (2 found + missed + false).
        sensitivity: found / lesions.
        precision: found / (found + false).
        mean_dice: over the lesions of truth; missed ones are 0.
        penalised_dice: the same sum over lesions and false findings, which are 0.
        intervals: 95% bootstrap interval over cases of each of the five.
        per_case: found, missed, false and the sum of Dice, one row a case.
    """

    f1: float
    sensitivity: float
    precision: float
    mean_dice: float
    penalised_dice: float
    found: int
    missed: int
    false: int
    intervals: dict[str, tuple[float, float]]
    per_case: Float64[np.ndarray, "n 4"]
    undefined: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where undefined."""
        scores: dict[str, Any] = {name: plain(getattr(self, name)) for name in SCORES}
        counts = {"found": self.found, "missed": self.missed, "false": self.false}
        intervals = {name: [plain(low), plain(high)] for name, (low, high) in self.intervals.items()}
        rest = {"intervals": intervals, "per_case": self.per_case.tolist(), "undefined": list(self.undefined)}
        return scores | counts | rest


def match_lesions(
    prediction: Shaped[np.ndarray, "*p"],
    truth: Shaped[np.ndarray, "*t"],
    *,
    rule: Rule = "any-overlap",
    threshold: float = 0.1,
) -> LesionMatch:
    """Find out which lesions of one case were found.

    Args:
        prediction: a mask of bools of two or three dimensions, like ``truth``. Take void out of both first.
        rule: ``any-overlap``: a lesion is found if a voxel of it is predicted, and a finding is false if it
            touches no lesion; one finding may find many lesions. ``iou``: lesions and findings are paired
            one to one, as many as possible with at least ``threshold`` and then with the largest sum.
        threshold: the least IoU of a pair, above 0 up to 1.

    Raises:
        BadArgument: masks that are not bool, not 2-D or 3-D or not of one shape; threshold.
        UnknownName: the rule.

    >>> truth = np.array([[True, True, False, False, True, False, False]])
    >>> found = np.array([[False, True, False, False, False, False, True]])
    >>> match = match_lesions(found, truth)
    >>> match.found, match.missed, match.false, match.dice.round(3).tolist()
    (1, 1, 1, [0.667, 0.0])
    """
    _require(prediction, truth, rule, threshold)
    lesions, findings = _components(truth), _components(prediction)
    overlap = _overlap(lesions, findings)
    lesion_voxels, finding_voxels = overlap.sum(1)[1:], overlap.sum(0)[1:]
    shared = overlap[1:, 1:]
    if rule == "iou":
        shared = _one_to_one(shared, lesion_voxels[:, None] + finding_voxels - shared, threshold)
    touches = shared > 0
    found = int(touches.any(1).sum())
    return LesionMatch(
        dice=2 * shared.sum(1) / (lesion_voxels + touches @ finding_voxels),
        voxels=lesion_voxels,
        found=found,
        missed=len(lesion_voxels) - found,
        false=int((~touches.any(0)).sum()),
    )


class LesionDetection:
    """Counts found, missed and false lesions over any number of cases.

    >>> detection = LesionDetection()
    >>> detection.update(np.eye(3, dtype=bool), np.eye(3, dtype=bool))
    >>> detection.compute().f1
    1.0
    """

    def __init__(self, *, rule: Rule = "any-overlap", threshold: float = 0.1) -> None:
        if rule not in RULES:
            raise UnknownName.among("rule of matching lesions", rule, RULES)
        self.rule, self.threshold = rule, threshold
        self._cases: list[tuple[float, float, float, float]] = []

    def update(self, prediction: Shaped[np.ndarray, "*p"], truth: Shaped[np.ndarray, "*t"]) -> None:
        """Add one case; see :func:`match_lesions`."""
        match = match_lesions(prediction, truth, rule=self.rule, threshold=self.threshold)
        self._cases.append((match.found, match.missed, match.false, float(match.dice.sum())))

    def merge(self, other: LesionDetection) -> None:
        """Add the cases of another part of the data; only ``per_case`` depends on the order of the parts.

        Raises:
            BadData: the other part was matched by another rule.
        """
        if (other.rule, other.threshold) != (self.rule, self.threshold):
            raise BadData(
                f"lesions matched by {other.rule} at {other.threshold}",
                allowed=f"the same rule: {self.rule} at {self.threshold}",
            )
        self._cases += other._cases

    def reset(self) -> None:
        """Forget all cases."""
        self._cases = []

    def compute(self) -> LesionScores:
        """The scores of all cases so far."""
        per_case = np.array(self._cases, np.float64).reshape(-1, 4)
        sums = per_case[np.lexsort(per_case.T)]  # sorted: the order of the cases must not reach the numbers
        total = sums.sum(0)
        scores = {name: float(score(total)) for name, score in SCORES.items()}
        intervals = {name: _interval(sums, score) for name, score in SCORES.items()}
        found, missed, false = (int(count) for count in total[:3])
        return LesionScores(
            **scores,
            found=found,
            missed=missed,
            false=false,
            intervals=intervals,
            per_case=per_case,
            undefined=tuple(name for name, value in scores.items() if np.isnan(value)),
        )


SCORES: dict[str, Any] = {
    "f1": lambda s: ratio(2 * s[..., 0], 2 * s[..., 0] + s[..., 1] + s[..., 2]),
    "sensitivity": lambda s: ratio(s[..., 0], s[..., 0] + s[..., 1]),
    "precision": lambda s: ratio(s[..., 0], s[..., 0] + s[..., 2]),
    "mean_dice": lambda s: ratio(s[..., 3], s[..., 0] + s[..., 1]),
    "penalised_dice": lambda s: ratio(s[..., 3], s[..., 0] + s[..., 1] + s[..., 2]),
}
"""Score → function of summed (found, missed, false, sum of Dice), with any number of leading axes."""


def _interval(sums: Float64[np.ndarray, "n 4"], score: Any) -> tuple[float, float]:
    if not len(sums):
        return float("nan"), float("nan")
    low, high = bootstrap_sums(sums, score)
    return float(low), float(high)


def _components(mask: Bool[np.ndarray, "*s"]) -> Shaped[np.ndarray, "*s"]:
    """Numbers of the components from 1, and 0 for ground; neighbours touch by a corner at least."""
    numbers, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    return np.asarray(numbers)


def _overlap(
    lesions: Shaped[np.ndarray, "*s"], findings: Shaped[np.ndarray, "*s"]
) -> Int64[np.ndarray, "n m"]:
    """Voxels that each lesion shares with each finding; ground comes first on both sides."""
    shape = int(lesions.max(initial=0)) + 1, int(findings.max(initial=0)) + 1
    pairs = lesions.astype(np.int64) * shape[1] + findings
    return np.bincount(pairs.reshape(-1), minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)


def _one_to_one(
    shared: Int64[np.ndarray, "n m"], union: Int64[np.ndarray, "n m"], threshold: float
) -> Int64[np.ndarray, "n m"]:
    """What is shared by the pairs alone: as many pairs as possible, then the largest sum of IoU."""
    iou = shared / union
    worth = np.where(
        iou >= threshold, 1 + iou / (1 + min(shared.shape)), 0.0
    )  # one pair more outweighs all IoU
    rows, columns = linear_sum_assignment(worth, maximize=True)
    paired = np.zeros_like(shared)
    paired[rows, columns] = shared[rows, columns]
    return np.where(worth > 0, paired, 0)


def _require(
    prediction: Shaped[np.ndarray, "*p"], truth: Shaped[np.ndarray, "*t"], rule: str, threshold: float
) -> None:
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if mask.dtype != bool or mask.ndim not in (2, 3):
            raise BadArgument(
                f"{name}: {mask.ndim} axes of {mask.dtype}",
                allowed="a bool mask of 2 or 3 axes",
                cure="compare labels with a class or probabilities with a threshold first",
            )
    if prediction.shape != truth.shape:
        raise BadArgument(f"prediction: shape {prediction.shape}", allowed=f"that of truth, {truth.shape}")
    if rule not in RULES:
        raise UnknownName.among("rule of matching lesions", rule, RULES)
    if not 0 < threshold <= 1:
        raise BadArgument(f"threshold: {threshold}", allowed="above 0 up to 1")


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="lesion_f1",
        title="Lesion-wise F1, sensitivity, precision and Dice",
        formula="F1 = 2 found / (2 found + missed + false); found, missed: lesions of truth; false:"
        " components of the prediction that answer to no lesion. Lesions: connected components by 26"
        " neighbours (8 in the plane). mean_dice: mean over lesions, missed ones are 0; penalised_dice:"
        " over lesions and false findings",
        edges={
            "no lesion in truth, none predicted": "F1 undefined (nan)",
            "no lesion in truth, some predicted": "F1 0, sensitivity undefined (nan)",
            "lesions in truth, none predicted": "F1 0, precision undefined (nan)",
        },
        protocols={
            "any-overlap": "A lesion is found if one voxel of it is predicted; one finding may find many"
            " lesions, and its Dice is with all findings that touch it.",
            "iou": "Lesions and findings are paired one to one with IoU of 0.1 or more, as many as possible;"
            " of two findings in one lesion, one is false.",
        },
        source="Counting as in ISLES 2022 (Hernandez Petzsche et al. 2022); Dice of lesions and of"
        " false findings in the manner of BraTS 2023, without its dilation.",
        atlas=("M43",),
    ),
)
