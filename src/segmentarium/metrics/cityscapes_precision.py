"""Cityscapes' average precision of instances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from segmentarium.errors import BadArgument
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.objects import Objects, Runs, shared
from segmentarium.metrics.objects_kernels import shared as shared_runs
from segmentarium.metrics.undefined import mean_defined, plain
from segmentarium.values.classes import Classes
from segmentarium.values.instances import Instances
from segmentarium.values.runs import encode

THRESHOLDS: tuple[float, ...] = tuple(np.arange(0.5, 1.0, 0.05).tolist())
"""Thresholds of IoU; a match is above."""


@dataclass(frozen=True, eq=False, kw_only=True)
class InstancePrecisionScores:
    """Cityscapes' AP: by threshold and class, by class, and the means ``ap`` and ``ap50``.

    nan where truth has no instance of the class (``undefined``). ``per_image`` is the AP of each picture by
    itself; ``interval`` the 95% bootstrap interval of ``ap``.
    """

    names: tuple[str, ...]
    by_threshold: Float[np.ndarray, "t k"]
    per_class: Float[np.ndarray, " k"]
    ap: float
    ap50: float
    per_image: Float[np.ndarray, " n"]
    interval: tuple[float, float]
    undefined: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where a score is undefined."""
        return {
            "ap": plain(self.ap),
            "ap50": plain(self.ap50),
            "per_class": {n: plain(v) for n, v in zip(self.names, self.per_class, strict=True)},
            "per_image": [plain(v) for v in self.per_image],
            "interval": [plain(v) for v in self.interval],
            "undefined": list(self.undefined),
        }


@dataclass(frozen=True, eq=False)
class _Fate:
    """Of one picture, class and threshold: scores of right and of false detections, true ones not found."""

    right: Any
    wrong: Any
    missed: int


@dataclass(frozen=True, eq=False)
class _Curve:
    """The fates of all pictures in one class and threshold; detections by descending score."""

    right: Any
    picture: Any
    last: Any
    positives: Any

    @classmethod
    def of(cls, fates: Sequence[_Fate]) -> _Curve:
        scores = np.concatenate([np.zeros(0), *(s for f in fates for s in (f.right, f.wrong))])
        right = np.concatenate([np.zeros(0), *(s for f in fates for s in (f.right * 0 + 1, f.wrong * 0))])
        picture = np.repeat(np.arange(len(fates)), [len(f.right) + len(f.wrong) for f in fates])
        order = np.argsort(-scores, kind="stable")
        scores = scores[order]
        last = np.flatnonzero(
            np.r_[scores[1:] != scores[:-1], True][: len(scores)]
        )  # equal scores are one point
        positives = np.array([len(f.right) + f.missed for f in fates], np.float64)
        return cls(right[order], picture[order], last, positives)

    def ap(self, weights: Any) -> float:
        """The area as Cityscapes integrates it: no envelope, each point with half the recall around it."""
        positives = weights @ self.positives
        if not positives:
            return float("nan")
        times = weights[self.picture]
        seen, right = (np.cumsum(v)[self.last][::-1] for v in (times, times * self.right))
        right, seen = right[seen > 0], seen[seen > 0]
        if not len(seen):
            return 0.0
        precision, recall = np.r_[right / seen, 1.0], np.r_[right / positives, 0.0]
        before, after = np.r_[recall[0], recall[:-1]], np.r_[recall[1:], 0.0]
        return float(precision @ (before - after) / 2)


