"""Average precision and recall of countable objects, as COCO defines them: masks, boxes or boundaries.

Each picture is matched when it is added; what is kept of it is how every detection fared at each threshold
and range of areas (some 70 bytes a detection), never a mask. The curves are drawn over all pictures at the
end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.metrics import objects_kernels as kernels
from segmentarium.metrics.average_precision_definitions import DEFINED
from segmentarium.metrics.objects import KINDS, Objects, add_pictures, overlaps
from segmentarium.metrics.undefined import mean_defined, plain
from segmentarium.values.classes import Classes
from segmentarium.values.instances import Instances

__all__ = [
    "AREAS",
    "DEFINED",
    "PROTOCOLS",
    "RECALLS",
    "THRESHOLDS",
    "AveragePrecision",
    "AveragePrecisionScores",
]

THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""COCO's thresholds of IoU."""

AREAS: dict[str, tuple[float | int, float | int]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
"""COCO's ranges of areas, in pixels; both ends belong to a range, so 1024 is small *and* medium."""

RECALLS = np.linspace(0, 1, 101)
"""Where COCO reads the precision."""

PROTOCOLS = ("coco", "torchmetrics")
"""torchmetrics rounds thresholds and recalls to single precision: 3 of 10 found are below its recall 0.3."""


@dataclass(frozen=True, eq=False, kw_only=True)
class AveragePrecisionScores:
    """AP and AR of all pictures, in means, by class and by threshold.

    ``means`` holds COCO's numbers by name: ``ap`` (over all thresholds), ``ap50``, ``ap75``, ``ap_small`` and
    so on for each range of areas; ``ar1``, ``ar10``, ``ar100`` (with so many detections a class and picture),
    ``ar_small`` and so on. ``by_threshold`` is AP by threshold and class, ``precision`` the curves behind it
    at ``RECALLS``. nan stands where truth has no object of the class or range; ``undefined`` names these
    classes. ``per_image`` is the AP of each picture by itself, ``intervals`` the 95% bootstrap intervals.
    """

    kind: str
    names: tuple[str, ...]
    thresholds: tuple[float, ...]
    means: dict[str, float]
    ap: Float[np.ndarray, " k"]
    recall: Float[np.ndarray, " k"]
    by_threshold: Float[np.ndarray, "t k"]
    precision: Float[np.ndarray, "t k r"]
    per_image: dict[int | str, float]
    intervals: dict[str, tuple[float, float]]
    undefined: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where a score is undefined."""
        per_class = {
            name: {"ap": plain(ap), "ar": plain(ar)}
            for name, ap, ar in zip(self.names, self.ap, self.recall, strict=True)
        }
        return {name: plain(value) for name, value in self.means.items()} | {
            "kind": self.kind,
            "per_class": per_class,
            "per_image": {str(name): plain(value) for name, value in self.per_image.items()},
            "intervals": {name: [plain(v) for v in pair] for name, pair in self.intervals.items()},
            "undefined": list(self.undefined),
        }


@dataclass(frozen=True, eq=False)
class _Picture:
    """How the objects of one picture fared; detections by class and descending score."""

    found_class: Any
    scores: Any
    ranks: Any
    outcome: Any
    true_class: Any
    counted: Any
    ap: float


class AveragePrecision:
    """COCO's average precision over any number of pictures.

    Args:
        kind: ``mask``, ``box``, or ``boundary`` (the smaller one of the IoU of masks and of their bands).
        protocol: ``coco`` or ``torchmetrics``.
        thresholds: of IoU, ascending.
        areas: ranges by name, both ends included; ``all`` comes first.
        limits: how many detections a class and picture count, ascending; AP takes the last.

    >>> cells = Classes.named("cell")
    >>> truth = Instances.from_labels(np.array([[1, 1, 0, 2]]), cells, class_of=0)
    >>> metric = AveragePrecision(cells)
    >>> metric.update(truth, truth)
    >>> round(metric.compute().means["ap"], 12)
    1.0
    """

    def __init__(
        self,
        classes: Classes,
        *,
        kind: str = "mask",
        protocol: str = "coco",
        thresholds: Sequence[float] = THRESHOLDS,
        areas: Mapping[str, tuple[float | int, float | int]] = AREAS,
        limits: Sequence[int] = (1, 10, 100),
    ) -> None:
        if kind not in KINDS:
            raise UnknownName.among("kind of average precision", kind, KINDS)
        if protocol not in PROTOCOLS:
            raise UnknownName.among("protocol of average precision", protocol, PROTOCOLS)
        if next(iter(areas), "") != "all":
            raise BadArgument(f"areas: {', '.join(areas)}", allowed="a mapping that begins with 'all'")
        for name, values in (("thresholds", thresholds), ("limits", limits)):
            if not values or min(values) <= 0 or any(b <= a for a, b in pairwise(values)):
                raise BadArgument(f"{name}: {list(values)}", allowed="ascending numbers above 0")
        self.classes, self.kind, self.protocol = classes, kind, protocol
        self.thresholds, self.areas, self.limits = tuple(thresholds), dict(areas), tuple(limits)
        self._pictures: dict[int | str, _Picture] = {}

    def update(
        self,
        prediction: Instances,
        truth: Instances,
        *,
        crowd: Bool[np.ndarray, " n"] | None = None,
        areas: Float[np.ndarray, " n"] | None = None,
        image: int | str | None = None,
    ) -> None:
        """Match one picture.

        Args:
            crowd: which true objects stand for many: neither found nor missed, they may be hit any number of
                times, by the share of the detection that lies inside.
            areas: of the true objects, where a file gives other ones than their masks have.
            image: its name; equal scores in different pictures are taken in the order of names, as COCO
                does, so give names where parts are merged and scores are coarse.

        Raises:
            BadArgument: other classes than the metric's, columns of other length, a picture that was added.
            BadMask: pictures of different size, a mask that cannot be read.
        """
        for name, side in (("prediction", prediction), ("truth", truth)):
            if side.classes.names != self.classes.names:
                raise BadArgument(
                    f"{name}: objects of {', '.join(side.classes.names)}",
                    allowed=", ".join(self.classes.names),
                )
        self.add(
            Objects.of(prediction, kind=self.kind, name="prediction"),
            Objects.of(truth, kind=self.kind, name="truth", ignored=crowd, areas=areas),
            image=image,
        )

    def add(self, prediction: Objects, truth: Objects, *, image: int | str | None = None) -> None:
        """:meth:`update` for objects that are read already, such as those of a file."""
        image = len(self._pictures) if image is None else image
        if image in self._pictures:
            raise BadArgument(f"image: {image!r} was added before", allowed="a name for each picture")
        self._pictures[image] = self._match(prediction, truth)

    def _match(self, prediction: Objects, truth: Objects) -> _Picture:
        order = np.lexsort((-prediction.scores, prediction.classes_of))
        ranks = _ranks(prediction.classes_of[order])
        order, ranks = order[ranks < self.limits[-1]], ranks[ranks < self.limits[-1]]
        found, true = prediction.take(order), truth.take(np.argsort(truth.classes_of, kind="stable"))
        ranges = np.array(list(self.areas.values()), np.float64)
        outside = [(side.areas < ranges[:, :1]) | (side.areas > ranges[:, 1:]) for side in (found, true)]
        iou = overlaps(found, true, kind=self.kind)
        outcome = kernels.match(
            iou, found.classes_of, outside[0], true.classes_of, outside[1], true.ignored, self._levels()
        )
        counted = ~(outside[1] | true.ignored)
        return _Picture(
            found.classes_of,
            found.scores,
            ranks,
            outcome,
            true.classes_of,
            counted,
            self._alone(found.classes_of, ranks, outcome, true.classes_of[counted[0]]),
        )

    def _alone(self, found_class: Any, ranks: Any, outcome: Any, true_class: Any) -> float:
        """AP of one picture by itself: over the classes that truth has in it."""
        present, positives = np.unique(true_class, return_counts=True)
        if not len(present):
            return float("nan")
        kept = np.isin(found_class, present)
        starts = np.searchsorted(found_class[kept], np.r_[present, np.iinfo(np.int64).max])
        whole = np.ones(int(kept.sum()))
        counts = positives[None].astype(np.float64)
        right = np.ascontiguousarray(outcome[:1, :, kept])
        limits = np.array(self.limits[-1:])
        return float(
            kernels.curves(right, ranks[kept], starts, counts, limits, self._recalls(), whole)[0].mean()
        )

    def _levels(self) -> Float[np.ndarray, " t"]:
        levels = np.array(self.thresholds, np.float64)
        return levels if self.protocol == "coco" else levels.astype(np.float32).astype(np.float64)

    def _recalls(self) -> Float[np.ndarray, " r"]:
        return RECALLS if self.protocol == "coco" else _single_recalls()

    def merge(self, other: AveragePrecision) -> None:
        """Add another part of the data; pictures without a name are numbered on."""
        if other._setup() != self._setup():
            raise BadArgument(f"other: {other._setup()}", allowed=f"{self._setup()}")
        add_pictures(self._pictures, other._pictures)

    def reset(self) -> None:
        """Forget all pictures."""
        self._pictures = {}

    def _setup(self) -> tuple[Any, ...]:
        return (
            self.classes.names,
            self.kind,
            self.protocol,
            self.thresholds,
            tuple(self.areas.items()),
            self.limits,
        )

    def compute(self, *, rounds: int = 200, seed: int = 0) -> AveragePrecisionScores:
        """The scores so far; ``rounds`` of bootstrap, 0 for no intervals."""
        table = _Table.of(self._pictures, ranges=len(self.areas), thresholds=len(self.thresholds))
        every = np.ones(len(self._pictures))
        precision, recall = table.curves(every, len(self.classes), self.limits, self._recalls())
        by_threshold = precision.mean(-1)
        per_class = by_threshold[0].mean(0)
        return AveragePrecisionScores(
            kind=self.kind,
            names=self.classes.names,
            thresholds=self.thresholds,
            means=self._means(by_threshold, recall),
            ap=per_class,
            recall=recall[0, :, :, -1].mean(0),
            by_threshold=by_threshold[0],
            precision=precision[0],
            per_image={image: self._pictures[image].ap for image in table.images},
            intervals=self._intervals(table, rounds=rounds, seed=seed),
            undefined=tuple(c.name for c, v in zip(self.classes, per_class, strict=True) if np.isnan(v)),
        )

    def _means(self, ap: Any, recall: Any) -> dict[str, float]:
        """COCO's numbers, from AP by range, threshold and class, and recall by limit besides."""
        means = {"ap": _mean(ap[0])}
        for level in (0.5, 0.75):
            at = [i for i, threshold in enumerate(self.thresholds) if abs(threshold - level) < 1e-9]
            means |= {f"ap{100 * level:.0f}": _mean(ap[0, i]) for i in at}
        ranges = [(i, name) for i, name in enumerate(self.areas) if i]
        means |= {f"ap_{name}": _mean(ap[i]) for i, name in ranges}
        means |= {f"ar{limit}": _mean(recall[0, ..., m]) for m, limit in enumerate(self.limits)}
        return means | {f"ar_{name}": _mean(recall[i, ..., -1]) for i, name in ranges}

    def _intervals(self, table: _Table, *, rounds: int, seed: int) -> dict[str, tuple[float, float]]:
        """The 95% percentile interval of AP when pictures are drawn again with replacement."""
        images = len(table.images)
        if images < 2 or not rounds:
            return {}
        even = np.full(images, 1 / images)
        drawn = np.random.default_rng(seed).multinomial(images, even, size=rounds).astype(np.float64)
        first = table.first()
        setup = (len(self.classes), self.limits[-1:], self._recalls())
        means = [_mean(first.curves(weights, *setup)[0]) for weights in drawn]
        defined = [value for value in means if not np.isnan(value)]
        if not defined:
            return {}
        low, high = np.percentile(defined, [2.5, 97.5])
        return {"ap": (float(low), float(high))}


@dataclass(frozen=True, eq=False)
class _Table:
    """All detections by class and descending score, equal scores in the order of pictures."""

    images: list[int | str]
    found_class: Any
    picture: Any
    ranks: Any
    outcome: Any
    true_class: Any
    true_picture: Any
    counted: Any

    @classmethod
    def of(cls, pictures: Mapping[int | str, _Picture], *, ranges: int, thresholds: int) -> _Table:
        images = sorted(pictures, key=lambda name: (isinstance(name, str), name))
        rows = [pictures[image] for image in images]
        none = np.zeros(0, np.int64)

        def joined(column: str, empty: Any = none) -> Any:
            return np.concatenate([empty, *(getattr(row, column) for row in rows)], axis=-1)

        found_class, scores = joined("found_class"), joined("scores", np.zeros(0))
        order = np.lexsort((-scores, found_class))
        number = np.arange(len(rows))
        return cls(
            images,
            found_class[order],
            np.repeat(number, [len(row.scores) for row in rows])[order],
            joined("ranks")[order],
            joined("outcome", np.zeros((ranges, thresholds, 0), np.uint8))[..., order],
            joined("true_class"),
            np.repeat(number, [len(row.true_class) for row in rows]),
            joined("counted", np.zeros((ranges, 0), bool)),
        )

    def first(self) -> _Table:
        """Without the ranges of areas but the first."""
        return _Table(**{**vars(self), "outcome": self.outcome[:1].copy(), "counted": self.counted[:1]})

    def curves(self, weights: Any, classes: int, limits: Sequence[int], recalls: Any) -> Any:
        """Precision by range, threshold, class and recall; greatest recall by limit instead.

        ``weights`` say how often each picture counts.
        """
        starts = np.searchsorted(self.found_class, np.arange(classes + 1))
        of_true = weights[self.true_picture]
        positives = [np.bincount(self.true_class, of_true * row, classes) for row in self.counted]
        return kernels.curves(
            self.outcome,
            self.ranks,
            starts,
            np.array(positives),
            np.array(limits),
            recalls,
            weights[self.picture],
        )


def _single_recalls() -> Float[np.ndarray, " r"]:
    """0, 0.01 .. 1 in single precision, stepped from both ends and rounded once, as torch does."""
    steps = float(np.float32(0.01)) * np.arange(51)
    return np.asarray(np.r_[steps[:50], 1 - steps[::-1]].astype(np.float32), np.float64)


def _ranks(labels: Any) -> Any:
    """The place of each row among those of its label; rows come by label."""
    new = np.flatnonzero(np.r_[True, labels[1:] != labels[:-1]][: len(labels)])
    return np.arange(len(labels)) - np.repeat(new, np.diff(np.r_[new, len(labels)]))


def _mean(values: Any) -> float:
    """Over everything that is defined."""
    return float(mean_defined(np.ravel(values)))
