"""The streamed confusion matrix: one pass over the pixels, constant memory, every region score from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Int64, Integer
from numba import njit

from segmentarium.errors import BadData, BadMask
from segmentarium.metrics import scores as score
from segmentarium.metrics.scores import Tally
from segmentarium.metrics.undefined import plain
from segmentarium.ops.share import share
from segmentarium.values.classes import VOID


@dataclass(frozen=True, eq=False, kw_only=True)
class SemanticScores:
    """All region scores of one confusion matrix; ``DEFINITIONS`` says what each means.

    Arrays hold one value a class, in the order of ``names``; nan stands where a score is undefined.
    ``undefined`` names the classes that are neither in truth nor in prediction: no mean includes them.
    """

    names: tuple[str, ...]
    matrix: Int64[np.ndarray, "k k"]
    iou: Float[np.ndarray, " k"]
    dice: Float[np.ndarray, " k"]
    precision: Float[np.ndarray, " k"]
    recall: Float[np.ndarray, " k"]
    mean_iou: float
    mean_dice: float
    pixel_accuracy: float
    mean_accuracy: float
    frequency_weighted_iou: float
    undefined: tuple[str, ...]

    @classmethod
    def of(cls, matrix: Int64[np.ndarray, "k k"], *, names: Sequence[str] = ()) -> SemanticScores:
        """Score a matrix with truth in rows and predictions in columns."""
        names = _names(len(matrix), names)
        tally = Tally.of(matrix)
        arrays: Any = {name: function(tally) for name, function in score.PER_CLASS.items()}
        numbers: Any = {name: float(function(tally)) for name, function in score.HEADLINES.items()}
        absent = tuple(name for name, pixels in zip(names, tally.union, strict=True) if not pixels)
        return cls(names=names, matrix=matrix, undefined=absent, **arrays, **numbers)

    @property
    def pixels(self) -> Int64[np.ndarray, " k"]:
        """Pixels of each class in truth."""
        return np.asarray(self.matrix.sum(1))

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where a score is undefined; JSON has no nan."""
        per_class = {
            name: {key: plain(getattr(self, key)[i]) for key in score.PER_CLASS}
            | {"pixels": int(self.pixels[i])}
            for i, name in enumerate(self.names)
        }
        numbers: dict[str, Any] = {key: plain(getattr(self, key)) for key in score.HEADLINES}
        undefined = list(self.undefined)
        return numbers | {"per_class": per_class, "undefined": undefined, "matrix": self.matrix.tolist()}


