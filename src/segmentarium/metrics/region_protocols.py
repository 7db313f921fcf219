"""Whose mean IoU, whose Dice: the same counts, turned into a number by the rules of each tool.

Tools differ in four things only: what a class scores that truth, or both maps, lack; in which order classes
and images are averaged; which classes take part; and what the mean of nothing is. A :class:`Rule` says all
four, so that a tool is a line of a table. Pixels that are void in truth are left out before, also for tools
that know no void.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from segmentarium.errors import UnknownName
from segmentarium.metrics.scores import Score, Tally
from segmentarium.metrics.undefined import ratio

Average: TypeAlias = Literal["pooled", "images", "pairs", "classes", "foreground", "generalised"]

_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How one tool makes one number of counts.

    Attributes:
        says: in a sentence, how this differs from others.
        average: ``pooled``: counts of all images are added, then the mean over classes. ``images``: mean over
            the classes of each image, then over images. ``pairs``: mean over all pairs of image and class.
            ``classes``: mean over the images of each class, then over classes. ``foreground``: counts of all
            classes but the first are added, then the mean over images. ``generalised``: a class of an image
            weighs 1 / pixels², then the mean over images.
        empty: the score of a class that is neither in truth nor in prediction.
        unseen: the score of a class that is predicted but not in truth.
        absent_counts: whether the mean takes in a class that is in neither, provided ``empty`` is a number.
        background: whether class 0 takes part in the mean.
        nothing: the mean of nothing.
        nowhere: the score of a class that scored in no image.
    """

    says: str
    average: Average = "images"
    empty: float = np.nan
    unseen: float = 0.0
    absent_counts: bool = True
    background: bool = True
    nothing: float = np.nan
    nowhere: float = np.nan


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """The rules of one tool; None where it has no such score."""

    iou: Rule | None = None
    dice: Rule | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Averaged:
    """One score under one rule.

    Attributes:
        mean: the number that the tool reports.
        per_class: one a class.
        per_image: one an image.
        sums: what each image adds to the state from which ``of`` forms the mean; for intervals.
    """

    mean: float
    per_class: Float[np.ndarray, " k"]
    per_image: Float[np.ndarray, " n"]
    sums: Float[np.ndarray, "n ..."]
    of: Score


def average(rule: Rule, tally: Tally, score: Score, *, columns: Bool[np.ndarray, " k"]) -> Averaged:
    """Apply a rule to the tallies of images, stacked along the first axis.

    Args:
        score: ``iou`` or ``dice`` of :mod:`segmentarium.metrics.scores`.
        columns: the classes that may take part; a class that is itself the ignore value may not.
    """
    if not rule.background:
        columns = columns & (np.arange(len(columns)) > 0)
    values = _values(rule, tally, score)
    counted = columns & ~np.isnan(values) & (rule.absent_counts | (tally.union > 0))
    per_image = _per_image(rule, tally, score, values, counted, columns)
    sums, of = _state(rule, tally, score, values, counted, columns, per_image)
    total = Tally(tally.correct.sum(0), truth=tally.truth.sum(0), predicted=tally.predicted.sum(0))
    per_class = (
        _values(rule, total, score) if rule.average == "pooled" else _mean(values, ~np.isnan(values), 0)
    )
    keys = sums.reshape(len(sums), prod(sums.shape[1:])).T
    in_order = sums[np.lexsort(keys)]  # whatever the order of images: the same to the last digit
    with np.errstate(over="ignore"):
        mean = float(of(in_order.sum(0)))
    return Averaged(
        mean=rule.nothing if np.isnan(mean) else mean,
        per_class=np.where(np.isnan(per_class), rule.nowhere, per_class),
        per_image=per_image,
        sums=in_order,
        of=of,
    )


