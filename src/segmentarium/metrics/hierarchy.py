"""Scores of a hierarchy of partitions, coarse to fine, as BSDS reports them: ODS, OIS and best.

A method that yields levels is scored three ways: with one level for the whole data set (ODS), with the best
level of each image (OIS), and, for covering, with the best region of any level for each region of truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from jaxtyping import Float

from segmentarium.errors import BadArgument, BadData
from segmentarium.metrics.contingency import Labels, joint_histogram
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.intervals import bootstrap_sums
from segmentarium.metrics.partitions import best_overlaps, rand_index, variation_of_information
from segmentarium.metrics.per_image import mean_of, several
from segmentarium.metrics.undefined import plain
from segmentarium.values.classes import VOID


@dataclass(frozen=True, eq=False, kw_only=True)
class HierarchyScores:
    """The region table of BSDS; curves hold one value a level, ``*_level`` the level that ODS chose.

    Covering and the Rand index are best high, the variation of information (bits) is best low.

    Attributes:
        undefined: images of fewer than two pixels that are not void; they enter no score.
        per_image: covering of each image, in the order of ``names``, at the level that is best for all.
        covering_interval: 95% bootstrap interval of ``covering_ods``.
    """

    names: tuple[str, ...]
    undefined: tuple[str, ...]
    covering: Float[np.ndarray, " l"]
    rand_index: Float[np.ndarray, " l"]
    voi: Float[np.ndarray, " l"]
    covering_level: int
    covering_ods: float
    covering_ois: float
    covering_best: float
    covering_interval: tuple[float, float]
    per_image: Float[np.ndarray, " n"]
    rand_index_level: int
    rand_index_ods: float
    rand_index_ois: float
    voi_level: int
    voi_ods: float
    voi_ois: float

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers and lists, None where undefined."""
        return {key: value if isinstance(value, int) else _told(value) for key, value in vars(self).items()}


class Hierarchies:
    """Gathers the region scores of image after image at every level.

    Args:
        levels: how many partitions each image comes with.
        ignore: the truth id whose pixels are left out.
    """

    def __init__(self, levels: int, *, ignore: int | None = VOID) -> None:
        if levels < 1:
            raise BadArgument(f"levels: {levels}", allowed="one level or more")
        self.levels, self.ignore = levels, ignore
        self._rows: list[_Image] = []

    def update(
        self, prediction: Sequence[Labels], truth: Labels | Sequence[Labels], *, name: str = ""
    ) -> None:
        """Add one image: its partition at each level, and the partitions of one or more annotators."""
        if len(prediction) != self.levels:
            raise BadArgument(f"prediction: {len(prediction)} partitions", allowed=f"{self.levels} levels")
        tables = [
            [joint_histogram(level, one, ignore=self.ignore) for one in several(truth)]
            for level in prediction
        ]
        overlaps = [[best_overlaps(table) for table in row] for row in tables]
        sizes = np.concatenate([sizes for sizes, _ in overlaps[0]])
        best = np.array([np.concatenate([best for _, best in row]) for row in overlaps])
        self._rows.append(
            _Image(
                name=name,
                pixels=float(sizes.sum()),
                covered=best @ sizes,
                covered_by_best=float(best.max(0) @ sizes),
                rand=np.array([mean_of([rand_index(table) for table in row]) for row in tables]),
                voi=np.array(
                    [mean_of([variation_of_information(table).total for table in row]) for row in tables]
                ),
            )
        )

    def merge(self, other: Hierarchies) -> None:
        """Take over the images of another part of the data; the order of parts makes no difference."""
        if (other.levels, other.ignore) != (self.levels, self.ignore):
            raise BadData(f"hierarchies of {other.levels} levels", allowed=f"{self.levels} levels alike")
        self._rows += other._rows

    def reset(self) -> None:
        """Forget all images."""
        self._rows = []

    def compute(self) -> HierarchyScores:
        """The table of all images so far.

        Raises:
            BadData: there is no image with two pixels or more yet.
        """
        in_any_order = sorted(self._rows, key=lambda row: (row.name, row.pixels, row.covered.tolist()))
        rows = [row for row in in_any_order if not np.isnan(row.rand).any()]
        if not rows:
            raise BadData("hierarchies without an image", allowed="one or more", cure="call update first")
        pixels = fsum(row.pixels for row in rows)
        covering = _columns([row.covered for row in rows]) / pixels
        rand = _columns([row.rand for row in rows]) / len(rows)
        voi = _columns([row.voi for row in rows]) / len(rows)
        each = np.array([[*row.covered, row.pixels] for row in rows])
        low, high = bootstrap_sums(each, lambda sums: sums[..., :-1].max(-1) / np.maximum(sums[..., -1], 1))
        return HierarchyScores(
            names=tuple(row.name for row in rows),
            undefined=tuple(row.name for row in in_any_order if np.isnan(row.rand).any()),
            covering_interval=(float(low), float(high)),
            per_image=each[:, covering.argmax()] / each[:, -1],
            covering=covering,
            rand_index=rand,
            voi=voi,
            covering_level=int(covering.argmax()),
            covering_ods=float(covering.max()),
            covering_ois=fsum(row.covered.max() for row in rows) / pixels,
            covering_best=fsum(row.covered_by_best for row in rows) / pixels,
            rand_index_level=int(rand.argmax()),
            rand_index_ods=float(rand.max()),
            rand_index_ois=fsum(row.rand.max() for row in rows) / len(rows),
            voi_level=int(voi.argmin()),
            voi_ods=float(voi.min()),
            voi_ois=fsum(row.voi.min() for row in rows) / len(rows),
        )


@dataclass(frozen=True, eq=False)
class _Image:
    """What one image adds: covered pixels and scores at every level, summed or averaged over annotators."""

    name: str
    pixels: float
    covered: Float[np.ndarray, " l"]
    covered_by_best: float
    rand: Float[np.ndarray, " l"]
    voi: Float[np.ndarray, " l"]


def _told(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return plain(value) if np.ndim(value) == 0 else [_told(part) for part in value]


def _columns(rows: list[Any]) -> Any:
    """Exact sums over images, hence the same in any order."""
    return np.array([fsum(column) for column in zip(*rows, strict=True)])


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="covering_ods",
        title="Segmentation covering at the optimal data-set scale (ODS), image scale (OIS) and best",
        formula="sums of covered pixels over images and annotators / sums of pixels: at the one level that"
        " is best overall (ODS), at each image's best level (OIS), with each region's best match at any"
        " level (best)",
        edges={
            "no image": "an error",
            "an image of void": "enters no score, named as undefined",
            "several best levels": "the first of them",
        },
        protocols={"bsds": "Covering of truth, pooled by pixels; the Rand index and VOI are means."},
        source="Arbelaez et al. 2011, section 3.1; program of BSDS500",
        atlas=("M28", "M24", "M27"),
    ),
)
