"""The boundary benchmark of BSDS: a soft boundary map against the boundaries that several people drew.

At each of 99 thresholds the map is cut, thinned and matched one to one with each person's boundary, over
distances of at most 0.75 % of the diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numba import njit
from scipy import sparse
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from segmentarium.errors import BadArgument, BadMask
from segmentarium.metrics.curves import Curve
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.per_image import several

_OUTLIER = 100.0
"""What a pixel left alone costs, in longest distances: pairs first, then short ones."""


class BoundaryBenchmark(Curve):
    """Scores boundary maps over a data set: ODS, OIS and AP.

    Args:
        thresholds: how many, evenly between 0 and 1.
        tolerance: longest distance of a match, as a share of the diagonal.
        thinning: reduce the cut maps to lines of one pixel first.
    """

    def __init__(
        self, *, thresholds: int = 99, tolerance: float | int = 0.0075, thinning: bool = True
    ) -> None:
        if not 0 < tolerance < 1:
            raise BadArgument(f"tolerance: {tolerance}", allowed="a share of the diagonal between 0 and 1")
        super().__init__(even_thresholds(thresholds))
        self.tolerance, self.thinning = tolerance, thinning

    def update(self, prediction: Shaped[np.ndarray, "*s"], truth: Any, *, name: str = "") -> None:
        """Add one image, or the frames of one video (then every map has a first axis of time).

        Args:
            prediction: strength of boundary, 0 to 1.
            truth: the boundary map (booleans) of one annotator, or a list of them;
                :func:`~segmentarium.metrics.boundaries.boundary_map` makes one of a partition.
        """
        maps = several(truth)
        frames = prediction[None] if prediction.ndim == 2 else prediction
        counts = np.zeros((len(self.thresholds), 4))
        for i, strength in enumerate(frames):
            truths = [one if prediction.ndim == 2 else one[i] for one in maps]
            counts += boundary_counts(
                strength, truths, thresholds=self.thresholds, tolerance=self.tolerance, thinning=self.thinning
            )
        self.add(counts, name=name)

    def _setup(self) -> tuple[Any, ...]:
        return (self.tolerance, self.thinning)


def even_thresholds(number: int) -> Float[np.ndarray, " t"]:
    """``number`` thresholds evenly inside 0 to 1, both ends left out."""
    if number < 1:
        raise BadArgument(f"thresholds: {number}", allowed="one or more")
    return np.linspace(1 / (number + 1), number / (number + 1), number)


def boundary_counts(
    prediction: Shaped[np.ndarray, "h w"],
    truths: Sequence[Shaped[np.ndarray, "h w"]],
    *,
    thresholds: Float[np.ndarray, " t"],
    tolerance: float | int = 0.0075,
    thinning: bool = True,
) -> Float[np.ndarray, "t 4"]:
    """What one image adds at each threshold: matched and all pixels of truth, matched and all predicted.

    Pixels of truth count once an annotator; a predicted pixel is right if any annotator's pixel matches it.

    Raises:
        BadArgument: the strengths leave 0 to 1.
        BadMask: shapes differ, or a truth is no map of booleans.
    """
    _check(prediction, truths)
    counts = np.zeros((len(thresholds), 4))
    seen: dict[bytes, Any] = {}
    for row, threshold in zip(counts, thresholds, strict=True):
        cut = prediction >= threshold
        key = np.packbits(cut).tobytes()
        if key not in seen:  # maps of few strengths give the same cut at many thresholds
            seen = {key: _matched(thin(cut) if thinning else cut, truths, tolerance)}
        row[:] = seen[key]
    return counts


def match_boundaries(
    prediction: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"], *, tolerance: float | int = 0.0075
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The pixels of both boundaries that find a partner when each may have one.

    As many pairs as possible, and of all such matchings one of least total distance.

    Args:
        tolerance: longest distance as a share of the diagonal.

    Source: Martin, Fowlkes and Malik 2004, appendix B.
    """
    limit = tolerance * hypot(*truth.shape)
    ours, theirs = np.argwhere(prediction), np.argwhere(truth)
    swapped = len(theirs) < len(ours)  # the smaller side is assigned, the other may be left alone
    few, many = (theirs, ours) if swapped else (ours, theirs)
    found = tuple(np.zeros(truth.shape, bool) for _ in range(2))
    if len(few):
        chosen = _assign(few, many, limit)
        paired = chosen < len(many)
        for points, mask in ((few[paired], found[swapped]), (many[chosen[paired]], found[not swapped])):
            mask[tuple(points.T)] = True
    return found[0], found[1]


