"""DETR's loss: queries are matched to the true objects of each image by class and box.

Each matched query learns its object's class, box and mask; every other query learns to say "no object".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.losses.evidence import Total
from segmentarium.losses.matched import all_pixels, class_sums, mask_sums, places
from segmentarium.losses.matching import Match, assign, at_least_single, require_fitting
from segmentarium.losses.points import Draw
from segmentarium.nn.outputs import Queries
from segmentarium.nn.truth import Truth, boxes_of


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The numbers of a paper.

    Attributes:
        class_weight, box_weight, giou_weight: of the terms, and of the costs that queries are matched by.
        mask_weight, dice_weight: of the masks' terms, which no cost mirrors.
        no_object: what a query without truth counts beside one that has one.
    """

    class_weight: float = 1.0
    box_weight: float = 5.0
    giou_weight: float = 2.0
    mask_weight: float = 1.0
    dice_weight: float = 1.0
    no_object: float = 0.1


SETTINGS: dict[str, Setting] = {
    # Carion et al. 2020, arXiv:2005.12872, appendix A.4; 0.1 in section 3.1
    "detr": Setting(),
}


_TINY = 1e-12


class Objects(NamedTuple):
    """The objects of one image that can be seen, with their boxes as ``Queries`` has them."""

    truth: Truth
    boxes: Float[Tensor, "t 4"]


