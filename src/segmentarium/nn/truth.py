"""What networks that answer with masks learn from."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Truth(NamedTuple):
    """The true masks of one image, each with its class.

    Masks may overlap. Pixels of ``void`` are nobody's: they count in no cost and no loss, whatever the masks
    say there.
    """

    masks: Bool[Tensor, " t *s"]
    classes: Int[Tensor, " t"]
    void: Bool[Tensor, "*s"] | None = None


def boxes_of(masks: Bool[Tensor, "t h w"]) -> Float[Tensor, "t 4"]:
    """Boxes (x0, y0, x1, y1) around ``masks``, in pixels, end exclusive; zeros where a mask is empty."""
    boxes = masks.new_zeros((len(masks), 4), dtype=torch.float32)
    for column, lines in ((0, masks.any(1)), (1, masks.any(2))):
        places = torch.arange(lines.shape[1], device=masks.device)
        boxes[:, column + 2] = torch.where(lines, places + 1, 0).amax(1)
        first = torch.where(lines, places, lines.shape[1]).amin(1)
        boxes[:, column] = torch.where(lines.any(1), first, 0)
    return boxes
