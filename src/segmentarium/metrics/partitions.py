"""Scores of partitions: do two maps cut an image into the same regions, whatever the regions are called?

Every score is a function of one joint histogram (:class:`~segmentarium.metrics.contingency.Contingency`).
Symbols: ``n_ij`` pixels in region i of truth and region j of the prediction, ``t_i`` and ``s_j`` the sizes of
those regions, ``N`` all pixels that are not void.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import nan
from typing import Any, Literal, get_args

import numpy as np

from segmentarium.errors import UnknownName
from segmentarium.metrics.contingency import Contingency, Labels, joint_histogram
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.per_image import PerImage, mean_of, ratio, several
from segmentarium.values.classes import VOID

Side = Literal["truth", "prediction"]


@dataclass(frozen=True, kw_only=True)
class AdaptedRand:
    """Adapted Rand error and the two halves of its F-score; 0, 1 and 1 are perfect."""

    error: float
    precision: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class Variation:
    """Variation of information in bits, by what goes wrong; 0 is perfect.

    Attributes:
        split: H(prediction | truth), what a region of truth cut in parts costs.
        merge: H(truth | prediction), what regions of truth grown together cost.
    """

    split: float
    merge: float

    @property
    def total(self) -> float:
        """Their sum, which is a metric between partitions."""
        return self.split + self.merge


@dataclass(frozen=True, kw_only=True)
class PartitionScore:
    """All scores of one pair of partitions; ``DEFINED`` says what each means."""

    rand_index: float
    adjusted_rand_index: float
    adapted_rand_error: float
    adapted_rand_precision: float
    adapted_rand_recall: float
    voi_split: float
    voi_merge: float
    voi: float
    covering_of_truth: float
    covering_of_prediction: float

    @classmethod
    def of(cls, table: Contingency, *, protocol: str = "snemi") -> PartitionScore:
        """Every score of one joint histogram; ``protocol`` as in :func:`adapted_rand_error`."""
        adapted = adapted_rand_error(table, protocol=protocol)
        variation = variation_of_information(table)
        return cls(
            rand_index=rand_index(table),
            adjusted_rand_index=adjusted_rand_index(table),
            adapted_rand_error=adapted.error,
            adapted_rand_precision=adapted.precision,
            adapted_rand_recall=adapted.recall,
            voi_split=variation.split,
            voi_merge=variation.merge,
            voi=variation.total,
            covering_of_truth=covering(table, of="truth"),
            covering_of_prediction=covering(table, of="prediction"),
        )


class Partitions(PerImage):
    """Scores partitions image after image; the result is the mean over images.

    With several annotators an image's score is the mean over them: for the Rand index this is the
    probabilistic Rand index.

    Args:
        ignore: the truth id whose pixels are left out.
        protocol: which adapted Rand error, see :func:`adapted_rand_error`.

    >>> scores = Partitions()
    >>> scores.update(np.array([[4, 4, 7, 7]]), np.array([[0, 0, 1, 1]]))
    >>> scores.compute()["adjusted_rand_index"]
    1.0
    """

    def __init__(self, *, ignore: int | None = VOID, protocol: str = "snemi") -> None:
        _check_protocol(protocol)
        super().__init__(tuple(PartitionScore.__dataclass_fields__))
        self.ignore, self.protocol = ignore, protocol

    def update(self, prediction: Labels, truth: Labels | Sequence[Labels], *, name: str = "") -> None:
        """Add one image or volume and the partition of one annotator, or the partitions of several.

        Raises:
            BadMask: shapes differ, or labels are not whole numbers.
        """
        tables = [joint_histogram(prediction, one, ignore=self.ignore) for one in several(truth)]
        rows = [asdict(PartitionScore.of(table, protocol=self.protocol)) for table in tables]
        self.add(name, {score: mean_of([row[score] for row in rows]) for score in self.scores})

    def _setup(self) -> tuple[Any, ...]:
        return (*self.scores, self.ignore, self.protocol)


def score_partition(
    prediction: Labels, truth: Labels, *, ignore: int | None = VOID, protocol: str = "snemi"
) -> PartitionScore:
    """Every score of two label maps from one pass over their pixels.

    Args:
        ignore: the truth id whose pixels are left out; None leaves none out.
        protocol: which adapted Rand error, see :func:`adapted_rand_error`.
    """
    return PartitionScore.of(joint_histogram(prediction, truth, ignore=ignore), protocol=protocol)


def rand_index(table: Contingency) -> float:
    """Share of the pairs of pixels on which both partitions agree: together in both, or apart in both.

    nan with fewer than two pixels (scikit-learn says 1 there).

    Source: Rand 1971.

    >>> rand_index(joint_histogram(np.array([[0, 0, 1, 1]]), np.array([[0, 0, 0, 1]])))
    0.5
    """
    both, truth, predicted = _squares(table)
    pairs = table.pixels * (table.pixels - 1) / 2
    return 1 - ratio((truth + predicted) / 2 - both, pairs)


def adjusted_rand_index(table: Contingency) -> float:
    """The Rand index corrected for chance: 0 for random partitions of these sizes, 1 for equal ones.

    Equal partitions score 1 also if they are trivial (one region, or every pixel its own); nan with fewer
    than two pixels.

    Source: Hubert and Arabie 1985, equation 5.
    """
    pixels = table.pixels
    if pixels < 2:
        return nan
    both, truth, predicted = ((squares - pixels) / 2 for squares in _squares(table))
    expected = truth * predicted / (pixels * (pixels - 1) / 2)
    highest = (truth + predicted) / 2
    return 1.0 if highest == expected else (both - expected) / (highest - expected)


def adapted_rand_error(table: Contingency, *, protocol: str = "snemi") -> AdaptedRand:
    """1 minus the F-score of pairs of pixels, on the pixels where truth is not 0 (membrane, background).

    Args:
        protocol: ``snemi``: precision is over pairs joined by the prediction, every pixel predicted 0 is a
            region by itself, a pixel pairs with itself. ``cremi``: the same, but all pixels predicted 0
            together weigh less than one pixel. ``skimage``: 0 is a region of the prediction like any other,
            pairs are of different pixels, and precision and recall bear each other's names.

    Source: Arganda-Carreras et al. 2015, section 2.4; protocols: scripts of SNEMI3D and CREMI, scikit-image.
    """
    _check_protocol(protocol)
    pixels, table = table.pixels, table.without(truth=0)
    both, truth, predicted = _squares(table)
    if protocol == "skimage":
        both, truth, predicted = (squares - table.pixels for squares in (both, truth, predicted))
        error, over_predicted, over_truth = _f_error(both, truth, predicted)
        return AdaptedRand(error=error, precision=over_truth, recall=over_predicted)
    labelled = table.without(predicted=0)
    alone = table.pixels - labelled.pixels
    extra = alone if protocol == "snemi" else ratio(alone, pixels)
    both, _, predicted = _squares(labelled)
    error, precision, recall = _f_error(both + extra, truth, predicted + extra)
    return AdaptedRand(error=error, precision=precision, recall=recall)


def variation_of_information(table: Contingency) -> Variation:
    """How many bits each partition leaves open once the other is known; nan without pixels.

    CREMI leaves out the pixels where truth is 0: give the table ``without(truth=0)``.

    Source: Meila 2007; split and merge as in Nunez-Iglesias et al. 2013.
    """
    if not table.pixels:
        return Variation(split=nan, merge=nan)
    share = table.shared / table.pixels
    split = share @ np.log2(table.truth_sizes[table.truth_of] / table.shared)
    merge = share @ np.log2(table.predicted_sizes[table.predicted_of] / table.shared)
    return Variation(split=float(split), merge=float(merge))


def covering(table: Contingency, *, of: Side = "truth") -> float:
    """Mean over pixels of the best IoU that their region has with a region of the other partition.

    Args:
        of: whose regions are covered; the two directions differ. ``truth`` is the number of BSDS: how well
            the prediction covers the regions of truth.

    Source: Arbelaez et al. 2011, section 3.1.2.
    """
    if of not in get_args(Side):
        raise UnknownName.among("side of a covering", of, get_args(Side))
    sizes, best = best_overlaps(table if of == "truth" else table.transposed())
    return ratio(float(sizes @ best), table.pixels)


def best_overlaps(table: Contingency) -> tuple[Any, Any]:
    """Size of every region of truth, and its highest IoU with a region of the prediction."""
    sizes = table.truth_sizes
    union = sizes[table.truth_of] + table.predicted_sizes[table.predicted_of] - table.shared
    best = np.zeros(len(sizes))
    np.maximum.at(best, table.truth_of, table.shared / union)
    return sizes, best


def _squares(table: Contingency) -> tuple[float, float, float]:
    """Sums of squared sizes: of shared parts, of regions of truth, of predicted regions.

    In floating point: the square of a large organ in a large volume passes 2**63.
    """
    parts = (table.shared, table.truth_sizes, table.predicted_sizes)
    shared, truth, predicted = (float(np.square(part, dtype=np.float64).sum()) for part in parts)
    return shared, truth, predicted


def _f_error(both: float, truth: float, predicted: float) -> tuple[float, float, float]:
    """1 - F, and the shares of the predicted and of the true pairs that are in both."""
    return 1 - ratio(2 * both, truth + predicted), ratio(both, predicted), ratio(both, truth)


def _check_protocol(protocol: str) -> None:
    if protocol not in ADAPTED_RAND_PROTOCOLS:
        raise UnknownName.among("protocol", protocol, ADAPTED_RAND_PROTOCOLS)


ADAPTED_RAND_PROTOCOLS = {
    "snemi": "Pixels predicted 0 are regions of one pixel each, and a pixel pairs with itself.",
    "cremi": "As snemi, but the c pixels predicted 0 add c / N to both sums instead of c: the term was"
    " written for shares and is used on counts.",
    "skimage": "Pixels predicted 0 form one region, a pixel does not pair with itself (truth of single pixels"
    " gives nan), and what it calls precision is recall elsewhere.",
}

DEFINED: tuple[Definition, ...] = (
    Definition(
        name="rand_index",
        title="Rand index, probabilistic Rand index",
        formula="1 - [(sum t_i^2 + sum s_j^2) / 2 - sum n_ij^2] / [N (N - 1) / 2]; with several annotators,"
        " the mean over them (PRI)",
        edges={"fewer than two pixels": "undefined (nan); scikit-learn gives 1"},
        source="Rand 1971; Unnikrishnan et al. 2007",
        atlas=("M24",),
    ),
    Definition(
        name="adjusted_rand_index",
        title="Adjusted Rand index",
        formula="(R - E) / ((T + S) / 2 - E) with R, T, S the pairs joined in both, in truth, in the"
        " prediction, and E = T S / [N (N - 1) / 2]",
        edges={"equal trivial partitions": "1", "fewer than two pixels": "undefined (nan)"},
        source="Hubert and Arabie 1985, equation 5",
        atlas=("M25",),
    ),
    Definition(
        name="adapted_rand_error",
        title="Adapted Rand error",
        formula="1 - 2 sum n_ij^2 / (sum t_i^2 + sum s_j^2) over pixels where truth is not 0",
        best="low",
        edges={
            "every pixel its own region in both": "0 (snemi, cremi), nan (skimage)",
            "truth is 0 everywhere": "undefined (nan)",
        },
        protocols=ADAPTED_RAND_PROTOCOLS,
        source="Arganda-Carreras et al. 2015",
        atlas=("M26",),
    ),
    Definition(
        name="voi",
        title="Variation of information",
        formula="split + merge = H(S | T) + H(T | S) = sum n_ij / N log2(t_i / n_ij) + sum n_ij / N"
        " log2(s_j / n_ij)",
        best="low",
        unit="bits",
        edges={"no pixels": "undefined (nan)"},
        protocols={
            "skimage": "All pixels count, as here: (split, merge) in this order and in bits.",
            "cremi": "Pixels where truth is 0 are left out first.",
        },
        source="Meila 2007",
        atlas=("M27",),
    ),
    Definition(
        name="covering_of_truth",
        title="Segmentation covering",
        formula="1 / N sum_i t_i max_j IoU(i, j); covering_of_prediction exchanges the roles",
        edges={"no pixels": "undefined (nan)"},
        protocols={"bsds": "The regions of truth are covered, averaged over annotators by pixels."},
        source="Arbelaez et al. 2011, section 3.1.2",
        atlas=("M28",),
    ),
)
