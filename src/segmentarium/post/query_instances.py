"""From queries to instances: which queries, as which classes, with which masks and scores.

Where some classes are things, only those are kept; masks without a pixel are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

from segmentarium.nn.outputs import Queries
from segmentarium.ops.rle import encode
from segmentarium.ops.share import share
from segmentarium.ops.tiles import Window
from segmentarium.post import crop_kernels
from segmentarium.post.pasting import Crops, crops_of, instances_of, whole_frames
from segmentarium.post.slots import class_chances, confident_slots, require_classes
from segmentarium.values.classes import Classes
from segmentarium.values.results import Instances

ABOVE_ZERO = np.nextafter(np.float32(0), np.float32(1))
"""To reach it is to be more than 0."""


def pair_instances(
    output: Queries, *, size: tuple[int, int], classes: Classes, window: Window | None = None, top: int = 100
) -> Instances:
    """The likeliest pairs of a query and a class; a query may stand for several classes.

    The mask is where its logit is above 0; the score is the class probability times the mean mask probability
    inside. Where some classes are things, only those are kept (after the choice of pairs); masks without a
    pixel are left out. From the best class probability down, the first of equals first.

    Args:
        top: how many pairs; all if there are fewer.

    Source: Cheng et al. 2022, arXiv:2112.01527; ``instance_inference`` of its authors' program.
    """
    require_classes(output, classes)
    queries, labels, scores = _best_pairs(output, classes, top)
    names, place = np.unique(queries, return_inverse=True)
    crops, means = _likely_masks(output.mask_logits[0], names, size, window or Window(0, 0, *size))
    return instances_of(
        crops, place, scores * means[place], labels, classes, (window or Window(0, 0, *size)).size
    )


def query_instances(
    output: Queries,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    score: float = 0.0,
) -> Instances:
    """One object a query: its likeliest class but "no object", with that probability as its score.

    The mask is where its probability is above 0.5. Stuff, masks without a pixel and scores not above
    ``score`` are left out; the order is that of the queries.

    Source: Carion et al. 2020, arXiv:2005.12872; ``PostProcess`` and ``PostProcessSegm`` of their program.
    """
    require_classes(output, classes)
    chances, best = class_chances(output).max(1)
    scores, labels = chances.cpu().numpy(), best.cpu().numpy()
    chosen = np.flatnonzero((scores > score) & _countable(classes)[labels])
    part = window or Window(0, 0, *size)
    crops, _ = _likely_masks(output.mask_logits[0], chosen, size, part, measured=False)
    return instances_of(crops, np.arange(len(chosen)), scores[chosen], labels[chosen], classes, part.size)


def slot_instances(
    output: Queries,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    top: int = 100,
    pixel: float = 0.4,
    align_corners: bool | None = None,
) -> Instances:
    """As :func:`pair_instances`, for masks that share out each pixel; a mask is where it has over ``pixel``.

    Source: Yu et al. 2022, arXiv:2207.04044; ``instance_inference`` of its authors' program.
    """
    require_classes(output, classes)
    part = window or Window(0, 0, *size)
    aligned = size[1] % 2 == 1 if align_corners is None else align_corners
    slots = confident_slots(output.mask_logits[0].detach(), size, part, pixel=pixel, align_corners=aligned)
    queries, labels, scores = _best_pairs(output, classes, top)
    names, place = np.unique(queries, return_inverse=True)
    crops = _pixel_crops([slots.pixels(k) for k in names.tolist()], part.size[1])
    return instances_of(crops, place, scores * slots.means[queries], labels, classes, part.size)


INSTANCES: dict[str, Callable[..., Instances]] = {
    "detr": query_instances,
    "kmax_deeplab": slot_instances,
    "mask2former": pair_instances,
    "maskformer": pair_instances,
    "max_deeplab": partial(slot_instances, align_corners=True),
}


def _countable(classes: Classes) -> Bool[np.ndarray, " k"]:
    """Things; all classes where none is marked as a thing."""
    things = np.array([c.thing for c in classes], bool)
    return things | (not things.any())


def _best_pairs(
    output: Queries, classes: Classes, top: int
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """The queries, classes and probabilities of the likeliest pairs, those of things only."""
    chances = class_chances(output).cpu().numpy()
    best = np.argsort(-chances.ravel(), kind="stable")[:top]
    queries, labels = np.divmod(best, chances.shape[1])
    kept = _countable(classes)[labels]
    return queries[kept], labels[kept], chances.ravel()[best][kept]


def _likely_masks(
    logits: Float[Tensor, "q h w"],
    names: Int64[np.ndarray, " n"],
    size: tuple[int, int],
    part: Window,
    *,
    measured: bool = True,
) -> tuple[Crops, Float32[np.ndarray, " n"]]:
    """Where the resized logits of some queries are above 0, and the mean probability there if ``measured``.

    Masks are wanted on the processor, so that small logits travel rather than large masks.
    """
    grids = logits.detach()[torch.from_numpy(names).to(logits.device)].float().cpu().contiguous().numpy()
    frames = whole_frames(len(names), (logits.shape[1], logits.shape[2]), size, part)
    crops, means = crops_of(grids, frames, ABOVE_ZERO), np.ones(len(names), np.float32)

    def measure(start: int, stop: int) -> None:
        for n in range(start, stop):
            if crops.areas[n]:
                inside = crop_kernels.inner_scores(grids[n], *frames[n], ABOVE_ZERO, crops.areas[n])
                means[n] = torch.from_numpy(inside).sigmoid_().mean(dtype=torch.float64)

    if measured and len(names):
        share(measure, len(names))
    corner = np.array([part.left, part.top] * 2, np.int32)
    return crops._replace(boxes=crops.boxes - corner), means


def _pixel_crops(masks: list[Int32[np.ndarray, " _"]], width: int) -> Crops:
    """Crops of masks that are given as ascending numbers of pixels in a picture of ``width``."""
    coded, boxes = [], np.zeros((len(masks), 4), np.int32)
    for n, pixels in enumerate(masks):
        rows, columns = np.divmod(pixels, width)
        if len(pixels):
            boxes[n] = columns.min(), rows[0], columns.max() + 1, rows[-1] + 1
        left, upper, right, lower = boxes[n].tolist()
        crop = np.zeros((lower - upper, right - left), bool)
        crop[rows - upper, columns - left] = True
        coded.append(encode(crop))
    return Crops(tuple(coded), boxes, np.array([len(pixels) for pixels in masks], np.int64))
