"""Calibration: does a confidence of 0.8 mean right in 80 of 100? ECE, MCE, ACE, likelihood and Brier score.

Every number is a ratio of sums over pixels, so that a data set streams through in constant memory and parts
merge exactly. Probabilities are wanted, not logits: what does not sum to one is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Float, Integer
from numba import njit

from segmentarium.errors import BadArgument, BadData, BadMask, UnknownName
from segmentarium.metrics.calibration_definitions import DEFINED, PROTOCOLS
from segmentarium.metrics.intervals import bootstrap_sums
from segmentarium.metrics.undefined import plain, ratio
from segmentarium.values.classes import VOID

__all__ = ["DEFINED", "PROTOCOLS", "Calibration", "CalibrationScores", "Reliability", "calibration_scores"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Reliability:
    """The reliability diagram: one entry a bin, nan where a bin is empty; one edge more than bins."""

    edges: Float[np.ndarray, " e"]
    pixels: Float[np.ndarray, " b"]
    confidence: Float[np.ndarray, " b"]
    accuracy: Float[np.ndarray, " b"]


@dataclass(frozen=True, eq=False, kw_only=True)
class CalibrationScores:
    """How far probabilities can be believed; :data:`DEFINED` says what each number means.

    Attributes:
        nll: in nats a pixel; infinite if a true class had probability 0.
        brier: summed over classes, from 0 to 2; ``brier_half`` is half of it, the usual score of two classes.
        ece_per_class: of the pixels predicted as each class.
        ece_per_image: in the order in which images were added.
        intervals: 95% interval over images; nan for fewer than two.
        undefined: names of classes that are never predicted.
    """

    protocol: str
    names: tuple[str, ...]
    images: int
    pixels: int
    ece: float
    mce: float
    ace: float
    nll: float
    brier: float
    brier_half: float
    reliability: Reliability
    ece_per_class: Float[np.ndarray, " k"]
    ece_per_image: Float[np.ndarray, " n"]
    intervals: dict[str, tuple[float, float]]
    undefined: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where undefined, "inf" where infinite."""
        numbers = {key: plain(getattr(self, key)) for key in _HEADLINES}
        bins = {
            key: [plain(v) for v in getattr(self.reliability, key)]
            for key in ("edges", "pixels", "confidence", "accuracy")
        }
        return {
            "protocol": self.protocol,
            "images": self.images,
            "pixels": self.pixels,
            **numbers,
            "per_class": {n: {"ece": plain(v)} for n, v in zip(self.names, self.ece_per_class, strict=True)},
            "ece_per_image": [plain(v) for v in self.ece_per_image],
            "reliability": bins,
            "intervals": {key: [plain(low), plain(high)] for key, (low, high) in self.intervals.items()},
            "undefined": list(self.undefined),
        }


