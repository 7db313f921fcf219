"""From class scores to a label map: resize, choose, crop, in one pass and without full-size scores.

Volumes go slice by slice: two slices of scores are blended, and the blend is resized as a picture is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import interpolate

from segmentarium.nn.outputs import Semantic
from segmentarium.ops.resize import neighbours
from segmentarium.ops.share import share
from segmentarium.ops.tiles import Window
from segmentarium.post import kernels
from segmentarium.post.cells import axis, resized_strips
from segmentarium.values.classes import Classes
from segmentarium.values.results import LabelMap

Part = Window | tuple[slice, ...]
"""What is wanted of a resized picture, or of a volume (a slice an axis, each with start and stop)."""


def argmax_resized(
    logits: Float[Tensor, "b k *s"], size: tuple[int, ...], *, window: Part | None = None
) -> Shaped[np.ndarray, " b *t"]:
    """The best class of each pixel after a linear resize (corners not aligned), the first one among equals.

    The same labels as ``interpolate(logits, size).argmax(1)`` without the memory for the resized scores.

    Args:
        size: height and width that the scores stand for; of volumes, depth first.
        window: the part of ``size`` that is wanted; all of it if not given. The rest is not computed.

    Returns:
        Class indices, in the smallest of uint8, uint16 and int32 that holds them.
    """
    if logits.ndim == 5:
        return _argmax_volume(logits, size, window)
    flat, part = (size[0], size[1]), flat_window(size, window)
    if logits.device.type != "cpu":
        return _argmax_strips(logits, flat, part)
    height, width = logits.shape[2:]
    if size[0] <= height and size[1] <= width and size != (height, width):
        return _argmax_shrunk(logits, flat, part)
    labels = np.empty((len(logits), *part.size), label_type(logits.shape[1]))
    for scores, chosen in zip(logits.detach(), labels, strict=True):
        _argmax_into(scores, flat, part, chosen)
    return labels


def flat_window(size: tuple[int, ...], window: Part | None) -> Window:
    """``window`` of the last two axes; all of ``size`` if not given."""
    if isinstance(window, Window):
        return window
    rows, columns = window[-2:] if window else (slice(0, size[-2]), slice(0, size[-1]))
    return Window(rows.start, columns.start, rows.stop, columns.stop)


def label_type(classes: int) -> type[np.integer[Any]]:
    """The smallest of the three types that results use."""
    return np.uint8 if classes <= 2**8 else np.uint16 if classes <= 2**16 else np.int32


def finish_semantic(
    output: Semantic,
    size: tuple[int, ...],
    classes: Classes,
    *,
    probs: bool = False,
    window: Part | None = None,
    ignore_id: int = 255,
) -> LabelMap:
    """The label map of one image or volume from a network's raw output.

    Args:
        output: of a batch of one.
        size: height and width of what the scores stand for: the network's input, less its border; of volumes,
            depth first.
        probs: whether to keep the probabilities of all classes, too (k times the memory).
        window: where the image lies in ``size`` when it was padded; all of it if not given.
        ignore_id: what void pixels are called in files.
    """
    labels = argmax_resized(output.logits[:1], size, window=window)[0]
    shares = probabilities(output.logits[:1], size, window=window)[0] if probs else None
    return LabelMap(labels=labels, classes=classes, probs=shares, ignore_id=ignore_id)


def probabilities(
    logits: Float[Tensor, "b k *s"], size: tuple[int, ...], *, window: Part | None = None
) -> Float[np.ndarray, "b k *t"]:
    """Soft-max over the classes at full size, as float16, made strip by strip."""
    if logits.ndim == 5:
        slices = [
            probabilities(scores, size[1:], window=flat) for scores, flat in _slices(logits, size, window)
        ]
        return np.stack(slices, axis=2)
    part = flat_window(size, window)
    shares = np.empty((*logits.shape[:2], *part.size), np.float16)
    for top, strip in resized_strips(logits, (size[0], size[1]), part):
        shares[:, :, top : top + strip.shape[2]] = strip.softmax(1).half().cpu().numpy()
    return shares


def _argmax_volume(
    logits: Float[Tensor, "b k d h w"], size: tuple[int, ...], window: Part | None
) -> Shaped[np.ndarray, "b d2 h2 w2"]:
    slices = [argmax_resized(scores, size[1:], window=flat) for scores, flat in _slices(logits, size, window)]
    return np.stack(slices, axis=1)


def _slices(
    logits: Float[Tensor, "b k d h w"], size: tuple[int, ...], window: Part | None
) -> Iterator[tuple[Float[Tensor, "b k h w"], Window]]:
    """The slices of a volume that is resized along its depth only, and what is wanted of each."""
    depth = window[0] if window and not isinstance(window, Window) else slice(0, size[0])
    before, share_after = neighbours(logits.shape[2], size[0], depth.start, depth.stop)
    logits, flat = logits.detach(), flat_window(size, window)
    for first, weight in zip(before.tolist(), share_after.tolist(), strict=True):
        after = min(first + 1, logits.shape[2] - 1)
        scores = logits[:, :, first]
        if weight:
            scores = torch.lerp(scores.float(), logits[:, :, after].float(), weight)
        yield scores, flat


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
    rows = axis(height, size[0], part.top, part.bottom)
    columns = axis(width, size[1], part.left, part.right)
    cells = (rows.first, columns.first), (rows.starts, rows.share), (columns.starts, columns.share)
    share(partial(kernels.argmax_cells, scores, innermost, *cells, labels), len(rows.starts) - 1)


def _argmax_shrunk(
    logits: Float[Tensor, "b k h w"], size: tuple[int, int], part: Window
) -> Shaped[np.ndarray, "b h2 w2"]:
    """For a size below that of the scores: the resized ones are fewer, and nothing is gained by fusing."""
    resized = interpolate(logits.detach().float(), size=size, mode="bilinear", align_corners=False)
    rows, columns = part.slices
    return resized[:, :, rows, columns].argmax(1).numpy().astype(label_type(logits.shape[1]))


def _argmax_strips(
    logits: Float[Tensor, "b k h w"], size: tuple[int, int], part: Window
) -> Shaped[np.ndarray, "b h2 w2"]:
    labels = np.empty((len(logits), *part.size), label_type(logits.shape[1]))
    for top, strip in resized_strips(logits.detach(), size, part):
        labels[:, top : top + strip.shape[2]] = strip.argmax(1).cpu().numpy()
    return labels
