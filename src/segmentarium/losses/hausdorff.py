"""The Hausdorff-distance losses: an error weighs as much as it lies far from both borders."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor

from segmentarium.errors import BadArgument
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


def hausdorff(
    probs: Maps,
    truth: Maps,
    worth: Worth,
    *,
    alpha: float = 2.0,
    spacing: Sequence[float] | None = None,
    classes: Sequence[int] | None = None,
    total: Total = alone,
) -> Scalar:
    """Mean over classes and pixels of (p - g)^2 (d_p^alpha + d_g^alpha).

    d_g is the distance of a pixel to the nearest one on the other side of the border of truth, d_p of the
    prediction, which is ``probs`` above 1/2; both are 0 for a mask that is empty or everywhere. They are made
    on the CPU and get no gradient.

    Args:
        truth: 1 where the class is, 0 elsewhere.
        worth: how much a pixel counts; 0 is ignored.
        alpha: how much more a far error counts.
        spacing: distance of pixel centres along each axis of space.
        classes: the channels that count, all if left out; leaving out the background is customary.

    Raises:
        BadArgument: shapes, ranges, the spacing or alpha do not fit.

    Source: Karimi and Salcudean 2019, arXiv:1904.10030, the loss by distance transforms.
    """
    if not alpha > 0:
        raise BadArgument(f"alpha: {alpha}", allowed="above 0", cure="the paper advises 1 to 3")
    maps = prepare(probs, truth, worth, classes=classes)
    require_probabilities(maps)

    def reach(members: Bool[Tensor, "b k *s"]) -> Float[Tensor, "b k *s"]:
        return distance_maps(members, maps.known, spacing=spacing).abs() ** alpha

    error = (maps.probs - maps.truth).square()
    return mean_over_pixels(error * (reach(maps.probs > 0.5) + reach(maps.truth > 0.5)), maps.worth, total)


def log_hausdorff(
    probs: Maps,
    truth: Maps,
    worth: Worth,
    *,
    alpha: float = 2.0,
    spacing: Sequence[float] | None = None,
    classes: Sequence[int] | None = None,
    total: Total = alone,
) -> Scalar:
    """ln(1 + :func:`hausdorff`): of the size of other losses, whatever the distances."""
    plain = hausdorff(probs, truth, worth, alpha=alpha, spacing=spacing, classes=classes, total=total)
    return plain.log1p()
