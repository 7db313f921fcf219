"""Scoring of countable objects by average precision, and of panoptic maps by panoptic quality."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from segmentarium.data.segments import Segments
from segmentarium.engine.scoring.evaluation import Brief, Case, Evaluation, listed, refuse_nothing
from segmentarium.errors import SegError
from segmentarium.metrics.average_precision import AveragePrecision, AveragePrecisionScores
from segmentarium.metrics.panoptic import PanopticQuality, PanopticScores
from segmentarium.metrics.undefined import plain
from segmentarium.values.classes import Classes
from segmentarium.values.instances import Instances
from segmentarium.values.panoptic import Panoptic


@dataclass(frozen=True, kw_only=True)
class ObjectCase(Case):
    """One image; ``found`` and ``true`` count its objects or segments."""

    found: int
    true: int

    def as_dict(self) -> dict[str, Any]:
        return {**super().as_dict(), "found": self.found, "true": self.true}


@dataclass(frozen=True, kw_only=True)
class InstanceEvaluation(Evaluation):
    """What a model that finds objects is worth, in COCO's numbers."""

    task: ClassVar[str] = "instance"
    headline: ClassVar[str] = "ap"

    cases: tuple[ObjectCase, ...]
    scores: AveragePrecisionScores

    def means(self) -> dict[str, Any]:
        return {name: plain(value) for name, value in self.scores.means.items()}

    def details(self) -> dict[str, Any]:
        scores = self.scores
        rows = zip(scores.names, scores.ap, scores.by_threshold[0], scores.recall, strict=True)
        per_class = {
            name: {"ap": plain(ap), "ap50": plain(loose), "ar": plain(recall)}
            for name, ap, loose, recall in rows
            if name not in scores.undefined
        }
        return {
            "per_class": per_class,
            "undefined": list(scores.undefined),
            "definitions": {
                "ap": "Area under the curve of precision over recall, mean over the IoU thresholds 0.50, 0.55"
                " ... 0.95 and over classes (COCO); classes without a true object are left out.",
                "ap50": "The same at the IoU threshold 0.50 alone.",
                "ap75": "The same at the IoU threshold 0.75 alone.",
                "ar100": "Share of true objects that are found, with at most 100 answers a class and image.",
                "interval": "Between these bounds lie 95% of the scores of resampled images (bootstrap).",
            },
        }


