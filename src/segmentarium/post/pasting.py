"""Masks of objects, from grids of scores into pictures: straight to run-length code of the crop around each.

A rule says where the cells of a grid fall in the picture. Libraries differ in that, by up to a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int32, Int64
from torch import Tensor

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.ops.rle import Rle
from segmentarium.ops.share import share
from segmentarium.ops.tiles import Window
from segmentarium.post import crop_kernels
from segmentarium.values.classes import Classes
from segmentarium.values.results import Instances

STRICTLY_HALF = np.nextafter(np.float32(0.5), np.float32(1))
"""To reach it is to be more than 0.5."""


class Crops(NamedTuple):
    """Masks, each as run-length code of the crop inside its smallest box (x0, y0, x1, y1), end exclusive.

    A mask without a pixel has a box of zeros and an area of 0.
    """

    masks: tuple[Rle, ...]
    boxes: Int32[np.ndarray, "n 4"]
    areas: Int64[np.ndarray, " n"]


class Placement(NamedTuple):
    """Where padded grids fall: by object and axis (rows first) the five numbers of ``crop_kernels``."""

    frames: Float64[np.ndarray, "n 2 5"]
    threshold: np.float32


PasteRule = Callable[[Float32[np.ndarray, "n 4"], int, Window], Placement]


def detectron2(boxes: Float32[np.ndarray, "n 4"], side: int, part: Window) -> Placement:
    """The grid covers its box to the fraction of a pixel; pixels are sampled at their middles.

    Outside the grid scores fall to 0 within half a cell. A pixel is inside from 0.5 on.

    Args:
        boxes: (x0, y0, x1, y1) in pixels.
        side: cells of a side of a grid before it is padded with one row of zeros all around.
        part: the part of the picture that is wanted.

    Source: He et al. 2017, arXiv:1703.06870, section 3.1; the aligned sampling of detectron2's ``mask_ops``.
    """
    low, high = boxes[:, [1, 0]].astype(np.float64), boxes[:, [3, 2]].astype(np.float64)
    scale = side / np.maximum(high - low, np.float64(1e-6))
    first, stop = np.floor(low) - 1, np.ceil(high) + 1
    shift = np.full_like(scale, 0.5)  # half a cell back, and one on for the padding
    return Placement(_frames(first, stop, low, scale, shift, part), np.float32(0.5))


def torchvision(boxes: Float32[np.ndarray, "n 4"], side: int, part: Window) -> Placement:
    """The padded grid covers whole pixels: its box grows by the padding and is cut down to whole numbers.

    So a mask lies up to a pixel off, most of all for small boxes. A pixel is inside above 0.5. The arguments
    are those of :func:`detectron2`.

    Source: torchvision's ``paste_masks_in_image``, after Detectron of 2018.
    """
    half, middle = (
        (boxes[:, 2:] - boxes[:, :2]) * np.float32(0.5),
        (boxes[:, 2:] + boxes[:, :2]) * np.float32(0.5),
    )
    half = half * np.float32((side + 2) / side)
    low, high = np.trunc(middle - half)[:, ::-1], np.trunc(middle + half)[:, ::-1] + 1
    sides = np.maximum(high - low, 1).astype(np.float32)
    scale = np.float32(side + 2) / sides
    frames = _frames(low, low + sides, low, scale, np.full_like(scale, -0.5), part)
    return Placement(frames, STRICTLY_HALF)


PASTE: dict[str, PasteRule] = {"detectron2": detectron2, "torchvision": torchvision}


def paste(
    boxes: Float[Tensor, "n 4"],
    mask_logits: Float[Tensor, "n m m"],
    size: tuple[int, int],
    *,
    rule: str = "detectron2",
    window: Window | None = None,
) -> Crops:
    """Put the mask of each object into its box.

    Args:
        boxes: (x0, y0, x1, y1) in pixels of a picture of ``size``; they may reach beyond it.
        mask_logits: before the sigmoid.
        size: height and width of the picture.
        rule: a name of ``PASTE``.
        window: the part of the picture that is wanted, its upper left corner becomes (0, 0).

    Raises:
        UnknownName: a rule that does not exist.
        BadArgument: a box with a coordinate that is no finite number.
    """
    part = window or Window(0, 0, *size)
    grids, placed = _placed(boxes, mask_logits, part, rule)
    return _moved(crops_of(grids, placed.frames, placed.threshold), part)


def paste_full(
    boxes: Float[Tensor, "n 4"],
    mask_logits: Float[Tensor, "n m m"],
    size: tuple[int, int],
    *,
    rule: str = "detectron2",
) -> Bool[np.ndarray, "n h w"]:
    """As :func:`paste`, as full pictures: n times the memory of one, so for a few objects."""
    grids, placed = _placed(boxes, mask_logits, Window(0, 0, *size), rule)
    pictures = np.zeros((len(grids), *size), bool)
    share(partial(crop_kernels.paint, grids, placed.frames, placed.threshold, pictures), len(grids))
    return pictures


def crops_of(
    grids: Float32[np.ndarray, "n h w"], frames: Float64[np.ndarray, "n 2 5"], threshold: np.float32
) -> Crops:
    """Resize grids into their frames and keep what reaches ``threshold``."""
    count = len(grids)
    boxes, areas, lengths = (
        np.zeros((count, 4), np.int32),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
    )
    texts: dict[int, bytes] = {}

    def work(start: int, stop: int) -> None:
        text = crop_kernels.crops(grids, frames, threshold, boxes, areas, lengths, start, stop)
        texts[start] = text.tobytes()

    if count:
        share(work, count)
    whole = b"".join(texts[start] for start in sorted(texts)).decode("ascii")
    ends = np.cumsum(lengths)
    sides = (boxes[:, 2:] - boxes[:, :2]).tolist()
    masks = tuple(
        Rle(size=[height, width], counts=whole[end - length : end])
        for (width, height), end, length in zip(sides, ends.tolist(), lengths.tolist(), strict=True)
    )
    return Crops(masks, boxes, areas)


def instances_of(
    crops: Crops,
    place: Int64[np.ndarray, " n"],
    scores: Float32[np.ndarray, " n"],
    labels: Int64[np.ndarray, " n"],
    classes: Classes,
    size: tuple[int, int],
) -> Instances:
    """Objects that have pixels; ``place`` is where the mask of each lies among the crops."""
    full = crops.areas[place] > 0
    kept = place[full]
    return Instances(
        tuple(crops.masks[n] for n in kept.tolist()),
        crops.boxes[kept],
        scores[full],
        labels[full].astype(np.int32),
        classes,
        size,
    )


def whole_frames(
    count: int, cells: tuple[int, int], size: tuple[int, int], part: Window
) -> Float64[np.ndarray, "n 2 5"]:
    """Frames of grids that all cover a picture of ``size``, corners not aligned."""
    frame = [
        (start, stop, 0, np.float32(length) / np.float32(side), -0.5)
        for length, side, start, stop in zip(cells, size, part[:2], part[2:], strict=True)
    ]
    return np.tile(np.array(frame, np.float64), (count, 1, 1))


def _placed(
    boxes: Float[Tensor, "n 4"], mask_logits: Float[Tensor, "n m m"], part: Window, rule: str
) -> tuple[Float32[np.ndarray, "n h w"], Placement]:
    if rule not in PASTE:
        raise UnknownName.among("rule to paste by", rule, PASTE)
    corners = boxes.detach().float().cpu()
    if not bool(corners.isfinite().all()):
        raise BadArgument("a box with a coordinate that is no finite number", allowed="finite boxes")
    grids = torch.nn.functional.pad(mask_logits.detach().float().sigmoid(), (1, 1, 1, 1)).cpu().numpy()
    return grids, PASTE[rule](corners.numpy(), mask_logits.shape[-1], part)


def _frames(
    first: Float[np.ndarray, "n 2"],
    stop: Float[np.ndarray, "n 2"],
    origin: Float[np.ndarray, "n 2"],
    scale: Float[np.ndarray, "n 2"],
    shift: Float[np.ndarray, "n 2"],
    part: Window,
) -> Float64[np.ndarray, "n 2 5"]:
    first, stop = np.maximum(first, part[:2]), np.minimum(stop, part[2:])
    return np.stack([first, np.maximum(stop, first), origin, scale, shift], axis=-1).astype(np.float64)


def _moved(crops: Crops, part: Window) -> Crops:
    """Boxes counted from the corner of ``part``; those of empty masks stay zero."""
    corner = np.array([part.left, part.top] * 2, np.int32)
    return crops._replace(boxes=np.where(crops.areas[:, None] > 0, crops.boxes - corner, 0).astype(np.int32))
