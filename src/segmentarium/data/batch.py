"""One step's worth of training data, and what makes its samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float32, Int64
from torch import Tensor

from segmentarium.data.dataset import Pair
from segmentarium.nn.truth import Truth


@dataclass(frozen=True, eq=False)
class Batch:
    """Normalised images or volumes with their truth, and the stems of their files.

    ``labels`` are class indices, void -1; networks that answer with masks get ``truths`` in their place.
    ``weights`` are what the pixels count for, if that was asked for.
    """

    images: Float32[Tensor, "b c *s"]
    labels: Int64[Tensor, " b *s"] | None
    stems: tuple[str, ...]
    weights: Float32[Tensor, " b *s"] | None = None
    truths: tuple[Truth, ...] = ()


@runtime_checkable
class Samples(Protocol):
    """Makes samples, each a pure function of its pair and a seed, and writes them into a batch.

    ``notes`` are what is done to the images that a user may not expect, found when they are first read.
    """

    pairs: tuple[Pair, ...]
    notes: tuple[str, ...]

    def canvas(self, count: int) -> Any:
        """Room for ``count`` samples."""
        ...

    def paint(self, pair: Pair, canvas: Any, slot: int, *, seed: Sequence[int]) -> None:
        """Make a sample of ``pair`` and write it into its slot; threads do this side by side."""
        ...

    def batch(self, canvas: Any, stems: tuple[str, ...]) -> Batch:
        """What was painted, as tensors."""
        ...
