"""The registry is this folder: one file a paper, its name is the architecture's name.

Listing imports nothing, and nothing outside the folder can be named, so neither a recipe nor a web request
can import code. A name is ``architecture[-variant][@weights]``, as in ``unet-resnet34@camvid``; without a
variant it means the paper's own network, the first of the file's ``VARIANTS``. A paper of several networks
(``SEVERAL``) has ``VARIANTS`` for each. Other spellings, such as ``UNet++``, are taken too.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.models._naming import (
    SEVERAL,
    ModelName,
    aliases,
    architectures,
    configs,
    file_of,
    paper,
)

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "SEVERAL",
    "ModelName",
    "aliases",
    "architectures",
    "build",
    "config_of",
    "count_parameters",
    "create",
    "dimensions",
    "file_of",
    "variants",
]


def variants(architecture: str) -> tuple[str, ...]:
    """The named variants of ``architecture``, the paper's own first."""
    return tuple(configs(architecture))


def dimensions(name: str) -> int:
    """2 for a network of pictures, 3 for one of volumes."""
    architecture = ModelName.parse(name).architecture
    return int(getattr(_network(architecture), "dimensions", 2))


def config_of(name: str) -> Any:
    """The frozen ``Config`` that ``name`` stands for.

    Raises:
        UnknownName: no such architecture, variant or encoder; the nearest is offered.
    """
    parts = ModelName.parse(name)
    known = configs(parts.architecture)
    if not parts.variant:
        return next(iter(known.values()))
    if parts.variant in known:
        return known[parts.variant]
    if not hasattr(paper(parts.architecture), "from_encoder"):
        raise UnknownName.among(f"variant of {parts.architecture}", parts.variant, known)
    return _from_encoder(parts)


def build(name: str, *, classes: int, in_channels: int = 3, things: int | None = None) -> nn.Module:
    """Make the network called ``name``, untrained.

    Args:
        name: ``architecture[-variant]``; for published weights call ``segmentarium.load`` instead.
        classes: real classes; void is not counted.
        in_channels: channels of the images.
        things: how many of the classes, the first ones, are countable; for networks that treat the rest
            apart. All of them if not given.

    Raises:
        UnknownName: no such network, or the name asks for weights.
        BadArgument: ``classes`` or ``in_channels`` is no whole number, or below 1.
    """
    counts = {"classes": _count("classes", classes), "in_channels": _count("in_channels", in_channels)}
    parts = ModelName.parse(name)
    if parts.weights:
        raise UnknownName(
            f"{name!r} asks for weights, and a network is built without",
            allowed=str(parts._replace(weights="")),
            cure=f"segmentarium.load({name!r}) gives the trained model",
        )
    config = replace(config_of(name), **counts)
    if hasattr(config, "things"):
        config = replace(config, things=counts["classes"] if things is None else things)
    network: nn.Module = _network(parts.architecture)(config)
    return network


create = build


def count_parameters(
    name: str, *, classes: int | None = None, in_channels: int | None = None, things: int | None = None
) -> int:
    """Trainable parameters of ``name``, counted without allocating any; untold numbers are its variant's."""
    import torch

    config = config_of(name)
    with torch.device("meta"):
        network = build(
            str(ModelName.parse(name)._replace(weights="")),
            classes=config.classes if classes is None else classes,
            in_channels=config.in_channels if in_channels is None else in_channels,
            things=things if classes is not None else getattr(config, "things", None),
        )
    return sum(p.numel() for p in network.parameters())


def _count(name: str, given: object) -> int:
    """``given``, which must be a whole number, 1 at least."""
    try:
        count = operator.index(given)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if count < 1:
        raise BadArgument(f"{name}={given!r}", allowed="a whole number, 1 or more", cure=_CURES[name])
    return count


_CURES = {
    "classes": "give as many as the data have, void not counted",
    "in_channels": "give the channels of the images, 3 for colours",
}


def _network(architecture: str) -> Any:
    """The paper's network: the one class spelt like its name, ``UNetPlusPlus`` for ``unet_plus_plus``."""
    spelt = architecture.replace("_", "")
    return next(thing for name, thing in vars(paper(architecture)).items() if name.lower() == spelt)


def _from_encoder(parts: ModelName) -> Any:
    from segmentarium.backbones import encoder_names

    module = paper(parts.architecture)
    if parts.variant.split(".")[0] in encoder_names():
        # a paper of several networks is told which
        which = {"network": parts.architecture} if parts.architecture in module.VARIANTS else {}
        return module.from_encoder(parts.variant, **which)
    own = configs(parts.architecture)
    known = [*own, *sorted(encoder_names())]
    near = get_close_matches(parts.variant, known, n=1, cutoff=0.5)
    raise UnknownName(
        f"unknown variant {parts.variant!r} of {parts.architecture}",
        allowed=f"{', '.join(own)}, or any encoder of timm",
        cure=f"did you mean {near[0]!r}?" if near else "`seg models` lists what there is",
    )
