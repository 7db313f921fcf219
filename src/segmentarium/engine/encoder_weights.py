"""Trained weights for the encoder alone: those that timm publishes, or a state dict of that model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from segmentarium.backbones import Encoder
from segmentarium.errors import BadRecipe, WeightsMismatch
from segmentarium.weights.store import load_weights

TIMM = "timm"


def take_encoder(network: nn.Module, told: str) -> None:
    """Give the encoder of ``network`` trained weights.

    Args:
        told: ``timm`` for those that timm publishes for the model, or the path of a state dict of it.

    Raises:
        BadRecipe: the network stands on no timm model.
        WeightsMismatch: the weights cannot be had, or are of another model.
    """
    encoder = next((part for part in network.modules() if isinstance(part, Encoder)), None)
    if encoder is None:
        raise BadRecipe(
            f"recipe.encoder_weights: {type(network).__name__} stands on no timm model",
            allowed="a network with an encoder of timm, such as unet-resnet34",
            cure="leave encoder_weights out",
        )
    known = _published(encoder.name) if told == TIMM else load_weights(told)[0]
    own = encoder.body.state_dict()
    fitting = {name: known[name] for name in own if name in known and known[name].shape == own[name].shape}
    missing = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    if missing:
        raise WeightsMismatch(
            f"{told} lacks {len(missing)} of {len(own)} tensors of {encoder.name} ({', '.join(missing[:3])})",
            allowed=f"a state dict of timm's {encoder.name} for as many channels",
            cure="name the model they were trained with, or leave encoder_weights out",
        )
    encoder.body.load_state_dict(own | fitting)


def _published(name: str) -> Mapping[str, Tensor]:
    import timm

    try:
        model: Any = timm.create_model(name, pretrained=True)
    except Exception as error:  # timm, its hub and the network fail in many ways
        reason = " ".join(str(error).split())[:200]
        raise WeightsMismatch(
            f"timm's weights of {name} cannot be had ({reason})",
            allowed="a connection, or the path of a state dict in recipe.encoder_weights",
            cure="fetch them elsewhere, or train from scratch",
        ) from error
    state: Mapping[str, Tensor] = model.state_dict()
    return state
