"""Which object a box should learn from, and which boxes are trained on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import box_iou

from segmentarium.nn.truth import Truth, boxes_of

GROUND, UNTRAINED = -1, -2


class Objects(NamedTuple):
    """The objects of one image that can be counted, without their pixels in void; none of them is empty.

    ``keypoints`` are (x, y, visible) in pixels.
    """

    masks: Bool[Tensor, "t h w"]
    classes: Int[Tensor, " t"]
    boxes: Float[Tensor, "t 4"]
    void: Bool[Tensor, "h w"] | None = None
    keypoints: Float[Tensor, "t p 3"] | None = None


def countable(truth: Truth, *, things: int, keypoints: Float[Tensor, "t p 3"] | None = None) -> Objects:
    """The objects of ``truth`` whose class is one of the first ``things``."""
    masks = truth.masks if truth.void is None else truth.masks & ~truth.void
    kept = (truth.classes < things) & masks.flatten(1).any(1)
    masks = masks[kept]
    points = None if keypoints is None else keypoints[kept]
    return Objects(masks, truth.classes[kept].long(), boxes_of(masks), truth.void, points)


def assign(
    boxes: Float[Tensor, "n 4"],
    objects: Objects,
    *,
    positive: float,
    negative: float,
    rescue: bool = False,
) -> Int[Tensor, " n"]:
    """The object of each box, or ``GROUND``, or ``UNTRAINED`` for what is neither.

    Args:
        positive: a box belongs to the object it overlaps most, if by this share of their union.
        negative: below it a box is ground, unless most of it is void: then it is untrained.
        rescue: the boxes that overlap an object most, of all boxes, are not ground either way.
    """
    if not len(objects.boxes):
        matched = boxes.new_full((len(boxes),), GROUND, dtype=torch.long)
    else:
        overlaps = box_iou(objects.boxes.to(boxes), boxes)
        most, nearest = overlaps.max(0)
        matched = torch.where(most >= positive, nearest, UNTRAINED)
        matched[most < negative] = GROUND
        if rescue:
            best = overlaps.amax(1, keepdim=True)
            saved = ((overlaps == best) & (best > 0)).any(0)
            matched = torch.where(saved, nearest, matched)
    if objects.void is not None:
        matched[(matched == GROUND) & (covered(boxes, objects.void) > 0.5)] = UNTRAINED
    return matched


def covered(boxes: Float[Tensor, "n 4"], mask: Bool[Tensor, "h w"]) -> Float[Tensor, " n"]:
    """The share of each box, cut to the image and to whole pixels, that ``mask`` holds; 0 of nothing."""
    height, width = mask.shape
    sums = torch.zeros(height + 1, width + 1, dtype=torch.float64, device=mask.device)
    sums[1:, 1:] = mask.double().cumsum(0).cumsum(1)
    x0, y0, x1, y1 = boxes.round().long().unbind(1)
    x0, x1 = x0.clamp(0, width), x1.clamp(0, width)
    y0, y1 = y0.clamp(0, height), y1.clamp(0, height)
    held = sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]
    return (held / ((x1 - x0) * (y1 - y0)).clamp_min(1)).to(boxes)


def choose(
    matched: Int[Tensor, " n"], *, count: int, share: float, draw: torch.Generator | None
) -> Int[Tensor, " m"]:
    """Some boxes to train on, by chance: those with an object first, then ground.

    Args:
        matched: see :func:`assign`.
        count: how many boxes; fewer if there are not as many.
        share: of ``count``, the most that may have an object.
        draw: asked once for as many numbers as there are boxes.
    """
    where = matched.device if draw is None else draw.device
    order = torch.rand(len(matched), generator=draw, device=where).to(matched.device).argsort(stable=True)
    shuffled = matched[order]
    objects = order[shuffled >= 0][: int(count * share)]
    return torch.cat([objects, order[shuffled == GROUND][: count - len(objects)]])