class Calibration:
    """Gathers sums over pixels: three a bin, and two for likelihood and Brier score.

    Args:
        classes: how many there are; 2 for one probability a pixel, that of class 1.
        bins: of equal width between 0 and 1.
        protocol: see :data:`PROTOCOLS`.
        ignore: the truth value whose pixels are left out, whatever stands there.

    >>> calibration = Calibration(2)
    >>> calibration.update(np.array([[0.9, 0.8]]), np.array([[1, 0]]))
    >>> round(calibration.compute().ece, 3)
    0.45
    """

    def __init__(
        self,
        classes: int,
        *,
        names: Sequence[str] = (),
        bins: int = 15,
        protocol: str = "confidence",
        ignore: int = VOID,
    ) -> None:
        if classes < 2:
            raise BadArgument(f"classes={classes}", allowed="two or more, the background being one")
        if bins < 1:
            raise BadArgument(f"bins={bins}", allowed="one or more")
        if names and len(names) != classes:
            raise BadArgument(f"names: {len(names)} for {classes} classes", allowed="one a class")
        if protocol not in PROTOCOLS:
            raise UnknownName.among("protocol of calibration", protocol, PROTOCOLS)
        self.names = tuple(names) or tuple(str(i) for i in range(classes))
        self.bins, self.protocol, self.ignore = bins, protocol, ignore
        self.reset()

    def reset(self) -> None:
        """Forget all pixels."""
        self._classes = np.zeros((len(self.names), self.bins + 1, 3))
        self._images: list[Any] = []  # of each: the same three sums a bin, then likelihood and Brier score

    def update(
        self,
        probabilities: Float[np.ndarray, "*p"],
        truth: Integer[np.ndarray, "*t"] | Bool[np.ndarray, "*t"],
    ) -> None:
        """Add one image or volume.

        Args:
            probabilities: (k, *s), summing to one over the classes, or (*s), of class 1.
            truth: (*s), labels 0 to k - 1.

        Raises:
            BadArgument: the shapes do not fit, or the values are no probabilities; nothing is added then.
            BadMask: truth holds what is no class.
        """
        flat = self._checked(probabilities, truth)
        labels = np.ascontiguousarray(truth).reshape(-1).astype(np.int64)
        edges = np.linspace(0, 1, self.bins + 1).astype(
            flat.dtype
        )  # so that 0.2 of either type is on the edge
        tolerance = 1e-2 if probabilities.dtype == np.float16 else 1e-3
        torchmetrics = self.protocol == "torchmetrics"
        table, scores, fault = _gather(
            flat, labels, self.ignore, len(self.names), edges, torchmetrics, tolerance
        )
        if fault >= 0:
            raise _refused(flat, labels, int(fault), np.shape(truth), classes=len(self.names))
        self._classes += table
        self._images.append(np.append(table.sum(0).ravel(), scores))

    def merge(self, other: Calibration) -> None:
        """Add the pixels of another part of the data."""
        mine, its = ((c.names, c.bins, c.protocol, c.ignore) for c in (self, other))
        if mine != its:
            raise BadData(
                f"calibration of {its}", allowed=f"the same classes, bins, protocol and void: {mine}"
            )
        self._classes = self._classes + other._classes
        self._images += other._images

    def compute(self, *, rounds: int = 1000, seed: int = 0) -> CalibrationScores:
        """The scores of all that was added so far; ``rounds`` of the bootstrap, 0 for no intervals."""
        size = 3 * (self.bins + 1) + 2
        images = np.stack(self._images) if self._images else np.zeros((0, size))
        images = images[np.lexsort(images.T)]  # in any order of parts: the same to the last digit
        total = images.sum(0)
        unused = (name for name, table in zip(self.names, self._classes, strict=True) if not table.any())
        return CalibrationScores(
            protocol=self.protocol,
            names=self.names,
            images=len(images),
            pixels=int(_bins(total)[:, 0].sum()),
            **{key: float(score(total)) for key, score in _HEADLINES.items()},
            reliability=_reliability(_bins(total)),
            ece_per_class=_weighted_error(self._classes),
            ece_per_image=_ece(np.stack(self._images)) if self._images else np.zeros(0),
            intervals=_intervals(images, rounds=rounds, seed=seed) if rounds else {},
            undefined=tuple(unused),
        )

    def _checked(self, probabilities: Any, truth: Any) -> Any:
        """As (k, pixels) or (1, pixels) of float32 or float64."""
        classes, binary = len(self.names), probabilities.shape == truth.shape and len(self.names) == 2
        if not binary and probabilities.shape != (classes, *truth.shape):
            raise BadArgument(
                f"probabilities: shape {probabilities.shape} for a truth of shape {truth.shape}",
                allowed=f"{(classes, *truth.shape)}, classes first"
                + (f", or {truth.shape} with the probability of class 1" if classes == 2 else ""),
            )
        kind = np.float64 if probabilities.dtype == np.float64 else np.float32
        return np.ascontiguousarray(probabilities, kind).reshape(1 if binary else classes, truth.size)


def calibration_scores(
    probabilities: Float[np.ndarray, "*p"],
    truth: Integer[np.ndarray, "*t"] | Bool[np.ndarray, "*t"],
    *,
    classes: int,
    bins: int = 15,
    protocol: str = "confidence",
    ignore: int = VOID,
) -> CalibrationScores:
    """The scores of one image; arguments and errors are those of :class:`Calibration` and its ``update``."""
    calibration = Calibration(classes, bins=bins, protocol=protocol, ignore=ignore)
    calibration.update(probabilities, truth)
    return calibration.compute()


@njit(cache=True, nogil=True)
@no_type_check
def _gather(probs, truth, ignore, classes, edges, torchmetrics, tolerance):  # pragma: no cover - compiled
    """Sums by predicted class and bin (pixels, confidence, right ones), of -log p and of squares.

    The last number is where the first pixel stands that cannot be scored; -1 if there is none. The spare bin
    is that of torchmetrics for a confidence of exactly 1.
    """
    table, scores = np.zeros((classes, len(edges), 3)), np.zeros(2)
    for i in range(truth.size):
        t = truth[i]
        if t == ignore:
            continue
        if t < 0 or t >= classes:
            return table, scores, i
        best, top, total, squares = 0, -1.0, 0.0, 0.0
        for c in range(classes):
            p = np.float64(probs[c % len(probs), i])
            if len(probs) == 1 and c == 0:
                p = 1 - p  # one probability a pixel is that of class 1
            if not p >= 0:
                return table, scores, i
            total += p
            squares += (p - (t == c)) ** 2
            if t == c:
                scores[0] -= np.log(p)
            if p > top:
                best, top = c, p
        if not abs(total - 1) <= tolerance:
            return table, scores, i
        scores[1] += squares
        value, right = top, best == t
        if torchmetrics and len(probs) == 1:
            value, right = np.float64(probs[0, i]), t == 1
        row = table[best, _bin(value, edges, torchmetrics)]
        row[0] += 1
        row[1] += value
        row[2] += right
    return table, scores, -1


