"""The distances from which every surface measure is read: from one surface to the other, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from segmentarium.errors import BadArgument, BadMask
from segmentarium.metrics.confusion import count_pairs
from segmentarium.ops.surface import grid_spacing, nearest_distances, surface_voxels
from segmentarium.ops.surfel import surfel_areas, surfels
from segmentarium.values.classes import VOID


@dataclass(frozen=True, eq=False, kw_only=True)
class Gaps:
    """Distances between the surfaces of a prediction and of its truth, in the unit of the spacing.

    ``there`` holds one from each element of the prediction's surface to the truth's surface, ``back`` one
    from each element of the truth's surface to the prediction's; infinite where the other side has none. The
    areas say how much each element counts; all ones for voxels.
    """

    there: Float64[np.ndarray, " p"]
    back: Float64[np.ndarray, " t"]
    there_areas: Float64[np.ndarray, " p"]
    back_areas: Float64[np.ndarray, " t"]


def gaps_of_masks(
    prediction: Shaped[np.ndarray, "*p"],
    truth: Shaped[np.ndarray, "*t"],
    *,
    spacing: float | Sequence[float] = 1.0,
    between_voxels: bool = False,
) -> Gaps:
    """The gaps of two masks of two or three dimensions.

    Args:
        prediction: bools, like ``truth``. The axes are all of space: give images one at a time.
        spacing: from one voxel centre to the next, one for all axes or one an axis, in their order.
        between_voxels: surfaces are pieces between the voxels, each with its area, instead of the voxels that
            have a face neighbour outside the mask or lie on the border of the array.

    Raises:
        BadArgument: masks that are not bool, not 2-D or 3-D, not of one shape; a spacing that does not fit.
    """
    for name, mask in (("prediction", prediction), ("truth", truth)):
        if mask.dtype != bool or mask.ndim not in (2, 3):
            raise BadArgument(
                f"{name}: {mask.ndim} axes of {mask.dtype}",
                allowed="a bool mask of 2 or 3 axes",
                cure="compare labels with a class or probabilities with a threshold first",
            )
    if prediction.shape != truth.shape:
        raise BadArgument(f"prediction: shape {prediction.shape}", allowed=f"that of truth, {truth.shape}")
    sides = grid_spacing(spacing, dimensions=truth.ndim)
    if between_voxels:
        return _surfel_gaps(prediction, truth, sides)
    (predicted,), (true,) = (_points_of_classes(mask, [1]) for mask in (prediction, truth))
    return _voxel_gaps(predicted, true, sides)


def gaps_of_classes(
    prediction: Shaped[np.ndarray, "*p"],
    truth: Shaped[np.ndarray, "*t"],
    *,
    classes: int,
    spacing: float | Sequence[float] = 1.0,
    between_voxels: bool = False,
    background: int | None = 0,
    ignore: int = VOID,
) -> dict[int, Gaps]:
    """The gaps of every class of two label maps, from one pass over each.

    Voxels that are void in truth are taken out of both maps before surfaces are looked for. The rim of a void
    region that cuts through a structure is thereby surface on both sides, and at distance 0 where both have
    the structure.

    Args:
        classes: how many there are; labels run from 0 to ``classes - 1``.
        background: the class that is no structure and left out; None measures all.
        ignore: the truth value of void.

    Raises:
        BadMask: labels that are not integers, not 2-D or 3-D, not of one shape, or of no class outside void.
        BadArgument: the spacing does not fit.
    """
    maps = _checked_maps(prediction, truth, classes=classes, ignore=ignore)
    sides = grid_spacing(spacing, dimensions=truth.ndim)
    wanted = [index for index in range(classes) if index != background]
    if between_voxels:
        return {index: _surfel_gaps(maps[0] == index, maps[1] == index, sides) for index in wanted}
    points = (_points_of_classes(labels, wanted) for labels in maps)
    return {index: _voxel_gaps(p, t, sides) for index, p, t in zip(wanted, *points, strict=True)}


def _points_of_classes(
    labels: Shaped[np.ndarray, "*s"], wanted: Sequence[int]
) -> list[Int64[np.ndarray, "n d"]]:
    """The surface voxels of each wanted class, as indices, one voxel a row."""
    places = np.flatnonzero(surface_voxels(labels))
    owners = labels.reshape(-1)[places]
    return [np.stack(np.unravel_index(places[owners == index], labels.shape), -1) for index in wanted]


def _voxel_gaps(
    predicted: Int64[np.ndarray, "p d"], true: Int64[np.ndarray, "t d"], spacing: tuple[float, ...]
) -> Gaps:
    return Gaps(
        there=nearest_distances(predicted, true, spacing=spacing),
        back=nearest_distances(true, predicted, spacing=spacing),
        there_areas=np.ones(len(predicted)),
        back_areas=np.ones(len(true)),
    )


def _surfel_gaps(
    prediction: Bool[np.ndarray, "*s"], truth: Bool[np.ndarray, "*s"], spacing: tuple[float, ...]
) -> Gaps:
    predicted, predicted_codes = surfels(prediction)
    true, true_codes = surfels(truth)
    return Gaps(
        there=nearest_distances(predicted, true, spacing=spacing),
        back=nearest_distances(true, predicted, spacing=spacing),
        there_areas=surfel_areas(predicted_codes, spacing=spacing),
        back_areas=surfel_areas(true_codes, spacing=spacing),
    )


def _checked_maps(
    prediction: Shaped[np.ndarray, "*p"], truth: Shaped[np.ndarray, "*t"], *, classes: int, ignore: int
) -> tuple[Shaped[np.ndarray, "*s"], Shaped[np.ndarray, "*s"]]:
    """Both label maps, with a value that is no class where truth is void."""
    for name, labels in (("prediction", prediction), ("truth", truth)):
        if labels.dtype.kind not in "iub" or labels.ndim not in (2, 3):
            raise BadMask(
                f"{name}: {labels.ndim} axes of {labels.dtype}",
                allowed="class indices as integers, of 2 or 3 axes",
                cure="take the argmax of scores first",
            )
    if prediction.shape != truth.shape or _outside(prediction, classes) or _outside(truth, classes):
        count_pairs(
            prediction, truth, classes=classes, ignore=ignore
        )  # says what is wrong, if not under void
    void = truth == ignore
    if not void.any():
        return prediction, truth
    return np.where(void, np.int32(classes), prediction), np.where(void, np.int32(classes), truth)


def _outside(labels: Shaped[np.ndarray, "*s"], classes: int) -> bool:
    return labels.size > 0 and not (labels.min() >= 0 and labels.max() < classes)