class InstancePrecision:
    """Cityscapes' average precision of instances over any number of pictures.

    Args:
        smallest: true instances of fewer pixels are neither found nor missed.
    """

    def __init__(
        self, classes: Classes, *, thresholds: Sequence[float] = THRESHOLDS, smallest: int = 100
    ) -> None:
        if not thresholds or min(thresholds) < 0.5:
            raise BadArgument(f"thresholds: {list(thresholds)}", allowed="0.5 and above: matches are unique")
        self.classes, self.thresholds, self.smallest = classes, tuple(thresholds), smallest
        self._rows: list[list[list[_Fate]]] = []

    def update(
        self,
        prediction: Instances,
        truth: Instances,
        *,
        group: Bool[np.ndarray, " n"] | None = None,
        void: Bool[np.ndarray, "h w"] | None = None,
    ) -> None:
        """Match one picture.

        Args:
            group: which true objects stand for many (Cityscapes' ``cargroup``): to be ignored.
            void: pixels that truth leaves open; with groups and small objects they forgive false detections.

        Raises:
            BadArgument: other classes than the metric's, or a column of other length.
            BadMask: pictures of different size, a mask that cannot be read.
        """
        for name, side in (("prediction", prediction), ("truth", truth)):
            if side.classes.names != self.classes.names:
                came = f"{name}: objects of {', '.join(side.classes.names)}"
                raise BadArgument(came, allowed=", ".join(self.classes.names))
        found = Objects.of(prediction, name="prediction")
        true = Objects.of(truth, name="truth", ignored=group)
        found = found.take(np.flatnonzero(found.areas > 0))
        meet = shared(found, true)
        spared = true.ignored.astype(np.int64) + (true.areas < self.smallest)  # a small group counts twice
        open_pixels = meet @ spared + _on(void, found.masks)
        self._rows.append([self._fates(k, found, true, meet, open_pixels) for k in range(len(self.classes))])

    def _fates(self, k: int, found: Objects, true: Objects, meet: Any, open_pixels: Any) -> list[_Fate]:
        mine, theirs = found.classes_of == k, true.classes_of == k
        scores, area, open_pixels = found.scores[mine], found.areas[mine], open_pixels[mine]
        meet = meet[np.ix_(mine, theirs)]
        counts = (~true.ignored & (true.areas >= self.smallest))[theirs]
        iou = meet / np.maximum(area[:, None] + true.areas[theirs][None] - meet, 1)
        fates = []
        for threshold in self.thresholds:
            over = iou > threshold
            hits = over & counts
            best = np.where(hits, scores[:, None], -np.inf).max(0, initial=-np.inf)
            right = best[hits.any(0)]
            doubles = [np.sort(scores[column])[:-1] for column in hits.T if column.sum() > 1]
            false = ~over.any(1) & (open_pixels / area <= threshold)
            wrong = np.concatenate([scores[false], *doubles])
            fates.append(_Fate(right, wrong, int((counts & ~hits.any(0)).sum())))
        return fates

    def merge(self, other: InstancePrecision) -> None:
        """Add another part of the data; only the order of ``per_image`` depends on the order of parts."""
        setup = (self.classes.names, self.thresholds, self.smallest)
        if (other.classes.names, other.thresholds, other.smallest) != setup:
            raise BadArgument("other: AP of another setup", allowed=f"{setup}")
        self._rows += other._rows

    def reset(self) -> None:
        """Forget all pictures."""
        self._rows = []

    def compute(self, *, rounds: int = 200, seed: int = 0) -> InstancePrecisionScores:
        """The scores so far; ``rounds`` of bootstrap, 0 for no intervals."""
        curves, pictures = self._curves(self._rows), len(self._rows)
        by_threshold = self._ap(curves, np.ones(pictures))
        half = [i for i, t in enumerate(self.thresholds) if np.isclose(t, 0.5)]
        alone = [_mean(self._ap(self._curves([row]), np.ones(1))) for row in self._rows]
        drawn = np.zeros((0, pictures))
        if pictures > 1:
            even = np.full(pictures, 1 / pictures)
            drawn = np.random.default_rng(seed).multinomial(pictures, even, size=rounds).astype(np.float64)
        per_class = by_threshold.mean(0)
        return InstancePrecisionScores(
            names=self.classes.names,
            by_threshold=by_threshold,
            per_class=per_class,
            ap=_mean(by_threshold),
            ap50=_mean(by_threshold[half]),
            per_image=np.array(alone, np.float64),
            interval=_ends([_mean(self._ap(curves, weights)) for weights in drawn]),
            undefined=tuple(n for n, v in zip(self.classes.names, per_class, strict=True) if np.isnan(v)),
        )

    def _curves(self, rows: Sequence[Sequence[Sequence[_Fate]]]) -> list[list[_Curve]]:
        """By threshold and class."""
        classes = range(len(self.classes))
        return [
            [_Curve.of([row[k][t] for row in rows]) for k in classes] for t in range(len(self.thresholds))
        ]

    def _ap(self, curves: Sequence[Sequence[_Curve]], weights: Any) -> Float[np.ndarray, "t k"]:
        return np.array([[curve.ap(weights) for curve in row] for row in curves], np.float64)


def _on(void: Any, masks: Runs) -> Any:
    """Pixels of each mask on void."""
    count = len(masks.stops)
    if void is None:
        return np.zeros(count, np.int64)
    runs = Runs.of([encode(void)], at=np.zeros((1, 2), np.int64), size=masks.size)
    same = np.zeros(count, np.int64)
    return (
        shared_runs(masks.spans, masks.stops, runs.spans, runs.stops, same, same[:1])[:, 0] if count else same
    )


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of what is defined."""
    defined = [value for value in values if not np.isnan(value)]
    if not defined:
        return (float("nan"), float("nan"))
    low, high = np.percentile(defined, [2.5, 97.5])
    return (float(low), float(high))


def _mean(values: Any) -> float:
    """Over everything that is defined."""
    return float(mean_defined(np.ravel(values)))


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="instance_ap",
        title="Cityscapes' average precision of instances (AP, AP50%)",
        formula="at each threshold .50:.05:.95 a detection with IoU above it finds an instance; the best"
        " score of each instance is right, further ones are false; each point of precision over recall weighs"
        " half the recall between its neighbours, without envelope; mean over classes and thresholds",
        edges={
            "no instance of a class": "undefined (nan), leaves the mean",
            "instances below 100 pixels, groups": "neither found nor missed",
            "a false detection mostly on void, groups and small instances": "forgiven if that share of its"
            " pixels is above the threshold of the IoU",
            "IoU equal to the threshold": "no match (COCO takes it)",
        },
        protocols={
            "cityscapes": "cityscapesscripts without distances; a small group is forgiven twice, as there."
        },
        source="Cordts et al. 2016, The Cityscapes Dataset, section 4.2",
        atlas=("M38",),
    ),
)
