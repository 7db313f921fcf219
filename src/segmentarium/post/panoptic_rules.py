"""From queries to segments: each paper's rule by itself, since they differ in order, not in numbers alone.

Common to all: masks are resized linearly straight to ``size``, where the authors' programs go by way of the
network's input; of equals the first query wins; stuff of one class is one segment, with the score of its
first query; numbers of segments count from 1, and every segment has pixels.

Args of all rules, beside thresholds of the paper: ``size``, the height and width that masks stand for;
``window``, where the image lies in it; ``classes``, whose ``thing`` tells what is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from segmentarium.nn.outputs import Queries
from segmentarium.ops.tiles import Window
from segmentarium.post.contest import contest, recoloured
from segmentarium.post.semantic import argmax_resized
from segmentarium.post.slots import confident_slots, require_classes, slot_winners
from segmentarium.values.classes import Classes
from segmentarium.values.results import Panoptic, Segment


class Kept(NamedTuple):
    """The queries that a rule goes on with, in their order."""

    logits: Float[Tensor, "n h w"]
    scores: Float[Tensor, " n"]
    classes_of: Int64[np.ndarray, " n"]


def maskformer(
    output: Queries,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    score: float = 0.8,
    overlap: float = 0.8,
) -> Panoptic:
    """Each pixel to the likeliest query; queries that lose much of their mask are dropped with their pixels.

    Args:
        score: queries whose class probability is not above this, or that say "no object", take no part.
        overlap: the share of its mask (probability from 0.5) that a query must win.

    Source: Cheng et al. 2021, arXiv:2107.06278, section 3.4.
    """
    part, kept = window or Window(0, 0, *size), _confident(output, score, classes)
    if not len(kept.classes_of):
        return _empty(part, classes)
    found = contest(kept.logits, kept.scores, size, part)
    good = (found.won > 0) & (found.likely > 0) & (found.won / np.maximum(found.likely, 1) >= overlap)
    table, segments = _numbered(kept, good, classes)
    return Panoptic(recoloured(found.winners, np.concatenate([table, table[::-1]])), segments, classes)


def mask2former(
    output: Queries,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    score: float = 0.8,
    overlap: float = 0.8,
) -> Panoptic:
    """As :func:`maskformer`; but of the pixels won, those where the mask is less likely than not stay empty.

    Source: Cheng et al. 2022, arXiv:2112.01527; ``panoptic_inference`` of its authors' program.
    """
    part, kept = window or Window(0, 0, *size), _confident(output, score, classes)
    if not len(kept.classes_of):
        return _empty(part, classes)
    found = contest(kept.logits, kept.scores, size, part)
    good = (found.held > 0) & (found.won / np.maximum(found.likely, 1) >= overlap)
    table, segments = _numbered(kept, good, classes)
    return Panoptic(recoloured(found.winners, np.concatenate([table, 0 * table])), segments, classes)


def detr(
    output: Queries,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    score: float = 0.85,
    area: int = 4,
) -> Panoptic:
    """Each pixel to the query with the largest logit; small ones are dropped until none is left.

    Stuff of one class is merged once, at first; the emptied queries are then small and dropped, and what they
    had won goes to whoever is next there, as in the authors' program. No pixel stays empty.

    Args:
        score: as for :func:`maskformer`.
        area: queries that win no more pixels are dropped.

    Source: Carion et al. 2020, arXiv:2005.12872, section 4.4; ``PostProcessPanoptic`` of their program.
    """
    part, kept = window or Window(0, 0, *size), _confident(output, score, classes)
    merged = _merged_stuff(kept.classes_of, classes)
    while len(kept.classes_of):
        winners = argmax_resized(kept.logits[None], size, window=part)[0]
        won = np.bincount(merged, np.bincount(winners.ravel(), minlength=len(merged)), len(merged))
        large = won > area
        if large.all():
            table, segments = _numbered(kept, large, classes, merge=False)
            return Panoptic(recoloured(winners, table), segments, classes)
        kept = _only(kept, large)
        merged = np.arange(len(kept.classes_of))
    return _empty(part, classes)


def max_deeplab(
    output: Queries,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    score: float = 0.7,
    pixel: float = 0.4,
    thing_area: int = 100,
    stuff_area: int = 1600,
    align_corners: bool = True,
) -> Panoptic:
    """Queries share out each pixel by a soft-max; those of unsure class are left out of it.

    A pixel stays empty where its best share is not above ``pixel``, or where a query left out has the largest
    logit. What is small afterwards is dropped: things one by one, stuff by class.

    Args:
        score: the probability of its best class, "no object" not counted, that a query must reach.
        thing_area, stuff_area: least pixels; the paper's for images of 641 pixels, 256 and 4096 for 1025.

    Source: Wang et al. 2021, arXiv:2012.00759, section 3.4; ``pixelwise`` of deeplab2's post-processor.
    """
    part, kept = window or Window(0, 0, *size), _best_classes(output, classes)
    detected = kept.scores >= score
    if not bool(detected.any()):
        return _empty(part, classes)
    winners = slot_winners(kept.logits, detected, size, part, pixel=pixel, align_corners=align_corners)
    won = np.bincount(winners.ravel() + 1, minlength=len(kept.classes_of) + 1)[1:]
    thing = _things(classes)[kept.classes_of]
    together = np.bincount(kept.classes_of, won * ~thing, len(classes))[kept.classes_of]
    good = (won > 0) & np.where(thing, won >= thing_area, together >= stuff_area)
    table, segments = _numbered(kept, good, classes)
    return Panoptic(recoloured(winners, np.append(table, 0)), segments, classes)


def kmax_deeplab(
    output: Queries,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    thing_score: float = 0.7,
    stuff_score: float = 0.5,
    pixel: float = 0.4,
    overlap: float = 0.8,
    class_weight: float = 1.0,
    mask_weight: float = 1.0,
    align_corners: bool | None = None,
) -> Panoptic:
    """Masks are laid down one after the other, best first; a mask that is much covered already is left out.

    Args:
        thing_score, stuff_score: the probability of its best class that a query must exceed.
        pixel: a mask is where the soft-max over all queries gives it more than this.
        overlap: the share of its mask that must still be free, and more.
        class_weight, mask_weight: exponents of the class probability and of the mean probability inside the
            mask; their product is what queries are ordered by. Cityscapes: 1 and 0.
        align_corners: of the resizing; for odd widths if None, as the authors do.

    Source: Yu et al. 2022, arXiv:2207.04044; ``panoptic_inference`` of its authors' program.
    """
    part, kept = window or Window(0, 0, *size), _best_classes(output, classes)
    aligned = size[1] % 2 == 1 if align_corners is None else align_corners
    slots = confident_slots(kept.logits, size, part, pixel=pixel, align_corners=aligned)
    scores, thing = kept.scores.cpu().numpy(), _things(classes)[kept.classes_of]
    rank = scores**class_weight * slots.means**mask_weight
    sure = scores > np.where(thing, thing_score, stuff_score)
    ids = np.zeros(part.size[0] * part.size[1], np.int32)
    segments: list[Segment] = []
    number_of: dict[int, int] = {}
    for k in np.argsort(-rank, kind="stable").tolist():
        pixels = slots.pixels(k)
        free = pixels[ids[pixels] == 0]
        if not sure[k] or len(free) <= overlap * len(pixels):
            continue
        index = int(kept.classes_of[k])
        if thing[k] or index not in number_of:
            segments.append(Segment(len(segments) + 1, index, float(scores[k])))
            number_of[index] = len(segments)
        ids[free] = len(segments) if thing[k] else number_of[index]
    return Panoptic(ids.reshape(part.size), tuple(segments), classes)


RULES: dict[str, Callable[..., Panoptic]] = {
    "detr": detr,
    "kmax_deeplab": kmax_deeplab,
    "mask2former": mask2former,
    "maskformer": maskformer,
    "max_deeplab": max_deeplab,
}


def _confident(output: Queries, score: float, classes: Classes) -> Kept:
    """Queries whose likeliest class is not "no object", with a probability above ``score``."""
    require_classes(output, classes)
    chances, labels = output.class_logits[0].detach().float().softmax(-1).max(-1)
    kept = (labels != output.class_logits.shape[-1] - 1) & (chances > score)
    return Kept(output.mask_logits[0, kept].detach(), chances[kept], labels[kept].cpu().numpy())


def _best_classes(output: Queries, classes: Classes) -> Kept:
    """All queries, each with its likeliest class but "no object"."""
    require_classes(output, classes)
    chances, labels = output.class_logits[0].detach().float().softmax(-1)[:, :-1].max(-1)
    return Kept(output.mask_logits[0].detach(), chances, labels.cpu().numpy())


def _only(kept: Kept, good: Bool[np.ndarray, " n"]) -> Kept:
    chosen = torch.from_numpy(good).to(kept.scores.device)
    return Kept(kept.logits[chosen], kept.scores[chosen], kept.classes_of[good])


def _things(classes: Classes) -> Bool[np.ndarray, " k"]:
    return np.array([c.thing for c in classes], bool)


def _merged_stuff(classes_of: Int64[np.ndarray, " n"], classes: Classes) -> Int64[np.ndarray, " n"]:
    """For each query its own place; for stuff the first place of its class."""
    first: dict[int, int] = {}
    thing = _things(classes)
    places = [k if thing[c] else first.setdefault(c, k) for k, c in enumerate(classes_of.tolist())]
    return np.array(places, np.int64)


def _numbered(
    kept: Kept, good: Bool[np.ndarray, " n"], classes: Classes, *, merge: bool = True
) -> tuple[Int64[np.ndarray, " n"], tuple[Segment, ...]]:
    """A number for each good query, 0 for the others, and the segments they are; stuff may share one."""
    numbers, scores = np.zeros(len(good), np.int64), kept.scores.tolist()
    segments: list[Segment] = []
    chosen = np.flatnonzero(good)
    places = _merged_stuff(kept.classes_of[chosen], classes) if merge else np.arange(len(chosen))
    for k, place in zip(chosen.tolist(), places.tolist(), strict=True):
        first = int(chosen[place])
        if first == k:
            segments.append(Segment(len(segments) + 1, int(kept.classes_of[k]), scores[k]))
            numbers[k] = len(segments)
        numbers[k] = numbers[first]
    return numbers, tuple(segments)


def _empty(part: Window, classes: Classes) -> Panoptic:
    return Panoptic(np.zeros(part.size, np.int32), (), classes)
