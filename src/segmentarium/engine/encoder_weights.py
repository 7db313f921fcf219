"""Trained weights for the encoder alone: those that timm publishes, or a state dict of that model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeGuard

from torch import Tensor, nn

from segmentarium.backbones import VGG, Encoder, HRNet
from segmentarium.errors import BadRecipe, WeightsMismatch
from segmentarium.weights.store import load_weights

TIMM = "timm"
COUNTER = "num_batches_tracked"


def take_encoder(network: nn.Module, told: str) -> None:
    """Give the encoder of ``network`` trained weights.

    Args:
        told: ``timm`` for those that timm publishes for the model, or the path of a state dict of it.

    Raises:
        BadRecipe: the network stands on no timm model.
        WeightsMismatch: the weights cannot be had, or are of another model.
    """
    encoder = next((part for part in network.modules() if _is_published(part)), None)
    if encoder is None:
        raise BadRecipe(
            f"recipe.encoder_weights: {type(network).__name__} stands on no timm model",
            allowed="a network with an encoder of timm, such as unet-resnet34, or with a whole VGG or HRNet",
            cure="leave encoder_weights out",
        )
    known = _published(encoder.name) if told == TIMM else load_weights(told)[0]
    body = encoder.body if isinstance(encoder, Encoder) else encoder
    own = body.state_dict()
    if isinstance(encoder, VGG):
        known = _in_order(own, known)
    fitting = {name: known[name] for name in own if name in known and known[name].shape == own[name].shape}
    missing = [name for name in own if name not in fitting and not name.endswith(COUNTER)]
    if missing:
        raise WeightsMismatch(
            f"{told} lacks {len(missing)} of {len(own)} tensors of {encoder.name} ({', '.join(missing[:3])})",
            allowed=f"a state dict of timm's {encoder.name} for as many channels",
            cure="name the model they were trained with, or leave encoder_weights out",
        )
    body.load_state_dict(own | fitting)


def _is_published(part: nn.Module) -> TypeGuard[Encoder | HRNet | VGG]:
    return isinstance(part, Encoder | HRNet | VGG) and bool(part.name)


def _in_order(own: Mapping[str, Tensor], known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The convolutional tensors of a published VGG by our names: the layers of both begin at the image."""
    found: dict[str, Tensor] = {}
    for kind in ("weight", "bias", "running_mean", "running_var"):
        ours, theirs = (sorted((n for n in names if n.endswith(kind)), key=_layer) for names in (own, known))
        found |= {mine: known[name] for mine, name in zip(ours, theirs, strict=False)}
    return found


def _layer(name: str) -> list[tuple[bool, int]]:
    """Its place in the network; words, as those of the layers behind the convolutions, come last."""
    words = name.split(".")[:-1]
    return [(not word.isdigit(), int(word) if word.isdigit() else 0) for word in words if word != "features"]


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