class ConfusionMatrix:
    """Counts pairs of (true class, predicted class) over any number of images; truth in rows.

    Args:
        classes: how many there are; labels run from 0 to ``classes - 1``.
        names: one a class, for messages and results; numbers if left out.
        ignore: the truth value whose pixels are left out, whatever is predicted there.

    >>> counts = ConfusionMatrix(2, names=["ground", "cell"])
    >>> counts.update(np.array([[0, 1, 1]]), np.array([[0, 1, -1]]))
    >>> counts.compute().mean_iou
    1.0
    """

    def __init__(self, classes: int, *, names: Sequence[str] = (), ignore: int = VOID) -> None:
        if classes < 1:
            raise BadData(f"a confusion matrix of {classes} classes", allowed="one class or more")
        self.names = _names(classes, names)
        self.ignore = ignore
        self.matrix = np.zeros((classes, classes), np.int64)

    def update(
        self,
        prediction: Integer[np.ndarray, "*p"] | Bool[np.ndarray, "*p"],
        truth: Integer[np.ndarray, "*t"] | Bool[np.ndarray, "*t"],
    ) -> None:
        """Add the pixels of one image, a batch or a volume; see :func:`count_pairs` for what is refused."""
        self.matrix += count_pairs(prediction, truth, classes=len(self.matrix), ignore=self.ignore)

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the counts of another part of the data; the order of parts makes no difference."""
        if other.names != self.names:
            raise BadData(
                f"a confusion matrix of {', '.join(other.names)}",
                allowed=f"the same classes in the same order: {', '.join(self.names)}",
            )
        self.matrix += other.matrix

    def reset(self) -> None:
        """Forget all counts."""
        self.matrix[:] = 0

    def compute(self) -> SemanticScores:
        """The scores of all that was added so far; later updates do not change them."""
        return SemanticScores.of(self.matrix.copy(), names=self.names)


def count_pairs(
    prediction: Integer[np.ndarray, "*p"] | Bool[np.ndarray, "*p"],
    truth: Integer[np.ndarray, "*t"] | Bool[np.ndarray, "*t"],
    *,
    classes: int,
    ignore: int = VOID,
) -> Int64[np.ndarray, "k k"]:
    """The confusion matrix of one prediction and its truth: truth in rows, predictions in columns.

    Args:
        ignore: the truth value whose pixels are left out.

    Raises:
        BadMask: the shapes differ, or a pixel outside void holds no class; nothing is counted then.
    """
    if prediction.shape != truth.shape:
        raise BadMask(
            f"a prediction of shape {prediction.shape} for a truth of shape {truth.shape}",
            allowed="equal shapes",
            cure="resize the prediction to the truth with the nearest label, never the truth",
        )
    table = _histogram(prediction, truth, classes, ignore)
    for what, outside in (("truth", table[classes]), ("prediction", table[:classes, classes])):
        if outside.any():
            raise _outside(what, prediction, truth, classes=classes, ignore=ignore)
    return np.asarray(table[:classes, :classes])


def _histogram(prediction: Any, truth: Any, classes: int, ignore: int) -> Int64[np.ndarray, "r c"]:
    """Counts in ``classes + 2`` rows (the last: no class, void) and ``classes + 1`` columns."""
    prediction, truth = _flat(prediction), _flat(truth)
    void = _as_stored(ignore, truth.dtype)
    prediction, truth = _unsigned(prediction), _unsigned(truth)
    tables: list[Any] = []

    def count(start: int, stop: int) -> None:
        pixels = slice(start * _BLOCK, min(stop * _BLOCK, truth.size))
        found, true = prediction[pixels], truth[pixels]
        tables.append(_count(found, true, _words(found), _words(true), classes, void))

    blocks = -(-truth.size // _BLOCK)
    share(count, blocks, least=_LEAST_BLOCKS)
    return np.asarray(sum(tables)).reshape(classes + 2, classes + 1)


_BLOCK = 8
"""Pixels that are looked at together: the bytes of a word."""

_LEAST_BLOCKS = 2**14
"""Fewer are not worth a thread."""


@njit(cache=True, nogil=True)
@no_type_check  # a wrapper that checks arguments could not be compiled
def _count(prediction, truth, found_words, true_words, classes, void):  # pragma: no cover - compiled
    """Count pixels into one table in a row; spare rows and a column take in what is no class, and void.

    Most blocks of eight pixels lie inside one region of both maps and repeat the block before: comparing
    words tells, and a run of such blocks is one addition. At borders neighbours often fall into the same
    bin, and an increment has to wait for the one before it: four tables filled in turn take that wait
    away.
    """
    outside, width = np.uint64(classes), np.uint64(classes + 1)
    tables = np.zeros((4, (classes + 2) * (classes + 1)), np.int64)
    blocks, run, there = len(true_words), 0, np.uint64(0)
    found_word = true_word = np.uint64(0)
    for block in range(blocks):
        if run and _all(found_words, block, found_word) and _all(true_words, block, true_word):
            run += 8
            continue
        tables[0, there] += run
        first, run = 8 * block, 0
        found_word = _repeated(np.uint64(prediction[first]), prediction.itemsize)
        true_word = _repeated(np.uint64(truth[first]), truth.itemsize)
        if _all(found_words, block, found_word) and _all(true_words, block, true_word):
            there = _place(np.uint64(truth[first]), np.uint64(prediction[first]), outside, width, void)
            run = 8
            continue
        for i in range(8):
            t, p = np.uint64(truth[first + i]), np.uint64(prediction[first + i])
            tables[i % 4, _place(t, p, outside, width, void)] += 1
    tables[0, there] += run
    for i in range(8 * blocks, truth.size):
        tables[0, _place(np.uint64(truth[i]), np.uint64(prediction[i]), outside, width, void)] += 1
    return tables.sum(0)


@njit(cache=True, nogil=True)
@no_type_check
def _place(t, p, outside, width, void):  # pragma: no cover - compiled
    row = outside + np.uint64(1) if t == void else min(t, outside)
    return row * width + min(p, outside)


@njit(cache=True, nogil=True)
@no_type_check
def _repeated(value, size):  # pragma: no cover - compiled
    """A word full of ``value``, of ``size`` bytes."""
    bits = np.uint64(8 * size)
    while bits < np.uint64(64):
        value |= value << bits
        bits *= np.uint64(2)
    return value


@njit(cache=True, nogil=True)
@no_type_check
def _all(words, block, word):  # pragma: no cover - compiled
    """Whether all words of a block are that one; the compiler keeps one branch of the two."""
    if words.ndim == 1:
        return words[block] == word
    same = True
    for i in range(words.shape[1]):
        same &= words[block, i] == word
    return same


def _flat(labels: Any) -> Any:
    """Labels in one row; rare integer types are widened so that few kernels are compiled."""
    labels = np.ascontiguousarray(labels).reshape(-1)
    if labels.dtype == np.bool_:
        return labels.view(np.uint8)
    return labels if labels.dtype in (np.uint8, np.uint16, np.int32, np.int64) else labels.astype(np.int64)


def _unsigned(labels: Any) -> Any:
    """The same bits read as unsigned numbers: negatives become huge, hence no class."""
    return labels.view(f"u{labels.itemsize}")


def _words(labels: Any) -> Any:
    """64-bit words of the blocks: one each for 8-bit labels, else a row; none if memory is not aligned."""
    blocks = len(labels) // _BLOCK if labels.ctypes.data % _BLOCK == 0 else 0
    words = labels[: blocks * _BLOCK].view(np.uint64)
    return words if labels.itemsize == 1 else words.reshape(blocks, labels.itemsize)


def _as_stored(ignore: int, dtype: Any) -> Any:
    """The unsigned number under which ``dtype`` holds ``ignore``; one that it cannot hold, if it cannot."""
    limits = np.iinfo(dtype)
    fits = limits.min <= ignore <= limits.max
    return np.uint64(ignore % 2 ** (8 * dtype.itemsize) if fits else 2**64 - 1)


def _outside(what: str, prediction: Any, truth: Any, *, classes: int, ignore: int) -> BadMask:
    """The error that names the first value of ``what`` that is no class, and where it stands."""
    labels = prediction if what == "prediction" else truth
    wrong = (truth != ignore) & ((labels < 0) | (labels >= classes))
    at = tuple(int(i) for i in np.argwhere(wrong)[0])
    return BadMask(
        f"{what} holds {int(labels[at])} at {at} and {int(wrong.sum())} such pixels in all",
        allowed=f"0 to {classes - 1}" + (f", and {ignore} for void" if what == "truth" else ""),
        cure="check that model and data set use the same classes",
    )


def _names(classes: int, names: Sequence[str]) -> tuple[str, ...]:
    chosen = tuple(names) or tuple(str(i) for i in range(classes))
    if len(chosen) != classes:
        raise BadData(f"{len(chosen)} names for {classes} classes", allowed="one name a class")
    return chosen
