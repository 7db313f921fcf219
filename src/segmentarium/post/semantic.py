"""From class scores to a label map: resize, choose, crop, in one pass and without full-size scores."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64, Shaped
from torch import Tensor
from torch.nn.functional import interpolate

from segmentarium.nn.outputs import Semantic
from segmentarium.ops.resize import neighbours
from segmentarium.ops.share import share
from segmentarium.ops.tiles import Window
from segmentarium.post import kernels
from segmentarium.values.classes import Classes
from segmentarium.values.results import LabelMap

STRIP_BYTES = 64 * 2**20
"""How much memory full-size scores may take at a time where they are needed at all."""


def argmax_resized(
    logits: Float[Tensor, "b k h w"], size: tuple[int, int], *, window: Window | None = None
) -> Shaped[np.ndarray, "b h2 w2"]:
    """The best class of each pixel after a bilinear resize (corners not aligned), the first one among equals.

    The same labels as ``interpolate(logits, size).argmax(1)`` without the memory for the resized scores.

    Args:
        size: height and width that the scores stand for.
        window: the part of ``size`` that is wanted; all of it if not given. The rest is not computed.

    Returns:
        Class indices, in the smallest of uint8, uint16 and int32 that holds them.
    """
    part = window or Window(0, 0, *size)
    if logits.device.type != "cpu":
        return _argmax_strips(logits, size, part)
    height, width = logits.shape[2:]
    if size[0] <= height and size[1] <= width and size != (height, width):
        return _argmax_shrunk(logits, size, part)
    labels = np.empty((len(logits), *part.size), label_type(logits.shape[1]))
    for scores, chosen in zip(logits.detach(), labels, strict=True):
        _argmax_into(scores, size, part, chosen)
    return labels


def label_type(classes: int) -> type[np.integer[Any]]:
    """The smallest of the three types that results use."""
    return np.uint8 if classes <= 2**8 else np.uint16 if classes <= 2**16 else np.int32


def finish_semantic(
    output: Semantic,
    size: tuple[int, int],
    classes: Classes,
    *,
    probs: bool = False,
    window: Window | None = None,
    ignore_id: int = 255,
) -> LabelMap:
    """The label map of one image from a network's raw output.

    Args:
        output: of a batch of one.
        size: height and width of what the scores stand for: the network's input, less its border.
        probs: whether to keep the probabilities of all classes, too (k times the memory).
        window: where the image lies in ``size`` when it was padded; all of it if not given.
        ignore_id: what void pixels are called in files.
    """
    part = window or Window(0, 0, *size)
    labels = argmax_resized(output.logits[:1], size, window=part)[0]
    shares = probabilities(output.logits[:1], size, window=part)[0] if probs else None
    return LabelMap(labels=labels, classes=classes, probs=shares, ignore_id=ignore_id)


def probabilities(
    logits: Float[Tensor, "b k h w"], size: tuple[int, int], *, window: Window | None = None
) -> Float[np.ndarray, "b k h2 w2"]:
    """Soft-max over the classes at full size, as float16, made strip by strip."""
    part = window or Window(0, 0, *size)
    shares = np.empty((*logits.shape[:2], *part.size), np.float16)
    for top, strip in _resized_strips(logits, size, part):
        shares[:, :, top : top + strip.shape[2]] = strip.softmax(1).half().cpu().numpy()
    return shares


def _argmax_into(
    logits: Float[Tensor, "k h w"], size: tuple[int, int], part: Window, labels: Shaped[np.ndarray, "h2 w2"]
) -> None:
    """Fill ``labels`` from scores on the CPU, in whichever of the two usual orders they lie."""
    pixels = logits.float().permute(1, 2, 0)
    innermost = pixels.is_contiguous()
    scores = (pixels if innermost else logits.float().contiguous()).numpy()
    height, width = logits.shape[1:]
    if (height, width) == size:
        kernel = kernels.argmax_pixels if innermost else kernels.argmax_planes
        share(partial(kernel, scores, part.top, part.left, labels), part.size[0])
        return
    top, *rows = _cells(height, size[0], part.top, part.bottom)
    left, *columns = _cells(width, size[1], part.left, part.right)
    work = partial(kernels.argmax_cells, scores, innermost, (top, left), tuple(rows), tuple(columns), labels)
    share(work, len(rows[0]) - 1)


def _argmax_shrunk(
    logits: Float[Tensor, "b k h w"], size: tuple[int, int], part: Window
) -> Shaped[np.ndarray, "b h2 w2"]:
    """For a size below that of the scores: the resized ones are fewer, and nothing is gained by fusing."""
    resized = interpolate(logits.detach().float(), size=size, mode="bilinear", align_corners=False)
    rows, columns = part.slices
    return resized[:, :, rows, columns].argmax(1).numpy().astype(label_type(logits.shape[1]))


def _cells(
    length: int, resized: int, start: int, stop: int
) -> tuple[int, Int64[np.ndarray, " cells"], Float32[np.ndarray, " n"]]:
    """The pixels ``start .. stop`` of a resized axis, grouped by the original before them.

    Returns:
        The first original; where the pixels of it and of all that follow begin, counted from ``start``, and
        where the last ones end; the share of the original after each pixel.
    """
    before, share_after = neighbours(length, resized, start, stop)
    first, last = int(before[0]), int(before[-1])
    stop_cell = min(
        last + 2, length
    )  # one more, without pixels, since the last one's right corners are its own
    return first, np.searchsorted(before, np.arange(first, stop_cell + 1)), share_after


def _resized_strips(
    logits: Float[Tensor, "b k h w"], size: tuple[int, int], part: Window
) -> Iterator[tuple[int, Float[Tensor, "b k n w2"]]]:
    """The resized scores from the top, a few rows at a time; the row counts from the top of ``part``."""
    batch, classes, height, width = logits.shape
    device = logits.device
    columns, share_x = (
        torch.from_numpy(a).to(device) for a in neighbours(width, size[1], part.left, part.right)
    )
    after = (columns + 1).clamp(max=width - 1)
    rows = max(1, STRIP_BYTES // (4 * batch * classes * len(columns)))
    for top in range(part.top, part.bottom, rows):
        found = neighbours(height, size[0], top, min(top + rows, part.bottom))
        before, share_y = (torch.from_numpy(a).to(device) for a in found)
        below = (before + 1).clamp(max=height - 1)
        upper, lower = logits[:, :, before].float(), logits[:, :, below].float()
        strip = torch.lerp(upper, lower, share_y[:, None])
        yield top - part.top, torch.lerp(strip[..., columns], strip[..., after], share_x)


def _argmax_strips(
    logits: Float[Tensor, "b k h w"], size: tuple[int, int], part: Window
) -> Shaped[np.ndarray, "b h2 w2"]:
    labels = np.empty((len(logits), *part.size), label_type(logits.shape[1]))
    for top, strip in _resized_strips(logits.detach(), size, part):
        labels[:, top : top + strip.shape[2]] = strip.argmax(1).cpu().numpy()
    return labels
