"""Scores whose value for a data set is the mean over its images: a few numbers an image, kept in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum, isnan, nan
from typing import Any

import numpy as np
from jaxtyping import Float

from segmentarium.errors import BadArgument, BadData
from segmentarium.metrics.aggregate import Aggregate, aggregate
from segmentarium.metrics.undefined import plain


@dataclass(frozen=True, eq=False, kw_only=True)
class PerImageScores:
    """Means over images and what they are made of; a score's name is its key everywhere.

    Attributes:
        over_images: mean, median, bootstrap interval and the number of images without a value.
        per_image: one value an image, in the order of ``names``; nan where undefined.
    """

    names: tuple[str, ...]
    over_images: Mapping[str, Aggregate]
    per_image: Mapping[str, Float[np.ndarray, " n"]]

    def __getitem__(self, score: str) -> float:
        """The mean over images; nan if no image has a value."""
        return self.over_images[score].mean

    def __len__(self) -> int:
        return len(self.names)

    @property
    def undefined(self) -> tuple[str, ...]:
        """The scores that some images are without."""
        return tuple(score for score, summary in self.over_images.items() if summary.undefined)

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where undefined, ``"inf"`` where infinite."""
        rows = [{key: plain(column[i]) for key, column in self.per_image.items()} for i in range(len(self))]
        return {
            **{key: summary.as_dict() for key, summary in self.over_images.items()},
            "images": [{"name": name, **row} for name, row in zip(self.names, rows, strict=True)],
            "undefined": list(self.undefined),
        }


class PerImage:
    """Gathers named values of image after image; the streaming classes of partitions are made of it.

    The order of images and of merged parts makes no difference, down to the last bit: rows are sorted and
    sums are exact before anything is rounded.
    """

    def __init__(self, scores: Sequence[str]) -> None:
        self.scores = tuple(scores)
        self._rows: list[tuple[str, tuple[float, ...]]] = []

    def add(self, name: str, values: Mapping[str, float]) -> None:
        """Keep the values of one image."""
        self._rows.append((name, tuple(float(values[score]) for score in self.scores)))

    def merge(self, other: PerImage) -> None:
        """Take over the images of another part of the data.

        Raises:
            BadData: the other part was scored with another setup.
        """
        if type(other) is not type(self) or other._setup() != self._setup():
            raise BadData(
                f"{type(other).__name__} with the setup {other._setup()}",
                allowed=f"{type(self).__name__} with {self._setup()}",
                cure="score all parts alike",
            )
        self._rows += other._rows

    def reset(self) -> None:
        """Forget all images."""
        self._rows = []

    def compute(self) -> PerImageScores:
        """Means, intervals and per-image values of all images so far."""
        rows = sorted(self._rows, key=lambda row: (row[0], [_sortable(value) for value in row[1]]))
        table = np.array([values for _, values in rows], np.float64).reshape(len(rows), len(self.scores))
        columns = {score: np.ascontiguousarray(table[:, i]) for i, score in enumerate(self.scores)}
        return PerImageScores(
            names=tuple(name for name, _ in rows),
            over_images={score: aggregate(column) for score, column in columns.items()},
            per_image=columns,
        )

    def _setup(self) -> tuple[Any, ...]:
        """What two parts must have in common to be merged."""
        return self.scores


def mean_of(values: Sequence[float] | Float[np.ndarray, " n"]) -> float:
    """Mean of the values that are defined, the same in any order; nan if none is.

    >>> mean_of([0.1, float("nan"), 0.3])
    0.2
    """
    defined = [float(value) for value in values if not isnan(value)]
    return fsum(defined) / len(defined) if defined else nan


def ratio(part: float | int, whole: float | int) -> float:
    """``part / whole``; nothing by nothing, and anything by nothing, is nan."""
    return part / whole if whole else nan


def several(truth: Any, *, what: str = "truth") -> list[Any]:
    """The maps of one or more annotators as a list.

    Raises:
        BadArgument: there is none.
    """
    maps = [truth] if isinstance(truth, np.ndarray) else list(truth)
    if not maps:
        raise BadArgument(f"{what} without a single map", allowed="one label map or a list of them")
    return maps


def _sortable(value: float) -> tuple[bool, float]:
    return (isnan(value), 0.0 if isnan(value) else value)
