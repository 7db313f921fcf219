"""Boxes as shifts of other boxes.

Boxes are (x0, y0, x1, y1) in pixels. A shift is (dx, dy, dw, dh): how far the centre moves, in sides of the
box that is shifted, and the logarithms by which these sides grow, each times a weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import torch
from jaxtyping import Float
from torch import Tensor

EVEN = (1.0, 1.0, 1.0, 1.0)
MOST_GROWTH = log(1000 / 16)  # larger ones are cut, before their exponential is infinite


def encode(
    boxes: Float[Tensor, "*n 4"], anchors: Float[Tensor, "*n 4"], *, weights: Sequence[float] = EVEN
) -> Float[Tensor, "*n 4"]:
    """The shifts that turn ``anchors`` into ``boxes``, both of positive sides.

    Source: Girshick et al. 2014, arXiv:1311.2524, appendix C.
    """
    centre, side = _centre_and_side(boxes)
    from_centre, from_side = _centre_and_side(anchors)
    shifts = torch.cat([(centre - from_centre) / from_side, (side / from_side).log()], dim=-1)
    return shifts * shifts.new_tensor(weights)


def decode(
    shifts: Float[Tensor, "*n 4"], anchors: Float[Tensor, "*m 4"], *, weights: Sequence[float] = EVEN
) -> Float[Tensor, "*n 4"]:
    """``anchors``, shifted; sides grow to 62.5 times theirs at most."""
    shifts = shifts / shifts.new_tensor(weights)
    from_centre, from_side = _centre_and_side(anchors)
    centre = from_centre + shifts[..., :2] * from_side
    half = shifts[..., 2:].clamp(max=MOST_GROWTH).exp() * from_side / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def clip(boxes: Float[Tensor, "*n 4"], size: Sequence[int]) -> Float[Tensor, "*n 4"]:
    """The part of ``boxes`` that lies in an image of ``size``, height and width; may be empty."""
    height, width = size
    return torch.minimum(boxes.clamp_min(0), boxes.new_tensor([width, height, width, height]))


def _centre_and_side(boxes: Float[Tensor, "*n 4"]) -> tuple[Float[Tensor, "*n 2"], Float[Tensor, "*n 2"]]:
    side = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + side / 2, side
