"""Scores of crops around proposals, put together to those of a whole picture."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float, Int
from torch import Tensor

from segmentarium.errors import BadArgument
from segmentarium.nn.upsampling import bilinear


def aggregate(
    crop_logits: Float[Tensor, "n k _ _"], boxes: Int[Tensor, "n 4"], *, size: Sequence[int]
) -> Float[Tensor, "k h w"]:
    """Enlarge or shrink each crop's scores to its box and keep the largest score of each class and pixel.

    Outside its box a crop says 0 of every class, so that a pixel gets no score below 0 and one that no box
    reaches gets 0 for all.

    Args:
        crop_logits: what a network answered to each crop; the paper resizes crops to 224x224.
        boxes: (x0, y0, x1, y1) of each crop in pixels of the picture, end exclusive; parts beyond the picture
            are left out, as those of crops with some context around the proposal.
        size: height and width of the picture.

    Returns:
        Scores to take the softmax of; the paper gives them to a dense CRF.

    Raises:
        BadArgument: a box without a pixel.

    Source: Noh, Hong and Han 2015, arXiv:1505.04366, section 5 (inference); the paper takes the 50 boxes
        of highest objectness, its code none with a side below 112 pixels.

    >>> import torch
    >>> scores = torch.tensor([[[[2.0]]], [[[3.0]]]])
    >>> aggregate(scores, torch.tensor([[0, 0, 2, 1], [1, 0, 9, 1]]), size=(1, 4))
    tensor([[[2., 3., 3., 3.]]])
    """
    height, width = size
    scores = crop_logits.new_zeros(crop_logits.shape[1], height, width)
    for crop, (x0, y0, x1, y1) in zip(crop_logits, boxes.tolist(), strict=True):
        if x0 >= x1 or y0 >= y1:
            raise BadArgument(f"boxes: {(x0, y0, x1, y1)}", allowed="x0 < x1 and y0 < y1")
        top, left, bottom, right = max(0, y0), max(0, x0), min(height, y1), min(width, x1)
        if top >= bottom or left >= right:
            continue
        pasted = bilinear(crop[None], (y1 - y0, x1 - x0), antialias=True)[0]
        seen = pasted[:, top - y0 : bottom - y0, left - x0 : right - x0]
        scores[:, top:bottom, left:right] = scores[:, top:bottom, left:right].maximum(seen)
    return scores
