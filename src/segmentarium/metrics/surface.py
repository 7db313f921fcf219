"""How far two surfaces are apart: Hausdorff distance and its percentiles, average distances, surface Dice.

All of them are read off the same two lists of distances (:class:`~segmentarium.metrics.surface_gaps.Gaps`),
so asking for all costs what asking for one does. Distances are in the unit of the spacing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Shaped

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.surface_gaps import Gaps, gaps_of_classes, gaps_of_masks
from segmentarium.metrics.undefined import plain
from segmentarium.values.classes import VOID


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What tools decide differently.

    Attributes:
        between_voxels: surfaces are pieces between the voxels, weighted by area; otherwise voxels.
        tail: a percentile of each direction and then the larger, or one percentile of both lists together.
        assd: the mean over both lists together, or the mean of their two means.
        missed: a percentile below 100 where one of the masks is empty.
        nothing: the Hausdorff distance of two empty masks, and its percentiles.
    """

    between_voxels: bool = False
    tail: Literal["larger", "pooled"] = "larger"
    assd: Literal["pooled", "halves"] = "pooled"
    missed: float = float("inf")
    nothing: float = float("nan")


PROTOCOLS: dict[str, Protocol] = {
    "segmentarium": Protocol(),
    "monai": Protocol(missed=float("nan")),
    "medpy": Protocol(tail="pooled"),
    "deepmind-surface": Protocol(between_voxels=True, nothing=float("inf")),
    "mean-of-means": Protocol(assd="halves"),
}
"""Name → rules; the first is the default. ``DEFINED`` puts them into words."""


@dataclass(frozen=True, kw_only=True)
class SurfaceMeasures:
    """All surface measures of one structure in one case; ``DEFINED`` says what each means.

    ``asd`` goes from the prediction to the truth, ``asd_back`` from the truth to the prediction.
    """

    hd: float
    hd95: float
    asd: float
    asd_back: float
    assd: float
    nsd: float

    def as_dict(self) -> dict[str, Any]:
        """For machines: None where undefined, "inf" where infinite."""
        return {name: plain(value) for name, value in asdict(self).items()}


def measure_surfaces(
    prediction: Shaped[np.ndarray, "*p"],
    truth: Shaped[np.ndarray, "*t"],
    *,
    spacing: float | Sequence[float] = 1.0,
    tolerance: float = 1.0,
    protocol: str = "segmentarium",
) -> SurfaceMeasures:
    """All surface measures of two masks; they are taken and refused as by :func:`gaps_of_masks`.

    Args:
        tolerance: up to which distance a piece of surface counts as found, in the unit of ``spacing``.
        protocol: one of ``PROTOCOLS``.

    >>> one, other = np.zeros((2, 9, 9), bool)
    >>> one[2:5, 2:5] = other[2:5, 3:8] = True
    >>> measure_surfaces(one, other, spacing=(1.0, 0.5)).hd
    1.5
    """
    rules = protocol_named(protocol)
    gaps = gaps_of_masks(prediction, truth, spacing=spacing, between_voxels=rules.between_voxels)
    return measure(gaps, tolerance=tolerance, rules=rules)


def measure_classes(
    prediction: Shaped[np.ndarray, "*p"],
    truth: Shaped[np.ndarray, "*t"],
    *,
    classes: int,
    spacing: float | Sequence[float] = 1.0,
    tolerance: float | Sequence[float] = 1.0,
    protocol: str = "segmentarium",
    background: int | None = 0,
    ignore: int = VOID,
) -> dict[int, SurfaceMeasures]:
    """The same for every class of two label maps but the background; see :func:`gaps_of_classes`.

    Args:
        tolerance: one for all classes, or one a class (the background included, whose is not used).
    """
    rules = protocol_named(protocol)
    tolerances = class_tolerances(tolerance, classes=classes)
    gaps = gaps_of_classes(
        prediction,
        truth,
        classes=classes,
        spacing=spacing,
        between_voxels=rules.between_voxels,
        background=background,
        ignore=ignore,
    )
    return {index: measure(found, tolerance=tolerances[index], rules=rules) for index, found in gaps.items()}