class DetrLoss(nn.Module):
    """Cross-entropy of classes + distance and generalised IoU of boxes + focal and Dice loss of masks.

    Classes: mean over all queries, weighted, "no object" being the last. The others are sums over the matched
    queries, divided by the number of objects, which is taken to be 1 where there is none. A box's distance is
    the sum over its four shares. A mask is compared at the size of its truth; only the last layer has any.

    An object without a pixel outside void has no box and is left out; void pixels count nowhere. Arithmetic
    is in float32 at least.

    Args:
        setting: of a paper by its name, or one's own.
        total: applied to all sums; ``sum_over_processes`` unites a batch spread over processes.

    Source: Carion et al. 2020, arXiv:2005.12872, equations 1 and 2, section 4.4 and appendix A.2.
    """

    def __init__(self, setting: str | Setting = "detr", *, total: Total = lambda sums: sums) -> None:
        super().__init__()
        if isinstance(setting, str):
            if setting not in SETTINGS:
                raise UnknownName.among("setting", setting, SETTINGS)
            setting = SETTINGS[setting]
        self.setting, self.total = setting, total

    def forward(
        self,
        output: Queries,
        truths: Sequence[Truth],
        *,
        draw: Draw | torch.Generator | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms, unweighted, and the weighted sum of all as ``loss``.

        They are ``class``, ``box``, ``giou``, ``mask`` and ``dice``. ``output.aux[i]`` is matched anew; its
        first three end in ``_i`` and have the same weights.

        Args:
            truths: one an image; masks may be larger than the output's.
            draw: not asked, nothing is left to chance.

        Raises:
            BadArgument: truths do not fit the output or one another, or the output has no boxes.
        """
        require_fitting(output, truths)
        layers = (output, *output.aux)
        objects = [objects_of(truth, like=_boxes(output)) for truth in truths]
        matches = [match(layer, objects, self.setting) for layer in layers]
        parts = [self._sums(layer, objects, found) for layer, found in zip(layers, matches, strict=True)]
        count = parts[0].new_tensor([sum(len(boxes) for _, boxes in objects)])
        sums = self.total(torch.cat([*parts, _masks(output, objects, matches[0]), count]))
        return self._terms(sums[:-3].view(len(layers), 4), sums[-3:-1], sums[-1].clamp_min(1))

    def _sums(
        self, layer: Queries, objects: Sequence[Objects], matches: Sequence[Match]
    ) -> Float[Tensor, "4"]:
        """Class losses, their weights, distances and lost IoU of boxes."""
        at = places(matches, layer.class_logits.device)
        truths = [truth for truth, _ in objects]
        logits = at_least_single(layer.class_logits)
        classes = class_sums(logits, truths, matches, at, self.setting.no_object)
        answered = _boxes(layer)[at]
        true = torch.cat([boxes[found.truths] for (_, boxes), found in zip(objects, matches, strict=True)])
        lost = (1 - generalised_iou(corners(answered), corners(true))).sum()
        return torch.cat([classes, torch.stack([(answered - true).abs().sum(), lost])])

    def _terms(
        self, layers: Float[Tensor, "l 4"], masks: Float[Tensor, "2"], count: Float[Tensor, ""]
    ) -> dict[str, Float[Tensor, ""]]:
        setting = self.setting
        terms = torch.stack([layers[:, 0] / layers[:, 1].clamp_min(_TINY), *(layers[:, 2:].T / count)], dim=1)
        focal, dice = masks / count
        weights = terms.new_tensor([setting.class_weight, setting.box_weight, setting.giou_weight])
        named = {
            name + (f"_{layer - 1}" if layer else ""): terms[layer, column]
            for layer in range(len(terms))
            for column, name in enumerate(("class", "box", "giou"))
        }
        loss = (terms * weights).sum() + setting.mask_weight * focal + setting.dice_weight * dice
        return named | {"mask": focal, "dice": dice, "loss": loss}


@torch.no_grad()
def match(output: Queries, objects: Sequence[Objects], setting: Setting) -> tuple[Match, ...]:
    """Give each object of each image a query of its own, at the least total cost; see ``assign``."""
    chances, boxes = at_least_single(output.class_logits).softmax(-1), _boxes(output)
    costs = []
    for chance, own, (truth, true) in zip(chances, boxes, objects, strict=True):
        apart = (own[:, None] - true).abs().sum(-1)
        shared = generalised_iou(corners(own)[:, None], corners(true))
        likely = chance[:, truth.classes.long()]
        costs.append(
            setting.box_weight * apart - setting.giou_weight * shared - setting.class_weight * likely
        )
    # one transfer for the whole batch
    flat = torch.cat([cost.flatten() for cost in costs]).double().cpu()
    parts = torch.split(flat, [cost.numel() for cost in costs])
    return tuple(assign(part.view(cost.shape).numpy()) for part, cost in zip(parts, costs, strict=True))


def objects_of(truth: Truth, *, like: Float[Tensor, "..."]) -> Objects:
    """The objects of ``truth`` with a pixel outside void; boxes in the precision of ``like``."""
    masks = truth.masks if truth.void is None else truth.masks & ~truth.void
    there = masks.flatten(1).any(1)
    height, width = masks.shape[1:]
    edges = boxes_of(masks[there]).to(like) / like.new_tensor([width, height, width, height])
    boxes = torch.cat([(edges[:, :2] + edges[:, 2:]) / 2, edges[:, 2:] - edges[:, :2]], dim=1)
    return Objects(Truth(truth.masks[there], truth.classes[there], truth.void), boxes)


def corners(boxes: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    """(centre x, centre y, width, height) as (x0, y0, x1, y1)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def generalised_iou(boxes: Float[Tensor, "*#n 4"], others: Float[Tensor, "*#n 4"]) -> Float[Tensor, "*n"]:
    """IoU of boxes (x0, y0, x1, y1), less the share of their common hull that neither fills; -1 to 1.

    At least one of the two must have an area.

    Source: Rezatofighi et al. 2019, arXiv:1902.09630.
    """
    overlap = _area(
        torch.maximum(boxes[..., :2], others[..., :2]), torch.minimum(boxes[..., 2:], others[..., 2:])
    )
    hull = _area(
        torch.minimum(boxes[..., :2], others[..., :2]), torch.maximum(boxes[..., 2:], others[..., 2:])
    )
    union = _area(boxes[..., :2], boxes[..., 2:]) + _area(others[..., :2], others[..., 2:]) - overlap
    return overlap / union - (hull - union) / hull


def _area(low: Float[Tensor, "*n 2"], high: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n"]:
    return (high - low).clamp_min(0).prod(-1)


def _masks(output: Queries, objects: Sequence[Objects], matches: Sequence[Match]) -> Float[Tensor, "2"]:
    """Focal and Dice losses."""
    images, queries = places(matches, output.mask_logits.device)
    logits = at_least_single(output.mask_logits)[images, queries]
    if not len(logits):
        return logits.sum().expand(2)
    truths = [truth for truth, _ in objects]
    return mask_sums(all_pixels(logits, truths, matches, images), "focal")


def _boxes(output: Queries) -> Float[Tensor, "b q 4"]:
    if output.boxes is None:
        raise BadArgument(
            "queries without boxes", allowed="queries that answer with boxes", cure="use mask classification"
        )
    return at_least_single(output.boxes)
