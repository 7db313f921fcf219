"""Blocks that several papers share, and the raw outputs that all of them return."""

from __future__ import annotations

from segmentarium.nn.blocks import ConvNormAct, crop_or_pad, resize
from segmentarium.nn.door import require_channels
from segmentarium.nn.geometry import Geometry, geometry_of
from segmentarium.nn.outputs import Queries, Regions, Semantic, SemanticRegions
from segmentarium.nn.truth import Truth, boxes_of

__all__ = [
    "ConvNormAct",
    "Geometry",
    "Queries",
    "Regions",
    "Semantic",
    "SemanticRegions",
    "Truth",
    "boxes_of",
    "crop_or_pad",
    "geometry_of",
    "require_channels",
    "resize",
]
