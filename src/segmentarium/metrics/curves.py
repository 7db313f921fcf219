"""Precision and recall over thresholds, from counts: ODS, OIS and area, as the Berkeley benchmark has them.

A method whose answer depends on a threshold (or a level of a hierarchy) is scored at each. Counts add up over
images; the best threshold is then chosen once for the data set (ODS) or anew for each image (OIS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from segmentarium.errors import BadArgument, BadData
from segmentarium.metrics.intervals import bootstrap_sums
from segmentarium.metrics.undefined import plain

RECALL_FOUND, RECALL_ALL, PRECISION_FOUND, PRECISION_ALL = range(4)
"""Columns of counts: found of truth, all of truth, right of the prediction, all of the prediction."""

_STEPS = np.linspace(0, 1, 100)


@dataclass(frozen=True, eq=False, kw_only=True)
class CurveScores:
    """Scores over thresholds; nan where nothing in truth could be found.

    Attributes:
        precision: of the data set at each threshold, and likewise ``recall`` and ``f``; 0 where a threshold
            leaves no prediction.
        ods: best F of one threshold for all images, between thresholds by linear interpolation.
        ods_threshold: where it is reached.
        ois: F of the counts at each image's own best threshold.
        ap: area under precision over recall, in steps of 0.01.
        per_image: each image's best F, in the order of ``names``.
        interval: 95% bootstrap interval of the best F at one of the thresholds.
    """

    names: tuple[str, ...]
    thresholds: Float[np.ndarray, " t"]
    precision: Float[np.ndarray, " t"]
    recall: Float[np.ndarray, " t"]
    f: Float[np.ndarray, " t"]
    ods: float
    ods_threshold: float
    ods_precision: float
    ods_recall: float
    ois: float
    ap: float
    per_image: Float[np.ndarray, " n"]
    interval: tuple[float, float]

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where undefined."""
        arrays = ("thresholds", "precision", "recall", "f", "per_image")
        numbers = ("ods", "ods_threshold", "ods_precision", "ods_recall", "ois", "ap")
        return {
            **{key: plain(getattr(self, key)) for key in numbers},
            "interval": [plain(end) for end in self.interval],
            "names": list(self.names),
            **{key: [plain(value) for value in getattr(self, key)] for key in arrays},
        }


class Curve:
    """Counts of image after image (or video after video) at each threshold.

    Args:
        thresholds: ascending; only their number matters to the counts.
        from_zero: the area also counts recall below the smallest one reached, at its precision (VSB100);
            BSDS leaves that part out.
    """

    def __init__(
        self, thresholds: Sequence[float | int] | Float[np.ndarray, " t"], *, from_zero: bool = False
    ) -> None:
        if not len(thresholds):
            raise BadArgument("thresholds: none", allowed="one or more")
        self.thresholds = np.asarray(thresholds, np.float64)
        self.from_zero = from_zero
        self._rows: list[tuple[str, Any]] = []

    def add(self, counts: Float[np.ndarray, "t 4"], *, name: str = "") -> None:
        """Add the counts of one image, columns as in :data:`RECALL_FOUND` and so on."""
        if len(counts) != len(self.thresholds):
            raise BadArgument(f"counts of {len(counts)} thresholds", allowed=f"{len(self.thresholds)}")
        self._rows.append((name, np.asarray(counts, np.float64)))

    def merge(self, other: Curve) -> None:
        """Take over the images of another part of the data; the order of parts makes no difference."""
        alike = np.array_equal(other.thresholds, self.thresholds) and other.from_zero == self.from_zero
        if type(other) is not type(self) or not alike or other._setup() != self._setup():
            raise BadData(f"another {type(other).__name__}", allowed="the same thresholds and options")
        self._rows += other._rows

    def reset(self) -> None:
        """Forget all images."""
        self._rows = []

    def compute(self) -> CurveScores:
        """The scores of all images so far.

        Raises:
            BadData: there is no image yet.
        """
        if not self._rows:
            raise BadData("a curve without an image", allowed="one or more", cure="call update first")
        in_any_order = sorted(self._rows, key=lambda row: (row[0], np.ravel(row[1]).tolist()))
        rows: Any = np.stack([counts for _, counts in in_any_order])
        best = np.nan_to_num(_f(rows), nan=-1.0).argmax(1)
        chosen = rows[np.arange(len(rows)), best]
        total = rows.sum(0)
        recall, precision, f = _recall(total), _precision(total), _f(total)
        at, where = _best_between(self.thresholds, recall, precision)
        low, high = bootstrap_sums(rows, lambda sums: _f(sums).max(-1))
        return CurveScores(
            names=tuple(name for name, _ in in_any_order),
            thresholds=self.thresholds,
            precision=precision,
            recall=recall,
            f=f,
            ods=at[0],
            ods_threshold=where,
            ods_precision=at[1],
            ods_recall=at[2],
            ois=float(_f(chosen.sum(0))),
            ap=_area(recall, precision, from_zero=self.from_zero),
            per_image=np.array(
                [_best_between(self.thresholds, _recall(x), _precision(x))[0][0] for x in rows]
            ),
            interval=(float(low), float(high)),
        )

    def _setup(self) -> tuple[Any, ...]:
        """What two parts must have in common beyond thresholds."""
        return ()


def harmonic(recall: Any, precision: Any) -> Any:
    """F-measure; 0 where both are 0, nan where one is."""
    total = np.asarray(recall + precision, np.float64)
    return np.where(total == 0, 0.0, 2 * recall * precision / np.where(total == 0, 1.0, total))


def _recall(counts: Any) -> Any:
    """nan where truth holds nothing to find."""
    whole = counts[..., RECALL_ALL]
    return np.where(whole > 0, counts[..., RECALL_FOUND] / np.where(whole > 0, whole, 1.0), np.nan)


def _precision(counts: Any) -> Any:
    """0 where nothing is predicted: such a threshold is no answer."""
    whole = counts[..., PRECISION_ALL]
    return np.where(whole > 0, counts[..., PRECISION_FOUND] / np.where(whole > 0, whole, 1.0), 0.0)


def _f(counts: Any) -> Any:
    return harmonic(_recall(counts), _precision(counts))


def _best_between(thresholds: Any, recall: Any, precision: Any) -> tuple[tuple[float, float, float], float]:
    """(F, precision, recall) and threshold of the best point on the curve, straight between thresholds."""
    if np.isnan(recall).any():
        return (float("nan"),) * 3, float("nan")
    if len(thresholds) == 1:
        return (float(harmonic(recall, precision)[0]), float(precision[0]), float(recall[0])), thresholds[0]
    line = [(x[:-1, None] + np.diff(x)[:, None] * _STEPS).ravel() for x in (thresholds, recall, precision)]
    f = harmonic(line[1], line[2])
    at = int(f.argmax())
    return (float(f[at]), float(line[2][at]), float(line[1][at])), float(line[0][at])


def _area(recall: Any, precision: Any, *, from_zero: bool) -> float:
    """Precision at recall 0, 0.01 ... 1 by linear interpolation, times 0.01; 0 beyond what is reached."""
    if np.isnan(recall).any():
        return float("nan")
    reached, first = np.unique(recall, return_index=True)
    if len(reached) == 1:
        return float(reached[0] * precision[first[0]]) if from_zero else 0.0
    before = precision[first[0]] if from_zero else 0.0
    at = np.linspace(0, 1, 101)
    return float(np.interp(at, reached, precision[first], left=before, right=0.0).sum() * 0.01)
