"""One loss a raw output, made of shared terms."""

from __future__ import annotations

from segmentarium.losses.semantic import SemanticLoss
from segmentarium.losses.terms import TERMS
from segmentarium.losses.total import sum_over_processes

__all__ = ["TERMS", "SemanticLoss", "sum_over_processes"]
