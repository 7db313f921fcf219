"""The joint histogram of two partitions: how many pixels each pair of regions shares, as a sparse table.

Every score of partitions is a function of this table. It is counted in one pass, holds one entry a pair of
regions that meet, and adds up: the table of a volume is the sum of the tables of its slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias, no_type_check

import numpy as np
from jaxtyping import Int64, Shaped
from numba import njit

from segmentarium.errors import BadMask
from segmentarium.values.classes import VOID

Labels: TypeAlias = Shaped[np.ndarray, "..."]
"""A map of region ids: any whole numbers, in any number of dimensions; their order means nothing."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Contingency:
    """Pixels shared by each pair of regions that meet; entry ``i`` is one such pair.

    Attributes:
        truth_ids: ids of the regions of truth, ascending.
        predicted_ids: the same for the prediction.
        truth_of: position in ``truth_ids`` of the region of each entry.
        predicted_of: position in ``predicted_ids`` of the region of each entry.
        shared: pixels of each entry, never 0.
    """

    truth_ids: Int64[np.ndarray, " t"]
    predicted_ids: Int64[np.ndarray, " p"]
    truth_of: Int64[np.ndarray, " n"]
    predicted_of: Int64[np.ndarray, " n"]
    shared: Int64[np.ndarray, " n"]

    @classmethod
    def of_entries(cls, truth: Any, predicted: Any, shared: Any) -> Contingency:
        """The table of these entries: the two ids of each and its pixels; equal pairs are added up."""
        truth_ids, truth_of = np.unique(truth, return_inverse=True)
        predicted_ids, predicted_of = np.unique(predicted, return_inverse=True)
        key, at = np.unique(truth_of * max(1, len(predicted_ids)) + predicted_of, return_inverse=True)
        total = np.zeros(len(key), np.int64)
        np.add.at(total, at, shared)
        rows, columns = np.divmod(key, max(1, len(predicted_ids)))
        return cls(
            truth_ids=truth_ids.astype(np.int64),
            predicted_ids=predicted_ids.astype(np.int64),
            truth_of=rows.astype(np.int64),
            predicted_of=columns.astype(np.int64),
            shared=total,
        )

    @property
    def pixels(self) -> int:
        """Pixels counted."""
        return int(self.shared.sum())

    @property
    def truth_sizes(self) -> Int64[np.ndarray, " t"]:
        """Pixels of each region of truth."""
        return _sums(self.truth_of, self.shared, len(self.truth_ids))

    @property
    def predicted_sizes(self) -> Int64[np.ndarray, " p"]:
        """Pixels of each region of the prediction."""
        return _sums(self.predicted_of, self.shared, len(self.predicted_ids))

    def without(self, *, truth: int | None = None, predicted: int | None = None) -> Contingency:
        """The same table without the pixels of one region of truth, of the prediction, or of either."""
        rows, columns = self.truth_ids[self.truth_of], self.predicted_ids[self.predicted_of]
        kept = np.ones(len(rows), bool)
        if truth is not None:
            kept &= rows != truth
        if predicted is not None:
            kept &= columns != predicted
        return Contingency.of_entries(rows[kept], columns[kept], self.shared[kept])

    def plus(self, other: Contingency) -> Contingency:
        """The table of both parts of one image or volume; ids mean the same regions in both."""
        rows = [table.truth_ids[table.truth_of] for table in (self, other)]
        columns = [table.predicted_ids[table.predicted_of] for table in (self, other)]
        shared = np.concatenate([self.shared, other.shared])
        return Contingency.of_entries(np.concatenate(rows), np.concatenate(columns), shared)

    def transposed(self) -> Contingency:
        """Truth and prediction in exchanged roles."""
        return Contingency.of_entries(
            self.predicted_ids[self.predicted_of], self.truth_ids[self.truth_of], self.shared
        )

    def dense(self) -> Int64[np.ndarray, "t p"]:
        """The table with its zeros, truth in rows; for small ones."""
        table = np.zeros((len(self.truth_ids), len(self.predicted_ids)), np.int64)
        table[self.truth_of, self.predicted_of] = self.shared
        return table


