"""Region scores under each tool's name: mean IoU and Dice as a paper, a challenge or a library computes them.

    regions = Regions(19, ignore=255)
    for prediction, truth in pairs:
        regions.update(prediction, truth)
    regions.compute().mean_iou                   # one confusion matrix over all images
    regions.compute(protocol="monai").mean_iou   # what MONAI would have said of the same pairs

Points and voxels are counted like pixels: any shape will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

from segmentarium.errors import BadArgument, BadData
from segmentarium.metrics import scores as score
from segmentarium.metrics.confusion import count_pairs
from segmentarium.metrics.intervals import bootstrap_sums
from segmentarium.metrics.region_definitions import DEFINED
from segmentarium.metrics.region_protocols import Averaged, Rule, average, protocol_of
from segmentarium.metrics.scores import Counts, Tally
from segmentarium.metrics.undefined import plain
from segmentarium.values.classes import VOID

__all__ = ["DEFINED", "RegionScores", "Regions", "region_scores", "sensitivity", "specificity"]


@dataclass(frozen=True, eq=False, kw_only=True)
class RegionScores:
    """Region scores of a data set under one protocol; :data:`DEFINED` says what each means.

    Attributes:
        iou, dice: one a class. None, like all that follows from them, where the tool has no such score.
        mean_iou, mean_dice: the number that the tool reports.
        iou_per_image, dice_per_image: in the order in which images were added.
        precision, sensitivity, specificity: one a class, over all images; like the accuracies and
            ``frequency_weighted_iou`` they are the same under every protocol.
        intervals: 95% interval over images of ``mean_iou`` and ``mean_dice``; nan for fewer than two images.
        undefined: names of classes that are neither in truth nor in prediction of any image.
    """

    protocol: str
    names: tuple[str, ...]
    images: int
    mean_iou: float | None
    mean_dice: float | None
    iou: Float[np.ndarray, " k"] | None
    dice: Float[np.ndarray, " k"] | None
    iou_per_image: Float[np.ndarray, " n"] | None
    dice_per_image: Float[np.ndarray, " n"] | None
    precision: Float[np.ndarray, " k"]
    sensitivity: Float[np.ndarray, " k"]
    specificity: Float[np.ndarray, " k"]
    pixel_accuracy: float
    mean_accuracy: float
    frequency_weighted_iou: float
    intervals: dict[str, tuple[float, float]]
    undefined: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None for undefined or not existing, "inf" for infinite."""
        columns = ("iou", "dice", "precision", "sensitivity", "specificity")
        per_class = {
            name: {
                key: None if (values := getattr(self, key)) is None else plain(values[i]) for key in columns
            }
            for i, name in enumerate(self.names)
        }
        headlines = ("mean_iou", "mean_dice", "pixel_accuracy", "mean_accuracy", "frequency_weighted_iou")
        return {
            "protocol": self.protocol,
            "images": self.images,
            **{key: plain(getattr(self, key)) for key in headlines},
            "per_class": per_class,
            "iou_per_image": _plain_list(self.iou_per_image),
            "dice_per_image": _plain_list(self.dice_per_image),
            "intervals": {key: [plain(low), plain(high)] for key, (low, high) in self.intervals.items()},
            "undefined": list(self.undefined),
        }


