"""Scores from counts: one streamed confusion matrix, all region scores, intervals by resampling images."""

from segmentarium.metrics.confusion import ConfusionMatrix, SemanticScores, count_pairs
from segmentarium.metrics.intervals import bootstrap, bootstrap_mean
from segmentarium.metrics.scores import (
    DEFINITIONS,
    Tally,
    class_accuracy,
    dice,
    frequency_weighted_iou,
    iou,
    mean_accuracy,
    mean_dice,
    mean_iou,
    pixel_accuracy,
    precision,
    recall,
)

__all__ = [
    "DEFINITIONS",
    "ConfusionMatrix",
    "SemanticScores",
    "Tally",
    "bootstrap",
    "bootstrap_mean",
    "class_accuracy",
    "count_pairs",
    "dice",
    "frequency_weighted_iou",
    "iou",
    "mean_accuracy",
    "mean_dice",
    "mean_iou",
    "pixel_accuracy",
    "precision",
    "recall",
]
