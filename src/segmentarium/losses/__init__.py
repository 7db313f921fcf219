"""Losses that can be called, scaled and added, and one loss a raw output made of them.

    loss = CrossEntropy() + 0.5 * Dice()
    value = loss(logits, labels)

:mod:`segmentarium.losses.evidence` says what they take; ``TERMS`` lists them by the names of recipes.
"""

from __future__ import annotations

from segmentarium.losses.lovasz import Lovasz
from segmentarium.losses.named import TERMS, nnunet, ternausnet, unet_plus_plus, unetr
from segmentarium.losses.overlap import (
    Dice,
    FocalTversky,
    GeneralizedDice,
    Jaccard,
    MatthewsCorrelation,
    Tversky,
)
from segmentarium.losses.pixelwise import (
    BalancedCrossEntropy,
    BinaryCrossEntropy,
    CrossEntropy,
    Focal,
    OnlineHardExamples,
    PrintedUNetPlusPlus,
    TopK,
    soft_cross_entropy,
)
from segmentarium.losses.semantic import SemanticLoss
from segmentarium.losses.shaped import (
    Boundary,
    CentrelineDice,
    DiceCentrelineDice,
    Hausdorff,
    LogHausdorff,
)
from segmentarium.losses.term import Loss, Sum
from segmentarium.losses.total import sum_over_processes
from segmentarium.losses.unified_focal import UnifiedFocal

__all__ = [
    "TERMS",
    "BalancedCrossEntropy",
    "BinaryCrossEntropy",
    "Boundary",
    "CentrelineDice",
    "CrossEntropy",
    "Dice",
    "DiceCentrelineDice",
    "Focal",
    "FocalTversky",
    "GeneralizedDice",
    "Hausdorff",
    "Jaccard",
    "LogHausdorff",
    "Loss",
    "Lovasz",
    "MatthewsCorrelation",
    "OnlineHardExamples",
    "PrintedUNetPlusPlus",
    "SemanticLoss",
    "Sum",
    "TopK",
    "Tversky",
    "UnifiedFocal",
    "nnunet",
    "soft_cross_entropy",
    "sum_over_processes",
    "ternausnet",
    "unet_plus_plus",
    "unetr",
]