class Regions:
    """Gathers three counts a class and image, from which every protocol can be answered.

    Args:
        classes: how many there are; labels run from 0 to ``classes - 1``.
        names: one a class; numbers if left out.
        protocol: whose rules ``compute`` follows unless told otherwise; see :data:`PROTOCOLS`.
        ignore: the truth value whose pixels are left out. If it is a class (0 in SemanticKITTI), that class
            is in no mean.

    >>> regions = Regions(2)
    >>> regions.update(np.array([[0, 1, 1]]), np.array([[0, 1, 1]]))
    >>> regions.compute().mean_iou
    1.0
    """

    def __init__(
        self, classes: int, *, names: Sequence[str] = (), protocol: str = "dataset", ignore: int = VOID
    ) -> None:
        if classes < 1:
            raise BadArgument(f"classes={classes}", allowed="one or more")
        if names and len(names) != classes:
            raise BadArgument(f"names: {len(names)} for {classes} classes", allowed="one a class")
        protocol_of(protocol)
        self.names = tuple(names) or tuple(str(i) for i in range(classes))
        self.protocol, self.ignore = protocol, ignore
        self._images: list[Tally] = []

    def update(
        self,
        prediction: Integer[np.ndarray, "*p"] | Bool[np.ndarray, "*p"],
        truth: Integer[np.ndarray, "*t"] | Bool[np.ndarray, "*t"],
    ) -> None:
        """Add one image, volume or point cloud.

        Raises:
            BadMask: the shapes differ, or a pixel outside void holds no class; nothing is added then.
        """
        counts = count_pairs(prediction, truth, classes=len(self.names), ignore=self.ignore)
        self._images.append(Tally.of(counts))

    def merge(self, other: Regions) -> None:
        """Add the images of another part of the data; the order of parts does not matter to scores."""
        if (other.names, other.ignore) != (self.names, self.ignore):
            raise BadData(
                f"regions of {', '.join(other.names)} with void {other.ignore}",
                allowed=f"the same classes in the same order and the same void: {', '.join(self.names)},"
                f" {self.ignore}",
            )
        self._images += other._images

    def reset(self) -> None:
        """Forget all images."""
        self._images = []

    def compute(self, *, protocol: str = "", rounds: int = 1000, seed: int = 0) -> RegionScores:
        """The scores of all that was added so far.

        Args:
            protocol: the one of the constructor if left out.
            rounds: of the bootstrap; 0 leaves the intervals out.

        Raises:
            UnknownName: there is no such protocol.
        """
        rules = protocol_of(protocol or self.protocol)
        tally = self._stacked()
        total = Tally(tally.correct.sum(0), truth=tally.truth.sum(0), predicted=tally.predicted.sum(0))
        averaged = {
            "iou": self._averaged(rules.iou, tally, score.iou),
            "dice": self._averaged(rules.dice, tally, score.dice),
        }
        absent = (name for name, pixels in zip(self.names, total.union, strict=True) if not pixels)
        return RegionScores(
            protocol=protocol or self.protocol,
            names=self.names,
            images=len(self._images),
            **_fields("iou", averaged["iou"]),
            **_fields("dice", averaged["dice"]),
            precision=score.precision(total),
            sensitivity=sensitivity(total),
            specificity=specificity(total),
            pixel_accuracy=float(score.pixel_accuracy(total)),
            mean_accuracy=float(score.mean_accuracy(total)),
            frequency_weighted_iou=float(score.frequency_weighted_iou(total)),
            intervals={
                f"mean_{key}": _interval(found, rounds=rounds, seed=seed)
                for key, found in averaged.items()
                if found is not None and rounds
            },
            undefined=tuple(absent),
        )

    def _stacked(self) -> Tally:
        nothing = np.zeros((0, len(self.names)), np.int64)
        return Tally.stack(self._images) if self._images else Tally(nothing, truth=nothing, predicted=nothing)

    def _averaged(self, rule: Rule | None, tally: Tally, of: score.Score) -> Averaged | None:
        columns = np.arange(len(self.names)) != self.ignore
        return None if rule is None else average(rule, tally, of, columns=columns)


def region_scores(
    prediction: Integer[np.ndarray, "*p"] | Bool[np.ndarray, "*p"],
    truth: Integer[np.ndarray, "*t"] | Bool[np.ndarray, "*t"],
    *,
    classes: int,
    names: Sequence[str] = (),
    protocol: str = "dataset",
    ignore: int = VOID,
) -> RegionScores:
    """The scores of one image; :class:`Regions` for many, since most protocols tell images apart.

    Args:
        ignore: as for :class:`Regions`.

    Raises:
        BadMask: the shapes differ, or a pixel outside void holds no class.
        UnknownName: there is no such protocol.

    >>> region_scores(np.array([[0, 1, 1]]), np.array([[0, 0, 1]]), classes=2).mean_iou
    0.5
    """
    regions = Regions(classes, names=names, protocol=protocol, ignore=ignore)
    regions.update(prediction, truth)
    return regions.compute()


def sensitivity(counts: Counts) -> Float[np.ndarray, "*n k"]:
    """The recall of each class by its name in medicine: TP / (TP + FN); nan where truth has none."""
    return score.recall(counts)


def specificity(counts: Counts) -> Float[np.ndarray, "*n k"]:
    """Share of the pixels of other classes that are not predicted as the class: TN / (TN + FP).

    nan where truth has no pixel of another class.

    >>> specificity(np.array([[3, 1], [0, 4]])).tolist()
    [1.0, 0.75]
    """
    tally = Tally.of(counts)
    others = tally.truth.sum(-1, keepdims=True) - tally.truth
    right = others - (tally.predicted - tally.correct)
    return np.asarray(np.divide(right, others, out=np.full(others.shape, np.nan), where=others != 0))


def _fields(key: str, averaged: Averaged | None) -> dict[str, Any]:
    """The fields of a result that hold one score; None if the tool has no such score."""
    fields = {f"mean_{key}": "mean", key: "per_class", f"{key}_per_image": "per_image"}
    return {field: getattr(averaged, part, None) for field, part in fields.items()}


def _interval(averaged: Averaged, *, rounds: int, seed: int) -> tuple[float, float]:
    """nan where an image scored infinity: infinities have no percentiles."""
    if len(averaged.sums) < 2 or not (averaged.sums < np.sqrt(np.finfo(np.float64).max)).all():
        return float("nan"), float("nan")
    low, high = bootstrap_sums(averaged.sums, averaged.of, rounds=rounds, seed=seed)
    return float(low), float(high)


def _plain_list(values: Float[np.ndarray, " n"] | None) -> list[float | str | None] | None:
    return None if values is None else [plain(value) for value in values]
