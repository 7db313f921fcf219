"""Scores of boundaries: does a mask end where the truth ends?

A boundary is where neighbouring labels differ, a band is what lies near it. Distances are in pixels; the
diagonal is that of the image, ``sqrt(h^2 + w^2)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, hypot, nan
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped
from scipy import ndimage

from segmentarium.errors import BadArgument, BadMask, UnknownName
from segmentarium.metrics.contingency import Labels, check_labels
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.per_image import ratio

Mask = Bool[np.ndarray, "*s"]


@dataclass(frozen=True, kw_only=True)
class BoundaryF:
    """Share of predicted boundary near truth's, share of truth's near the predicted, harmonic mean."""

    precision: float
    recall: float
    f: float


def boundary_map(labels: Labels) -> Bool[np.ndarray, "h w"]:
    """Where labels change: a pixel that differs from its right, lower or lower right neighbour.

    One pixel wide; it stands half a pixel up and left of the true line between the pixels. The image border
    is no boundary.

    Source: Martin et al. 2004 (seg2bmap of BSDS); for two labels and more.

    >>> boundary_map(np.array([[0, 0, 1], [0, 0, 1]])).astype(int).tolist()
    [[0, 1, 0], [0, 1, 0]]
    """
    _check_plane(labels, "labels")
    padded = np.pad(labels, ((0, 1), (0, 1)), mode="edge")
    right, below, across = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return np.asarray((labels != right) | (labels != below) | (labels != across))


def inner_band(mask: Mask, *, width: int) -> Mask:
    """The pixels of a mask within ``width`` of its outside (Chebyshev); beyond the image is outside.

    This is the mask without what ``width`` erosions by 3x3 (3x3x3) leave of it.

    Source: Cheng et al. 2021, section 4: G_d intersected with G.

    >>> inner_band(np.ones((3, 4), bool), width=1).astype(int).tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    if width < 1:
        raise BadArgument(f"width: {width}", allowed="1 pixel or more")
    core = ndimage.minimum_filter(mask.astype(np.uint8), size=2 * width + 1, mode="constant", cval=0)
    return np.asarray(mask & (core == 0))


def band_width(shape: Sequence[int], *, share: float | int = 0.02) -> int:
    """The width of the band for an image of this shape: ``share`` of the diagonal, rounded, at least 1."""
    return max(1, round(share * hypot(*shape)))


def boundary_iou(
    prediction: Shaped[np.ndarray, "*s"],
    truth: Shaped[np.ndarray, "*s"],
    *,
    share: float | int = 0.02,
    void: Labels | None = None,
) -> float:
    """IoU of the inner bands of two masks, 2-D or 3-D; nan if both are empty.

    Args:
        share: width of the band as a share of the diagonal.
        void: pixels that count for neither mask.

    Source: Cheng et al. 2021, equation 3.

    >>> square = np.zeros((8, 8), bool)
    >>> square[2:6, 2:6] = True
    >>> boundary_iou(square, np.roll(square, 1, axis=1))
    0.3333333333333333
    """
    intersection, union = boundary_overlap(prediction, truth, share=share, void=void)
    return ratio(intersection, union)


def boundary_overlap(
    prediction: Shaped[np.ndarray, "*s"],
    truth: Shaped[np.ndarray, "*s"],
    *,
    share: float | int = 0.02,
    void: Labels | None = None,
) -> tuple[int, int]:
    """Pixels that the two inner bands share, and pixels of either: what :func:`boundary_iou` divides."""
    masks = _masks(prediction, truth, void)
    width = band_width(truth.shape, share=share)
    ours, theirs = (inner_band(mask, width=width) for mask in masks)
    return int((ours & theirs).sum()), int((ours | theirs).sum())


def boundary_f(
    prediction: Shaped[np.ndarray, "*s"],
    truth: Shaped[np.ndarray, "*s"],
    *,
    protocol: str = "davis",
    tolerance_px: float | int | None = None,
    void: Labels | None = None,
) -> BoundaryF:
    """F-score of two boundaries, each pixel of which is right if the other boundary is near.

    Args:
        protocol: ``davis`` or ``csurka``, see ``BOUNDARY_F_PROTOCOLS``: how near is near, and what empty
            boundaries score.
        tolerance_px: instead of the protocol's distance.
        void: pixels that belong to neither mask.

    Source: Perazzi et al. 2016, section 4.2; Csurka et al. 2013, section 3.
    """
    if protocol not in BOUNDARY_F_PROTOCOLS:
        raise UnknownName.among("protocol", protocol, BOUNDARY_F_PROTOCOLS)
    _check_plane(truth, "truth")
    found, true = (boundary_map(mask) for mask in _masks(prediction, truth, void))
    if protocol == "davis":
        tolerance = ceil(0.008 * hypot(*truth.shape)) if tolerance_px is None else tolerance_px
        near, reached = (share_near(*pair, tolerance=tolerance) for pair in ((found, true), (true, found)))
        return _davis(near, reached)
    tolerance = 0.0075 * hypot(*truth.shape) if tolerance_px is None else tolerance_px
    below = float(np.nextafter(tolerance, 0))  # Csurka's distance is strictly smaller
    precision = share_near(found, true, tolerance=below)
    recall = share_near(true, found, tolerance=below)
    return BoundaryF(precision=precision, recall=recall, f=_csurka(precision, recall, bool(true.any())))


