"""The random field of a grid: one energy, which every inference method of this room lowers or samples.

    E(y) = sum_p unary_p(y_p) + sum_(p,q) weight_pq * pairwise(y_p, y_q),    P(y) = exp(-E(y)) / Z

Each pair of neighbours (p, q) counts once, q lying one offset after p.

Source: Boykov, Veksler & Zabih 2001 (energy, metrics); Boykov & Jolly 2001, eq. 2 (contrast).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float64, Int32, Int64, Integer, Real, Shaped

from segmentarium.classical.levels import within
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import Offset, both_ends

HIGHEST = 2.0**53
"""Integer energies stay below it: they are exact in float64 too, in which the compiled loops count."""


@dataclass(frozen=True, eq=False)
class GridCRF:
    """A field over a chain, a picture or a volume; its energies are integers if all costs are, else float64.

    Args:
        unary: the cost of each label at each place.
        pairwise: the cost of a pair's labels, that of the first before that of the second; any matrix.
        weights: for each offset the factors of the pairs that begin at a place, 0 or more; those whose second
            place lies outside the grid are ignored. All 1 if left out.
        offsets: from the first to the second place of a pair, each pair once, as of ``ops.neighbours``.

    Raises:
        BadArgument: shapes do not fit, a number is not finite, a weight is negative, or sums would overflow.
    """

    unary: Shaped[np.ndarray, "*s k"]
    pairwise: Shaped[np.ndarray, "_ _"]
    weights: tuple[Shaped[np.ndarray, "..."], ...] | None
    offsets: tuple[Offset, ...]

    def __post_init__(self) -> None:
        given = tuple(map(np.asarray, (self.unary, self.pairwise, *(self.weights or ()))))
        whole = all(np.issubdtype(array.dtype, np.integer) for array in given)
        kind = np.int64 if whole else np.float64
        object.__setattr__(self, "unary", np.ascontiguousarray(self.unary, kind))
        object.__setattr__(self, "pairwise", np.ascontiguousarray(self.pairwise, kind))
        if self.weights is not None:
            object.__setattr__(self, "weights", tuple(np.asarray(w, kind) for w in self.weights))
        _require(self)

    @property
    def size(self) -> tuple[int, ...]:
        return self.unary.shape[:-1]

    @property
    def labels(self) -> int:
        """How many there are."""
        return int(self.unary.shape[-1])

    @property
    def steps(self) -> Int64[np.ndarray, " n"]:
        """The offsets in flat places, in the order of memory."""
        strides = np.cumprod([1, *self.size[:0:-1]])[::-1]
        return np.array([np.dot(offset, strides) for offset in self.offsets], np.int64)

    @cached_property
    def links(self) -> Shaped[np.ndarray, "n places"]:
        """The weights of all pairs by offset and first place, 0 where the second lies outside the grid."""
        links = np.zeros((len(self.offsets), *self.size), self.unary.dtype)
        for i, offset in enumerate(self.offsets):
            first, _ = both_ends(offset)
            links[i][first] = 1 if self.weights is None else self.weights[i][first]
        return links.reshape(len(self.offsets), -1)

    def arrays(self) -> tuple[Shaped[np.ndarray, "..."], ...]:
        """What compiled loops take: unary costs by flat place, links, steps, pairwise costs, their transpose.

        All but the steps are float64.
        """
        costs = (self.unary.reshape(-1, self.labels), self.links, self.pairwise, self.pairwise.T)
        unary, links, pairwise, turned = (np.ascontiguousarray(array, np.float64) for array in costs)
        return unary, links, self.steps, pairwise, turned

    def cheapest(self) -> Int32[np.ndarray, "*s"]:
        """The best labels by the unary costs alone."""
        return np.asarray(self.unary.argmin(axis=-1), np.int32)

    @cached_property
    def colours(self) -> tuple[Int64[np.ndarray, " _"], ...]:
        """Flat places in groups, in none of which two are neighbours: a checkerboard where it will do."""
        places = np.indices(self.size)
        if all(sum(offset) % 2 for offset in self.offsets):
            colour = places.sum(axis=0) % 2
        else:
            reach = tuple(1 + max(map(abs, steps)) for steps in zip(*self.offsets, strict=True))
            colour = np.ravel_multi_index([p % r for p, r in zip(places, reach, strict=True)], reach)
        groups = (np.flatnonzero(colour.ravel() == c) for c in range(int(colour.max()) + 1))
        return tuple(group for group in groups if group.size)

    def energy(self, labels: Integer[np.ndarray, "..."]) -> int | float:
        """What ``labels`` cost together.

        Raises:
            BadArgument: another size, or a label that the field does not have.
        """
        _require_labels(labels, self)
        total = np.take_along_axis(self.unary, labels[..., None].astype(np.intp), axis=-1).sum()
        for offset, links in zip(self.offsets, self.links.reshape(-1, *self.size), strict=True):
            first, second = both_ends(offset)
            total += (links[first] * self.pairwise[labels[first], labels[second]]).sum()
        return total.item()  # type: ignore[no-any-return]

    def expected(self, probs: Float64[np.ndarray, "*s k"]) -> float:
        """The mean energy of labels that are drawn at each place on its own."""
        total = float((self.unary * probs).sum())
        for offset, links in zip(self.offsets, self.links.reshape(-1, *self.size), strict=True):
            first, second = both_ends(offset)
            pairs = np.einsum("...k,...k->...", probs[first] @ self.pairwise, probs[second])
            total += float((links[first] * pairs).sum())
        return total


def potts(labels: int, cost: int | float) -> Real[np.ndarray, "k k"]:
    """``cost`` for different labels, nothing for equal ones."""
    return truncated_linear(labels, cost, cost)


def truncated_linear(labels: int, cost: int | float, bound: int | float) -> Real[np.ndarray, "k k"]:
    """``min(cost * |l - l'|, bound)``, for labels that are levels of something."""
    return _truncated(labels, cost, bound, power=1)


def truncated_quadratic(labels: int, cost: int | float, bound: int | float) -> Real[np.ndarray, "k k"]:
    """``min(cost * (l - l')**2, bound)``; no metric, so that expansion moves do not apply."""
    return _truncated(labels, cost, bound, power=2)


def contrast_weights(
    values: Real[np.ndarray, "*s c"],
    offsets: tuple[Offset, ...],
    *,
    sigma: float | None = None,
    spacing: tuple[float, ...] | None = None,
) -> tuple[Float64[np.ndarray, "*s"], ...]:
    """``exp(-|dI|**2 / (2 sigma**2)) / distance`` of each pair: labels change more cheaply at edges.

    Args:
        sigma: of the contrast, in units of ``values``. Left out, it is the root of the mean |dI|**2 of all
            pairs, as in GrabCut (Rother et al. 2004, eq. 5).
        spacing: from one place to the next along each axis; the distance of the offset's places.

    Returns:
        One map an offset, 0 where a pair would leave the grid.
    """
    if sigma is not None:
        within("sigma", sigma, 0, open_low=True)
    squares = [_squared_contrast(values, offset) for offset in offsets]
    count = sum(square.size for square in squares)
    mean = sum(float(square.sum()) for square in squares) / max(count, 1)
    twice = 2 * (mean if sigma is None else sigma**2) or 1.0
    weights = []
    for offset, square in zip(offsets, squares, strict=True):
        weight = np.zeros(values.shape[:-1])
        weight[both_ends(offset)[0]] = np.exp(-square / twice) / np.linalg.norm(
            np.multiply(offset, spacing or 1.0)
        )
        weights.append(weight)
    return tuple(weights)


def is_metric(pairwise: Real[np.ndarray, "k k"]) -> bool:
    """A semimetric that obeys the triangle inequality: what expansion moves need."""
    slack = 0 if np.issubdtype(pairwise.dtype, np.integer) else 1e-12 * float(np.abs(pairwise).max())
    detour = (pairwise[:, :, None] + pairwise[None, :, :]).min(axis=1)
    return is_semimetric(pairwise) and bool((pairwise <= detour + slack).all())


def is_semimetric(pairwise: Real[np.ndarray, "k k"]) -> bool:
    """Symmetric, nothing for equal labels and never negative: what swap moves need.

    Different labels may cost nothing; the moves do not mind.
    """
    symmetric = np.array_equal(pairwise, pairwise.T)
    return symmetric and not pairwise.diagonal().any() and bool((pairwise >= 0).all())


def _truncated(labels: int, cost: int | float, bound: int | float, *, power: int) -> Real[np.ndarray, "k k"]:
    within("labels", labels, 1)
    within("cost", cost, 0)
    within("bound", bound, 0)
    apart = np.abs(np.subtract.outer(np.arange(labels), np.arange(labels))) ** power
    return np.minimum(cost * apart, bound)


def _squared_contrast(values: Real[np.ndarray, "*s c"], offset: Offset) -> Float64[np.ndarray, "..."]:
    first, second = both_ends(offset)
    change = values[first].astype(np.float64) - values[second]
    return np.asarray(np.einsum("...c,...c->...", change, change))


def _require_labels(labels: Integer[np.ndarray, "..."], crf: GridCRF) -> None:
    if labels.shape != crf.size:
        raise BadArgument(f"labels of shape {labels.shape}", allowed=f"shape {crf.size}")
    if labels.min() < 0 or labels.max() >= crf.labels:
        raise BadArgument(
            f"labels from {labels.min()} to {labels.max()}", allowed=f"from 0 to {crf.labels - 1}"
        )


def _require(crf: GridCRF) -> None:
    if crf.unary.size == 0:
        raise BadArgument(f"unary costs of shape {crf.unary.shape}", allowed="a place and a label at least")
    if crf.unary.ndim - 1 not in (1, 2, 3):
        raise BadArgument(f"unary costs of shape {crf.unary.shape}", allowed="one to three axes, then labels")
    if crf.pairwise.shape != (crf.labels, crf.labels):
        raise BadArgument(
            f"pairwise costs of shape {crf.pairwise.shape} for {crf.labels} labels",
            allowed=f"({crf.labels}, {crf.labels})",
        )
    for offset in crf.offsets:
        if len(offset) != len(crf.size) or tuple(offset) <= (0,) * len(offset):
            raise BadArgument(
                f"the offset {tuple(offset)}", allowed=f"{len(crf.size)} steps, the first of them forward"
            )
    weights = crf.weights
    if weights is not None and [w.shape for w in weights] != [crf.size] * len(crf.offsets):
        raise BadArgument(
            f"weights of shapes {[w.shape for w in weights]}",
            allowed=f"{len(crf.offsets)} maps of {crf.size}, one an offset",
        )
    if weights is not None and any((w < 0).any() for w in weights):
        raise BadArgument(f"the weight {min(w.min() for w in weights)}", allowed="0 or more")
    _require_sums(crf)


def _require_sums(crf: GridCRF) -> None:
    whole = np.issubdtype(crf.unary.dtype, np.integer)
    with np.errstate(over="ignore", invalid="ignore"):
        highest = float(np.abs(crf.unary.astype(float)).max(axis=-1).sum())
        pairs = crf.links.astype(float).sum() if crf.offsets else 0.0
        highest += float(pairs * np.abs(crf.pairwise.astype(float)).max())
    if not highest < (HIGHEST if whole else np.inf):
        raise BadArgument(
            f"costs whose sum may reach {highest:g}",
            allowed="finite numbers" + (f" whose sum stays below {HIGHEST:.3g}" if whole else ""),
            cure="scale the costs down",
        )
