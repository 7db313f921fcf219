"""Scoring of label maps: one confusion matrix over all images, and one an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int64, Integer

from segmentarium.engine.scoring.evaluation import Brief, Case, Evaluation, Interval, listed, refuse_nothing
from segmentarium.errors import BadData, BadMask
from segmentarium.metrics import (
    DEFINITIONS,
    ConfusionMatrix,
    SemanticScores,
    Tally,
    bootstrap,
    bootstrap_mean,
    count_pairs,
)
from segmentarium.metrics.scores import HEADLINES, PER_CLASS
from segmentarium.metrics.undefined import plain
from segmentarium.values.classes import Classes
from segmentarium.values.results import LabelMap

Labels = Integer[np.ndarray, "..."]


@dataclass(frozen=True, kw_only=True)
class SemanticCase(Case):
    """The scores of one image; None for classes it lacks. ``pixels`` counts those that are not void."""

    pixel_accuracy: float
    pixels: int
    iou: dict[str, float | None]
    dice: dict[str, float | None]

    @property
    def mean_iou(self) -> float:
        return self.score

    def as_dict(self) -> dict[str, Any]:
        return {
            "stem": self.stem,
            "mean_iou": plain(self.score),
            "pixel_accuracy": plain(self.pixel_accuracy),
            "pixels": self.pixels,
            "iou": self.iou,
            "dice": self.dice,
        }


@dataclass(frozen=True, kw_only=True)
class SemanticEvaluation(Evaluation):
    """What a model that names every pixel is worth.

    Attributes:
        scores: from one confusion matrix over all images.
        class_intervals: 95% interval for each class, by name of score, then of class.
        mean_iou_per_image: mean over images of the mean IoU of each, another number than ``scores.mean_iou``.
        tally: the counts of each image, which ``engine.explain`` reads; not written to disk.
    """

    task: ClassVar[str] = "semantic"
    headline: ClassVar[str] = "mean_iou"

    cases: tuple[SemanticCase, ...]
    scores: SemanticScores
    class_intervals: dict[str, dict[str, Interval]]
    mean_iou_per_image: float
    tally: Tally | None = field(default=None, compare=False, repr=False)

    def means(self) -> dict[str, Any]:
        scores = self.scores.as_dict()
        for key in ("matrix", "per_class", "undefined"):
            scores.pop(key)
        return {**scores, "mean_iou_per_image": plain(self.mean_iou_per_image)}

    def details(self) -> dict[str, Any]:
        scores = self.scores.as_dict()
        for name, entry in scores["per_class"].items():
            for key, intervals in self.class_intervals.items():
                entry[f"{key}_interval"] = [plain(bound) for bound in intervals[name]]
        return {
            "per_class": scores["per_class"],
            "undefined": scores["undefined"],
            "confusion_matrix": scores["matrix"],
            "definitions": dict(DEFINITIONS),
        }


class SemanticScorer:
    """Counts pixels of label maps; both sides are indices of ``classes``, void in truth is ``VOID``."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self._total = ConfusionMatrix(len(classes), names=classes.names)
        self._cases: list[SemanticCase] = []
        self._tallies: list[Tally] = []

    def update(self, stem: str, prediction: LabelMap | Labels, truth: Labels, /) -> None:
        """Add an image.

        Raises:
            BadMask: they differ in shape, or one holds what is no class; the stem is named.
        """
        labels = prediction.labels if isinstance(prediction, LabelMap) else prediction
        counts = _counted(stem, labels, truth, len(self.classes))
        self._total.matrix += counts
        self._tallies.append(Tally.of(counts))
        self._cases.append(_case(stem, SemanticScores.of(counts, names=self.classes.names)))

    def merge(self, other: SemanticScorer, /) -> None:
        self._total.matrix += other._total.matrix
        self._tallies += other._tallies
        self._cases += other._cases

    def brief(self) -> Brief:
        found = self._total.compute()
        mean = {
            "mean_iou": found.mean_iou,
            "mean_dice": found.mean_dice,
            "pixel_accuracy": found.pixel_accuracy,
        }
        per_class = {name: float(v) for name, v in zip(found.names, found.iou, strict=True)}
        return Brief(headline="mean_iou", mean=mean, per_class=per_class)

    def evaluation(
        self, split: str, /, *, seconds: float, rounds: int = 1000, seed: int = 0
    ) -> SemanticEvaluation:
        scores, cases = self._total.compute(), tuple(self._cases)
        _refuse_nothing(split, images=len(cases), pixels=int(scores.pixels.sum()))
        per_image = np.array([case.mean_iou for case in cases])
        tally = Tally.stack(self._tallies)
        intervals, class_intervals = _intervals(tally, self.classes.names, rounds=rounds, seed=seed)
        if rounds:
            intervals["mean_iou_per_image"] = bootstrap_mean(per_image, rounds=rounds, seed=seed)
        return SemanticEvaluation(
            split=split,
            classes=self.classes,
            scores=scores,
            intervals=intervals,
            class_intervals=class_intervals,
            cases=cases,
            mean_iou_per_image=float(np.nanmean(per_image)),
            seconds=seconds,
            notes=_notes(split, scores, cases),
            tally=tally,
        )


