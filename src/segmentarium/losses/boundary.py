"""The boundary loss: probability weighs as much as it lies far from the true border.

It is blind to classes that are absent, and a small object that is missed costs it next to nothing. So its
authors add it to an overlap loss, alpha region + (1 - alpha) boundary, with alpha falling from 1 as training
goes on.
"""

from __future__ import annotations

from collections.abc import Sequence

from segmentarium.losses.structure import (
    Maps,
    Scalar,
    Total,
    Worth,
    alone,
    distance_maps,
    mean_over_pixels,
    prepare,
    require_probabilities,
)


def boundary(
    probs: Maps,
    truth: Maps,
    worth: Worth,
    *,
    spacing: Sequence[float] | None = None,
    shift: float = 1.0,
    classes: Sequence[int] | None = None,
    total: Total = alone,
) -> Scalar:
    """Mean over classes and pixels of s phi: probability times signed distance to the border of truth.

    The distance is negative inside, and so is the loss of a good prediction. A class that is absent, or is
    everywhere, has no border and the distance 0. The maps are made here, on the CPU; where that takes too
    long, a loader makes them with ``class_distances`` for :func:`boundary_from_map`.

    Args:
        truth: 1 where the class is, 0 elsewhere.
        worth: how much a pixel counts; 0 is ignored.
        spacing: distance of pixel centres along each axis of space; unit of the loss.
        shift: where zero lies, as in ``signed_distance``; 1 is the published code.
        classes: the channels that count, all if left out; the authors leave out the background.

    Raises:
        BadArgument: shapes, ranges, the spacing or the shift do not fit.

    Source: Kervadec et al. 2019, arXiv:1812.07032, section 2.
    """
    maps = prepare(probs, truth, worth, classes=classes)
    require_probabilities(maps)
    distances = distance_maps(maps.truth > 0.5, maps.known, spacing=spacing, shift=shift)
    return mean_over_pixels(maps.probs * distances, maps.worth, total)


def boundary_from_map(
    probs: Maps,
    distances: Maps,
    worth: Worth,
    *,
    classes: Sequence[int] | None = None,
    total: Total = alone,
) -> Scalar:
    """:func:`boundary` with given signed distances, positive outside each class."""
    maps = prepare(probs, distances, worth, classes=classes)
    require_probabilities(maps._replace(truth=maps.probs))
    return mean_over_pixels(maps.probs * maps.truth, maps.worth, total)
