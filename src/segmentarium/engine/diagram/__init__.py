"""A figure of a network, drawn from its code: what each part makes, at which size, and where it goes."""

from __future__ import annotations

from segmentarium.engine.diagram.blocks import Block, Diagram, diagram
from segmentarium.engine.diagram.paint import svg

__all__ = ["Block", "Diagram", "diagram", "svg"]