def _values(rule: Rule, tally: Tally, score: Score) -> Float[np.ndarray, "*n k"]:
    """The score of each class, with the rule's values for classes that are not there."""
    values = score(tally)
    values = np.where((tally.truth == 0) & (tally.predicted > 0), rule.unseen, values)
    return np.asarray(np.where(tally.union == 0, rule.empty, values))


def _per_image(
    rule: Rule, tally: Tally, score: Score, values: Any, counted: Any, columns: Any
) -> Float[np.ndarray, " n"]:
    if rule.average == "foreground":
        counts = ((c * columns).sum(-1, keepdims=True) for c in (tally.correct, tally.truth, tally.predicted))
        correct, truth, predicted = counts
        return np.asarray(_values(rule, Tally(correct, truth=truth, predicted=predicted), score)[:, 0])
    if rule.average == "generalised":
        weights = np.nan_to_num(ratio(columns, tally.truth.astype(np.float64) ** 2))
        whole = (weights * (tally.truth + tally.predicted)).sum(-1)
        return np.asarray(np.nan_to_num(ratio((2 * weights * tally.correct).sum(-1), whole)))
    return np.asarray(_mean(values, counted, -1))


def _state(
    rule: Rule, tally: Tally, score: Score, values: Any, counted: Any, columns: Any, per_image: Any
) -> tuple[Any, Score]:
    """What an image adds, and the mean as a function of the sum; the function takes any leading axes."""
    if rule.average == "pooled":

        def pooled(sums: Any) -> Any:
            total = Tally(sums[..., 0, :], truth=sums[..., 1, :], predicted=sums[..., 2, :])
            found = _values(rule, total, score)
            return _mean(found, columns & ~np.isnan(found) & (rule.absent_counts | (total.union > 0)), -1)

        return np.stack([tally.correct, tally.truth, tally.predicted], 1).astype(np.float64), pooled
    if rule.average == "classes":
        filled = np.where(counted, values, 0.0)
        return np.stack([filled, counted], 1), lambda sums: _strict_mean(ratio(*_halves(sums)), columns)
    if rule.average == "pairs":
        pairs = np.where(counted, values, 0.0).sum(-1), counted.sum(-1)
    else:
        pairs = np.where(np.isnan(per_image), 0.0, per_image), ~np.isnan(per_image)
    return np.stack(pairs, 1).astype(np.float64), lambda sums: ratio(sums[..., 0], sums[..., 1])


def _halves(sums: Any) -> tuple[Any, Any]:
    return sums[..., 0, :], sums[..., 1, :]


def _mean(values: Any, counted: Any, axis: int) -> Any:
    with np.errstate(over="ignore"):
        return ratio(np.where(counted, values, 0.0).sum(axis), counted.sum(axis))


def _strict_mean(values: Any, columns: Any) -> Any:
    """A class that is nan makes the mean nan."""
    return ratio(np.where(columns, values, 0.0).sum(-1), np.full(values.shape[:-1], columns.sum()))


_POOLED = "one confusion matrix over all images, then the mean over classes in truth or prediction"
_IMAGES = "the mean over the classes of each image, then over images"
_ALIKE = f"{_IMAGES}; each image counts the same, however few its classes or pixels"
_FALSE_ALARMS = f"{_IMAGES}; a class that truth lacks is left out even where predicted; mean of nothing: 0"
_KEPT = f"ignore_empty=False: {_IMAGES}; an absent class scores 1, a false alarm 0"
_TOGETHER = "LabelOverlapMeasures: all classes but 0 of an image together; both masks empty is"
_CASES = "the mean over the images of each class, then over classes but 0; undefined if a class is nowhere"