def hausdorff_distance(
    prediction: Shaped[np.ndarray, "*p"],
    truth: Shaped[np.ndarray, "*t"],
    *,
    spacing: float | Sequence[float] = 1.0,
    percentile: float = 100.0,
    protocol: str = "segmentarium",
) -> float:
    """The largest distance from a point of one mask's surface to the surface of the other, or a percentile.

    Args:
        percentile: above 0 up to 100; 100 is the Hausdorff distance itself, 95 is HD95.
    """
    rules = protocol_named(protocol)
    gaps = gaps_of_masks(prediction, truth, spacing=spacing, between_voxels=rules.between_voxels)
    return hausdorff(gaps, percentile=percentile, rules=rules)


def measure(gaps: Gaps, *, tolerance: float, rules: Protocol) -> SurfaceMeasures:
    """All measures of two lists of distances."""
    asd, asd_back, assd = average_distances(gaps, rules=rules)
    return SurfaceMeasures(
        hd=hausdorff(gaps, percentile=100.0, rules=rules),
        hd95=hausdorff(gaps, percentile=95.0, rules=rules),
        asd=asd,
        asd_back=asd_back,
        assd=assd,
        nsd=surface_dice(gaps, tolerance=tolerance, rules=rules),
    )


def hausdorff(gaps: Gaps, *, percentile: float, rules: Protocol) -> float:
    """A percentile of the distances, of both directions; 100 is the largest."""
    if not 0 < percentile <= 100:
        raise BadArgument(f"percentile: {percentile}", allowed="above 0 up to 100")
    sides = gaps.there, gaps.back
    if not any(map(len, sides)):
        return rules.nothing
    if not all(map(len, sides)):
        return float("inf") if percentile == 100 else rules.missed
    if percentile == 100:
        return float(max(gap.max() for gap in sides))
    if rules.between_voxels:
        areas = gaps.there_areas, gaps.back_areas
        return max(_percentile_by_area(g, a, percentile) for g, a in zip(sides, areas, strict=True))
    lists = [np.concatenate(sides)] if rules.tail == "pooled" else sides
    return float(max(np.percentile(gap, percentile) for gap in lists))


def average_distances(gaps: Gaps, *, rules: Protocol) -> tuple[float, float, float]:
    """ASD from prediction to truth, ASD from truth to prediction, and ASSD."""
    areas = float(gaps.there_areas.sum()), float(gaps.back_areas.sum())
    if not all(areas):
        missed = float("inf") if any(areas) else float("nan")
        asd, asd_back = (float("nan") if rules.between_voxels and not area else missed for area in areas)
        return asd, asd_back, missed
    sums = float(gaps.there @ gaps.there_areas), float(gaps.back @ gaps.back_areas)
    asd, asd_back = sums[0] / areas[0], sums[1] / areas[1]
    return asd, asd_back, (asd + asd_back) / 2 if rules.assd == "halves" else sum(sums) / sum(areas)


def surface_dice(gaps: Gaps, *, tolerance: float, rules: Protocol) -> float:
    """The share of both surfaces that lies within ``tolerance`` of the other one."""
    if not 0 <= tolerance < np.inf:
        raise BadArgument(f"tolerance: {tolerance}", allowed="0 or more, in the unit of the spacing")
    whole = float(gaps.there_areas.sum() + gaps.back_areas.sum())
    # 3 voxels of 0.1 mm are 0.30000000000000004 mm: single precision calls that within 0.3, as MONAI does
    number = np.float64 if rules.between_voxels else np.float32
    there, back = (gap.astype(number) <= number(tolerance) for gap in (gaps.there, gaps.back))
    found = float(gaps.there_areas[there].sum() + gaps.back_areas[back].sum())
    return found / whole if whole else float("nan")


