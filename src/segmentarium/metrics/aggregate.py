"""One number for many cases, when some cases have none and some are infinitely bad.

A Hausdorff distance is undefined (nan) where neither side has the structure, and infinite where one side
misses it. A mean that drops both in silence improves as a model misses more. Here the mean is over the finite
values only, and how many were left out for which reason stands beside it, always.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import fsum
from typing import Any

import numpy as np
from jaxtyping import Float

from segmentarium.errors import BadArgument
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.intervals import bootstrap_sums
from segmentarium.metrics.undefined import plain


@dataclass(frozen=True, kw_only=True)
class Aggregate:
    """What many cases say together.

    Attributes:
        mean: of the finite values; nan if there is none. ``infinite`` cases are worse than it tells.
        median: of finite and infinite values: a missed structure counts as the worst of all. Infinite if half
            of the cases are.
        finite: how many values ``mean`` is over.
        infinite: how many values are infinitely bad.
        undefined: how many are not defined.
        interval: 95% bootstrap interval of ``mean``; nan with fewer than two cases.
    """

    mean: float
    median: float
    finite: int
    infinite: int
    undefined: int
    interval: tuple[float, float]

    def __str__(self) -> str:
        left_out = [f"{self.infinite} infinite"] * (self.infinite > 0)
        left_out += [f"{self.undefined} undefined"] * (self.undefined > 0)
        cases = self.finite + self.infinite + self.undefined
        return f"{self.mean:.4g} over {self.finite} of {cases} cases" + "".join(f", {x}" for x in left_out)

    def penalised(self, penalty: float) -> float:
        """The mean when every infinite case counts as ``penalty``, such as the diagonal of the volume.

        >>> aggregate(np.array([1.0, 3.0, np.inf, np.nan])).penalised(11.0)
        5.0
        """
        if not np.isfinite(penalty):
            raise BadArgument(f"penalty: {penalty}", allowed="a finite number")
        counted = self.finite + self.infinite
        total = (self.mean * self.finite if self.finite else 0.0) + penalty * self.infinite
        return total / counted if counted else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """For machines: None where undefined, "inf" where infinite; JSON has neither."""
        counts = {"finite": self.finite, "infinite": self.infinite, "undefined": self.undefined}
        low, high = map(plain, self.interval)
        return {"mean": plain(self.mean), "median": plain(self.median), **counts, "interval": [low, high]}


def aggregate(values: Float[np.ndarray, "n ..."], *, rounds: int = 1000, seed: int = 0) -> Aggregate:
    """Mean, median and counts of the values of cases, in whichever order the cases come.

    Args:
        values: nan where undefined, infinite where a case failed. Cases along the first axis; if each has
            several values, one a class, every value counts once, and the bootstrap draws whole cases.
        rounds: of the bootstrap.

    >>> print(aggregate(np.array([1.0, 3.0, np.inf, np.nan])))
    2 over 2 of 4 cases, 1 infinite, 1 undefined
    """
    defined = np.sort(values[~np.isnan(values)])
    finite = defined[np.isfinite(defined)]
    return Aggregate(
        mean=fsum(finite.tolist()) / len(finite) if len(finite) else float("nan"),
        median=_median(defined),
        finite=len(finite),
        infinite=len(defined) - len(finite),
        undefined=values.size - len(defined),
        interval=_interval(values, rounds=rounds, seed=seed),
    )


def _interval(values: Float[np.ndarray, "n ..."], *, rounds: int, seed: int) -> tuple[float, float]:
    """Of the mean when cases are drawn again; they are sorted first, so that their order has no part."""
    columns = int(np.prod(values.shape[1:]))
    rows = np.sort(np.where(np.isfinite(values), values, np.nan).reshape(len(values), columns), axis=1)
    sums = np.stack([np.nansum(rows, axis=1), np.isfinite(rows).sum(1)], axis=1)
    sums = sums[sums[:, 1] > 0]
    if len(sums) < 2:
        return float("nan"), float("nan")
    low, high = bootstrap_sums(sums[np.lexsort(sums.T)], _mean, rounds=rounds, seed=seed)
    return float(low), float(high)


def _mean(sums: Float[np.ndarray, "... 2"]) -> Float[np.ndarray, "..."]:
    """Sum over count; no draw of cases that each have a value is without any."""
    return np.asarray(sums[..., 0] / sums[..., 1])


def _median(values: Float[np.ndarray, " n"]) -> float:
    """Of sorted values. NumPy's own warns where it halves the sum of two infinities."""
    if not len(values):
        return float("nan")
    low, high = float(values[(len(values) - 1) // 2]), float(values[len(values) // 2])
    return low if low == high else (low + high) / 2


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="aggregate",
        title="Mean over cases with counts of what it leaves out",
        formula="mean = (sum of the finite values) / (number of finite values); median over finite and"
        " infinite values; finite + infinite + undefined = number of cases",
        best="neither",
        edges={
            "a case is undefined (nan)": "left out of mean and median, counted as undefined",
            "a case is infinite": "left out of the mean, counted as infinite, the worst value of the median",
            "no finite case": "mean undefined (nan)",
        },
        protocols={
            "segmentarium": "Mean of the finite cases, never without the counts of infinite and undefined"
            " ones; with a penalty, infinite cases count as that.",
            "monai": "MONAI drops nan in silence and averages inf to inf; since a missed structure gives nan"
            " with a percentile, its mean improves as a model misses more structures.",
        },
        source="Percentile bootstrap: Efron 1979.",
        atlas=("M41",),
    ),
)