class InstanceScorer:
    """Matches objects of each image; both sides are indices of ``classes``."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self._metric = AveragePrecision(classes)
        self._counts: dict[str, tuple[int, int]] = {}

    def update(self, stem: str, prediction: Instances, truth: Segments, /) -> None:
        true = truth.for_average_precision(self.classes)
        with _naming(stem):
            self._metric.update(prediction, image=stem, **true)
        self._counts[stem] = (len(prediction), int((~true["crowd"]).sum()))

    def merge(self, other: InstanceScorer, /) -> None:
        self._metric.merge(other._metric)
        self._counts |= other._counts

    def brief(self) -> Brief:
        found = self._metric.compute(rounds=0)
        mean = {name: found.means[name] for name in ("ap", "ap50", "ap75")}
        return Brief(headline="ap", mean=mean, per_class=_defined(found.names, found.ap, found.undefined))

    def evaluation(
        self, split: str, /, *, seconds: float, rounds: int = 200, seed: int = 0
    ) -> InstanceEvaluation:
        refuse_nothing(split, images=len(self._counts))
        scores = self._metric.compute(rounds=min(rounds, 200), seed=seed)
        cases = tuple(
            ObjectCase(stem=stem, score=scores.per_image[stem], found=found, true=true)
            for stem, (found, true) in self._counts.items()
        )
        notes = []
        if scores.undefined:
            notes.append(f"without a true object, hence in no mean: {listed(scores.undefined)}")
        empty = [case.stem for case in cases if not case.true]
        if empty:
            notes.append(f"images without any true object: {listed(empty)}")
        return InstanceEvaluation(
            split=split,
            classes=self.classes,
            scores=scores,
            intervals=scores.intervals if rounds else {},
            cases=cases,
            seconds=seconds,
            notes=tuple(notes),
        )


@dataclass(frozen=True, kw_only=True)
class PanopticEvaluation(Evaluation):
    """What a model that divides the picture into segments is worth."""

    task: ClassVar[str] = "panoptic"
    headline: ClassVar[str] = "pq"

    cases: tuple[ObjectCase, ...]
    scores: PanopticScores

    def means(self) -> dict[str, Any]:
        return _qualities(self.scores)

    def details(self) -> dict[str, Any]:
        told = self.scores.per_class
        counts = zip(
            self.scores.names,
            self.scores.true_positives,
            self.scores.false_positives,
            self.scores.false_negatives,
            strict=True,
        )
        per_class = {
            name: {"pq": plain(told[name].pq), "sq": plain(told[name].sq), "rq": plain(told[name].rq)}
            | {"true_positives": int(tp), "false_positives": int(fp), "false_negatives": int(fn)}
            for name, tp, fp, fn in counts
        }
        return {
            "per_class": per_class,
            "undefined": list(self.scores.undefined),
            "definitions": {
                "pq": "Panoptic quality: sum of the IoU of matched segments (IoU above 0.5), divided by the"
                " matches plus half of what was missed and half of what was too much; mean over the classes"
                " that occur.",
                "sq": "Segmentation quality: mean IoU of the matched segments.",
                "rq": "Recognition quality: F1 of finding segments.",
                "interval": "Between these bounds lie 95% of the scores of resampled images (bootstrap).",
            },
        }


class PanopticScorer:
    """Matches segments of each image; both sides are indices of ``classes``."""

    def __init__(self, classes: Classes) -> None:
        self.classes = classes
        self._metric = PanopticQuality(classes)
        self._counts: dict[str, tuple[int, int]] = {}

    def update(self, stem: str, prediction: Panoptic, truth: Segments, /) -> None:
        with _naming(stem):
            self._metric.update(prediction, truth.for_panoptic_quality())
        self._counts[stem] = (len(prediction.segments), len(truth))

    def merge(self, other: PanopticScorer, /) -> None:
        self._metric.merge(other._metric)
        self._counts |= other._counts

    def brief(self) -> Brief:
        found = self._metric.compute(rounds=1)
        mean = {name: v for name, v in _qualities(found).items() if name in ("pq", "sq", "rq")}
        mean = {name: float("nan") if v is None else float(v) for name, v in mean.items()}
        return Brief(headline="pq", mean=mean, per_class=_defined(found.names, found.pq, found.undefined))

    def evaluation(
        self, split: str, /, *, seconds: float, rounds: int = 1000, seed: int = 0
    ) -> PanopticEvaluation:
        refuse_nothing(split, images=len(self._counts))
        scores = self._metric.compute(rounds=max(rounds, 1), seed=seed)
        cases = tuple(
            ObjectCase(stem=stem, score=float(score), found=found, true=true)
            for (stem, (found, true)), score in zip(self._counts.items(), scores.per_image, strict=True)
        )
        renamed = {"all": "pq", "things": "pq_things", "stuff": "pq_stuff"}
        notes = (
            (f"in neither truth nor prediction, hence in no mean: {listed(scores.undefined)}",)
            if scores.undefined
            else ()
        )
        return PanopticEvaluation(
            split=split,
            classes=self.classes,
            scores=scores,
            intervals={renamed[key]: bounds for key, bounds in scores.intervals.items()} if rounds else {},
            cases=cases,
            seconds=seconds,
            notes=notes,
        )


def _qualities(scores: PanopticScores) -> dict[str, Any]:
    """PQ, SQ and RQ of all classes, of things and of stuff."""
    groups = {"": scores.all, "_things": scores.things, "_stuff": scores.stuff}
    return {
        f"{name}{suffix}": plain(getattr(quality, name))
        for suffix, quality in groups.items()
        for name in ("pq", "sq", "rq")
    }


def _defined(names: tuple[str, ...], values: Any, undefined: tuple[str, ...]) -> dict[str, float]:
    return {n: float(v) for n, v in zip(names, values, strict=True) if n not in undefined}


@contextmanager
def _naming(stem: str) -> Iterator[None]:
    """Put the stem before the message of an error raised inside."""
    try:
        yield
    except SegError as error:
        raise type(error)(f"{stem}: {error.came}", allowed=error.allowed, cure=error.cure) from error
