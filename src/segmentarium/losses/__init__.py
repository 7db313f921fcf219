"""Losses that can be called, scaled and added, and one loss a raw output made of them.

    loss = CrossEntropy() + 0.5 * Dice()
    value = loss(logits, labels)

:mod:`segmentarium.losses.evidence` says what they take; ``TERMS`` lists them by the names of recipes.
"""

from __future__ import annotations

from segmentarium.losses.deep_supervision import DeepSupervision
from segmentarium.losses.lovasz import Lovasz
from segmentarium.losses.mask_classification import MaskClassificationLoss
from segmentarium.losses.matching import HungarianMatcher
from segmentarium.losses.max_deeplab import MaxDeepLabLoss
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
from segmentarium.losses.region_mutual_information import RegionMutualInformation
from segmentarium.losses.regions import mask_branch
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
from segmentarium.nn.truth import Truth

__all__ = [
    "TERMS",
    "BalancedCrossEntropy",
    "BinaryCrossEntropy",
    "Boundary",
    "CentrelineDice",
    "CrossEntropy",
    "DeepSupervision",
    "Dice",
    "DiceCentrelineDice",
    "Focal",
    "FocalTversky",
    "GeneralizedDice",
    "Hausdorff",
    "HungarianMatcher",
    "Jaccard",
    "LogHausdorff",
    "Loss",
    "Lovasz",
    "MaskClassificationLoss",
    "MatthewsCorrelation",
    "MaxDeepLabLoss",
    "OnlineHardExamples",
    "PrintedUNetPlusPlus",
    "RegionMutualInformation",
    "SemanticLoss",
    "Sum",
    "TopK",
    "Truth",
    "Tversky",
    "UnifiedFocal",
    "mask_branch",
    "nnunet",
    "soft_cross_entropy",
    "sum_over_processes",
    "ternausnet",
    "unet_plus_plus",
    "unetr",
]
