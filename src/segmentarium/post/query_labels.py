"""From queries to a label map.

Two families: masks that are independent of one another (a sigmoid each: DETR, MaskFormer, Mask2Former), and
masks that share out each pixel (a soft-max over queries: MaX-DeepLab, kMaX-DeepLab).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Integer
from torch import Tensor
from torch.nn.functional import interpolate

from segmentarium.nn.outputs import Queries
from segmentarium.ops.share import share
from segmentarium.ops.tiles import Window
from segmentarium.post import contest_kernels, kernels
from segmentarium.post.cells import STRIP_BYTES, Axis, axis, resized_strips
from segmentarium.post.semantic import argmax_resized, label_type
from segmentarium.post.slots import MAPS, class_chances, require_classes, slot_winners
from segmentarium.values.classes import Classes
from segmentarium.values.results import LabelMap

SLACK = np.float32(1e-4)
"""How much bounds of class scores may be off by rounding, as a share; sums of a few hundred products."""

FAINT = 0.02
"""What queries may say of any class, all together, and still be left out of the bounds."""


def sigmoid_semantic(
    output: Queries,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    grid: tuple[int, int] | None = None,
) -> LabelMap:
    """The class with the largest sum over queries of class probability times mask probability.

    Masks are resized to ``size`` before the sigmoid, as the authors do, but only where they decide anything:
    in most cells between four mask scores one class is bound to win.

    Args:
        grid: height and width at which masks become probabilities; the sums are then resized to ``size``. For
            the labels of other programs: transformers takes (384, 384) for Mask2Former, and the size of the
            masks for DETR and MaskFormer.

    Source: Cheng et al. 2021, arXiv:2107.06278, section 3.4.
    """
    require_classes(output, classes)
    part = window or Window(0, 0, *size)
    chances, logits = class_chances(output), output.mask_logits[0].detach().float()
    if grid is not None:
        likely = interpolate(logits[None], grid, mode="bilinear")[0].sigmoid_()
        sums = (chances.T @ likely.flatten(1)).reshape(-1, *grid)
        return LabelMap(argmax_resized(sums[None], size, window=part)[0], classes)
    if logits.device.type != "cpu" or size[0] < logits.shape[1] or size[1] < logits.shape[2]:
        return LabelMap(_summed_strips(logits, chances, size, part, slots=False), classes)
    return LabelMap(_summed_cells(logits.contiguous(), chances, size, part), classes)


def softmax_semantic(
    output: Queries,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    align_corners: bool | None = None,
) -> LabelMap:
    """As :func:`sigmoid_semantic`, for masks that share out each pixel.

    Args:
        align_corners: of the resizing; for odd widths if None, as the authors do.

    Source: Yu et al. 2022, arXiv:2207.04044; ``semantic_inference`` of its authors' program.
    """
    require_classes(output, classes)
    aligned = size[1] % 2 == 1 if align_corners is None else align_corners
    logits, part = output.mask_logits[0].detach(), window or Window(0, 0, *size)
    labels = _summed_strips(logits, class_chances(output), size, part, slots=True, align_corners=aligned)
    return LabelMap(labels, classes)


def slot_semantic(
    output: Queries,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    align_corners: bool = True,
) -> LabelMap:
    """The likeliest class of the query with the largest logit: MaX-DeepLab's rule without thresholds.

    Source: Wang et al. 2021, arXiv:2012.00759; the semantic one of deeplab2's post-processors.
    """
    require_classes(output, classes)
    logits, part = output.mask_logits[0].detach(), window or Window(0, 0, *size)
    everyone = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    winners = slot_winners(logits, everyone, size, part, pixel=0.0, align_corners=align_corners)
    class_of = class_chances(output).argmax(1).cpu().numpy().astype(label_type(len(classes)))
    return LabelMap(class_of[winners], classes)


SEMANTIC: dict[str, Callable[..., LabelMap]] = {
    "detr": sigmoid_semantic,
    "kmax_deeplab": softmax_semantic,
    "mask2former": sigmoid_semantic,
    "maskformer": sigmoid_semantic,
    "max_deeplab": slot_semantic,
}


def _summed_strips(
    logits: Float[Tensor, "q h w"],
    chances: Float[Tensor, "q k"],
    size: tuple[int, int],
    part: Window,
    *,
    slots: bool,
    align_corners: bool = False,
) -> Integer[np.ndarray, "h2 w2"]:
    """The rule as it is written, a few rows at a time, on any device."""
    labels = np.empty(part.size, label_type(chances.shape[1]))
    maps = MAPS + chances.shape[1] // chances.shape[0]
    for top, strip in resized_strips(logits[None], size, part, align_corners=align_corners, maps=maps):
        likely = strip[0].softmax(0) if slots else strip[0].sigmoid()
        best = torch.einsum("qk,qhw->khw", chances, likely).argmax(0)
        labels[top : top + len(best)] = best.cpu().numpy()
    return labels


def _summed_cells(
    logits: Float[Tensor, "q h w"], chances: Float[Tensor, "q k"], size: tuple[int, int], part: Window
) -> Integer[np.ndarray, "h2 w2"]:
    """The same labels: cells where one class is bound to win are labelled at once, the rest pixel by pixel.

    In a cell a mask's probability lies between the least and the greatest of its corners, and a class score
    between the sums of those. Queries that say next to nothing of any class are not summed for that: all they
    could add is put on the upper side.
    """
    rows = axis(logits.shape[1], size[0], part.top, part.bottom)
    columns = axis(logits.shape[2], size[1], part.left, part.right)
    labels = np.empty(part.size, label_type(chances.shape[1]))
    weights, (heard, rest) = chances.T.contiguous(), _heard(chances)
    likely, telling = logits[heard].sigmoid(), weights[:, heard]
    step = max(1, STRIP_BYTES // (8 * (len(weights) + 2 * len(logits)) * len(columns.starts)))
    undecided = []
    for start in range(0, len(rows.starts) - 1, step):
        stop = min(start + step, len(rows.starts) - 1)
        low, high = _bounds(likely, telling, rows, columns, start, stop)
        bounds = low, high + rest[:, None, None]
        undecided.append(_decided(bounds, rows.starts[start : stop + 1], columns.starts, labels))
    pixels = np.concatenate(undecided)
    step = max(1, STRIP_BYTES // (4 * (len(logits) + len(weights))))
    for start in range(0, len(pixels), step):
        some = pixels[start : start + step]
        labels.reshape(-1)[some] = _summed_pixels(logits, weights, rows, columns, some)
    return labels


def _heard(chances: Float[Tensor, "q k"]) -> tuple[Int64[Tensor, " h"], Float32[np.ndarray, " k"]]:
    """The queries that matter, and what all others together can add to each class: ``FAINT`` at the most."""
    order = chances.amax(1).argsort()
    summed = chances[order].cumsum(0)
    faint = int((summed.amax(1) <= FAINT).sum())
    rest = summed[faint - 1] if faint else torch.zeros_like(summed[0])
    return order[faint:], rest.numpy()


def _bounds(
    likely: Float[Tensor, "q h w"],
    weights: Float[Tensor, "k q"],
    rows: Axis,
    columns: Axis,
    start: int,
    stop: int,
) -> tuple[Float32[np.ndarray, "k n m"], Float32[np.ndarray, "k n m"]]:
    """What the score of each class is at least and at most, in some rows of cells."""
    bottom, last = likely.shape[1] - 1, likely.shape[2] - 1
    below = torch.arange(rows.first + start, rows.first + stop + 1).clamp(max=bottom)
    right = torch.arange(columns.first, columns.first + len(columns.starts)).clamp(max=last)
    block = likely[:, below][:, :, right]
    corners = block[:, :-1, :-1], block[:, :-1, 1:], block[:, 1:, :-1], block[:, 1:, 1:]
    least, most = (f(f(*corners[:2]), f(*corners[2:])) for f in (torch.minimum, torch.maximum))
    low, high = ((weights @ side.flatten(1)).reshape(-1, *least.shape[1:]).numpy() for side in (least, most))
    return low, high


def _decided(
    bounds: tuple[Float32[np.ndarray, "k n m"], Float32[np.ndarray, "k n m"]],
    starts_y: Int64[np.ndarray, " n+1"],
    starts_x: Int64[np.ndarray, " m+1"],
    labels: Integer[np.ndarray, "h w"],
) -> Int64[np.ndarray, " p"]:
    """Label the cells with a certain winner; returns the numbers of the pixels in the others."""
    low, high = (side.reshape(len(side), -1) for side in bounds)
    first, sure = np.empty(low.shape[1], np.int32), np.empty(low.shape[1], bool)
    share(partial(contest_kernels.decide, low, high, SLACK, first, sure), len(first))
    shape = bounds[0].shape[1:]
    room = np.empty(int((starts_y[-1] - starts_y[0]) * labels.shape[1]), np.int64)
    cells = first.reshape(shape), sure.reshape(shape), starts_y, starts_x
    return room[: contest_kernels.fill_cells(*cells, labels, room)].copy()


def _summed_pixels(
    logits: Float[Tensor, "q h w"],
    weights: Float[Tensor, "k q"],
    rows: Axis,
    columns: Axis,
    pixels: Int64[np.ndarray, " p"],
) -> Integer[np.ndarray, " p"]:
    found = torch.empty(len(logits), len(pixels))
    axes = (rows.before, rows.share), (columns.before, columns.share)
    work = partial(contest_kernels.sample, logits.numpy(), *axes, pixels, len(columns.before), found.numpy())
    share(work, len(logits))
    sums = (weights @ found.sigmoid_()).numpy()
    labels = np.empty((1, len(pixels)), label_type(len(weights)))
    kernels.argmax_planes(sums[:, None], 0, 0, labels, 0, 1)
    return np.asarray(labels[0])