def protocol_named(name: str) -> Protocol:
    """The rules of that name, or :class:`UnknownName` with the nearest one."""
    if name not in PROTOCOLS:
        raise UnknownName.among("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def class_tolerances(tolerance: float | Sequence[float], *, classes: int) -> tuple[float, ...]:
    """One tolerance a class, each 0 or more."""
    given = np.asarray(tolerance, np.float64)
    each = tuple(given.reshape(-1).tolist() * (classes if given.ndim == 0 else 1))
    if len(each) != classes or not all(0 <= value < np.inf for value in each):
        raise BadArgument(
            f"tolerance: {tolerance} for {classes} classes", allowed="0 or more: one number, or one a class"
        )
    return each


def _percentile_by_area(
    distances: Float64[np.ndarray, " n"], areas: Float64[np.ndarray, " n"], percentile: float
) -> float:
    """The distance at which the sorted elements reach that share of the area; nothing is interpolated."""
    order = np.lexsort((areas, distances))
    reached = np.cumsum(areas[order]) / np.sum(areas[order])
    return float(distances[order[min(int(np.searchsorted(reached, percentile / 100)), len(order) - 1)]])


_SURFACES = {
    "segmentarium": "Surface voxels: those of a mask with a face neighbour outside it or outside the array.",
    "deepmind-surface": "Pieces of surface between the voxels, from the codes of 2x2x2 neighbourhoods,"
    " weighted by area (in the plane, by length).",
}
_EMPTY = {"both masks empty": "undefined (nan)", "one mask empty": "infinite"}

DEFINED: tuple[Definition, ...] = (
    Definition(
        name="hd",
        title="Hausdorff distance",
        formula="max(max over a in A of d(a, B), max over b in B of d(b, A)); A, B: surfaces of prediction"
        " and truth; d: Euclidean distance to the nearest element, with the spacing",
        best="low",
        unit="that of the spacing",
        edges=_EMPTY,
        protocols={
            "segmentarium": _SURFACES["segmentarium"],
            "monai": "The same number, in single precision.",
            "medpy": "The same number; MedPy raises an error where a mask is empty.",
            "deepmind-surface": _SURFACES["deepmind-surface"] + " Two empty masks: infinite.",
        },
        source="Huttenlocher, Klanderman and Rucklidge 1993. SimpleITK measures from all voxels of a mask,"
        " not from its surface: the same number unless a mask has a hole that the other one fills.",
        atlas=("M09",),
    ),
    Definition(
        name="hd95",
        title="95th percentile of the Hausdorff distance (HD95)",
        formula="max(P95 of d(a, B) over A, P95 of d(b, A) over B), percentiles interpolated linearly",
        best="low",
        unit="that of the spacing",
        edges=_EMPTY,
        protocols={
            "segmentarium": "The larger of the two directed percentiles; a missed structure is infinite.",
            "monai": "The larger of the two directed percentiles; where one mask is empty, undefined (nan).",
            "medpy": "One percentile of both lists together: an error on one side is diluted by the other, so"
            " it is the smaller number; MedPy raises an error where a mask is empty.",
            "deepmind-surface": "The larger of the two directed percentiles of the area of surface pieces,"
            " not interpolated; two empty masks: infinite.",
        },
        source="Named in Taha and Hanbury 2015; used by UNETR (Hatamizadeh et al. 2022).",
        atlas=("M10",),
    ),
    Definition(
        name="assd",
        title="Average symmetric surface distance (ASSD); ASD in one direction (asd, asd_back)",
        formula="(sum of d(a, B) over A + sum of d(b, A) over B) / (|A| + |B|); asd: the mean of d(a, B) over"
        " A, from prediction to truth; asd_back: the mean of d(b, A) over B",
        best="low",
        unit="that of the spacing",
        edges=_EMPTY,
        protocols={
            "segmentarium": "The mean over both lists together.",
            "monai": "The same number (symmetric=True).",
            "medpy": "The same number; MedPy raises an error where a mask is empty.",
            "mean-of-means": "The mean of asd and asd_back: both surfaces count alike, large or small.",
            "deepmind-surface": "asd and asd_back are means weighted by the area of surface pieces (nan for"
            " the empty side); the tool gives no ASSD, here it is their mean weighted by both areas.",
        },
        source="Heimann et al. 2009 (SLIVER07).",
        atlas=("M11",),
    ),
    Definition(
        name="nsd",
        title="Normalised surface Dice (NSD) at a tolerance",
        formula="(|{a in A: d(a, B) <= t}| + |{b in B: d(b, A) <= t}|) / (|A| + |B|)",
        edges={"both masks empty": "undefined (nan)", "one mask empty": "0"},
        protocols={
            "segmentarium": "Surface voxels are counted, each as one.",
            "monai": "The same number (the default, use_subvoxels=False).",
            "deepmind-surface": "Areas of surface pieces instead of counts; MONAI with use_subvoxels=True.",
        },
        source="Nikolov et al. 2018, arXiv:1809.04430.",
        atlas=("M12",),
    ),
)
