"""Panoptic quality: segments matched one to one, how well they overlap, how many are found.

Per class, over all images: the sum of the IoU of matched pairs, true positives (TP), false positives (FP) and
false negatives (FN). The ratios are formed last: PQ = sum IoU / (TP + FP/2 + FN/2) = SQ x RQ. The rules by
which tools count differently stand in ``PROTOCOLS``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64, Integer

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.metrics.intervals import bootstrap_sums
from segmentarium.metrics.panoptic_definitions import DEFINED
from segmentarium.metrics.panoptic_kernels import shared_pixels
from segmentarium.metrics.segments import Segments, SegmentTable, merged
from segmentarium.metrics.undefined import mean_defined, plain
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.panoptic import Panoptic

__all__ = [
    "DEFINED",
    "PROTOCOLS",
    "PanopticQuality",
    "PanopticScores",
    "Quality",
    "Rules",
    "Segments",
    "count_segments",
    "panoptic_quality",
]

Found = Panoptic | Segments | Integer[np.ndarray, "*s"]
"""What can be scored: our result, a map with a table, or a bare label map of one class (0 is no segment)."""

_OBJECT = Classes.from_json([{"id": 1, "name": "object", "isthing": True}])


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Where definitions of panoptic quality part.

    Attributes:
        truth_void: pixels without a segment in truth count for nothing; what lies on them by more than half
            is no false positive.
        predicted_void: the same with the roles changed.
        crowd: crowd segments are neither found nor missed, and forgive false positives of their class.
        merge_stuff: all segments of a stuff class in a picture are one.
        soft_stuff: stuff needs no match: the mean IoU of true segments, whatever it is.
        smoothing: added to each denominator.
        empty_sq: SQ of a class that has segments but no match.
    """

    truth_void: bool = True
    predicted_void: bool = False
    crowd: bool = True
    merge_stuff: bool = False
    soft_stuff: bool = False
    smoothing: float = 0.0
    empty_sq: float = 0.0


_TORCHMETRICS = {"predicted_void": True, "crowd": False, "merge_stuff": True}
PROTOCOLS: dict[str, Rules] = {
    "panopticapi": Rules(),
    "modified": Rules(merge_stuff=True, soft_stuff=True),
    "torchmetrics": Rules(**_TORCHMETRICS),
    "torchmetrics-modified": Rules(**_TORCHMETRICS, soft_stuff=True),
    "instances": Rules(truth_void=False, crowd=False, empty_sq=float("nan")),
    "monai": Rules(truth_void=False, crowd=False, smoothing=1e-6),
}
"""The rules of each protocol; ``DEFINED`` has them in words."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Means of PQ, SQ and RQ over the classes that occur, and how many these are; nan if there is none."""

    pq: float
    sq: float
    rq: float
    classes: int


