"""Queries that share out each pixel among themselves by a soft-max, as the DeepLab family's mask slots do.

These go strip by strip in plain torch, on the device where the logits are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

from segmentarium.errors import BadArgument
from segmentarium.nn.outputs import Queries
from segmentarium.ops.tiles import Window
from segmentarium.post.cells import resized_strips
from segmentarium.values.classes import Classes

MAPS = 4
"""Arrays as large as a strip of logits that are held at a time."""


class Slots(NamedTuple):
    """The pixels of each query, their numbers counted row by row, and the mean share that it has there.

    The pixels of query k are ``numbers[starts[k] : starts[k + 1]]``, ascending; means are 0 without pixels.
    """

    numbers: Int32[np.ndarray, " n"]
    starts: Int64[np.ndarray, " q+1"]
    means: Float32[np.ndarray, " q"]

    def pixels(self, k: int) -> Int32[np.ndarray, " m"]:
        return self.numbers[self.starts[k] : self.starts[k + 1]]


def require_classes(output: Queries, classes: Classes) -> None:
    """Refuse classes that are not those of the queries, and answers for volumes or more than one image.

    Raises:
        BadArgument: the numbers differ, "no object" not counted; a batch of more than one; masks in 3-D.
    """
    known = output.class_logits.shape[-1] - 1
    if known != len(classes):
        raise BadArgument(
            f"{len(classes)} classes for queries that know {known}",
            allowed="the classes that the network was trained with, in their order",
        )
    if output.mask_logits.ndim != 4:
        raise BadArgument("queries with masks of a volume", allowed="masks of pictures (b, q, h, w)")
    if len(output.mask_logits) != 1:
        raise BadArgument(
            f"answers for {len(output.mask_logits)} images at once", allowed="one", cure="use post.part"
        )


def class_chances(output: Queries) -> Float[Tensor, "q k"]:
    """Probabilities of the classes of each query, less that of "no object"."""
    return output.class_logits[0].detach().float().softmax(-1)[:, :-1]


def confident_slots(
    logits: Float[Tensor, "q h w"],
    size: tuple[int, int],
    part: Window,
    *,
    pixel: float,
    align_corners: bool,
) -> Slots:
    """The pixels where the soft-max over all queries gives a query more than ``pixel``."""
    sums = torch.zeros(len(logits), dtype=torch.float64, device=logits.device)
    slots, numbers = [], []
    for top, strip in resized_strips(logits[None], size, part, align_corners=align_corners, maps=MAPS):
        shares = strip[0].softmax(0)
        sure = shares > pixel
        slot, row, column = sure.nonzero(as_tuple=True)
        sums.index_add_(0, slot, shares[sure].double())
        slots.append(slot.int().cpu().numpy())
        numbers.append(((row + top) * part.size[1] + column).int().cpu().numpy())
    slot_of = np.concatenate(slots)
    counts = np.bincount(slot_of, minlength=len(logits))
    order = np.argsort(slot_of, kind="stable")
    means = (sums.cpu().numpy() / np.maximum(counts, 1)).astype(np.float32)
    return Slots(np.concatenate(numbers)[order], np.concatenate([[0], np.cumsum(counts)]), means)


def slot_winners(
    logits: Float[Tensor, "q h w"],
    detected: Bool[Tensor, " q"],
    size: tuple[int, int],
    part: Window,
    *,
    pixel: float,
    align_corners: bool,
) -> Int32[np.ndarray, "h2 w2"]:
    """The detected query with the largest logit; -1 where its share is small or an undetected one beats it.

    Args:
        pixel: its share of the soft-max over detected queries must be above this.
    """
    names = detected.nonzero()[:, 0]
    winners = np.empty(part.size, np.int32)
    for top, strip in resized_strips(logits[None], size, part, align_corners=align_corners, maps=MAPS):
        best, winner = strip[0, detected].max(0)
        share = 1 / (strip[0, detected] - best).exp().sum(0)
        good = (share > pixel) & (best == strip[0].amax(0))
        winners[top : top + len(best)] = torch.where(good, names[winner], -1).int().cpu().numpy()
    return winners
