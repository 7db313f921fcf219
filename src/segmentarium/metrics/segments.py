"""Segments as panoptic metrics take them: a map of numbers, and what stands behind each number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64, Integer

from segmentarium.errors import BadMask
from segmentarium.values.classes import Classes
from segmentarium.values.panoptic import Panoptic


@dataclass(frozen=True, eq=False, kw_only=True)
class Segments:
    """A map of segment numbers (0: no segment) and a table of the segments, in 2-D or 3-D.

    ``classes_of`` are class indices by row of the table; ``crowd`` marks rows that stand for many objects.

    Raises:
        BadMask: numbers below 1 or twice, or columns of different length.
    """

    ids: Integer[np.ndarray, "*s"]
    numbers: Int64[np.ndarray, " n"]
    classes_of: Int64[np.ndarray, " n"]
    crowd: Bool[np.ndarray, " n"]

    def __post_init__(self) -> None:
        if not len(self.numbers) == len(self.classes_of) == len(self.crowd):
            raise BadMask("a segment table with columns of different length", allowed="one row a segment")
        if len(np.unique(self.numbers)) < len(self.numbers) or (self.numbers < 1).any():
            raise BadMask("segments of one number, or below 1", allowed="numbers from 1, each once")

    @classmethod
    def of(cls, result: Panoptic) -> Segments:
        """The segments of one of our results."""
        table = np.array([(s.id, s.class_index) for s in result.segments], np.int64).reshape(-1, 2)
        crowd = np.zeros(len(table), bool)
        return cls(ids=result.ids, numbers=table[:, 0], classes_of=table[:, 1], crowd=crowd)

    @classmethod
    def of_coco(
        cls, ids: Integer[np.ndarray, "h w"], rows: Sequence[Mapping[str, Any]], *, classes: Classes
    ) -> Segments:
        """From COCO's ``segments_info``; ``ids`` are R + 256 G + 65536 B of its picture.

        Raises:
            BadMask: a ``category_id`` that is none of the classes.
        """
        index = {class_id: i for i, class_id in enumerate(classes.ids)}
        unknown = [row["category_id"] for row in rows if row["category_id"] not in index]
        if unknown:
            raise BadMask(f"a segment of category {unknown[0]}", allowed=f"categories {sorted(index)}")
        return cls(
            ids=ids,
            numbers=np.array([row["id"] for row in rows], np.int64),
            classes_of=np.array([index[row["category_id"]] for row in rows], np.int64),
            crowd=np.array([bool(row.get("iscrowd", 0)) for row in rows], bool),
        )


@dataclass(frozen=True, eq=False)
class SegmentTable:
    """One side of the pairs of segments that share pixels, for arithmetic.

    ``at`` is the row of each pair; the others go by row. Row 0 stands for "no segment" and has class -1.
    """

    at: Any
    class_of: Any
    crowd: Any
    present: Any

    @classmethod
    def of(cls, item: Any, numbers: Any, things: Any, *, name: str) -> SegmentTable:
        """Rows of ``numbers``, one a pair; ``name`` says in messages which map it is.

        Raises:
            BadMask: a number without segment, a class that does not exist, or a predicted segment that has
                no pixel (a true one is one that was missed).
        """
        if isinstance(item, np.ndarray):
            present = np.unique(numbers[numbers != 0])
            item = Segments(
                ids=item,
                numbers=_sound(present, name),
                classes_of=np.zeros(len(present), np.int64),
                crowd=np.zeros(len(present), bool),
            )
        segments = Segments.of(item) if isinstance(item, Panoptic) else item
        if ((segments.classes_of < 0) | (segments.classes_of >= len(things))).any():
            raise BadMask(f"{name} has segments without class", allowed=f"class 0 to {len(things) - 1}")
        table = np.r_[0, segments.numbers]
        order = np.argsort(table)
        at = order[np.minimum(np.searchsorted(table[order], numbers), len(table) - 1)]
        if (table[at] != numbers).any():
            raise BadMask(
                f"number {numbers[table[at] != numbers][0]} in the map of {name} is no segment",
                allowed="0 and the numbers of its table",
            )
        empty = np.setdiff1d(np.arange(1, len(table)), at)
        if name == "prediction" and len(empty):
            raise BadMask(f"predicted segment {table[empty[0]]} has no pixel", cure="leave it out")
        return cls(
            at, np.r_[-1, segments.classes_of], np.r_[False, segments.crowd], np.arange(len(table)) > 0
        )

    def area(self, pixels: Any) -> Any:
        """The sum over pairs of a number of pixels, by row."""
        return np.bincount(self.at, pixels, len(self.class_of)).astype(np.int64)

    def joined(self, stuff: Any) -> SegmentTable:
        """With one row a stuff class: the first one; crowd stays apart."""
        key = np.where(np.r_[False, stuff][self.class_of + 1] & ~self.crowd, self.class_of, -1)
        _, first, group = np.unique(key, return_index=True, return_inverse=True)
        row = np.where(key < 0, np.arange(len(key)), first[group])
        return SegmentTable(
            row[self.at], self.class_of, self.crowd, self.present & (row == np.arange(len(key)))
        )


def merged(
    true: SegmentTable, found: SegmentTable, pixels: Any, *, stuff: Bool[np.ndarray, " k"]
) -> tuple[SegmentTable, SegmentTable, Any]:
    """Both sides with one segment a stuff class, and each pair of rows once."""
    true, found = true.joined(stuff), found.joined(stuff)
    key = true.at * len(found.class_of) + found.at
    pairs, back = np.unique(key, return_inverse=True)
    rows, columns = np.divmod(pairs, len(found.class_of))
    summed = np.bincount(back, pixels, len(pairs)).astype(np.int64)
    return replace(true, at=rows), replace(found, at=columns), summed


def _sound(numbers: Any, name: str) -> Any:
    if (numbers < 0).any():
        allowed = "0 for background, and -1 for void in truth" if name == "truth" else "0 for background"
        raise BadMask(f"{name} holds {numbers.min()}", allowed=f"{allowed}, numbers from 1 for segments")
    return numbers
