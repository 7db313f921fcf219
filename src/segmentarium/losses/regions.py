"""The mask branch of region networks, trained on the regions that hold an object."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional
from torchvision.ops import roi_align

from segmentarium.errors import BadArgument
from segmentarium.losses.matching import at_least_single


def mask_branch(
    mask_logits: Float[Tensor, "n k m m"],
    boxes: Sequence[Float[Tensor, "_ 4"]],
    masks: Sequence[Bool[Tensor, "_ _ _"]],
    classes: Sequence[Int[Tensor, " _"]],
    matched: Sequence[Int[Tensor, " _"]],
) -> Float[Tensor, ""]:
    """Mean binary cross-entropy over the m x m cells of each region's true class.

    The other classes of a region learn nothing. The truth of a cell is the covered share of the part of the
    box that it stands for. Without any region the loss is 0 and keeps the graph.

    Args:
        mask_logits: of the regions of all images, one channel a class.
        boxes: an image's regions as (x0, y0, x1, y1) in pixels of the masks; only those with an object.
        masks: an image's true objects.
        classes: of the true objects: their channel of ``mask_logits``.
        matched: the true object of each region.

    Raises:
        BadArgument: lists of different lengths, or regions that do not add up to those of ``mask_logits``.

    Source: He et al. 2017, arXiv:1703.06870, section 3.
    """
    logits = at_least_single(mask_logits)
    images = list(zip(boxes, masks, classes, matched, strict=False))
    regions = [len(region) for region in boxes]
    if not len(boxes) == len(masks) == len(classes) == len(matched) or sum(regions) != len(logits):
        raise BadArgument(
            f"{len(logits)} mask_logits came for {regions} boxes of {len(masks)} images",
            allowed="as many logits as boxes, and one entry an image in each list",
            cure="keep the regions that hold an object, in the order of the images",
        )
    if not sum(regions):
        return logits.sum()
    cells = logits.shape[-1]
    truth = torch.cat([_crop(own, region, which, cells) for region, own, _, which in images])
    channel = torch.cat([kind[which] for _, _, kind, which in images]).long()
    chosen = logits[torch.arange(len(channel), device=logits.device), channel]
    return functional.binary_cross_entropy_with_logits(chosen, truth.to(logits.dtype))


def _crop(
    masks: Bool[Tensor, "g h w"], boxes: Float[Tensor, "n 4"], matched: Int[Tensor, " n"], cells: int
) -> Float[Tensor, "n c c"]:
    if not len(boxes):
        return boxes.new_zeros(0, cells, cells)
    boxes = at_least_single(boxes)
    regions = torch.cat([matched[:, None].to(boxes.dtype), boxes], dim=1)
    cropped: Tensor = roi_align(masks[:, None].to(boxes.dtype), regions, (cells, cells), 1.0)
    return cropped[:, 0]
