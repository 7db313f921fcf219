"""The doctor's knowledge: one file a family of faults, each with a ``find`` from survey to findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from segmentarium.engine.faults import (
    alignment,
    channels,
    files,
    geometry,
    labels,
    leakage,
    presence,
    segments,
)
from segmentarium.engine.faults.finding import Finding
from segmentarium.engine.faults.survey import Survey

Family = Callable[[Survey], Iterable[Finding]]

FAMILIES: tuple[Family, ...] = (
    files.find,
    geometry.find,
    labels.find,
    segments.find,
    alignment.find,
    channels.find,
    presence.find,
    leakage.find,
)
"""In the order in which a reader should hear of them."""
