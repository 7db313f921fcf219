"""Predictions against truth by the metric of the task, in memory that does not grow with the data."""

from __future__ import annotations

from segmentarium.engine.scoring.evaluation import Brief, Case, Evaluation, Scorer
from segmentarium.engine.scoring.objects import InstanceScorer, PanopticScorer
from segmentarium.engine.scoring.semantic import SemanticEvaluation, SemanticScorer
from segmentarium.engine.scoring.volumes import VolumeScorer
from segmentarium.values.classes import Classes

__all__ = ["Brief", "Case", "Evaluation", "Scorer", "SemanticEvaluation", "SemanticScorer", "scorer_for"]


def scorer_for(task: str, classes: Classes, *, dimensions: int = 2) -> Scorer:
    """The scorer of ``semantic``, ``instance`` or ``panoptic`` segmentation, in pictures or volumes."""
    if task == "instance":
        return InstanceScorer(classes)
    if task == "panoptic":
        return PanopticScorer(classes)
    return VolumeScorer(classes) if dimensions == 3 else SemanticScorer(classes)