@njit(cache=True, nogil=True)
@no_type_check
def _bin(value, edges, left_closed):  # pragma: no cover - compiled
    """Where ``value`` belongs: a guess, put right by the edges themselves, since products round."""
    bins = len(edges) - 1
    if left_closed and value >= 1:
        return bins
    guess = min(int(value * bins), bins - 1)
    while guess > 0 and (value < edges[guess] or (value == edges[guess] and not left_closed)):
        guess -= 1
    while guess < bins - 1 and (value > edges[guess + 1] or (value == edges[guess + 1] and left_closed)):
        guess += 1
    return guess


def _refused(probs: Any, labels: Any, at: int, shape: Any, *, classes: int) -> BadMask | BadArgument:
    """Why the pixel ``at`` cannot be scored."""
    where = tuple(int(i) for i in np.unravel_index(at, shape))
    if not 0 <= labels[at] < classes:
        return BadMask(f"truth holds {labels[at]} at {where}", allowed=f"0 to {classes - 1}, and void")
    values = ", ".join(f"{value:.4g}" for value in probs[:4, at]) + (", ..." if len(probs) > 4 else "")
    return BadArgument(
        f"probabilities: {values} at {where}, summing to {probs[:, at].sum():.4g}",
        allowed="0 to 1, with sum 1 over the classes" if len(probs) > 1 else "0 to 1",
        cure="apply soft-max (or the sigmoid) to logits first",
    )


def _bins(sums: Any) -> Any:
    """The three sums a bin, of sums with any number of leading axes."""
    return sums[..., :-2].reshape(*sums.shape[:-1], -1, 3)


def _gaps(table: Any) -> tuple[Any, Any]:
    """|accuracy - confidence| of each bin, 0 where it is empty, and the pixels in it."""
    pixels = table[..., 0]
    return np.abs(table[..., 2] - table[..., 1]) / np.maximum(pixels, 1), pixels


def _weighted_error(table: Any) -> Any:
    gaps, pixels = _gaps(table)
    return ratio((gaps * pixels).sum(-1), pixels.sum(-1))


def _ece(sums: Any) -> Any:
    return _weighted_error(_bins(sums))


def _mce(sums: Any) -> Any:
    gaps, pixels = _gaps(_bins(sums))
    return np.where(pixels.sum(-1) > 0, gaps.max(-1), np.nan)


def _ace(sums: Any) -> Any:
    gaps, pixels = _gaps(_bins(sums))
    return ratio(gaps.sum(-1), (pixels > 0).sum(-1))


def _nll(sums: Any) -> Any:
    return ratio(sums[..., -2], _bins(sums)[..., 0].sum(-1))


def _brier(sums: Any) -> Any:
    return ratio(sums[..., -1], _bins(sums)[..., 0].sum(-1))


def _brier_half(sums: Any) -> Any:
    return _brier(sums) / 2


_HEADLINES: dict[str, Callable[[Any], Any]] = {
    "ece": _ece,
    "mce": _mce,
    "ace": _ace,
    "nll": _nll,
    "brier": _brier,
    "brier_half": _brier_half,
}


def _reliability(table: Any) -> Reliability:
    bins = table[:-1].copy()
    bins[-1] += table[-1]
    pixels = bins[:, 0]
    return Reliability(
        edges=np.linspace(0, 1, len(bins) + 1),
        pixels=pixels,
        confidence=ratio(bins[:, 1], pixels),
        accuracy=ratio(bins[:, 2], pixels),
    )


def _intervals(images: Any, *, rounds: int, seed: int) -> dict[str, tuple[float, float]]:
    """Without the likelihood where it is infinite: infinities have no percentiles."""
    if len(images) < 2:
        return dict.fromkeys(_HEADLINES, (float("nan"), float("nan")))
    finite = np.isfinite(images[:, -2]).all()
    sums = images if finite else np.where(np.isfinite(images), images, 0.0)
    found = {k: bootstrap_sums(sums, score, rounds=rounds, seed=seed) for k, score in _HEADLINES.items()}
    numbers = {key: (float(low), float(high)) for key, (low, high) in found.items()}
    return numbers if finite else numbers | {"nll": (float("nan"), float("nan"))}