def joint_histogram(prediction: Labels, truth: Labels, *, ignore: int | None = VOID) -> Contingency:
    """Count the pixels that each pair of regions shares.

    Args:
        ignore: the truth id whose pixels are left out, whatever is predicted there; None leaves none out.

    Raises:
        BadMask: the shapes differ, or the labels are not whole numbers below 2**63.

    >>> joint_histogram(np.array([[5, 5, 7]]), np.array([[1, 2, 2]])).dense().tolist()
    [[1, 0], [1, 1]]
    """
    check_labels(prediction, truth)
    p, t = _flat(prediction, "prediction"), _flat(truth, "truth")
    if p.dtype != t.dtype:
        p, t = p.astype(np.int64), t.astype(np.int64)
    rows, columns, shared = _count(p, t)
    if ignore is not None:
        kept = rows != ignore
        rows, columns, shared = rows[kept], columns[kept], shared[kept]
    return Contingency.of_entries(rows, columns, shared)


def check_labels(prediction: Labels, truth: Labels) -> None:
    """Refuse a pair of label maps that cannot be compared pixel by pixel.

    Raises:
        BadMask: the shapes differ, or one holds other than whole numbers.
    """
    for what, labels in (("prediction", prediction), ("truth", truth)):
        if labels.dtype.kind not in "iub":
            raise BadMask(
                f"{what} holds {labels.dtype} values",
                allowed="whole numbers, one id a region",
                cure="take the argmax of scores, or threshold them, first",
            )
    if prediction.shape != truth.shape:
        raise BadMask(
            f"a prediction of shape {prediction.shape} for a truth of shape {truth.shape}",
            allowed="equal shapes",
            cure="resize the prediction to the truth with the nearest label, never the truth",
        )


def _flat(labels: Any, what: str) -> Any:
    """Labels in one row of int32 or int64: two kernels serve all types."""
    if labels.dtype == np.uint64 and labels.size and labels.max() > np.iinfo(np.int64).max:
        raise BadMask(f"{what} holds the id {labels.max()}", allowed="ids below 2**63", cure="renumber it")
    small = labels.dtype.itemsize < 4 or labels.dtype == np.int32
    return np.ascontiguousarray(labels, np.int32 if small else np.int64).reshape(-1)


def _sums(of: Any, shared: Any, regions: int) -> Int64[np.ndarray, " r"]:
    sizes: Int64[np.ndarray, " r"] = np.zeros(regions, np.int64)
    np.add.at(sizes, of, shared)
    return sizes


@njit(cache=True, nogil=True)
@no_type_check
def _slot(keys, p, t):  # pragma: no cover - compiled
    """Where the pair stands in a table with linear probing, or the free place where it belongs."""
    mask = len(keys) - 1
    mixed = np.uint64(p) * np.uint64(0x9E3779B97F4A7C15)
    mixed = ((mixed ^ (mixed >> np.uint64(32))) + np.uint64(t)) * np.uint64(0xC2B2AE3D27D4EB4F)
    at = np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(mask))
    while keys[at, 2] != 0 and (keys[at, 0] != p or keys[at, 1] != t):
        at = (at + 1) & mask
    return at


@njit(cache=True, nogil=True)
@no_type_check
def _grown(keys):  # pragma: no cover - compiled
    """The same hash table with four times the room."""
    larger = np.zeros((4 * len(keys), 3), np.int64)
    for i in range(len(keys)):
        if keys[i, 2] != 0:
            larger[_slot(larger, keys[i, 0], keys[i, 1])] = keys[i]
    return larger


@njit(cache=True, nogil=True)
@no_type_check
def _count(prediction, truth):  # pragma: no cover - compiled
    """Ids of truth, ids of prediction and pixels of every pair that occurs.

    Neighbouring pixels mostly form the same pair: only where it changes is the table asked.
    """
    keys, used, at = np.zeros((1024, 3), np.int64), 0, 0
    for i in range(truth.size):
        p, t = np.int64(prediction[i]), np.int64(truth[i])
        if keys[at, 2] == 0 or keys[at, 0] != p or keys[at, 1] != t:
            at = _slot(keys, p, t)
            if keys[at, 2] == 0:
                used += 1
                if 2 * used > len(keys):
                    keys = _grown(keys)
                    at = _slot(keys, p, t)
                keys[at, 0], keys[at, 1] = p, t
        keys[at, 2] += 1
    full = keys[keys[:, 2] > 0]
    return full[:, 1].copy(), full[:, 0].copy(), full[:, 2].copy()
