"""Scores of saliency maps, one number a pixel, against a mask: MAE, F-beta, S-measure, E-measure.

F-beta and the E-measure are computed at all 256 thresholds at once, from one histogram of the map on the
object and one beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer

from segmentarium.errors import BadArgument, BadData, BadMask, UnknownName
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.intervals import bootstrap_mean
from segmentarium.metrics.undefined import mean_defined, plain

PROTOCOLS = {
    "paper": "the map is taken as it is; the E-measure divides by the pixels, and F-beta of an empty mask is"
    " undefined",
    "pysodmetrics": "the map is stretched to 0..1 first; the E-measure divides by the pixels less one and"
    " can exceed 1, and F-beta of an empty mask is 0",
}
"""How maps are prepared, by name of protocol; the first is the default."""

_BETA = 0.3  # beta squared, by which precision outweighs recall
_LEVELS = 256
_EPS = float(np.spacing(1.0))


@dataclass(frozen=True, eq=False, kw_only=True)
class SaliencyScores:
    """Means over images; :data:`DEFINED` says what each is.

    Attributes:
        f_curve, e_curve: the mean at each threshold, from 0 to 255, of which ``max`` and ``mean`` are taken.
        per_image: of every score but the two maxima, in the order in which images were added.
        intervals: 95% interval over images, of the same scores.
        undefined: how many images have an empty mask, hence no F-beta.
    """

    protocol: str
    images: int
    mae: float
    f_max: float
    f_mean: float
    f_adaptive: float
    s_measure: float
    e_max: float
    e_mean: float
    e_adaptive: float
    f_curve: Float[np.ndarray, "256"]
    e_curve: Float[np.ndarray, "256"]
    per_image: dict[str, Float[np.ndarray, " n"]]
    intervals: dict[str, tuple[float, float]]
    undefined: int

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where undefined."""
        return {
            "protocol": self.protocol,
            "images": self.images,
            **{name: plain(getattr(self, name)) for name in (*_PER_IMAGE, "f_max", "e_max")},
            "per_image": {name: [plain(v) for v in values] for name, values in self.per_image.items()},
            "intervals": {name: [plain(v) for v in pair] for name, pair in self.intervals.items()},
            "undefined": self.undefined,
        }


class Saliency:
    """Gathers two curves, and six numbers an image.

    Args:
        protocol: see :data:`PROTOCOLS`.

    >>> saliency = Saliency()
    >>> saliency.update(np.array([[0.0, 1.0], [0.0, 0.9]]), np.array([[False, True], [False, True]]))
    >>> round(saliency.compute().mae, 3)
    0.025
    """

    def __init__(self, *, protocol: str = "paper") -> None:
        if protocol not in PROTOCOLS:
            raise UnknownName.among("protocol of saliency scores", protocol, PROTOCOLS)
        self.protocol = protocol
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._curves = np.zeros((2, _LEVELS))
        self._images: list[tuple[float, ...]] = []

    def update(
        self,
        prediction: Float[np.ndarray, "h w"],
        truth: Bool[np.ndarray, "h2 w2"] | Integer[np.ndarray, "h2 w2"],
    ) -> None:
        """Add one map, from 0 to 1, and its mask, of 0 and 1.

        Raises:
            BadArgument: shapes differ, or the map leaves 0 to 1.
            BadMask: the mask holds something else than 0 and 1.
        """
        saliency, mask = _checked(prediction, truth)
        if self.protocol == "pysodmetrics" and saliency.max() > saliency.min():
            saliency = (saliency - saliency.min()) / (saliency.max() - saliency.min())
        found = _hits(saliency, mask)
        lost = 1.0 if self.protocol == "pysodmetrics" else 0.0
        f_curve, e_curve = f_beta(*found, positives=mask.sum()), e_measure(*found, mask=mask, lost=lost)
        if lost:
            f_curve = np.nan_to_num(f_curve)
        self._curves += np.nan_to_num(f_curve[:-1]), e_curve[:-1]
        numbers = np.abs(saliency - mask).mean(), f_curve[:-1].mean(), f_curve[-1], s_measure(saliency, mask)
        self._images.append((*map(float, numbers), float(e_curve[:-1].mean()), float(e_curve[-1])))

    def merge(self, other: Saliency) -> None:
        """Add the images of another part of the data."""
        if other.protocol != self.protocol:
            raise BadData(f"saliency scores under {other.protocol}", allowed=self.protocol)
        self._curves = self._curves + other._curves
        self._images += other._images

    def compute(self, *, rounds: int = 1000, seed: int = 0) -> SaliencyScores:
        """The means of all that was added so far; ``rounds`` of the bootstrap, 0 for no intervals."""
        numbers = np.array(self._images, np.float64).reshape(-1, len(_PER_IMAGE))
        per_image = dict(zip(_PER_IMAGE, numbers.T, strict=True))
        undefined = int(np.isnan(per_image["f_mean"]).sum())
        of = np.array([[len(numbers) - undefined], [len(numbers)]])
        f_curve, e_curve = np.divide(self._curves, of, out=np.full_like(self._curves, np.nan), where=of > 0)
        return SaliencyScores(
            protocol=self.protocol,
            images=len(numbers),
            **{name: _mean(values) for name, values in per_image.items()},
            f_max=float(f_curve.max()),
            e_max=float(e_curve.max()),
            f_curve=f_curve,
            e_curve=e_curve,
            per_image=per_image,
            intervals={
                name: bootstrap_mean(np.sort(values), rounds=rounds, seed=seed)
                for name, values in per_image.items()
                if rounds
            },
            undefined=undefined,
        )


