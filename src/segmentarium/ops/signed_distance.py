"""How far each pixel lies from the border of a class: positive outside, negative inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Integer
from scipy import ndimage

from segmentarium.errors import BadArgument, BadMask
from segmentarium.values.classes import VOID

SHIFTS: dict[float, tuple[float, float]] = {0.0: (0.0, 0.0), 0.5: (0.5, 0.5), 1.0: (0.0, 1.0)}
"""Shift → what is taken off a pixel's distance outside and inside, in pixels; see :func:`signed_distance`."""


def signed_distance(
    mask: Bool[np.ndarray, "*s"],
    *,
    known: Bool[np.ndarray, "*s"] | None = None,
    spacing: Sequence[float] | None = None,
    shift: float = 0.0,
) -> Float32[np.ndarray, "*s"]:
    """The Euclidean distance of each pixel to the nearest one on the other side of the mask's border.

    Args:
        known: what is not known is on neither side: distances are those to known pixels, so that void around
            an image changes nothing inside it. Everything is known if left out.
        spacing: from one pixel centre to the next along each axis; one pixel is 1 if left out.
        shift: where zero lies. 0: nowhere, the two sides of the border are at +1 and -1 pixel, as formulas
            are commonly read. 0.5: midway between the two. 1: on the centres of the innermost border, which
            is the published code of the boundary loss. A pixel is the smallest ``spacing``, so that no
            inside turns positive.

    Returns:
        Distances in the unit of ``spacing``. 0 everywhere for a mask that is empty or holds all that is
        known: it has no border.

    Raises:
        BadArgument: shapes, the spacing or the shift do not fit.

    >>> signed_distance(np.array([False, False, True, True, True]))
    array([ 2.,  1., -1., -2., -3.], dtype=float32)
    """
    _require(mask, known, spacing, shift)
    inside, outside = (mask, ~mask) if known is None else (mask & known, ~mask & known)
    if not (inside.any() and outside.any()):
        return np.zeros(mask.shape, np.float32)
    pixel = 1.0 if spacing is None else min(spacing)
    beyond, within = (pixel * part for part in SHIFTS[shift])
    to_inside = ndimage.distance_transform_edt(~inside, sampling=spacing)
    to_outside = ndimage.distance_transform_edt(~outside, sampling=spacing)
    return np.asarray(np.where(mask, within - to_outside, to_inside - beyond), np.float32)


def class_distances(
    labels: Integer[np.ndarray, "*s"],
    *,
    classes: int,
    spacing: Sequence[float] | None = None,
    shift: float = 0.0,
    ignore: int = VOID,
) -> Float32[np.ndarray, " k *s"]:
    """:func:`signed_distance` of every class of a label map; 0 everywhere for a class that does not occur.

    Args:
        classes: how many there are; labels run from 0 to ``classes - 1``.
        ignore: the label of pixels that are of no known class.

    Raises:
        BadMask: a label is no class.
    """
    known = labels != ignore
    present = np.unique(labels[known])
    if not np.issubdtype(labels.dtype, np.integer) or np.any((present < 0) | (present >= classes)):
        raise BadMask(
            f"labels of type {labels.dtype} with the values {present[:8].tolist()}",
            allowed=f"integers from 0 to {classes - 1}, and {ignore} for void",
            cure="translate ids to class indices first",
        )
    maps = np.zeros((classes, *labels.shape), np.float32)
    for index in present:
        maps[index] = signed_distance(labels == index, known=known, spacing=spacing, shift=shift)
    return maps


def _require(
    mask: Bool[np.ndarray, "*s"],
    known: Bool[np.ndarray, "*t"] | None,
    spacing: Sequence[float] | None,
    shift: float,
) -> None:
    if mask.dtype != bool:
        raise BadArgument(f"mask: values of type {mask.dtype}", allowed="bool", cure="compare labels first")
    if known is not None and known.shape != mask.shape:
        raise BadArgument(f"known: shape {known.shape} for a mask of {mask.shape}", allowed="equal shapes")
    if shift not in SHIFTS:
        raise BadArgument(f"shift: {shift}", allowed=", ".join(f"{value:g}" for value in SHIFTS))
    if spacing is not None and (len(spacing) != mask.ndim or not all(0 < s < np.inf for s in spacing)):
        raise BadArgument(
            f"spacing: {tuple(spacing)} for a mask of {mask.ndim} axes",
            allowed="a positive number for each axis, in the order of the axes",
        )