def share_near(
    boundary: Bool[np.ndarray, "h w"], other: Bool[np.ndarray, "h w"], *, tolerance: float | int
) -> float:
    """Share of the pixels of a boundary within Euclidean ``tolerance`` of another; nan if it has none."""
    pixels = int(boundary.sum())
    if not pixels:
        return nan
    if not other.any():
        return 0.0
    distance = ndimage.distance_transform_edt(~other)
    return int((distance[boundary] <= tolerance).sum()) / pixels


def trimap(truth: Labels, *, radius: float | int) -> Mask:
    """The pixels within ``radius`` of a line where truth changes, void included; 2-D or 3-D.

    The line runs between pixels: radius 1 takes the pixels that touch it, one on each side. Distances are
    Euclidean, between pixel centres.

    Source: Kohli et al. 2009; Chen et al. 2015, section 4.3.

    >>> trimap(np.array([[0, 0, 0, 1, 1, 1]]), radius=2).astype(int).tolist()
    [[0, 1, 1, 1, 1, 0]]
    """
    if not radius > 0:
        raise BadArgument(f"radius: {radius}", allowed="a number of pixels above 0")
    touching = np.zeros(truth.shape, bool)
    for axis in range(truth.ndim):
        here, there = np.moveaxis(truth, axis, 0)[:-1], np.moveaxis(truth, axis, 0)[1:]
        differs = here != there
        np.moveaxis(touching, axis, 0)[:-1] |= differs
        np.moveaxis(touching, axis, 0)[1:] |= differs
    if not touching.any():
        return touching
    return np.asarray(ndimage.distance_transform_edt(~touching) < radius)


def _masks(prediction: Any, truth: Any, void: Any) -> tuple[Any, Any]:
    """Two masks without void; what is no mask is refused."""
    check_labels(prediction, truth)
    for what, mask in (("prediction", prediction), ("truth", truth)):
        if mask.dtype != np.bool_ and mask.size and (mask.min() < 0 or mask.max() > 1):
            raise BadMask(
                f"{what} holds {int(mask.min())} to {int(mask.max())}",
                allowed="a mask of one object: 0 and 1, or booleans",
                cure="compare the labels with one class first",
            )
    if void is None:
        return prediction.astype(bool), truth.astype(bool)
    if void.shape != truth.shape or void.dtype != np.bool_:
        raise BadMask(
            f"void of {void.dtype} and shape {void.shape}", allowed=f"booleans of truth's shape {truth.shape}"
        )
    return prediction.astype(bool) & ~void, truth.astype(bool) & ~void


def _check_plane(labels: Any, what: str) -> None:
    if labels.ndim != 2:
        raise BadMask(f"{what} of shape {labels.shape}", allowed="an image of two axes", cure="go by slices")


def _davis(precision: float, recall: float) -> BoundaryF:
    """A boundary that both lack is found (1, 1); one that only one has scores F = 0."""
    if np.isnan(precision) and np.isnan(recall):
        return BoundaryF(precision=1.0, recall=1.0, f=1.0)
    precision, recall = (1.0 if np.isnan(value) else value for value in (precision, recall))
    total = precision + recall
    return BoundaryF(precision=precision, recall=recall, f=2 * precision * recall / total if total else 0.0)


def _csurka(precision: float, recall: float, in_truth: bool) -> float:
    """Undefined without a boundary in truth; 0 if nothing, or nothing near, was found."""
    if not in_truth:
        return nan
    if np.isnan(precision) or precision + recall == 0:
        return 0.0
    return 2 * precision * recall / (precision + recall)


BOUNDARY_F_PROTOCOLS: Mapping[str, str] = {
    "davis": "Near is at most ceil(0.8 %) of the diagonal; two empty boundaries score 1, one empty 0.",
    "csurka": "Near is less than 0.75 % of the diagonal, not rounded; without a boundary in truth the score"
    " is undefined (nan) and leaves the mean.",
}

DEFINED: tuple[Definition, ...] = (
    Definition(
        name="boundary_iou",
        title="Boundary IoU",
        formula="|(G_d and G) and (P_d and P)| / |(G_d and G) or (P_d and P)|, where G_d and G is what d"
        " erosions by 3x3 take from the mask and d = max(1, round(0.02 diagonal))",
        edges={
            "both masks empty": "undefined (nan)",
            "mask at the image border": "beyond the image is outside, so the border is boundary",
        },
        protocols={
            "boundary-iou-api": "Exactly this: repeated 3x3 erosion, a Chebyshev band; a Euclidean band of"
            " the same width is narrower at corners and on diagonals, and gives another number."
        },
        source="Cheng et al. 2021, equation 3 and section 4",
        atlas=("M20",),
    ),
    Definition(
        name="boundary_f",
        title="Boundary F-measure (DAVIS F), BF score",
        formula="2 P R / (P + R), P the share of predicted boundary pixels near a true one, R the share of"
        " true ones near a predicted one",
        edges={"both boundaries empty": "1 (davis), nan (csurka)", "one boundary empty": "0 (davis)"},
        protocols=BOUNDARY_F_PROTOCOLS,
        source="Perazzi et al. 2016, section 4.2; Csurka et al. 2013, section 3",
        atlas=("M21", "M22"),
    ),
    Definition(
        name="trimap_mean_iou",
        title="Trimap (band) mean IoU",
        formula="mean IoU of the confusion matrix over the pixels within r of a line where truth changes;"
        " void ends at such a line too, but its own pixels are not counted",
        edges={"truth of one label": "no pixel counts: undefined (nan)"},
        source="Kohli et al. 2009; Chen et al. 2015, section 4.3",
        atlas=("M34",),
    ),
)
