"""Scores of superpixels: small regions that should nowhere cross a boundary of truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from segmentarium.errors import BadArgument
from segmentarium.metrics.boundaries import boundary_map, share_near
from segmentarium.metrics.contingency import Contingency, Labels, joint_histogram
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.per_image import PerImage, mean_of, ratio, several
from segmentarium.values.classes import VOID


@dataclass(frozen=True, kw_only=True)
class SuperpixelScore:
    """The scores of one image; all but the first two are best at 1.

    Attributes:
        regions: how many superpixels there are: scores compare only at like numbers.
        undersegmentation_error: best at 0.
    """

    regions: float
    undersegmentation_error: float
    achievable_accuracy: float
    boundary_recall: float


class Superpixels(PerImage):
    """Scores superpixels image after image, mean over annotators first; the result is the mean over images.

    Args:
        ignore: the truth id whose pixels are left out.
        tolerance_px: how near a superpixel boundary must be to a true one.
    """

    def __init__(self, *, ignore: int | None = VOID, tolerance_px: float | int = 2.0) -> None:
        if not tolerance_px >= 0:
            raise BadArgument(f"tolerance_px: {tolerance_px}", allowed="0 pixels or more")
        super().__init__(tuple(SuperpixelScore.__dataclass_fields__))
        self.ignore, self.tolerance_px = ignore, tolerance_px

    def update(self, prediction: Labels, truth: Labels | Sequence[Labels], *, name: str = "") -> None:
        """Add one image: the number of each pixel's superpixel, and one partition or several."""
        rows = [
            asdict(score_superpixels(prediction, one, ignore=self.ignore, tolerance_px=self.tolerance_px))
            for one in several(truth)
        ]
        self.add(name, {score: mean_of([row[score] for row in rows]) for score in self.scores})

    def _setup(self) -> tuple[Any, ...]:
        return (*self.scores, self.ignore, self.tolerance_px)


def score_superpixels(
    prediction: Labels, truth: Labels, *, ignore: int | None = VOID, tolerance_px: float | int = 2.0
) -> SuperpixelScore:
    """Every score of the superpixels of one image (two axes).

    Raises:
        BadMask: shapes differ, labels are not whole numbers, or there are other than two axes.
    """
    table = joint_histogram(prediction, truth, ignore=ignore)
    true = boundary_map(truth) & ~_beside_void(truth, ignore)
    return SuperpixelScore(
        regions=float(len(table.predicted_ids)),
        undersegmentation_error=undersegmentation_error(table),
        achievable_accuracy=achievable_accuracy(table),
        boundary_recall=share_near(true, boundary_map(prediction), tolerance=tolerance_px),
    )


def undersegmentation_error(table: Contingency) -> float:
    """Pixels by which superpixels bleed over boundaries, each bleeding counted by its smaller side, by N.

    Source: Neubert and Protzel 2012, equation 5.

    >>> undersegmentation_error(joint_histogram(np.array([[0, 0, 0, 1]]), np.array([[0, 0, 1, 1]])))
    0.5
    """
    outside = table.predicted_sizes[table.predicted_of] - table.shared
    return ratio(float(np.minimum(table.shared, outside).sum()), table.pixels)


def achievable_accuracy(table: Contingency) -> float:
    """Accuracy when each superpixel is given the region of truth that it overlaps most (ASA).

    Source: Liu et al. 2011, section 6.

    >>> achievable_accuracy(joint_histogram(np.array([[0, 0, 0, 1]]), np.array([[0, 0, 1, 1]])))
    0.75
    """
    best = np.zeros(len(table.predicted_ids), np.int64)
    np.maximum.at(best, table.predicted_of, table.shared)
    return ratio(float(best.sum()), table.pixels)


def _beside_void(truth: Labels, ignore: int | None) -> Bool[np.ndarray, "h w"]:
    """Pixels whose boundary mark may come from void: void is in the square of four that made it."""
    if ignore is None:
        return np.zeros(truth.shape, bool)
    void = (truth == ignore).astype(np.uint8)
    return np.asarray(ndimage.maximum_filter(void, size=2, origin=-1, mode="nearest") > 0)


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="undersegmentation_error",
        title="Undersegmentation error",
        formula="1 / N sum over pairs of a region G of truth and a superpixel S that meet of"
        " min(|S and G|, |S without G|)",
        best="low",
        edges={"no pixels": "undefined (nan)"},
        protocols={"neubert": "This one; it does not punish a superpixel that only touches a region."},
        source="Neubert and Protzel 2012, equation 5",
        atlas=("M40",),
    ),
    Definition(
        name="achievable_accuracy",
        title="Achievable segmentation accuracy (ASA)",
        formula="1 / N sum over superpixels S of max_G |S and G|",
        edges={"no pixels": "undefined (nan)"},
        source="Liu et al. 2011, section 6",
        atlas=("M40",),
    ),
    Definition(
        name="boundary_recall",
        title="Boundary recall",
        formula="share of the boundary pixels of truth with a superpixel boundary pixel within 2 px"
        " (Euclidean); boundaries against void are left out",
        edges={"truth without a boundary": "undefined (nan)"},
        source="Neubert and Protzel 2012, section 4",
        atlas=("M40",),
    ),
)