PROTOCOLS: Mapping[str, Protocol] = MappingProxyType(
    {
        "dataset": Protocol(
            iou=Rule(average="pooled", says=f"{_POOLED}: the rule of PASCAL VOC, Cityscapes and ADE20K"),
            dice=Rule(average="pooled", says=_POOLED),
        ),
        "image": Protocol(iou=Rule(says=_ALIKE), dice=Rule(says=_ALIKE)),
        "torchmetrics": Protocol(
            iou=Rule(
                average="pooled",
                empty=0.0,
                absent_counts=False,
                says="JaccardIndex (macro): the mean is that of `dataset`; an absent class is shown as 0",
            ),
            dice=Rule(says=f"DiceScore (macro): {_IMAGES}; absent classes are left out"),
        ),
        "torchmetrics-mean-iou": Protocol(
            iou=Rule(
                average="pairs",
                nowhere=-1.0,
                says="segmentation.MeanIoU: the mean over all pairs of an image and a class in its truth or"
                " prediction: images of many classes count more; a class in no image is shown as -1",
            ),
        ),
        "torchmetrics-generalised-dice": Protocol(
            dice=Rule(
                average="generalised",
                empty=0.0,
                says="GeneralizedDiceScore, one image an update: a class weighs 1 / (its pixels in truth)²,"
                " an absent one nothing; both masks empty is 0",
            ),
        ),
        "monai": Protocol(
            iou=Rule(unseen=np.nan, nothing=0.0, says=f"MeanIoU: {_FALSE_ALARMS}"),
            dice=Rule(unseen=np.nan, nothing=0.0, says=f"DiceMetric: {_FALSE_ALARMS}"),
        ),
        "monai-keep-empty": Protocol(
            iou=Rule(empty=1.0, nothing=0.0, says=f"MeanIoU with {_KEPT}"),
            dice=Rule(empty=1.0, nothing=0.0, says=f"DiceMetric with {_KEPT}"),
        ),
        "smp": Protocol(
            iou=Rule(
                average="pooled", empty=1.0, says="iou_score (macro): `dataset`, but absent classes score 1"
            ),
            dice=Rule(
                average="pooled", empty=1.0, says="f1_score (macro): `dataset`, but absent classes score 1"
            ),
        ),
        "smp-imagewise": Protocol(
            iou=Rule(empty=1.0, says=f"iou_score (macro-imagewise): {_IMAGES}; absent classes score 1"),
            dice=Rule(empty=1.0, says=f"f1_score (macro-imagewise): {_IMAGES}; absent classes score 1"),
        ),
        "sklearn": Protocol(
            iou=Rule(
                average="pooled",
                empty=0.0,
                says="jaccard_score (macro, labels given): `dataset`, but absent classes score 0",
            ),
            dice=Rule(
                average="pooled",
                empty=0.0,
                says="f1_score (macro, labels given): `dataset`, but absent classes score 0",
            ),
        ),
        "medpy": Protocol(
            iou=Rule(
                empty=1.0, background=False, says=f"jc: {_IMAGES}, without class 0; both masks empty is 1"
            ),
            dice=Rule(
                background=False,
                says=f"dc: {_IMAGES}, without class 0; both masks empty is undefined (its code means 1)",
            ),
        ),
        "simpleitk": Protocol(
            iou=Rule(
                average="foreground", empty=_LARGEST, background=False, says=f"{_TOGETHER} the largest float"
            ),
            dice=Rule(average="foreground", empty=np.inf, background=False, says=f"{_TOGETHER} infinite"),
        ),
        "nnunet": Protocol(
            iou=Rule(average="classes", background=False, says=f"foreground mean: {_CASES}"),
            dice=Rule(average="classes", background=False, says=f"foreground mean: {_CASES}"),
        ),
        "semantickitti": Protocol(
            iou=Rule(average="pooled", empty=0.0, says="np_ioueval: `dataset`, but absent classes score 0"),
        ),
    }
)
"""Rules by name of protocol; the first is the default."""


def protocol_of(name: str) -> Protocol:
    """The rules under that name.

    Raises:
        UnknownName: there is none; the nearest is offered.
    """
    if name not in PROTOCOLS:
        raise UnknownName.among("protocol of region scores", name, PROTOCOLS)
    return PROTOCOLS[name]
