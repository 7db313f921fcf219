"""What a metric is, in words: one entry a quantity, from which documentation and explanations are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One quantity exactly as it is computed here.

    Attributes:
        name: the field under which results hold it, e.g. ``hd95``.
        title: the name that papers use.
        formula: in plain text; symbols are explained in it.
        best: which end of the scale is good; ``neither`` for what only describes.
        unit: of the number; empty for a pure number.
        edges: special case → what comes out, e.g. ``{"both masks empty": "undefined (nan)"}``.
        protocols: name of a tool or definition → how it computes this, in one sentence. The first is the
            default.
        source: paper, section, equation.
        atlas: rows of the atlas of foundations that this answers.
    """

    name: str
    title: str
    formula: str
    best: Literal["high", "low", "neither"] = "high"
    unit: str = ""
    edges: Mapping[str, str] = field(default_factory=dict)
    protocols: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    atlas: tuple[str, ...] = ()
