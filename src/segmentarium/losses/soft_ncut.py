"""The soft normalised cut: parts of a picture should hold together more than they are tied to the rest."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import ceil, exp

import torch
from jaxtyping import Float
from torch import Tensor

from segmentarium.errors import BadArgument
from segmentarium.losses.evidence import Scalar, ratio

Offset = tuple[int, int]
Window = tuple[slice, slice]


def soft_ncut(
    probs: Float[Tensor, "b k h w"],
    image: Float[Tensor, "_ c _ _"],
    *,
    radius: float = 5.0,
    sigma_intensity: float = 10.0,
    sigma_distance: float = 4.0,
) -> Scalar:
    """k less the sum over the parts of the share of a part's ties that stay in it; the mean over images.

    Pixels less than ``radius`` apart are tied by exp(-(F / sigma_intensity)^2 - (X / sigma_distance)^2), F
    being how far their values are apart and X how far their places; each pixel is tied to itself by 1. The
    loss lies between 0 and k; it is k - 1 where all pixels are in one part, or evenly in all.

    No gradient goes to ``image``. Memory is that of a few maps of ``probs``, whatever the radius.

    Args:
        probs: membership of each pixel in each part, summing to 1 over the parts.
        image: in the units of ``sigma_intensity``; the paper's 10 is for white at 255.
        radius, sigma_distance: in pixels.

    Raises:
        BadArgument: a number is not above 0, or the sizes differ.

    Source: Xia and Kulis 2017, arXiv:1711.08506, section 3.2; Shi and Malik 2000.
    """
    _require(probs, image, radius, sigma_intensity, sigma_distance)
    with torch.no_grad():
        held, ties = probs.clone(), torch.ones_like(probs[:, :1])  # each pixel is tied to itself
        for offset in _offsets(radius):
            here, there = _windows(offset, (probs.shape[2], probs.shape[3]))
            near = exp(-(offset[0] ** 2 + offset[1] ** 2) / sigma_distance**2)
            apart = (image[..., *here] - image[..., *there]).square().sum(1, keepdim=True)
            tie = near * (apart / -(sigma_intensity**2)).exp().to(probs.dtype)
            for one, other in ((here, there), (there, here)):
                held[..., *one] += tie * probs[..., *other]
                ties[..., *one] += tie
    # ties go both ways: the gradient of p W p is 2 W p, and no step of the loop need be remembered
    within = ((2 * probs - probs.detach()) * held).sum((2, 3))
    every = (probs * ties).sum((2, 3))
    return probs.shape[1] - ratio(within, every, empty=0.0).sum(1).mean()


def _offsets(radius: float) -> Iterator[Offset]:
    """The places less than ``radius`` away, one of each two opposite ones."""
    reach = ceil(radius) - 1
    for down, right in product(range(reach + 1), range(-reach, reach + 1)):
        if (down, right) > (0, 0) and down**2 + right**2 < radius**2:
            yield down, right


def _windows(offset: Offset, size: tuple[int, int]) -> tuple[Window, Window]:
    """The pixels that have a neighbour at ``offset`` within the image, and those neighbours."""
    pairs = [
        (slice(max(0, -step), max(0, side - max(0, step))), slice(max(0, step), max(0, side + min(0, step))))
        for step, side in zip(offset, size, strict=True)
    ]
    return (pairs[0][0], pairs[1][0]), (pairs[0][1], pairs[1][1])


def _require(probs: Tensor, image: Tensor, *numbers: float) -> None:
    if probs.shape[0] != image.shape[0] or probs.shape[2:] != image.shape[2:]:
        raise BadArgument(
            f"probs of shape {tuple(probs.shape)} for images of {tuple(image.shape)}",
            allowed="as many of the same height and width",
        )
    if min(numbers) <= 0:
        raise BadArgument(f"radius, sigma_intensity, sigma_distance: {numbers}", allowed="above 0")
