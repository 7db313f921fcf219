"""Losses by name, as recipes call them: ``loss = { cross_entropy = 1.0, dice = 0.5 }``.

A name with settings takes a table: ``loss = { focal = { weight = 2.0, gamma = 3.0 } }``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from segmentarium.errors import BadRecipe, UnknownName
from segmentarium.losses.lovasz import Lovasz
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
)
from segmentarium.losses.region_mutual_information import RegionMutualInformation
from segmentarium.losses.shaped import (
    Boundary,
    CentrelineDice,
    DiceCentrelineDice,
    Hausdorff,
    LogHausdorff,
)
from segmentarium.losses.term import Loss
from segmentarium.losses.unified_focal import UnifiedFocal


def unetr() -> Loss:
    """Dice with squared denominators for each image and class, and cross-entropy.

    Source: Hatamizadeh et al. 2022, arXiv:2103.10504, equation 6.
    """
    return Dice(exponent=2, over="image", absent="count", smooth_dr=1e-6) + CrossEntropy()


def unet_plus_plus() -> Loss:
    """Half the cross-entropy and Dice, as the authors of UNet++ trained; their paper prints something else.

    Source: Zhou et al. 2018, arXiv:1807.10165.
    """
    return 0.5 * CrossEntropy() + Dice(smooth_nr=1.0, smooth_dr=1.0, absent="count")


def ternausnet() -> Loss:
    """Cross-entropy minus the logarithm of the Jaccard index.

    Source: Iglovikov and Shvets 2018, arXiv:1801.05746, equation 4.
    """
    return CrossEntropy() + Jaccard(log=True)


def nnunet() -> Loss:
    """Dice over the images of the batch without background, and cross-entropy.

    Source: Isensee et al. 2021, doi:10.1038/s41592-020-01008-z; its 2-D configuration.
    """
    return Dice(background=False, absent="count", smooth_nr=1e-5, smooth_dr=1e-5) + CrossEntropy()


TERMS: dict[str, Callable[..., Loss]] = {
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": BinaryCrossEntropy,
    "balanced_cross_entropy": BalancedCrossEntropy,
    "focal": Focal,
    "top_k": TopK,
    "ohem": OnlineHardExamples,
    "dice": Dice,
    "dice_smooth": partial(Dice, smooth_nr=1.0, smooth_dr=1.0, absent="count"),
    "dice_squared": partial(Dice, exponent=2),
    "generalized_dice": GeneralizedDice,
    "jaccard": Jaccard,
    "tversky": Tversky,
    "focal_tversky": FocalTversky,
    "unified_focal": UnifiedFocal,
    "mcc": MatthewsCorrelation,
    "lovasz": Lovasz,
    "boundary": Boundary,
    "hausdorff": Hausdorff,
    "log_hausdorff": LogHausdorff,
    "cl_dice": CentrelineDice,
    "dice_cl_dice": DiceCentrelineDice,
    "rmi": RegionMutualInformation,
    "unetr": unetr,
    "unet_plus_plus": unet_plus_plus,
    "unet_plus_plus_printed": PrintedUNetPlusPlus,
    "ternausnet": ternausnet,
    "nnunet": nnunet,
}
"""Each name with what makes it; ``dice_smooth`` is the form of lectures and of mask classification, +1."""


def named(terms: Mapping[str, float | Mapping[str, Any]]) -> dict[str, tuple[float, Loss]]:
    """The weight and the loss of each name.

    Raises:
        BadRecipe: there is no such loss or no such setting of it, or no loss at all.
    """
    if not terms:
        raise BadRecipe("a loss without any term", allowed=", ".join(TERMS), cure="try cross_entropy = 1.0")
    return {name: _one(name, value) for name, value in terms.items()}


def _one(name: str, value: float | Mapping[str, Any]) -> tuple[float, Loss]:
    if name not in TERMS:
        unknown = UnknownName.among("loss term", name, TERMS)
        raise BadRecipe(unknown.came, allowed=", ".join(TERMS), cure=unknown.cure)
    settings = dict(value) if isinstance(value, Mapping) else {"weight": value}
    weight = settings.pop("weight", 1.0)
    try:
        return float(weight), TERMS[name](**settings)
    except TypeError as error:
        raise BadRecipe(f"loss {name}: {_reason(error)}", allowed=_settings_of(name)) from error


def _reason(error: TypeError) -> str:
    return str(error).split("() ", 1)[-1].replace("got an unexpected keyword argument", "unknown setting")


def _settings_of(name: str) -> str:
    made = TERMS[name]()
    fields = getattr(made, "__dataclass_fields__", {}) if not hasattr(made, "parts") else {}
    return ", ".join(["weight", *(f"{key} = {getattr(made, key)!r}" for key in fields)])
