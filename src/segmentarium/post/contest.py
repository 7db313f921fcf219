"""Queries that compete for pixels: which one is likeliest where, and how much each of them wins."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int32, Int64, Integer
from torch import Tensor

from segmentarium.ops.share import share
from segmentarium.ops.tiles import Window
from segmentarium.post import contest_kernels
from segmentarium.post.cells import axis, resized_strips


class Contest(NamedTuple):
    """The query that wins each pixel, and pixels by query.

    Attributes:
        winners: k; ~k (-1 - k) where the mask of k, though the likeliest, is less likely than not.
        won: pixels won.
        held: pixels won where the mask is likelier than not, or as likely.
        likely: all pixels where it is, won or not.
    """

    winners: Integer[np.ndarray, "h w"]
    won: Int64[np.ndarray, " n"]
    held: Int64[np.ndarray, " n"]
    likely: Int64[np.ndarray, " n"]


def contest(
    logits: Float[Tensor, "n h w"], weights: Float[Tensor, " n"], size: tuple[int, int], part: Window
) -> Contest:
    """Give each pixel to the query with the largest ``weight * sigmoid(resized logit)``, the first of equals.

    Args:
        logits: of one query or more.
        size: height and width that the logits stand for.
        part: what is wanted of it.
    """
    winners = np.empty(part.size, np.int16 if len(logits) < 2**15 else np.int32)
    if logits.device.type != "cpu" or size[0] < logits.shape[1] or size[1] < logits.shape[2]:
        return _by_strips(logits, weights, size, part, winners)
    logits, weights = logits.detach().float().contiguous(), weights.detach().float()
    chances = (logits.sigmoid() * weights[:, None, None]).numpy()
    rows = axis(logits.shape[1], size[0], part.top, part.bottom)
    columns = axis(logits.shape[2], size[1], part.left, part.right)
    cells = (rows.first, columns.first), (rows.starts, rows.share), (columns.starts, columns.share)
    counts: list[Int64[np.ndarray, "3 n"]] = []

    def work(start: int, stop: int) -> None:
        tallies = np.zeros((3, len(logits)), np.int64)
        contest_kernels.contest_cells(
            logits.numpy(), chances, weights.numpy(), *cells, winners, tallies, start, stop
        )
        counts.append(tallies)

    share(work, len(rows.starts) - 1)
    won, held, likely = np.sum(counts, axis=0)
    return Contest(winners, won, held, likely)


def recoloured(
    winners: Integer[np.ndarray, "h w"], table: Integer[np.ndarray, " n"]
) -> Int32[np.ndarray, "h w"]:
    """``table[winners]``; winners below 0 count from the table's end."""
    ids = np.empty(winners.shape, np.int32)
    share(partial(contest_kernels.recolour, winners, table.astype(np.int32), ids), len(ids))
    return ids


def _by_strips(
    logits: Float[Tensor, "n h w"],
    weights: Float[Tensor, " n"],
    size: tuple[int, int],
    part: Window,
    winners: Integer[np.ndarray, "h2 w2"],
) -> Contest:
    """For other devices, and for sizes below that of the logits, where fusing gains nothing."""
    tallies = torch.zeros((3, len(logits)), dtype=torch.int64, device=logits.device)
    for top, strip in resized_strips(logits[None].detach(), size, part, maps=3):
        likely = strip[0] >= 0
        best = (strip[0].sigmoid() * weights[:, None, None]).argmax(0)
        inside = likely.gather(0, best[None])[0]
        tallies[0] += best.flatten().bincount(minlength=len(logits))
        tallies[1] += best[inside].bincount(minlength=len(logits))
        tallies[2] += likely.flatten(1).sum(1)
        winners[top : top + len(best)] = torch.where(inside, best, ~best).cpu().numpy()
    won, held, found = tallies.cpu().numpy()
    return Contest(winners, won, held, found)