@dataclass(frozen=True, eq=False, kw_only=True)
class PanopticScores:
    """Panoptic quality by class, over groups of classes, and of each image.

    ``pq``, ``sq``, ``rq`` hold one value a class in the order of ``names``, nan where no segment of the class
    is in truth or prediction; ``undefined`` names these classes. ``per_image`` holds the mean PQ of each
    image by itself; ``intervals`` the 95% bootstrap intervals of the three means of PQ.
    """

    protocol: str
    names: tuple[str, ...]
    is_thing: Bool[np.ndarray, " k"]
    pq: Float[np.ndarray, " k"]
    sq: Float[np.ndarray, " k"]
    rq: Float[np.ndarray, " k"]
    iou_sum: Float[np.ndarray, " k"]
    true_positives: Int64[np.ndarray, " k"]
    false_positives: Int64[np.ndarray, " k"]
    false_negatives: Int64[np.ndarray, " k"]
    all: Quality
    things: Quality
    stuff: Quality
    per_image: Float[np.ndarray, " n"]
    intervals: dict[str, tuple[float, float]]
    undefined: tuple[str, ...]

    @property
    def per_class(self) -> dict[str, Quality]:
        """PQ, SQ and RQ by class name."""
        rows = zip(self.names, self.pq.tolist(), self.sq.tolist(), self.rq.tolist(), strict=True)
        return {name: Quality(pq=p, sq=s, rq=r, classes=int(p == p)) for name, p, s, r in rows}

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where a score is undefined."""
        groups = {"all": self.all, "things": self.things, "stuff": self.stuff}
        means = {name: _plain_quality(g) | {"classes": g.classes} for name, g in groups.items()}
        counts = ("true_positives", "false_positives", "false_negatives")
        per_class = {
            name: _plain_quality(quality) | {key: int(getattr(self, key)[i]) for key in counts}
            for i, (name, quality) in enumerate(self.per_class.items())
        }
        return means | {
            "protocol": self.protocol,
            "per_class": per_class,
            "per_image": [plain(v) for v in self.per_image],
            "intervals": {name: [plain(v) for v in pair] for name, pair in self.intervals.items()},
            "undefined": list(self.undefined),
        }


class PanopticQuality:
    """Panoptic quality over any number of images; keeps four numbers a class and image, no pixels.

    Args:
        classes: names, and which are things. A bare label map needs one class.
        protocol: a key of ``PROTOCOLS``.

    >>> cells = PanopticQuality(protocol="instances")
    >>> cells.update(np.array([[1, 1, 0, 2]]), np.array([[7, 7, 7, 0]]))
    >>> cells.compute().all.pq
    0.4444444444444444
    """

    def __init__(self, classes: Classes = _OBJECT, *, protocol: str = "panopticapi") -> None:
        self.classes = classes
        self.protocol = protocol
        self.rules = rules_of(protocol)
        self._rows: list[Float[np.ndarray, "k 4"]] = []

    def update(self, prediction: Found, truth: Found) -> None:
        """Add one picture or volume; see :func:`count_segments` for what is refused."""
        self._rows.append(count_segments(prediction, truth, classes=self.classes, protocol=self.protocol))

    def merge(self, other: PanopticQuality) -> None:
        """Add another part of the data; only the order of ``per_image`` depends on the order of parts."""
        if (other.classes.names, other.protocol) != (self.classes.names, self.protocol):
            raise BadArgument(
                f"other: panoptic quality of {', '.join(other.classes.names)} by {other.protocol}",
                allowed=f"{', '.join(self.classes.names)} by {self.protocol}",
            )
        self._rows += other._rows

    def reset(self) -> None:
        """Forget all images."""
        self._rows = []

    def compute(self, *, rounds: int = 1000, seed: int = 0) -> PanopticScores:
        """The scores so far; ``rounds`` and ``seed`` are those of the bootstrap."""
        sums = np.array(self._rows, np.float64).reshape(-1, len(self.classes), 4)
        thing = np.array([c.thing for c in self.classes], bool)
        total = sums.sum(0)
        qualities = _qualities(total, self.rules)
        groups = {"all": np.ones_like(thing), "things": thing, "stuff": ~thing}
        means = {name: _mean_quality(qualities[:, inside]) for name, inside in groups.items()}

        def headlines(sums: Any) -> Any:
            pq = _pq(sums, self.rules)
            return np.stack([mean_defined(pq[..., inside]) for inside in groups.values()], axis=-1)

        images = sums if len(sums) else total[None]
        low, high = bootstrap_sums(images, headlines, rounds=rounds, seed=seed)
        intervals = {name: (float(low[i]), float(high[i])) for i, name in enumerate(groups)}
        counts = total[:, 1:].astype(np.int64)
        return PanopticScores(
            protocol=self.protocol,
            names=self.classes.names,
            is_thing=thing,
            pq=qualities[0],
            sq=qualities[1],
            rq=qualities[2],
            iou_sum=total[:, 0],
            true_positives=counts[:, 0],
            false_positives=counts[:, 1],
            false_negatives=counts[:, 2],
            per_image=headlines(sums)[:, 0],
            intervals=intervals,
            undefined=tuple(c.name for c, q in zip(self.classes, qualities[0], strict=True) if np.isnan(q)),
            **means,
        )


def panoptic_quality(
    prediction: Found, truth: Found, *, classes: Classes | None = None, protocol: str = "panopticapi"
) -> PanopticScores:
    """Panoptic quality of one picture or volume.

    Args:
        classes: needed unless truth is a result that knows its classes, or a bare label map.

    Raises:
        BadMask, UnknownName: as :func:`count_segments`.

    Source: Kirillov et al. 2019, "Panoptic Segmentation", section 4.

    >>> panoptic_quality(np.array([[0, 1, 1]]), np.array([[0, 1, 1]]), protocol="instances").all.pq
    1.0
    """
    known = truth.classes if isinstance(truth, Panoptic) else _OBJECT
    metric = PanopticQuality(classes or known, protocol=protocol)
    metric.update(prediction, truth)
    return metric.compute()


def count_segments(
    prediction: Found, truth: Found, *, classes: Classes, protocol: str = "panopticapi"
) -> Float[np.ndarray, "k 4"]:
    """What one picture adds to the state, by class: sum of IoU, TP, FP, FN.

    Raises:
        BadMask: other shapes, a number without segment, a predicted segment without pixels, a class that
            does not exist.
        UnknownName: no such protocol.
    """
    rules = rules_of(protocol)
    ids = [item if isinstance(item, np.ndarray) else item.ids for item in (prediction, truth)]
    pairs, pixels = shared_pixels(ids[0], ids[1])
    if isinstance(truth, np.ndarray):
        kept = pairs[:, 0] != VOID  # of a label map: left out, whatever is predicted there
        pairs, pixels = pairs[kept], pixels[kept]
    things = np.array([c.thing for c in classes], bool)
    true = SegmentTable.of(truth, pairs[:, 0], things, name="truth")
    true = replace(true, crowd=true.crowd & rules.crowd)
    found = SegmentTable.of(prediction, pairs[:, 1], things, name="prediction")
    if rules.merge_stuff:
        true, found, pixels = merged(true, found, pixels, stuff=~things)
    return _Overlaps(true, found, pixels, rules).counts(things)


def rules_of(protocol: str) -> Rules:
    """The rules of a protocol; raises ``UnknownName`` with the nearest one."""
    if protocol not in PROTOCOLS:
        raise UnknownName.among("protocol of panoptic quality", protocol, PROTOCOLS)
    return PROTOCOLS[protocol]


@dataclass(frozen=True, eq=False)
class _Overlaps:
    """Pairs of segments that share pixels; index 0 of either side is "no segment"."""

    true: SegmentTable
    found: SegmentTable
    pixels: Any
    rules: Rules

    def counts(self, things: Any) -> Float[np.ndarray, "k 4"]:
        """Sum of IoU, TP, FP, FN of each class."""
        true, found, classes = self.true, self.found, len(things)
        soft = np.r_[False, ~things & self.rules.soft_stuff]  # by class + 1, so that "none" has a place
        iou, same = self._iou()
        softly = same & soft[true.class_of[true.at] + 1]
        match = same & (iou > 0.5) & ~softly
        missed = true.present & ~true.crowd
        missed[true.at[match]] = False
        wrong = found.present.copy()
        wrong[found.at[match]] = False
        counted = missed & soft[true.class_of + 1]  # the true segments that a mean of IoU is over
        missed &= ~counted & ~self._mostly_unpredicted()
        wrong &= ~soft[found.class_of + 1] & ~self._forgiven()
        of_pair = true.class_of[true.at]
        columns = (
            np.bincount(of_pair[match | softly], iou[match | softly], classes),
            np.bincount(of_pair[match], minlength=classes)
            + np.bincount(true.class_of[counted], minlength=classes),
            np.bincount(found.class_of[wrong], minlength=classes),
            np.bincount(true.class_of[missed], minlength=classes),
        )
        return np.stack(columns, axis=1).astype(np.float64)

    def _iou(self) -> tuple[Any, Any]:
        """IoU of each pair, and which pairs may match."""
        true, found = self.true, self.found
        same = (true.at > 0) & (found.at > 0) & (true.class_of[true.at] == found.class_of[found.at])
        same &= ~true.crowd[true.at]
        union = true.area(self.pixels)[true.at] + found.area(self.pixels)[found.at] - self.pixels
        union = union - self._on_void()[found.at] - self._under_void()[true.at]
        return np.divide(self.pixels, union, out=np.zeros(len(union)), where=same), same

    def _on_void(self) -> Any:
        """Pixels of each predicted segment where truth has none."""
        return self.found.area(self.pixels * ((self.true.at == 0) & self.rules.truth_void))

    def _under_void(self) -> Any:
        """Pixels of each true segment where nothing is predicted."""
        return self.true.area(self.pixels * ((self.found.at == 0) & self.rules.predicted_void))

    def _mostly_unpredicted(self) -> Any:
        return 2 * self._under_void() > self.true.area(self.pixels)

    def _forgiven(self) -> Any:
        """Predicted segments that lie by more than half on void and on the crowd of their class."""
        true, found = self.true, self.found
        crowd_of = np.zeros(1 + max(true.class_of.max(), found.class_of.max(), 0), np.int64)
        crowds = np.flatnonzero(true.crowd)
        crowd_of[true.class_of[crowds]] = crowds  # the last one of a class, as panopticapi has it
        on_crowd = (true.at > 0) & (true.at == crowd_of[found.class_of[found.at]]) & (found.at > 0)
        return 2 * (self._on_void() + found.area(self.pixels * on_crowd)) > found.area(self.pixels)


def _whole(sums: Float[np.ndarray, "*n k 4"], rules: Rules) -> Float[np.ndarray, "*n k"]:
    """TP + FP/2 + FN/2."""
    return np.asarray(sums @ np.array([0.0, 1.0, 0.5, 0.5]) + rules.smoothing)


def _pq(sums: Float[np.ndarray, "*n k 4"], rules: Rules) -> Float[np.ndarray, "*n k"]:
    """PQ of each class; nan where it has no segments."""
    whole = _whole(sums, rules)
    return np.asarray(np.divide(sums[..., 0], whole, out=np.full(whole.shape, np.nan), where=whole > 0))


def _qualities(sums: Float[np.ndarray, "k 4"], rules: Rules) -> Float[np.ndarray, "3 k"]:
    """PQ, SQ and RQ of each class; nan where it has no segments."""
    pq = _pq(sums, rules)
    iou, hits = sums[:, 0], sums[:, 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        sq = iou / (hits + rules.smoothing)
        rq = np.where(np.isnan(pq), np.nan, hits / _whole(sums, rules))
    if not rules.smoothing:
        sq = np.where(hits > 0, sq, np.where(np.isnan(pq), np.nan, rules.empty_sq))
    return np.stack([pq, sq, rq])


def _mean_quality(qualities: Float[np.ndarray, "3 k"]) -> Quality:
    pq, sq, rq = (float(v) for v in mean_defined(qualities))
    return Quality(pq=pq, sq=sq, rq=rq, classes=int((~np.isnan(qualities[0])).sum()))


def _plain_quality(quality: Quality) -> dict[str, Any]:
    return {key: plain(getattr(quality, key)) for key in ("pq", "sq", "rq")}
