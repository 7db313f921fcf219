"""Boundary scores of label maps, class by class, streamed over a data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from jaxtyping import Float

from segmentarium.errors import BadArgument, BadData
from segmentarium.metrics.boundaries import boundary_f, boundary_overlap, trimap
from segmentarium.metrics.confusion import ConfusionMatrix, count_pairs
from segmentarium.metrics.contingency import Labels, check_labels
from segmentarium.metrics.intervals import bootstrap_sums
from segmentarium.metrics.undefined import plain
from segmentarium.values.classes import VOID


@dataclass(frozen=True, eq=False, kw_only=True)
class BoundaryScores:
    """Boundary scores of a data set; arrays hold one value a class, nan where it is undefined.

    Attributes:
        boundary_iou: from band pixels summed over images.
        bf_score: mean over the images whose truth has a boundary of the class.
        bf_per_image: what ``bf_score`` is the mean of, ``images`` in rows.
        trimap_mean_iou: band radius in pixels → mean IoU inside that band.
        intervals: 95% bootstrap intervals over images of the two means over classes.
        undefined: classes without a boundary in truth and prediction.
    """

    names: tuple[str, ...]
    images: tuple[str, ...]
    boundary_iou: Float[np.ndarray, " k"]
    mean_boundary_iou: float
    bf_score: Float[np.ndarray, " k"]
    mean_bf_score: float
    bf_per_image: Float[np.ndarray, "n k"]
    trimap_mean_iou: dict[float, float]
    intervals: dict[str, tuple[float, float]]
    undefined: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where a score is undefined."""
        per_class = {
            name: {"boundary_iou": plain(iou), "bf_score": plain(bf)}
            for name, iou, bf in zip(self.names, self.boundary_iou, self.bf_score, strict=True)
        }
        return {
            "mean_boundary_iou": plain(self.mean_boundary_iou),
            "mean_bf_score": plain(self.mean_bf_score),
            "trimap_mean_iou": {str(radius): plain(iou) for radius, iou in self.trimap_mean_iou.items()},
            "intervals": {key: [plain(end) for end in ends] for key, ends in self.intervals.items()},
            "per_class": per_class,
            "images": list(self.images),
            "bf_per_image": [[plain(value) for value in row] for row in self.bf_per_image],
            "undefined": list(self.undefined),
        }


class Boundaries:
    """Gathers boundary IoU, BF score and trimap IoU of every class over images.

    Args:
        classes: how many there are; labels run from 0 to ``classes - 1``.
        names: one a class, for results.
        ignore: the truth value of void; its pixels belong to no class in truth and in prediction.
        share: width of the boundary IoU band as a share of the diagonal.
        radii: of the trimap bands, in pixels.
    """

    def __init__(
        self,
        classes: int,
        *,
        names: Sequence[str] = (),
        ignore: int = VOID,
        share: float = 0.02,
        radii: Sequence[float | int] = (5.0,),
    ) -> None:
        if not 0 < share < 1:
            raise BadArgument(f"share: {share}", allowed="a share of the diagonal between 0 and 1")
        self.bands = {float(radius): ConfusionMatrix(classes, names=names, ignore=ignore) for radius in radii}
        self.names = ConfusionMatrix(classes, names=names).names
        self.ignore, self.share = ignore, share
        self._rows: list[tuple[str, list[tuple[float, float, float]]]] = []

    def update(self, prediction: Labels, truth: Labels, *, name: str = "") -> None:
        """Add one image.

        Raises:
            BadMask: shapes differ, or labels are no classes; nothing is added then.
        """
        check_labels(prediction, truth)
        count_pairs(prediction, truth, classes=len(self.names), ignore=self.ignore)  # refuses bad labels
        void = truth == self.ignore
        values = [self._row(prediction == c, truth == c, void) for c in range(len(self.names))]
        self._rows.append((name, values))
        for radius, band in self.bands.items():
            inside = trimap(truth, radius=radius)
            band.update(prediction, np.where(inside, truth.astype(np.int64), self.ignore))

    def merge(self, other: Boundaries) -> None:
        """Take over the images of another part of the data; the order of parts makes no difference."""
        ours, theirs = ((x.names, x.ignore, x.share, tuple(x.bands)) for x in (self, other))
        if ours != theirs:
            raise BadData(f"boundaries with the setup {theirs}", allowed=f"the setup {ours}")
        self._rows += other._rows
        for radius, band in self.bands.items():
            band.merge(other.bands[radius])

    def reset(self) -> None:
        """Forget all images."""
        self._rows = []
        for band in self.bands.values():
            band.reset()

    def compute(self) -> BoundaryScores:
        """The scores of all images so far."""
        classes = len(self.names)
        in_any_order = sorted(self._rows, key=repr)  # nan does not compare, its name does
        rows = np.array([values for _, values in in_any_order], np.float64).reshape(
            len(self._rows), classes, 3
        )
        bf = np.where(np.isfinite(rows[..., 2]), rows[..., 2], 0.0)
        counts = np.stack([rows[..., 0], rows[..., 1], bf, np.isfinite(rows[..., 2])], axis=-1)
        total = np.array([[fsum(counts[:, c, i]) for i in range(4)] for c in range(classes)])
        iou, mean_iou = _mean_quotients(total[:, :2])
        score, mean_score = _mean_quotients(total[:, 2:])
        parts = {"mean_boundary_iou": counts[..., :2], "mean_bf_score": counts[..., 2:]}
        return BoundaryScores(
            names=self.names,
            images=tuple(name for name, _ in in_any_order),
            boundary_iou=iou,
            mean_boundary_iou=float(mean_iou),
            bf_score=score,
            mean_bf_score=float(mean_score),
            bf_per_image=rows[..., 2],
            trimap_mean_iou={radius: band.compute().mean_iou for radius, band in self.bands.items()},
            intervals={name: _interval(part) for name, part in parts.items()},
            undefined=tuple(name for name, union in zip(self.names, total[:, 1], strict=True) if not union),
        )

    def _row(self, prediction: Any, truth: Any, void: Any) -> tuple[float, float, float]:
        """Band intersection, band union and BF score of one class in one image."""
        intersection, union = boundary_overlap(prediction, truth, share=self.share, void=void)
        bf = boundary_f(prediction, truth, protocol="csurka", void=void).f
        return float(intersection), float(union), bf


def _interval(parts: Any) -> tuple[float, float]:
    """Of the mean over classes, when images are drawn again."""
    low, high = bootstrap_sums(parts, lambda sums: _mean_quotients(sums)[1])
    return float(low), float(high)


def _mean_quotients(pairs: Any) -> tuple[Any, Any]:
    """Quotients of the last axis's two columns, and their mean over classes; nan where undefined."""
    part, whole = pairs[..., 0], pairs[..., 1]
    quotient = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=quotient, where=whole > 0)
    defined = whole > 0
    mean = np.full(whole.shape[:-1], np.nan)
    np.divide(np.where(defined, quotient, 0.0).sum(-1), defined.sum(-1), out=mean, where=defined.any(-1))
    return quotient, mean
