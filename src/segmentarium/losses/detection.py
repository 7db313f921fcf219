"""The terms of two-stage detectors, from what a step chose to train on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from segmentarium.losses.matching import at_least_single
from segmentarium.losses.regions import mask_branch
from segmentarium.nn.detector import Lesson
from segmentarium.nn.region_matching import Objects


def detection_terms(
    lesson: Lesson, objects: Sequence[Objects], *, rpn_beta: float, box_beta: float
) -> dict[str, Float[Tensor, ""]]:
    """``rpn_objectness``, ``rpn_box``, ``class``, ``box``; ``mask``, ``keypoint`` where there is such a head.

    Objectness is a binary cross-entropy, class a cross-entropy with the ground, both means over what was
    chosen; the boxes' terms are sums over the objects among these, divided by the same numbers. Without any
    object the last four are 0 and keep the graph.

    Args:
        objects: of each image.
        rpn_beta, box_beta: error of a shift below which its term is a square.

    Source: He et al. 2017, arXiv:1703.06870, section 3; Ren et al. 2015, arXiv:1506.01497, equation 1.
    """
    rpn, regions = lesson.proposals, max(1, len(lesson.classes))
    objectness = functional.binary_cross_entropy_with_logits(
        rpn.logits, rpn.is_object.to(rpn.logits), reduction="sum"
    )
    kinds = functional.cross_entropy(lesson.class_logits, lesson.classes, reduction="sum")
    terms = {
        "rpn_objectness": objectness / max(1, rpn.divisor),
        "rpn_box": smooth_l1(rpn.shifts - rpn.wanted, rpn_beta).sum() / max(1, rpn.divisor),
        "class": kinds / regions,
        "box": smooth_l1(lesson.shifts - lesson.wanted, box_beta).sum() / regions,
    }
    if lesson.mask_logits is not None:
        masks, classes = [own.masks for own in objects], [own.classes for own in objects]
        terms["mask"] = mask_branch(lesson.mask_logits, lesson.boxes, masks, classes, lesson.matched)
    if lesson.keypoint_logits is not None:
        terms["keypoint"] = keypoint_branch(lesson.keypoint_logits, lesson.boxes, objects, lesson.matched)
    return terms


def smooth_l1(errors: Float[Tensor, "n 4"], beta: float) -> Float[Tensor, "n 4"]:
    """|e| - beta / 2, but e^2 / (2 beta) where |e| is below ``beta``.

    Source: Girshick 2015, arXiv:1504.08083, equation 3, with beta = 1.
    """
    size = errors.abs()
    return torch.where(size < beta, 0.5 * size.square() / max(beta, 1e-12), size - 0.5 * beta)


def keypoint_branch(
    logits: Float[Tensor, "n p c c"],
    boxes: Sequence[Float[Tensor, "_ 4"]],
    objects: Sequence[Objects],
    matched: Sequence[Int[Tensor, " _"]],
) -> Float[Tensor, ""]:
    """Mean cross-entropy over the visible keypoints that lie in their region, all its cells being classes.

    An object without keypoints learns none. Without any the term is 0 and keeps the graph.

    Args:
        boxes: the regions with an object, of each image.
        matched: the object of each region.

    Source: He et al. 2017, arXiv:1703.06870, section 5.
    """
    logits = at_least_single(logits)
    points, cells = logits.shape[1], logits.shape[-1]
    true = [
        logits.new_zeros(len(which), points, 3) if own.keypoints is None else own.keypoints[which].to(logits)
        for own, which in zip(objects, matched, strict=True)
    ]
    place, known = _cell_of(torch.cat(true), torch.cat(list(boxes)).to(logits), cells)
    if not known.any():
        return 0 * logits.sum()
    return functional.cross_entropy(logits.flatten(2)[known], place[known])


def _cell_of(
    points: Float[Tensor, "n p 3"], boxes: Float[Tensor, "n 4"], cells: int
) -> tuple[Int[Tensor, "n p"], Bool[Tensor, "n p"]]:
    """The cell of each keypoint, counted along the rows, and whether it is visible and inside."""
    first, last = boxes[:, None, :2], boxes[:, None, 2:]
    place = ((points[..., :2] - first) * (cells / (last - first))).floor()
    place = torch.where(points[..., :2] == last, cells - 1, place).long()
    inside = ((place >= 0) & (place < cells)).all(-1)
    return place[..., 1] * cells + place[..., 0], inside & (points[..., 2] > 0)