def _counted(stem: str, prediction: Any, truth: Any, classes: int) -> Int64[np.ndarray, "k k"]:
    try:
        return count_pairs(prediction, truth, classes=classes)
    except BadMask as error:
        raise BadMask(f"{stem}: {error.came}", allowed=error.allowed, cure=error.cure) from error


def _case(stem: str, scores: SemanticScores) -> SemanticCase:
    return SemanticCase(
        stem=stem,
        score=scores.mean_iou,
        pixel_accuracy=scores.pixel_accuracy,
        pixels=int(scores.pixels.sum()),
        iou={n: None if np.isnan(v) else float(v) for n, v in zip(scores.names, scores.iou, strict=True)},
        dice={n: None if np.isnan(v) else float(v) for n, v in zip(scores.names, scores.dice, strict=True)},
    )


def _intervals(
    tally: Tally, names: Sequence[str], *, rounds: int, seed: int
) -> tuple[dict[str, Interval], dict[str, dict[str, Interval]]]:
    """Intervals of the scores that are one number, and of those that are one a class."""
    if not rounds:
        return {}, {}
    spread = {key: bootstrap(tally, score, rounds=rounds, seed=seed) for key, score in _RESAMPLED.items()}
    single = {key: (float(low), float(high)) for key, (low, high) in spread.items() if key in HEADLINES}
    each = {
        key: {name: (float(low[i]), float(high[i])) for i, name in enumerate(names)}
        for key, (low, high) in spread.items()
        if key in PER_CLASS
    }
    return single, each


_RESAMPLED = HEADLINES | PER_CLASS


def _refuse_nothing(split: str, *, images: int, pixels: int) -> None:
    refuse_nothing(split, images=images)
    if not pixels:
        raise BadData(
            f"every pixel of the {images} masks in split {split!r} is void",
            allowed="at least one pixel with a class",
            cure="see `seg check`: the ignore value is perhaps a class",
        )


def _notes(split: str, scores: SemanticScores, cases: Sequence[SemanticCase]) -> tuple[str, ...]:
    notes = []
    unseen = [
        n
        for n, pixels in zip(scores.names, scores.pixels, strict=True)
        if not pixels and n not in scores.undefined
    ]
    void = [case.stem for case in cases if not case.pixels]
    if scores.undefined:
        notes.append(
            f"neither in truth nor in prediction, hence undefined and in no mean: {listed(scores.undefined)}"
        )
    if unseen:
        notes.append(f"predicted but nowhere in truth, hence IoU 0: {listed(unseen)}")
    if void:
        notes.append(f"void altogether, hence in no score: {listed(void)}")
    if len(cases) == 1:
        notes.append(f"split {split!r} has one image: no interval can be given")
    return tuple(notes)
