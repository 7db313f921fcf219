"""Average precision of PASCAL VOC and of SBD (AP^r): one threshold at a time, duplicates are false."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.objects import Objects, add_pictures, overlaps
from segmentarium.metrics.undefined import plain
from segmentarium.values.classes import Classes
from segmentarium.values.instances import Instances

PROTOCOLS = ("voc2010", "voc2007")
"""Area under the whole curve, or the mean of eleven points of it."""


@dataclass(frozen=True, eq=False, kw_only=True)
class VocPrecisionScores:
    """AP by threshold of IoU and class; nan where truth has no object of the class (``undefined``).

    ``means`` go by threshold, over the classes that are defined; ``per_image`` is the AP of each picture by
    itself at the first threshold; ``intervals`` the 95% bootstrap intervals of ``means``.
    """

    names: tuple[str, ...]
    protocol: str
    thresholds: tuple[float, ...]
    ap: Float[np.ndarray, "t k"]
    means: dict[float, float]
    per_image: dict[int | str, float]
    intervals: dict[float, tuple[float, float]]
    undefined: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where a score is undefined."""
        per_class = {
            name: {f"ap@{level:g}": plain(v) for level, v in zip(self.thresholds, column, strict=True)}
            for name, column in zip(self.names, self.ap.T, strict=True)
        }
        return {f"ap@{level:g}": plain(value) for level, value in self.means.items()} | {
            "protocol": self.protocol,
            "per_class": per_class,
            "per_image": {str(name): plain(value) for name, value in self.per_image.items()},
            "intervals": {f"ap@{t:g}": [plain(v) for v in pair] for t, pair in self.intervals.items()},
            "undefined": list(self.undefined),
        }


@dataclass(frozen=True, eq=False)
class _Picture:
    """What became of the detections of one picture, by threshold: 0 false, 1 right, 2 neither."""

    found_class: Any
    scores: Any
    outcome: Any
    positives: Any


class VocPrecision:
    """AP^r over any number of pictures; keeps two numbers and a flag a threshold for each detection.

    Args:
        thresholds: of the IoU of masks; SBD reports 0.5 and 0.7.
        protocol: ``voc2010`` or ``voc2007``.
    """

    def __init__(
        self, classes: Classes, *, thresholds: Sequence[float] = (0.5, 0.7), protocol: str = "voc2010"
    ) -> None:
        if protocol not in PROTOCOLS:
            raise UnknownName.among("protocol of VOC precision", protocol, PROTOCOLS)
        if not thresholds or not all(0 < t <= 1 for t in thresholds):
            raise BadArgument(f"thresholds: {list(thresholds)}", allowed="numbers in 0..1, 0 excluded")
        self.classes, self.thresholds, self.protocol = classes, tuple(thresholds), protocol
        self._pictures: dict[int | str, _Picture] = {}

    def update(
        self,
        prediction: Instances,
        truth: Instances,
        *,
        difficult: Bool[np.ndarray, " n"] | None = None,
        image: int | str | None = None,
    ) -> None:
        """Match one picture.

        Args:
            difficult: true objects that are neither found nor missed.
            image: its name; equal scores in different pictures are taken in the order of names.

        Raises:
            BadArgument: other classes than the metric's, a column of other length, a picture added before.
            BadMask: pictures of different size, a mask that cannot be read.
        """
        for name, side in (("prediction", prediction), ("truth", truth)):
            if side.classes.names != self.classes.names:
                came = f"{name}: objects of {', '.join(side.classes.names)}"
                raise BadArgument(came, allowed=", ".join(self.classes.names))
        image = len(self._pictures) if image is None else image
        if image in self._pictures:
            raise BadArgument(f"image: {image!r} was added before", allowed="a name for each picture")
        hard = np.zeros(len(truth), bool) if difficult is None else difficult
        found = Objects.of(prediction, name="prediction")
        true = Objects.of(truth, name="truth")  # difficult ones overlap as any other
        if len(hard) != len(true):
            raise BadArgument(f"difficult: {len(hard)} rows", allowed=f"one of each of {len(true)} objects")
        order = np.argsort(-found.scores, kind="stable")
        iou = overlaps(found.take(order), true)
        outcome = np.stack([match_once(iou, hard, threshold=t) for t in self.thresholds])
        positives = np.bincount(true.classes_of[~hard], minlength=len(self.classes))
        self._pictures[image] = _Picture(found.classes_of[order], found.scores[order], outcome, positives)

    def merge(self, other: VocPrecision) -> None:
        """Add another part of the data; pictures without a name are numbered on."""
        setup = (self.classes.names, self.thresholds, self.protocol)
        if (other.classes.names, other.thresholds, other.protocol) != setup:
            raise BadArgument(f"other: {other.thresholds} by {other.protocol}", allowed=f"{setup}")
        add_pictures(self._pictures, other._pictures)

    def reset(self) -> None:
        """Forget all pictures."""
        self._pictures = {}

    def compute(self, *, rounds: int = 200, seed: int = 0) -> VocPrecisionScores:
        """The scores so far; ``rounds`` of bootstrap, 0 for no intervals."""
        images = sorted(self._pictures, key=lambda name: (isinstance(name, str), name))
        pictures = [self._pictures[image] for image in images]
        ap = self._ap(pictures, np.ones(len(pictures)))
        undefined = tuple(n for n, v in zip(self.classes.names, ap[0], strict=True) if np.isnan(v))
        alone = [float(_means(self._ap([picture], np.ones(1)))[0]) for picture in pictures]
        return VocPrecisionScores(
            names=self.classes.names,
            protocol=self.protocol,
            thresholds=self.thresholds,
            ap=ap,
            means=dict(zip(self.thresholds, _means(ap).tolist(), strict=True)),
            per_image=dict(zip(images, alone, strict=True)),
            intervals=self._intervals(pictures, rounds=rounds, seed=seed),
            undefined=undefined,
        )

    def _ap(self, pictures: Sequence[_Picture], weights: Any) -> Float[np.ndarray, "t k"]:
        """AP by threshold and class, when each picture counts ``weights`` times."""
        result = np.full((len(self.thresholds), len(self.classes)), np.nan)
        if not pictures:
            return result
        classes, scores = (
            np.concatenate([getattr(p, n) for p in pictures]) for n in ("found_class", "scores")
        )
        outcome = np.concatenate([p.outcome for p in pictures], axis=1)
        times = np.repeat(weights, [len(p.scores) for p in pictures])
        positives = weights @ np.stack([p.positives for p in pictures])
        for k in np.flatnonzero(positives):
            rows = np.flatnonzero(classes == k)
            rows = rows[np.argsort(-scores[rows], kind="stable")]
            for n, row in enumerate(outcome[:, rows]):
                right, wrong = np.cumsum(times[rows] * (row == 1)), np.cumsum(times[rows] * (row == 0))
                result[n, k] = area_under(right, wrong, positives[k], protocol=self.protocol)
        return result

    def _intervals(
        self, pictures: Sequence[_Picture], *, rounds: int, seed: int
    ) -> dict[float, tuple[float, float]]:
        images = len(pictures)
        if images < 2 or not rounds:
            return {}
        drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=rounds)
        means = np.stack([_means(self._ap(pictures, w.astype(np.float64))) for w in drawn], axis=1)
        defined = [row[~np.isnan(row)] for row in means]
        ends = [np.percentile(row, [2.5, 97.5]) if len(row) else (np.nan, np.nan) for row in defined]
        return {t: (float(low), float(high)) for t, (low, high) in zip(self.thresholds, ends, strict=True)}


