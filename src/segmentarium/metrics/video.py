"""Scores of segmented video: objects followed through frames (DAVIS), and space-time volumes (VSB100)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from segmentarium.errors import BadArgument, BadMask
from segmentarium.metrics.boundaries import boundary_f
from segmentarium.metrics.contingency import Contingency, Labels, check_labels, joint_histogram
from segmentarium.metrics.curves import Curve
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.per_image import PerImage, mean_of, several
from segmentarium.values.classes import VOID


@dataclass(frozen=True, kw_only=True)
class SequenceStatistics:
    """One score over the frames of a sequence.

    Attributes:
        mean: over frames.
        recall: share of the frames above 0.5.
        decay: mean of the first quarter minus mean of the last; positive where a method loses the object.
    """

    mean: float
    recall: float
    decay: float


class VideoObjects(PerImage):
    """J and F of every object of every video; the result is the mean over objects, as in DAVIS 2017.

    Args:
        ignore: the truth id whose pixels belong to no object, in truth and in prediction.
        skip_ends: leave out the first frame, which is given, and the last.
    """

    def __init__(self, *, ignore: int | None = VOID, skip_ends: bool = True) -> None:
        super().__init__(
            ("j_and_f", "j_mean", "j_recall", "j_decay", "f_mean", "f_recall", "f_decay"),
        )
        self.ignore, self.skip_ends = ignore, skip_ends

    def update(
        self, prediction: Shaped[np.ndarray, "t h w"], truth: Shaped[np.ndarray, "t h w"], *, name: str = ""
    ) -> None:
        """Add one video: the id of the object at each pixel of each frame, 0 for none.

        Objects are those of truth; results name them ``NAME_ID``.

        Raises:
            BadMask: shapes differ, ids are not whole numbers, or too few frames are left.
        """
        check_labels(prediction, truth)
        objects = [int(i) for i in np.unique(truth) if i > 0 and i != self.ignore]
        void = np.zeros(truth.shape, bool) if self.ignore is None else truth == self.ignore
        inner = slice(1, -1) if self.skip_ends else slice(None)
        if not len(truth[inner]):
            raise BadMask(f"a video of {len(truth)} frames", allowed="three or more, or skip_ends=False")
        for i in objects:
            masks = (prediction[inner] == i, truth[inner] == i)
            j = sequence_statistics(region_similarity(*masks, void=void[inner]))
            f = sequence_statistics(contour_accuracy(*masks, void=void[inner]))
            values = {
                f"{key}_{part}": getattr(x, part) for key, x in (("j", j), ("f", f)) for part in vars(x)
            }
            self.add(f"{name}_{i}", values | {"j_and_f": (j.mean + f.mean) / 2})

    def _setup(self) -> tuple[Any, ...]:
        return (*self.scores, self.ignore, self.skip_ends)


def region_similarity(
    prediction: Bool[np.ndarray, "t h w"],
    truth: Bool[np.ndarray, "t h w"],
    *,
    void: Bool[np.ndarray, "t h w"] | None = None,
) -> Float[np.ndarray, " t"]:
    """J: the IoU of a mask in each frame; 1 where both are empty, since the object's absence was found.

    Source: Perazzi et al. 2016, section 4.1.
    """
    counted = np.ones(truth.shape, bool) if void is None else ~void
    union = ((prediction | truth) & counted).sum((1, 2))
    both = (prediction & truth & counted).sum((1, 2))
    return np.where(union > 0, both / np.maximum(union, 1), 1.0)


def contour_accuracy(
    prediction: Bool[np.ndarray, "t h w"],
    truth: Bool[np.ndarray, "t h w"],
    *,
    void: Bool[np.ndarray, "t h w"] | None = None,
) -> Float[np.ndarray, " t"]:
    """F: :func:`~segmentarium.metrics.boundaries.boundary_f` of DAVIS in each frame."""
    voids = [None] * len(truth) if void is None else list(void)
    frames = zip(prediction, truth, voids, strict=True)
    return np.array([boundary_f(p, t, protocol="davis", void=v).f for p, t, v in frames], np.float64)


def sequence_statistics(values: Float[np.ndarray, " t"]) -> SequenceStatistics:
    """Mean, recall and decay of one value a frame; frames without a value (nan) are left out of each.

    Quarters share their border frames. Source: Perazzi et al. 2016, section 4; davis2017-evaluation.

    >>> sequence_statistics(np.array([1.0, 1.0, 0.4, 0.4])).decay
    0.6
    """
    edges = np.round(np.linspace(1, max(1, len(values)), 5) + 1e-10).astype(int) - 1
    first, last = values[: edges[1] + 1], values[edges[3] : edges[4] + 1]
    hits = (values[~np.isnan(values)] > 0.5).astype(np.float64)
    return SequenceStatistics(
        mean=mean_of(values), recall=mean_of(hits), decay=mean_of(first) - mean_of(last)
    )


class VolumeBenchmark(Curve):
    """Volume precision and recall (VPR) of hierarchies of video segmentations, as in VSB100.

    The boundary half of that benchmark (BPR) is
    :class:`~segmentarium.metrics.bsds.BoundaryBenchmark` on the frames of a video.

    Args:
        levels: how many segmentations, coarse to fine or fine to coarse, each video comes with.
    """

    def __init__(self, levels: int) -> None:
        super().__init__(np.arange(1.0, levels + 1), from_zero=True)

    def update(
        self, prediction: Sequence[Labels], truth: Labels | Sequence[Labels], *, name: str = ""
    ) -> None:
        """Add one video: its segmentation at each level, and those of one or more annotators.

        Ids run through time. Prediction: 0 is unlabelled (it finds nothing), negative not scored. Truth:
        0 is a region, negative not scored.
        """
        if len(prediction) != len(self.thresholds):
            raise BadArgument(
                f"prediction: {len(prediction)} levels", allowed=f"{len(self.thresholds)} levels"
            )
        tables = [
            [joint_histogram(level, one, ignore=None) for one in several(truth)] for level in prediction
        ]
        counts = [np.sum([volume_counts(table) for table in row], axis=0) for row in tables]
        self.add(np.array(counts), name=name)


def volume_counts(table: Contingency) -> Float[np.ndarray, " 4"]:
    """Found and all of truth, right and all of the prediction, in voxels, less what a trivial answer gets.

    A volume of the prediction is right where it meets its largest partner in truth; one volume for the whole
    video would be right on truth's largest, so that is taken off. A region of truth is found where its
    largest partner covers it; single voxels would find one voxel of each region, so those are taken off.

    Source: Galasso et al. 2013, equations 5 and 6, and the program of VSB100.
    """
    rows, columns = table.truth_ids[table.truth_of], table.predicted_ids[table.predicted_of]
    scored = (rows >= 0) & (columns >= 0)
    table = Contingency.of_entries(rows[scored], columns[scored], table.shared[scored])
    labelled = table.without(predicted=0)
    found, right = (_largest(part) for part in (labelled, labelled.transposed()))
    trivial = int(labelled.truth_sizes.max(initial=0))
    regions = len(labelled.truth_ids)
    return np.array(
        [found - regions, table.pixels - regions, right - trivial, labelled.pixels - trivial], np.float64
    )


def _largest(table: Contingency) -> int:
    """Sum over the regions of truth of their largest overlap."""
    best = np.zeros(len(table.truth_ids), np.int64)
    np.maximum.at(best, table.truth_of, table.shared)
    return int(best.sum())


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="j_mean",
        title="DAVIS J and F: mean, recall, decay",
        formula="J the IoU and F the boundary F-measure of an object in each frame; mean over frames, share"
        " of frames above 0.5, first quarter minus last; then the mean over objects",
        edges={
            "object in neither mask of a frame": "J = F = 1",
            "object in one mask only": "J = F = 0",
        },
        protocols={
            "davis": "The same; its program counts quarters in 8 bits, so that its decay of sequences over"
            " 256 frames is of other frames."
        },
        source="Perazzi et al. 2016, section 4; Pont-Tuset et al. 2017",
        atlas=("M35",),
    ),
    Definition(
        name="vpr",
        title="Volume precision and recall (VPR)",
        formula="P = (sum_s max_g |s and g| - max_g |g|) / (sum_s |s| - max_g |g|),"
        " R = (sum_g max_s |s and g| - n_g) / (sum_g |g| - n_g), sums also over annotators",
        edges={"truth of one region": "precision 0 / 0, counted as 0"},
        protocols={"vsb100": "Counts of all videos are summed before quotients are formed."},
        source="Galasso et al. 2013, equations 5 and 6",
        atlas=("M36",),
    ),
)