_PER_IMAGE = ("mae", "f_mean", "f_adaptive", "s_measure", "e_mean", "e_adaptive")


def saliency_scores(
    prediction: Float[np.ndarray, "h w"],
    truth: Bool[np.ndarray, "h2 w2"] | Integer[np.ndarray, "h2 w2"],
    *,
    protocol: str = "paper",
) -> SaliencyScores:
    """The scores of one map; arguments and errors are those of :class:`Saliency` and its ``update``."""
    saliency = Saliency(protocol=protocol)
    saliency.update(prediction, truth)
    return saliency.compute()


def f_beta(hits: Any, alarms: Any, *, positives: Any) -> Float[np.ndarray, "*t"]:
    """(1 + b) P R / (b P + R) with b = beta² = 0.3, precision P and recall R.

    Args:
        hits: pixels found that are of the object.
        alarms: pixels found that are not.
        positives: pixels of the object; if there are none, the result is nan.

    Source: Achanta et al. 2009, section 4.1.
    """
    if not positives:
        return np.full(np.shape(hits), np.nan)
    # P = hits / found and R = hits / positives: what remains needs no care for empty predictions
    return np.asarray((1 + _BETA) * hits / (_BETA * positives + hits + alarms))


def s_measure(saliency: Float[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> float:
    """Structure measure: half how well object and ground are told apart, half how alike four quarters are.

    The quarters meet at the centre of mass of the object. A mask without object is scored by how dark the map
    is, one without ground by how bright.

    Source: Fan et al. 2017, equations 1-7, with alpha = 0.5 and lambda = 0.5.
    """
    share = mask.mean()
    if share in (0, 1):
        return float(saliency.mean() if share else 1 - saliency.mean())
    objects = share * _object(saliency[mask]) + (1 - share) * _object(1 - saliency[~mask])
    return float(max(0.0, (objects + _regions(saliency, mask)) / 2))


def e_measure(
    hits: Any, alarms: Any, *, mask: Bool[np.ndarray, "h w"], lost: float = 0.0
) -> Float[np.ndarray, "*t"]:
    """Enhanced-alignment measure of binary maps given by their counts.

    Pixels fall into four kinds by prediction and truth; all of a kind align alike, so that four numbers do.

    Args:
        hits, alarms: as for :func:`f_beta`.
        lost: what is subtracted from the number of pixels that divides the sum; 1 in the authors' code.

    Source: Fan et al. 2018, equations 2-4.
    """
    size, positives = mask.size, int(mask.sum())
    found = np.asarray(hits + alarms, np.float64)
    if positives in (0, size):
        return np.asarray((found if positives else size - found) / (size - lost + _EPS))
    mean_found, mean_true = found / size, positives / size
    counts = hits, alarms, positives - hits, size - positives - alarms
    total = np.zeros_like(found)
    for count, (is_found, is_true) in zip(counts, ((1, 1), (1, 0), (0, 1), (0, 0)), strict=True):
        a, b = is_found - mean_found, is_true - mean_true
        total += count * (2 * a * b / (a**2 + b**2 + _EPS) + 1) ** 2 / 4
    return np.asarray(total / (size - lost + _EPS))


def _hits(saliency: Any, mask: Any) -> tuple[Any, Any]:
    """Pixels at or above each threshold on the object and beside it: 0 to 255, then twice the mean."""
    levels = (saliency * (_LEVELS - 1)).astype(np.int64)
    adaptive = saliency >= min(2 * saliency.mean(), 1.0)

    def above(where: Any) -> Any:
        histogram = np.bincount(levels[where], minlength=_LEVELS)
        return np.append(histogram[::-1].cumsum()[::-1], (adaptive & where).sum())

    return above(mask), above(~mask)


def _object(values: Float[np.ndarray, " p"]) -> float:
    """How bright and even the map is on its object: 2 m / (m² + 1 + deviation)."""
    mean = values.mean()
    deviation = values.std(ddof=1) if values.size > 1 else 0.0
    return float(2 * mean / (mean**2 + 1 + deviation + _EPS))


def _regions(saliency: Any, mask: Any) -> float:
    """The likeness of four quarters, weighted by their area."""
    rows, columns = (int(np.round(at.mean())) + 1 for at in np.nonzero(mask))
    quarters = [
        (slice(*r), slice(*c)) for r in ((0, rows), (rows, None)) for c in ((0, columns), (columns, None))
    ]
    return float(
        sum(_alike(saliency[q], mask[q]) * mask[q].size for q in quarters if mask[q].size) / mask.size
    )


def _alike(a: Any, b: Any) -> float:
    """Structural similarity of two maps by means and covariance, without constants."""
    less = max(a.size - 1, 1)
    mean_a, mean_b = a.mean(), b.mean()
    spread = ((a - mean_a) ** 2).sum() / less + ((b - mean_b) ** 2).sum() / less
    above = 4 * mean_a * mean_b * ((a - mean_a) * (b - mean_b)).sum() / less
    below = (mean_a**2 + mean_b**2) * spread
    if above == 0:
        return float(below == 0)
    return float(above / (below + _EPS))


def _checked(prediction: Any, truth: Any) -> tuple[Any, Any]:
    if prediction.shape != truth.shape or not truth.size:
        raise BadArgument(
            f"prediction: shape {prediction.shape} for a truth of shape {truth.shape}", allowed="equal shapes"
        )
    if not ((prediction >= 0).all() and (prediction <= 1).all()):
        raise BadArgument(
            f"prediction: from {prediction.min():.4g} to {prediction.max():.4g}",
            allowed="0 to 1",
            cure="divide 8-bit maps by 255, or apply the sigmoid to logits",
        )
    if truth.dtype != np.bool_ and not np.isin(truth, (0, 1)).all():
        raise BadMask(f"truth holds values from {truth.min()} to {truth.max()}", allowed="0 and 1")
    return prediction.astype(np.float64), truth.astype(bool)


def _mean(values: Any) -> float:
    """Over everything that is defined."""
    return float(mean_defined(np.ravel(values)))


def _defined(name: str, title: str, formula: str, source: str, **more: Any) -> Definition:
    return Definition(
        name=name, title=title, formula=formula, source=source, protocols=PROTOCOLS, atlas=("M37",), **more
    )


_EMPTY = {"mask without object": "undefined (nan), left out of the mean"}
_F, _E = "Achanta et al. 2009, section 4.1", "Fan et al. 2018"
_THRESHOLDS = "over 256 thresholds t/255, of the curve averaged over images"
_TWICE = "at twice the mean of the map, at most 1 (mean over images)"

DEFINED: tuple[Definition, ...] = (
    _defined("mae", "mean absolute error", "mean of |map - mask|", "Perazzi et al. 2012", best="low"),
    _defined("f_max", "F-beta, maximum", f"1.3 P R / (0.3 P + R), maximum {_THRESHOLDS}", _F, edges=_EMPTY),
    _defined("f_mean", "F-beta, mean", f"1.3 P R / (0.3 P + R), mean {_THRESHOLDS}", _F, edges=_EMPTY),
    _defined("f_adaptive", "F-beta, adaptive", f"1.3 P R / (0.3 P + R) {_TWICE}", _F, edges=_EMPTY),
    _defined(
        "s_measure",
        "S-measure",
        "(S_object + S_region) / 2, at least 0",
        "Fan et al. 2017",
        edges={"mask without object": "1 - mean of the map", "mask without ground": "mean of the map"},
    ),
    _defined("e_max", "E-measure, maximum", f"mean of (phi + 1)² / 4, maximum {_THRESHOLDS}", _E),
    _defined("e_mean", "E-measure, mean", f"mean of (phi + 1)² / 4, mean {_THRESHOLDS}", _E),
    _defined("e_adaptive", "E-measure, adaptive", f"mean of (phi + 1)² / 4 {_TWICE}", _E),
)
