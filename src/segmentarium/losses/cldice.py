"""Centreline Dice: of a tube, that the middle is found counts more than its width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.losses.structure import (
    Maps,
    Prepared,
    Scalar,
    Total,
    Worth,
    alone,
    prepare,
    quotient,
    require_probabilities,
)

PROTOCOLS = {
    "published": "one ratio from the sums over the batch and its classes, as in the authors' code",
    "monai": "a ratio an image (Dice: an image and class), averaged; 0.0001 in the harmonic mean",
}
"""How the sums are grouped."""

Protocol = Literal["published", "monai"]
_EPSILON = {"published": 0.0, "monai": 1e-4}


def cl_dice(
    probs: Maps,
    truth: Maps,
    worth: Worth,
    *,
    protocol: Protocol = "published",
    iterations: int = 10,
    smooth: float = 1.0,
    classes: Sequence[int] | None = None,
    total: Total = alone,
) -> Scalar:
    """1 - 2 T S / (T + S); T is the share of the predicted skeleton that lies in truth, S the reverse.

    Without anything to find and anything found it is 0, through ``smooth``.

    Args:
        truth: 1 where the class is, 0 elsewhere.
        worth: how much a pixel counts; 0 is ignored.
        protocol: how the sums are grouped, see ``PROTOCOLS``.
        iterations: erosions, at least half the width in pixels of what is looked for. The authors' code uses
            10 whatever it is told, MONAI 3.
        smooth: added to both terms of both shares.
        classes: the channels that count, all if left out; the background has no meaningful skeleton.

    Raises:
        BadArgument: shapes, ranges or a number do not fit.
        UnknownName: there is no such protocol.

    Source: Shit et al. 2021, arXiv:2003.07311, section 3 and algorithm 1.
    """
    _require(protocol, smooth)
    maps = prepare(probs, truth, worth, classes=classes)
    require_probabilities(maps)
    return _centreline(maps, protocol, iterations, smooth, total)


def dice_cl_dice(
    probs: Maps,
    truth: Maps,
    worth: Worth,
    *,
    alpha: float = 0.5,
    protocol: Protocol = "published",
    iterations: int = 10,
    smooth: float = 1.0,
    classes: Sequence[int] | None = None,
    total: Total = alone,
) -> Scalar:
    """(1 - alpha) Dice + alpha :func:`cl_dice`: the width counts again.

    Dice is 1 - (2 sum(p g) + smooth) / (sum p + sum g + smooth).

    Raises:
        BadArgument: ``alpha`` is not in 0..1, or what :func:`cl_dice` refuses.

    Source: Shit et al. 2021, arXiv:2003.07311, section 3.
    """
    if not 0 <= alpha <= 1:
        raise BadArgument(f"alpha: {alpha}", allowed="0 (Dice alone) to 1 (clDice alone)")
    _require(protocol, smooth)
    maps = prepare(probs, truth, worth, classes=classes)
    require_probabilities(maps)

    def loss(sums: Float[Tensor, " 2 *g"]) -> Float[Tensor, "*g"]:
        return 1 - (2 * sums[0] + smooth) / (sums[1] + smooth)

    sums = _sums([maps.probs * maps.truth, maps.probs + maps.truth], maps.worth)
    whole = _grouped(sums, maps, protocol, total, loss)
    return (1 - alpha) * whole + alpha * _centreline(maps, protocol, iterations, smooth, total)


def soft_skeleton(
    maps: Maps, *, iterations: int = 10, known: Bool[Tensor, "b 1 *s"] | None = None
) -> Float[Tensor, "b k *s"]:
    """What openings take away from the maps and from each of their erosions: ridges, by how high they stand.

    Args:
        maps: in 0..1, in two or three axes of space.
        iterations: erosions; ridges further than that from the nearest edge are not seen.
        known: neighbourhoods end where it is false, as at the edge of the image; values there mean nothing.

    Source: Shit et al. 2021, arXiv:2003.07311, algorithm 1; erosion by the cross, dilation by the square.
    """
    if iterations < 0:
        raise BadArgument(f"iterations: {iterations}", allowed="0 and above")
    unknown = None if known is None else ~known
    skeleton = torch.zeros_like(maps)
    for _ in range(iterations + 1):
        eroded = _erode(maps if unknown is None else maps.masked_fill(unknown, 1))
        inner = eroded if unknown is None else eroded.masked_fill(unknown, 0)
        opened = _pool(inner, (3,) * (maps.ndim - 2))
        ridges = functional.relu(maps - opened)
        skeleton = skeleton + functional.relu(ridges - skeleton * ridges)
        maps = eroded
    return skeleton


def _centreline(maps: Prepared, protocol: Protocol, iterations: int, smooth: float, total: Total) -> Scalar:
    epsilon = _EPSILON[protocol]

    def loss(sums: Float[Tensor, " 4 *g"]) -> Float[Tensor, "*g"]:
        precise = (sums[0] + smooth) / (sums[1] + smooth)
        sensitive = (sums[2] + smooth) / (sums[3] + smooth)
        return 1 - 2 * precise * sensitive / (precise + sensitive + epsilon)

    found = soft_skeleton(maps.probs, iterations=iterations, known=maps.known)
    true = soft_skeleton(maps.truth, iterations=iterations, known=maps.known)
    sums = _sums([found * maps.truth, found, true * maps.probs, true], maps.worth)
    return _grouped(sums.sum(2, keepdim=True), maps, protocol, total, loss)


def _erode(maps: Maps) -> Float[Tensor, "b k *s"]:
    """The least of a pixel and its neighbours along the axes."""
    axes = maps.ndim - 2
    eroded = -_pool(-maps, tuple(3 if axis == 0 else 1 for axis in range(axes)))
    for line in range(1, axes):
        eroded = torch.minimum(eroded, -_pool(-maps, tuple(3 if axis == line else 1 for axis in range(axes))))
    return eroded


def _pool(maps: Maps, window: tuple[int, ...]) -> Float[Tensor, "b k *s"]:
    pool = functional.max_pool2d if len(window) == 2 else functional.max_pool3d
    return pool(maps, window, stride=1, padding=tuple(side // 2 for side in window))


def _sums(maps: Sequence[Maps], worth: Worth) -> Float[Tensor, "n b k"]:
    return torch.stack([(each * worth).flatten(2).sum(2) for each in maps])


def _grouped(
    sums: Float[Tensor, "n b g"],
    maps: Prepared,
    protocol: Protocol,
    total: Total,
    loss: Callable[[Tensor], Tensor],
) -> Scalar:
    """The loss of all sums together, or the mean of those of the images that have pixels that count."""
    if protocol == "published":
        return loss(total(sums.flatten(1).sum(1)))
    counted = maps.known.flatten(1).any(1).to(sums.dtype)
    each = loss(sums).mean(1)
    return quotient(total(torch.stack([(each * counted).sum(), counted.sum()])))


def _require(protocol: str, smooth: float) -> None:
    if protocol not in PROTOCOLS:
        raise UnknownName.among("protocol of clDice", protocol, PROTOCOLS)
    if not smooth > 0:
        raise BadArgument(
            f"smooth: {smooth}", allowed="above 0", cure="without it an empty image has no ratio"
        )
