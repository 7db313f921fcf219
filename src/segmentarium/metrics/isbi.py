"""Scores of membrane maps as the ISBI 2012 challenge has them: V_rand and V_info after border thinning.

A map says which pixels are inside a cell. Its cells are numbered, its borders worn down to lines, and the
partition is compared with truth where truth is inside a cell.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Int32, Shaped
from numba import njit
from scipy import ndimage

from segmentarium.errors import BadArgument, BadMask
from segmentarium.metrics.contingency import Contingency, joint_histogram
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.partitions import adapted_rand_error
from segmentarium.metrics.per_image import PerImage, ratio


@dataclass(frozen=True, kw_only=True)
class MembraneScore:
    """V_rand and V_info of one image with what each loses by cells cut in parts and cells grown together.

    All are best at 1; ``split`` is low where cells are split, ``merge`` where they are merged.
    """

    v_rand: float
    v_rand_split: float
    v_rand_merge: float
    v_info: float
    v_info_split: float
    v_info_merge: float


class Membranes(PerImage):
    """Scores membrane maps slice after slice; the result is the mean over slices.

    Args:
        thinning: wear the borders of the prediction down to lines first.
    """

    def __init__(self, *, thinning: bool = True) -> None:
        super().__init__(tuple(MembraneScore.__dataclass_fields__))
        self.thinning = thinning

    def update(
        self, prediction: Shaped[np.ndarray, "h w"], truth: Shaped[np.ndarray, "h w"], *, name: str = ""
    ) -> None:
        """Add one slice; see :func:`score_membranes`."""
        self.add(name, asdict(score_membranes(prediction, truth, thinning=self.thinning)))

    def _setup(self) -> tuple[Any, ...]:
        return (*self.scores, self.thinning)


def score_membranes(
    prediction: Shaped[np.ndarray, "h w"], truth: Shaped[np.ndarray, "h w"], *, thinning: bool = True
) -> MembraneScore:
    """Compare two masks of cell interiors as partitions into cells (4-connected).

    Args:
        prediction: True inside cells, False on membranes.
        truth: the same; its membranes are not scored, as wide as they are drawn.
        thinning: wear the prediction's borders down to lines, so that their width costs nothing.

    Raises:
        BadMask: a map is not of booleans or has other than two axes, or the shapes differ.

    Source: Arganda-Carreras et al. 2015, section 2.4; the challenge's script in Fiji.
    """
    for what, mask in (("prediction", prediction), ("truth", truth)):
        if mask.dtype != np.bool_ or mask.ndim != 2:
            raise BadMask(
                f"{what} of {mask.dtype} and shape {mask.shape}",
                allowed="booleans of an image of two axes, True inside cells",
                cure="threshold the membrane map; go by slices",
            )
    cells = thin_borders(prediction) if thinning else ndimage.label(prediction)[0]
    table = joint_histogram(cells, ndimage.label(truth)[0], ignore=None)
    return MembraneScore(
        v_rand=v_rand(table),
        v_rand_split=v_rand(table, alpha=0),
        v_rand_merge=v_rand(table, alpha=1),
        v_info=v_info(table),
        v_info_split=v_info(table, alpha=0),
        v_info_merge=v_info(table, alpha=1),
    )


def v_rand(table: Contingency, *, alpha: float | int = 0.5) -> float:
    """Foreground-restricted Rand score: sum p_ij^2 / (alpha sum s_j^2 + (1 - alpha) sum t_i^2).

    Shares are of the pixels where truth is not 0; a pixel predicted 0 is a region by itself. With alpha 1/2
    this is 1 minus the adapted Rand error.

    Args:
        alpha: 0 asks only about splits, 1 only about merges.
    """
    halves = adapted_rand_error(table, protocol="snemi")
    return _weighted(halves.precision, halves.recall, _checked(alpha))


def v_info(table: Contingency, *, alpha: float | int = 0.5) -> float:
    """Foreground-restricted information score: I(S; T) / ((1 - alpha) H(S) + alpha H(T)).

    Shares and single pixels as in :func:`v_rand`. nan where truth and prediction are one region each, or
    the one that ``alpha`` asks about is: there is nothing to know.
    """
    table = table.without(truth=0)
    labelled, pixels = table.without(predicted=0), table.pixels
    if not pixels:
        return float("nan")
    alone = (pixels - labelled.pixels) / pixels * np.log(pixels)
    of_truth = _entropy(table.truth_sizes / pixels)
    of_prediction = _entropy(labelled.predicted_sizes / pixels) + alone
    together = _entropy(labelled.shared / pixels) + alone
    return ratio(
        of_truth + of_prediction - together, (1 - _checked(alpha)) * of_prediction + alpha * of_truth
    )


def thin_borders(interior: Bool[np.ndarray, "h w"]) -> Int32[np.ndarray, "h w"]:
    """Number the 4-connected regions of a mask and grow them into the rest until they meet.

    All grow a pixel at a time. A pixel that two would take at once stays 0: a border of odd width leaves a
    line of one pixel, one of even width none.

    Source: watershed of a flat relief (Vincent and Soille 1991), as the challenge's script thins borders.

    >>> thin_borders(np.array([[1, 0, 0, 0, 1]], bool)).tolist()
    [[1, 1, 0, 2, 2]]
    """
    labels = np.asarray(ndimage.label(interior)[0], np.int32)
    while _grow(labels):
        pass
    return np.asarray(np.maximum(labels, 0))


def _weighted(precision: float, recall: float, alpha: float | int) -> float:
    """1 / (alpha / precision + (1 - alpha) / recall), as both share their numerator."""
    if alpha in (0, 1):
        return recall if alpha == 0 else precision
    if precision == 0 or recall == 0:
        return 0.0
    return 1 / (alpha / precision + (1 - alpha) / recall)


def _entropy(shares: Any) -> float:
    return float(-(shares @ np.log(shares)))


def _checked(alpha: float | int) -> float | int:
    if not 0 <= alpha <= 1:
        raise BadArgument(f"alpha: {alpha}", allowed="0 to 1")
    return alpha


@njit(cache=True, nogil=True)
@no_type_check
def _grow(labels):  # pragma: no cover - compiled
    """Grow all regions by one pixel at once; lines where they meet become -1. Returns if anything grew."""
    height, width = labels.shape
    before, grew = labels.copy(), False
    for y in range(height):
        for x in range(width):
            if before[y, x] != 0:
                continue
            found = 0
            for dy, dx in ((-1, 0), (0, -1), (0, 1), (1, 0)):
                if 0 <= y + dy < height and 0 <= x + dx < width and before[y + dy, x + dx] > 0:
                    other = before[y + dy, x + dx]
                    found = other if found == 0 or found == other else -1
                    if found == -1:
                        break
            if found != 0:
                labels[y, x] = found
                grew = True
    return grew


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="v_rand",
        title="Foreground-restricted Rand score after border thinning (ISBI 2012)",
        formula="sum p_ij^2 / (1/2 sum s_j^2 + 1/2 sum t_i^2) over pixels where truth is inside a cell, the"
        " prediction's borders worn down to lines, border pixels being regions of one pixel",
        edges={"truth without a cell": "undefined (nan)"},
        protocols={
            "isbi2012": "As here at one threshold; the challenge takes the best of ten thresholds, and its"
            " watershed may place a line one pixel aside."
        },
        source="Arganda-Carreras et al. 2015, section 2.4",
        atlas=("M30",),
    ),
    Definition(
        name="v_info",
        title="Foreground-restricted information score after border thinning (ISBI 2012)",
        formula="I(S; T) / (1/2 H(S) + 1/2 H(T)) over the same pixels",
        edges={"one region in truth and prediction": "undefined (nan)"},
        protocols={"isbi2012": "The same, at the best of ten thresholds."},
        source="Arganda-Carreras et al. 2015, section 2.4",
        atlas=("M30",),
    ),
)
