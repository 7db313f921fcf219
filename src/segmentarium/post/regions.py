"""From objects in boxes to instances; with a score a class and pixel beside them, to segments or a label map.

Classes of objects count things only: the i-th class of a region is the i-th thing among ``classes``, or the
i-th class where none is marked as a thing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Int32, Int64

from segmentarium.errors import BadArgument
from segmentarium.nn.outputs import Regions, SemanticRegions
from segmentarium.ops.rle import decode
from segmentarium.ops.tiles import Window
from segmentarium.post.pasting import instances_of, paste
from segmentarium.post.semantic import argmax_resized
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.results import Instances, LabelMap, Panoptic, Segment


def region_instances(
    output: Regions,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    pasting: str = "detectron2",
) -> Instances:
    """The objects in their order, each with its mask put into its box; masks without a pixel are left out.

    Args:
        output: of one image.
        size: height and width of the picture that boxes are in pixels of.
        window: where the image lies in it.
        pasting: a name of ``PASTE``.

    Raises:
        BadArgument: objects of several images, or of a class that does not exist.
    """
    if len(output.image) and bool((output.image != output.image[0]).any()):
        raise BadArgument("objects of several images at once", allowed="those of one", cure="use post.part")
    part, names = window or Window(0, 0, *size), _thing_indices(classes)
    labels = output.classes.cpu().numpy()
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        raise BadArgument(
            f"objects of class {labels.max()} (from 0) for {len(names)} classes of things",
            allowed="the classes that the network was trained with, in their order",
        )
    crops = paste(output.boxes, output.mask_logits, size, rule=pasting, window=part)
    scores = output.scores.detach().float().cpu().numpy()
    return instances_of(crops, np.arange(len(labels)), scores, names[labels], classes, part.size)


def heuristic(
    output: SemanticRegions,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    score: float = 0.5,
    overlap: float = 0.5,
    stuff_area: int = 4096,
    pasting: str = "detectron2",
) -> Panoptic:
    """Objects are laid down from the best score, each below those before it; stuff fills what is left.

    An object that is covered too much is dropped, and stuff that is left too small. Of equal scores the first
    object comes first. The score of stuff is 1: the semantic branch gives none.

    Args:
        output: its semantic scores stand for each class of stuff in their order, the last for all things.
        score: objects below it are not laid down.
        overlap: the share of an object that may be covered.
        stuff_area: least pixels of a class of stuff, in pixels of ``size``.

    Source: Kirillov et al. 2019, arXiv:1801.00868, section 7, and arXiv:1901.02446; the limits of detectron2.
    """
    part = window or Window(0, 0, *size)
    instances = region_instances(output.regions, size=size, classes=classes, window=part, pasting=pasting)
    ids, segments = np.zeros(part.size, np.int32), list[Segment]()
    for n in np.argsort(-instances.scores, kind="stable").tolist():
        if instances.scores[n] < score:
            break
        mask, under = decode(instances.masks[n]), ids[instances.window(n)]
        free = mask & (under == 0)
        if mask.sum() - free.sum() <= overlap * mask.sum() and free.any():
            chance, index = float(instances.scores[n]), int(instances.classes_of[n])
            segments.append(Segment(len(segments) + 1, index, chance))
            under[free] = len(segments)
    labels = _stuff_labels(output, size, classes, part)
    labels[ids > 0] = VOID
    areas = np.bincount(labels.ravel() + 1, minlength=len(classes) + 1)[1:]
    table = np.zeros(len(classes) + 1, np.int32)  # the last one is void's
    for index in np.flatnonzero(areas >= max(stuff_area, 1)).tolist():
        segments.append(Segment(len(segments) + 1, index))
        table[index] = len(segments)
    return Panoptic(ids + table[labels], tuple(segments), classes)


def painted(
    output: SemanticRegions,
    *,
    size: tuple[int, int],
    classes: Classes,
    window: Window | None = None,
    score: float = 0.5,
    pasting: str = "detectron2",
) -> LabelMap:
    """A class for each pixel: that of the best object there, else what the semantic branch says of stuff.

    Where it says "thing" and there is no object, the pixel is void.

    Args:
        score: objects below it are not painted.
    """
    part = window or Window(0, 0, *size)
    labels = _stuff_labels(output, size, classes, part)
    instances = region_instances(output.regions, size=size, classes=classes, window=part, pasting=pasting)
    for n in np.argsort(instances.scores, kind="stable").tolist():
        if instances.scores[n] >= score:
            labels[instances.window(n)][decode(instances.masks[n])] = instances.classes_of[n]
    return LabelMap(labels, classes)


MERGES: dict[str, Callable[..., Panoptic]] = {"heuristic": heuristic}


def _stuff(classes: Classes) -> Bool[np.ndarray, " k"]:
    return np.array([not c.thing for c in classes], bool)


def _thing_indices(classes: Classes) -> Int64[np.ndarray, " n"]:
    stuff = _stuff(classes)
    return np.arange(len(classes)) if stuff.all() else np.flatnonzero(~stuff)


def _stuff_labels(
    output: SemanticRegions, size: tuple[int, int], classes: Classes, part: Window
) -> Int32[np.ndarray, "h w"]:
    """Class indices where the semantic branch says stuff, void where it says thing."""
    logits, stuff = output.semantic.logits, _stuff(classes)
    if len(logits) != 1:
        raise BadArgument(f"answers for {len(logits)} images at once", allowed="one", cure="use post.part")
    if logits.shape[1] != stuff.sum() + 1:
        raise BadArgument(
            f"{logits.shape[1]} scores a pixel for {stuff.sum()} classes of stuff",
            allowed=f"{stuff.sum() + 1}: each class of stuff, and last all things together",
        )
    names = np.append(np.flatnonzero(stuff), VOID).astype(np.int32)
    return np.asarray(names[argmax_resized(logits, size, window=part)[0]])
