"""Which query answers which true mask: the assignment of least cost.

A cost is a function of one image's ``Pairs`` to a matrix, queries by truths. Any function will do; those of
MaskFormer and Mask2Former are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from segmentarium.errors import BadArgument
from segmentarium.losses.points import Draw, drawing, sample, sample_together
from segmentarium.nn.outputs import Queries
from segmentarium.nn.truth import Truth


class Match(NamedTuple):
    """Queries and the truths they answer, pair by pair in the order of the queries; on the CPU."""

    queries: Int[Tensor, " m"]
    truths: Int[Tensor, " m"]


@dataclass(frozen=True, eq=False)
class Pairs:
    """All queries of one image beside all its truths, read at the same pixels or points, none of them void.

    Attributes:
        class_logits: with "no object" last.
        classes: of the truths.
        logits: of the queries' masks.
        masks: the truths, 0 to 1.
    """

    class_logits: Float[Tensor, "q k"]
    classes: Int[Tensor, " t"]
    logits: Float[Tensor, "q n"]
    masks: Float[Tensor, "t n"]

    @cached_property
    def probs(self) -> Float[Tensor, "q n"]:
        return self.logits.sigmoid()

    def mean(self, sums: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Sums over the pixels, divided by their number; 0 where there are none."""
        return sums / max(self.logits.shape[1], 1)

    def overlap(self, values: Float[Tensor, "q n"]) -> Float[Tensor, "q t"]:
        """Sums over the pixels of each truth."""
        return values @ self.masks.T


Cost = Callable[[Pairs], Float[Tensor, "q t"]]


def class_probability(pairs: Pairs) -> Float[Tensor, "q t"]:
    """Minus the probability that the query gives to the truth's class."""
    return -pairs.class_logits.softmax(-1)[:, pairs.classes]


def cross_entropy(pairs: Pairs) -> Float[Tensor, "q t"]:
    """Binary cross-entropy, mean over the pixels."""
    # linear in the truth: log(1 + exp(x)) - x t, and log(1 + exp(x)) = max(x, 0) - log(max(p, 1 - p))
    decided = (pairs.probs - 0.5).abs_().add_(0.5)
    never = pairs.logits.relu().sum(1) - _sum_of_logs(decided)
    return pairs.mean(never[:, None] - pairs.overlap(pairs.logits))


def focal(pairs: Pairs) -> Float[Tensor, "q t"]:
    """Binary focal loss with alpha = 0.25 and gamma = 2, mean over the pixels.

    Source: Lin et al. 2017, arXiv:1708.02002, equation 5.
    """
    absent = 0.75 * pairs.probs.square() * functional.softplus(pairs.logits)
    present = 0.25 * (1 - pairs.probs).square() * functional.softplus(-pairs.logits)
    return pairs.mean(absent.sum(1)[:, None] + pairs.overlap(present - absent))


def dice(pairs: Pairs) -> Float[Tensor, "q t"]:
    """1 - (2 sum(p t) + 1) / (sum p + sum t + 1)."""
    both = pairs.probs.sum(1)[:, None] + pairs.masks.sum(1)
    return 1 - (2 * pairs.overlap(pairs.probs) + 1) / (both + 1)


def _sum_of_logs(values: Float[Tensor, "q n"]) -> Float[Tensor, " q"]:
    """Of numbers from 1/2 to 1: eight are multiplied first, as a logarithm costs ten products."""
    eights = values.shape[1] // 8 * 8
    products = values[:, :eights].reshape(len(values), 8, -1).prod(1)
    return products.log().sum(1) + values[:, eights:].log().sum(1)


class HungarianMatcher:
    """Gives each truth a query of its own, or each query a truth where queries are fewer, at the least cost.

    Args:
        costs: functions and their weights.
        points: costs are means over this many points, drawn anew for each image and shared by all its masks;
            None to compare at all pixels of the prediction, to whose size truths are brought (nearest pixel).

    Source: Carion et al. 2020, arXiv:2005.12872, equation 1; points as in Cheng et al. 2022,
        arXiv:2112.01527, section 3.3.
    """

    def __init__(self, costs: Mapping[Cost, float], *, points: int | None = None) -> None:
        if not costs or (points is not None and points < 1):
            raise BadArgument(
                f"{len(costs)} costs on {points} points",
                allowed="at least one cost, and at least one point or None for all pixels",
                cure="try {class_probability: 2, cross_entropy: 5, dice: 5} on 12544 points",
            )
        self.costs, self.points = dict(costs), points

    @torch.no_grad()
    def __call__(
        self,
        output: Queries,
        truths: Sequence[Truth],
        *,
        draw: Draw | torch.Generator | None = None,
    ) -> tuple[Match, ...]:
        """Match each image of the batch.

        Args:
            draw: where points come from; asked once, for ``(b, points, axes)``.

        Raises:
            BadArgument: truths do not fit the output, or one another.
        """
        require_fitting(output, truths)
        classes, masks = at_least_single(output.class_logits), at_least_single(output.mask_logits)
        if self.points is None:
            reads = [_at_pixels(*image) for image in zip(masks, truths, strict=True)]
        else:
            shape = (len(truths), self.points, masks.ndim - 2)
            reads = _at_points(masks, truths, drawing(draw, masks.device)(shape).to(masks.dtype))
        costs = [self._cost(*image) for image in zip(classes, truths, reads, strict=True)]
        # one transfer for the whole batch
        flat = torch.cat([cost.flatten() for cost in costs]).double().cpu().numpy()
        parts = np.split(flat, np.cumsum([cost.numel() for cost in costs])[:-1])
        return tuple(assign(part.reshape(cost.shape)) for part, cost in zip(parts, costs, strict=True))

    def _cost(self, class_logits: Tensor, truth: Truth, read: tuple[Tensor, Tensor]) -> Float[Tensor, "q t"]:
        if not len(truth.masks):
            return class_logits.new_zeros(len(class_logits), 0)
        pairs = Pairs(class_logits, truth.classes.long(), *read)
        return torch.stack([weight * cost(pairs) for cost, weight in self.costs.items()]).sum(0)


