"""The waist: what networks return. Logits, never probabilities, at whatever size the network makes them."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
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
    """

    class_logits: Float[Tensor, "b q k+1"]
    mask_logits: Float[Tensor, "b q *s"]
    aux: tuple[Queries, ...] = ()