def _assign(few: Any, many: Any, limit: float) -> Any:
    """For each point of ``few`` the number of its partner, or a number beyond ``many`` if it stays alone."""
    near = cKDTree(few).sparse_distance_matrix(cKDTree(many), limit, output_type="coo_matrix")
    own = np.arange(len(few))
    rows = np.concatenate([near.row, own])
    columns = np.concatenate([near.col, len(many) + own])
    cost = (
        np.concatenate([near.data, np.full(len(few), _OUTLIER * max(limit, 1.0))]) + 1
    )  # 0 would be no edge
    graph = sparse.coo_matrix((cost, (rows, columns)), shape=(len(few), len(many) + len(few)))
    return min_weight_full_bipartite_matching(graph.tocsr())[1]


def thin(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Wear a mask down to lines of one pixel, keeping what is connected connected.

    Source: Guo and Hall 1989, algorithm A1; this is what MATLAB's ``bwmorph(..., "thin", inf)`` computes.
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    while _thin_once(padded):
        pass
    return padded[1:-1, 1:-1].astype(bool)


def _matched(cut: Any, truths: Any, tolerance: float) -> tuple[int, int, int, int]:
    """The four counts of one cut map."""
    right, found = np.zeros(cut.shape, bool), 0
    for truth in truths:
        ours, theirs = match_boundaries(cut, truth, tolerance=tolerance)
        right |= ours
        found += int(theirs.sum())
    return found, sum(int(truth.sum()) for truth in truths), int(right.sum()), int(cut.sum())


def _check(prediction: Any, truths: Any) -> None:
    if prediction.size and not (prediction.min() >= 0 and prediction.max() <= 1):
        raise BadArgument(
            f"prediction from {prediction.min():g} to {prediction.max():g}",
            allowed="strength of boundary from 0 to 1",
            cure="divide an 8-bit map by 255; take the sigmoid of logits",
        )
    for truth in truths:
        if truth.dtype != np.bool_ or truth.shape != prediction.shape:
            raise BadMask(
                f"truth of {truth.dtype} and shape {truth.shape}",
                allowed=f"booleans of the prediction's shape {prediction.shape}, True on boundaries",
                cure="boundary_map makes one of a partition",
            )


@njit(cache=True, nogil=True)
@no_type_check
def _thin_once(mask):  # pragma: no cover - compiled
    """One pair of passes; neighbours are numbered from the east, anticlockwise. Returns if anything went."""
    changed = False
    for half in range(2):
        before = mask.copy()
        for y in range(1, mask.shape[0] - 1):
            for x in range(1, mask.shape[1] - 1):
                if not before[y, x]:
                    continue
                e, w = before[y, x + 1], before[y, x - 1]
                n, s = before[y - 1, x], before[y + 1, x]
                ne, nw = before[y - 1, x + 1], before[y - 1, x - 1]
                se, sw = before[y + 1, x + 1], before[y + 1, x - 1]
                arms = (
                    ((1 - e) & (ne | n)) + ((1 - n) & (nw | w)) + ((1 - w) & (sw | s)) + ((1 - s) & (se | e))
                )
                if arms != 1:
                    continue
                pairs = min(
                    (ne | e) + (nw | n) + (sw | w) + (se | s), (ne | n) + (nw | w) + (sw | s) + (se | e)
                )
                kept = ((ne | n | (1 - se)) & e) if half == 0 else ((sw | s | (1 - nw)) & w)
                if 2 <= pairs <= 3 and not kept:
                    mask[y, x] = 0
                    changed = True
    return changed


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="ods",
        title="Boundary F-measure of BSDS: ODS, OIS and AP (BPR of VSB100)",
        formula="F = 2PR / (P + R) of pixels matched one to one within 0.0075 diagonal, counts summed over"
        " images and annotators: best single threshold (ODS), best threshold an image (OIS), area under"
        " precision over recall (AP)",
        edges={
            "no boundary in truth": "undefined (nan)",
            "nothing predicted at a threshold": "precision 0 there",
        },
        protocols={
            "bsds": "The same, but its matching has random outlier edges: counts differ by a few pixels from"
            " run to run and from ours, scores by about 1e-3; ours never finds fewer pairs.",
            "vsb100": "The same counts summed over the frames of a video first.",
        },
        source="Martin, Fowlkes and Malik 2004; Arbelaez et al. 2011, section 3.1.1",
        atlas=("M23", "M36"),
    ),
)
