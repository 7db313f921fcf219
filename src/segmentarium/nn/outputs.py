"""The waist: what networks return. Logits, never probabilities, at whatever size the network makes them."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Semantic(NamedTuple):
    """One score a class and pixel.

    ``logits`` may be smaller than the image (a stride, or a border lost to valid convolutions); finishers
    resize them, networks do not. ``aux`` holds further maps to train on, in the order the network names.
    """

    logits: Float[Tensor, "b k *s"]
    aux: tuple[Float[Tensor, "b k ..."], ...] = ()


class Queries(NamedTuple):
    """A set of answers, each of them one class and one mask.

    The last class is "no object"; a mask's logits are before the sigmoid or, where queries compete for each
    pixel, before the softmax over queries: the paper says which. ``aux`` holds what earlier layers answered.
    ``boxes``, where a network gives them, are (centre x, centre y, width, height) as shares of the image's
    sides.
    """

    class_logits: Float[Tensor, "b q k+1"]
    mask_logits: Float[Tensor, "b q *s"]
    aux: tuple[Queries, ...] = ()
    boxes: Float[Tensor, "b q 4"] | None = None


class Regions(NamedTuple):
    """Objects with a box each, those of all images of the batch in one list.

    ``image`` tells in which image of the batch an object is. ``boxes`` are (x0, y0, x1, y1) in pixels of the
    network's input; ``classes`` count from 0, there is none for the ground; ``mask_logits`` cover the box,
    before the sigmoid, and are those of the object's class. ``keypoint_logits``, of networks that find
    keypoints, cover the box likewise, one map a point.
    """

    image: Int[Tensor, " n"]
    boxes: Float[Tensor, "n 4"]
    scores: Float[Tensor, " n"]
    classes: Int[Tensor, " n"]
    mask_logits: Float[Tensor, "n m m"]
    keypoint_logits: Float[Tensor, "n p c c"] | None = None


class SemanticRegions(NamedTuple):
    """A score a class and pixel beside a list of objects, to be merged into one picture."""

    semantic: Semantic
    regions: Regions
