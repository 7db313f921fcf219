"""Networks as recipes and weight files name them: an architecture, and what refines its answer."""

from __future__ import annotations

from torch import nn

from segmentarium.data.normalise import Normalise
from segmentarium.data.volume_normalise import NormaliseVolume
from segmentarium.engine.subject import output_of
from segmentarium.errors import BadRecipe
from segmentarium.models import build, dimensions
from segmentarium.nn import crf_rnn
from segmentarium.nn.refined import Refined

REFINEMENTS = ("", "crf_rnn")
"""What a recipe may have behind the network; the first is nothing."""


def make(
    model: str, *, refine: str = "", classes: int, in_channels: int = 3, things: int | None = None
) -> nn.Module:
    """The network called ``model``, untrained, with what refines it.

    Raises:
        UnknownName: no such network.
        BadRecipe: as :func:`require_refinable`.
    """
    require_refinable(model, refine)
    network = build(model, classes=classes, in_channels=in_channels, things=things)
    return Refined(network) if refine else network


def require_refinable(model: str, refine: str) -> None:
    """Refuse what cannot stand behind a network.

    Raises:
        BadRecipe: an unknown refinement, or a network that does not name each pixel of pictures.
    """
    if refine not in REFINEMENTS:
        raise BadRecipe(f"refine = {refine!r}", allowed=" or ".join(map(repr, REFINEMENTS)))
    if refine and (output_of(model) != "semantic" or dimensions(model) != 2):
        raise BadRecipe(
            f"refine = {refine!r} behind {model}",
            allowed="networks that name each pixel of pictures",
            cure="leave it out",
        )


def show_levels(network: nn.Module, normalise: Normalise | NormaliseVolume) -> nn.Module:
    """Tell the fields in ``network`` how to see intensities in what ``normalise`` makes of them."""
    for module in network.modules():
        if isinstance(module, crf_rnn.CRFLayer) and isinstance(normalise, Normalise):
            module.sees(mean=normalise.mean, std=normalise.std)
    return network