def assign(cost: Float[np.ndarray, "q t"]) -> Match:
    """The assignment of least total cost.

    A cost that is not finite is replaced by one so large that any assignment with fewer such pairs is
    preferred. Where two pairs could exchange their truths for the same total, the lower query takes the lower
    truth; likewise a query gives way to a lower one that is free.
    """
    cost = _finite(np.asarray(cost, dtype=np.float64))
    queries, truths = linear_sum_assignment(cost)
    queries, truths = _settle_ties(cost, queries, truths)
    return Match(torch.from_numpy(queries), torch.from_numpy(truths))


def require_fitting(output: Queries, truths: Sequence[Truth]) -> None:
    """Refuse truths that cannot belong to ``output``; values are looked at on the CPU only.

    Raises:
        BadArgument: the message says which and why.
    """
    batch, kinds = output.class_logits.shape[0], output.class_logits.shape[-1] - 1
    if not len(truths) == batch == len(output.mask_logits):
        came = f"{len(truths)} truths came for {batch} and {len(output.mask_logits)} images"
        raise BadArgument(came, allowed="one truth an image", cure="pass masks of no rows where none are")
    for image, (masks, classes, void) in enumerate(truths):
        size = masks.shape[1:]
        if masks.ndim != output.mask_logits.ndim - 1 or size != truths[0].masks.shape[1:]:
            came = f"truths[{image}].masks has shape {tuple(masks.shape)}"
            raise BadArgument(came, allowed="masks of one size for the whole batch", cure="pad the batch")
        if len(classes) != len(masks) or (void is not None and void.shape != size):
            came = f"truths[{image}] has {len(masks)} masks of {tuple(size)} and {len(classes)} classes"
            raise BadArgument(came, allowed="one class a mask, void of their size", cure="look at the reader")
        seen = classes.device.type == "cpu" and len(classes)  # reading numbers off a GPU would hold it up
        if seen and not 0 <= int(classes.min()) <= int(classes.max()) < kinds:
            came = f"truths[{image}].classes goes from {int(classes.min())} to {int(classes.max())}"
            raise BadArgument(came, allowed=f"0 to {kinds - 1}", cure="leave void and crowds to `void`")


def at_least_single(logits: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Logits in float32, or better if they are."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def _at_points(
    logits: Float[Tensor, "b q *s"], truths: Sequence[Truth], points: Float[Tensor, "b n d"]
) -> list[tuple[Tensor, Tensor]]:
    """Predictions and truths of each image at its points, without those that lie in void."""
    known = [
        some if truth.void is None else some[sample(truth.void[None], some)[0] == 0]
        for some, truth in zip(points, truths, strict=True)
    ]
    queries = sample_together(list(zip(logits, known, strict=True)))
    masks = sample_together([(truth.masks, some) for truth, some in zip(truths, known, strict=True)])
    return list(zip(queries, masks, strict=True))


def _at_pixels(
    logits: Float[Tensor, " q *s"], truth: Truth
) -> tuple[Float[Tensor, "q known"], Float[Tensor, "t known"]]:
    size, flat = logits.shape[1:], logits.flatten(1)
    masks = _nearest(truth.masks, size).flatten(1).to(flat.dtype)
    if truth.void is None:
        return flat, masks
    known = ~_nearest(truth.void[None], size).flatten()
    return flat[:, known], masks[:, known]


def _nearest(masks: Bool[Tensor, " t *s"], size: Sequence[int]) -> Bool[Tensor, " t *r"]:
    if masks.shape[1:] == torch.Size(size):
        return masks
    if not len(masks):
        return masks.new_zeros(0, *size)
    return functional.interpolate(masks[None].byte(), size=tuple(size), mode="nearest")[0].bool()


def _finite(cost: Float[np.ndarray, "q t"]) -> Float[np.ndarray, "q t"]:
    known = np.isfinite(cost)
    if known.all():
        return cost
    low, high = (cost[known].min(), cost[known].max()) if known.any() else (0.0, 0.0)
    return np.where(known, cost, high + (high - low) * min(cost.shape) + 1)


def _settle_ties(
    cost: Float[np.ndarray, "q t"], queries: Int[np.ndarray, " m"], truths: Int[np.ndarray, " m"]
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Exchange truths between pairs of equal total until lower queries have the lower ones."""
    rows, columns = cost.shape
    side = max(rows, columns)
    square = np.zeros((side, side))  # free queries hold columns, and free truths rows, that cost nothing
    square[:rows, :columns] = cost
    holds = np.empty(side, dtype=np.int64)
    holds[queries] = truths
    free = np.setdiff1d(np.arange(side), truths)
    holds[np.setdiff1d(np.arange(side), queries)] = free
    while True:
        given = square[:, holds]
        own = np.diagonal(given)
        tied = np.triu(own[:, None] + own == given + given.T) & (holds[:, None] > holds)
        if not tied.any():
            break
        first, second = np.unravel_index(tied.argmax(), tied.shape)
        holds[[first, second]] = holds[[second, first]]
    used = np.flatnonzero(holds[:rows] < columns)
    return used, holds[used]