def match_once(iou: Float[np.ndarray, "p t"], difficult: Bool[np.ndarray, " t"], *, threshold: float) -> Any:
    """What becomes of each detection, best score first: 0 false, 1 right, 2 neither.

    A detection is compared with the true object it overlaps most, and with that one only: if it was found
    before, the detection is false, however well it fits another.

    Source: Everingham et al. 2010, The PASCAL VOC Challenge, section 4.4.

    >>> match_once(np.array([[0.8, 0.6], [0.7, 0.6]]), np.array([False, False]), threshold=0.5).tolist()
    [1, 0]
    """
    outcome, taken = np.zeros(len(iou), np.uint8), set[int]()
    for row, values in enumerate(iou):
        best = int(values.argmax()) if values.size else -1
        if best < 0 or values[best] < threshold or values[best] <= 0 or best in taken:
            continue
        if difficult[best]:
            outcome[row] = 2
        else:
            outcome[row] = 1
            taken.add(best)
    return outcome


def area_under(
    right: Float[np.ndarray, " n"],
    wrong: Float[np.ndarray, " n"],
    positives: float | int,
    *,
    protocol: str = "voc2010",
) -> float:
    """The area under the curve of precision over recall, made monotone from the right.

    Args:
        right: true positives among the first 1, 2, .. n detections; ``wrong`` the false ones.
        positives: true objects, more than 0.
        protocol: ``voc2010`` sums all steps of recall, ``voc2007`` takes the mean at 0, 0.1 .. 1.

    >>> round(area_under(np.array([1.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0]), 2), 6)
    0.833333
    """
    recall = right / positives
    seen = right + wrong
    precision = np.divide(right, seen, out=np.zeros(len(seen)), where=seen > 0)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if protocol == "voc2010":
        return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    at = np.searchsorted(recall, np.arange(11) / 10 - 1e-12)
    return float(np.r_[envelope, 0.0][at].mean())


def _means(ap: Any) -> Any:
    """Mean over the classes that are defined, by threshold."""
    defined = ~np.isnan(ap)
    count = defined.sum(-1)
    total = np.where(defined, ap, 0.0).sum(-1)
    return np.divide(total, count, out=np.full(len(ap), np.nan), where=count > 0)


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="ap_r",
        title="Region average precision (AP^r) of VOC and SBD",
        formula="detections by descending score over all pictures; right if the IoU with the true object of"
        " the class that it overlaps most is >= threshold and that object was not found before; area under"
        " the monotone curve of precision over recall; mean over classes with truth",
        edges={
            "no true object of a class": "undefined (nan), leaves the mean",
            "difficult": "found or not, it counts for nothing",
            "a second detection of an object": "false, even if another object fits too (COCO would take it)",
        },
        protocols={
            "voc2010": "The whole area under the curve.",
            "voc2007": "The mean of the precision at the eleven recalls 0, 0.1 .. 1.",
        },
        source="Everingham et al. 2010, section 4.2; Hariharan et al. 2014, Simultaneous Detection and"
        " Segmentation, section 4",
        atlas=("M19",),
    ),
)
