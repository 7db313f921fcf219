"""Run-length masks, as COCO codes them: arrays in, text out, and back; measured without unpacking.

The code itself lives beside the results that are kept in it, in ``values/runs.py``: a lower floor.
"""

from __future__ import annotations

from collections.abc import Iterable

from segmentarium.values.runs import Box, Rle, area, box, decode, encode, place

__all__ = ["Box", "Rle", "area", "areas", "box", "boxes", "decode", "encode", "place"]


def areas(masks: Iterable[Rle]) -> list[int]:
    """Pixels inside each mask."""
    return [area(mask) for mask in masks]


def boxes(masks: Iterable[Rle]) -> list[Box]:
    """The smallest box around each mask, end exclusive."""
    return [box(mask) for mask in masks]
