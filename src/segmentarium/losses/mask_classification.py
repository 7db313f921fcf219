"""The loss of mask classification: a set of queries, matched to the true masks of each image.

Each matched query learns its truth's class and mask; every other query learns to say "no object".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from segmentarium.errors import UnknownName
from segmentarium.losses import matching
from segmentarium.losses.evidence import Total
from segmentarium.losses.matched import all_pixels, at_points, class_sums, mask_sums, places, void_of
from segmentarium.losses.matching import (
    Cost,
    HungarianMatcher,
    at_least_single,
    class_probability,
)
from segmentarium.losses.points import Draw, Rest, drawing, uncertain_points
from segmentarium.nn.outputs import Queries
from segmentarium.nn.truth import Truth


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The numbers of a paper.

    Attributes:
        class_weight, mask_weight, dice_weight: of the terms, and of the costs that queries are matched by.
        mask: how a mask's pixels are compared.
        no_object: what a query without truth counts beside one that has one.
        points: how many points a mask is compared at; None for all pixels of the truth.
        oversample, importance, rest: how points are chosen, see ``uncertain_points``.
    """

    class_weight: float = 2.0
    mask_weight: float = 5.0
    dice_weight: float = 5.0
    mask: Literal["cross_entropy", "focal"] = "cross_entropy"
    no_object: float = 0.1
    points: int | None = 12544
    oversample: float = 3.0
    importance: float = 0.75
    rest: Rest = "fresh"

    def matcher(self) -> HungarianMatcher:
        """Costs that mirror the terms."""
        alike = {"cross_entropy": matching.cross_entropy, "focal": matching.focal}[self.mask]
        weights: dict[Cost, float] = {
            class_probability: self.class_weight,
            alike: self.mask_weight,
            matching.dice: self.dice_weight,
        }
        return HungarianMatcher(weights, points=self.points)


SETTINGS: dict[str, Setting] = {
    # Cheng et al. 2021, arXiv:2107.06278, section 4.1: focal 20, dice 1
    "maskformer": Setting(class_weight=1.0, mask_weight=20.0, dice_weight=1.0, mask="focal", points=None),
    # Cheng et al. 2022, arXiv:2112.01527, section 4.1: cross-entropy 5, dice 5, classes 2
    "mask2former": Setting(),
}


_TINY = 1e-12


class MaskClassificationLoss(nn.Module):
    """Cross-entropy of classes + focal loss or cross-entropy of masks + Dice of masks.

    Classes: mean over all queries, weighted, "no object" being the last. Masks: sums over the matched ones,
    divided by the number of true masks, which is taken to be 1 where there is none. Dice is
    1 - (2 sum(p t) + 1) / (sum p + sum t + 1). Void pixels, and points that touch one, count nowhere.
    Arithmetic is in float32 at least.

    Args:
        setting: of a paper by its name, or one's own.
        matcher: by default one whose costs are weighted as the terms are.
        total: applied to all sums; ``sum_over_processes`` unites a batch spread over processes.

    Source: Cheng et al. 2021, arXiv:2107.06278, equation 2, and 2022, arXiv:2112.01527, section 3.3.
    """

    def __init__(
        self,
        setting: str | Setting = "mask2former",
        *,
        matcher: HungarianMatcher | None = None,
        total: Total = lambda sums: sums,
    ) -> None:
        super().__init__()
        if isinstance(setting, str):
            if setting not in SETTINGS:
                raise UnknownName.among("setting", setting, SETTINGS)
            setting = SETTINGS[setting]
        self.setting, self.total = setting, total
        self.matcher = setting.matcher() if matcher is None else matcher

    def forward(
        self,
        output: Queries,
        truths: Sequence[Truth],
        *,
        draw: Draw | torch.Generator | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms ``class``, ``mask`` and ``dice``, unweighted, and the weighted sum of all as ``loss``.

        Terms of ``output.aux[i]``, which is matched anew, end in ``_i`` and have the same weights.

        Args:
            truths: one an image; masks may be larger than the output's.
            draw: where points come from. Asked for each output in turn, ``output`` itself first: for the
                matcher's points, then for those of ``uncertain_points``.

        Raises:
            BadArgument: truths do not fit the output, or one another.
        """
        outputs = (output, *output.aux)
        draw = drawing(draw, output.mask_logits.device)
        sums = torch.stack([self._sums(one, truths, draw) for one in outputs])
        count = sums.new_tensor([sum(len(truth.masks) for truth in truths)]).expand(len(outputs), 1)
        sums = self.total(torch.cat([sums, count], dim=1))
        below = torch.stack([sums[:, 1].clamp_min(_TINY), *[sums[:, 4].clamp_min(1)] * 2], dim=1)
        terms = sums[:, [0, 2, 3]] / below
        weights = terms.new_tensor(
            [self.setting.class_weight, self.setting.mask_weight, self.setting.dice_weight]
        )
        named = {
            name + (f"_{layer - 1}" if layer else ""): terms[layer, column]
            for layer in range(len(outputs))
            for column, name in enumerate(("class", "mask", "dice"))
        }
        return named | {"loss": (terms * weights).sum()}

    def _sums(self, output: Queries, truths: Sequence[Truth], draw: Draw) -> Float[Tensor, "4"]:
        """Of one layer: class losses, their weights, mask losses, Dice losses."""
        setting = self.setting
        matches = self.matcher(output, truths, draw=draw)
        images, queries = places(matches, output.mask_logits.device)
        classes = class_sums(
            at_least_single(output.class_logits), truths, matches, (images, queries), setting.no_object
        )
        logits = at_least_single(output.mask_logits)[images, queries]
        if not len(logits):
            return torch.cat([classes, logits.sum().expand(2)])
        if setting.points is None:
            return torch.cat([classes, mask_sums(all_pixels(logits, truths, matches, images), setting.mask)])
        points = uncertain_points(
            logits.detach(),
            setting.points,
            draw=draw,
            oversample=setting.oversample,
            importance=setting.importance,
            rest=setting.rest,
            void=void_of(truths),
            images=images,
        )
        return torch.cat(
            [classes, mask_sums(at_points(points, logits, truths, matches, images), setting.mask)]
        )
