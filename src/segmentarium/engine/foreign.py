"""Weights that other programs trained, in our networks.

A card's ``[sources]`` tell how their tensors are called here (:mod:`segmentarium.weights.foreign`); classes
are counted from the tensors, and what images must look like stands in the card, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segmentarium.data.normalise import Normalise
from segmentarium.data.volume_normalise import NormaliseVolume
from segmentarium.engine.device import choose_device
from segmentarium.engine.model import SIDE_STEP, Model
from segmentarium.engine.tiled import Tiling
from segmentarium.engine.volume_model import VolumeModel
from segmentarium.errors import UnknownName, WeightsMismatch
from segmentarium.models import ModelName, build, config_of
from segmentarium.nn.inference import prepared
from segmentarium.values.classes import Classes
from segmentarium.weights.cards import Card, read_card
from segmentarium.weights.foreign import Source, translated
from segmentarium.weights.store import fit

TILE = (512, 512)
PATCH = (96, 96, 96)
COUNTER = "num_batches_tracked"
"""BatchNorm counts its batches; no answer depends on that."""


def adopt(
    tensors: Mapping[str, Tensor],
    *,
    model: str,
    source: str = "",
    classes: Sequence[str] | Classes | None = None,
    device: str = "auto",
    where: Path | None = None,
    name: str = "",
    quick: bool = True,
) -> Model | VolumeModel:
    """A model of ours with the state dict of another program.

    Args:
        tensors: by the program's names.
        model: our network, ``deeplabv3-torchvision_r50``; without a variant the one that the source names.
        source: which program; if not given, the one whose names fit.
        classes: their names, in the order of the program's heads, ground left out where the network counts
            none. If not given they are counted from the tensors and numbered. One class alone, whose program
            asks a sigmoid, becomes the second of two, after the ground.
        where: the file, for messages.
        name: what the model is to be called.
        quick: made ready to answer, and no longer to be trained on.

    Raises:
        UnknownName: there is no such network, or no such source on its card.
        WeightsMismatch: the tensors are not those of the source, or not of so many classes.
    """
    parts = ModelName.parse(model)
    card = read_card(parts.architecture)
    told = str(where or "the state dict")
    program, chosen, ours = _recognised(tensors, card, parts, source, told)
    parts = parts._replace(variant=parts.variant or chosen.variant, weights="")
    if "bgr" in _order(chosen):
        ours = _in_rgb(ours)
    if card.output == "semantic" and _count(str(parts), ours) == 1:
        ours = _beside_ground(str(parts), ours)
        classes = _ground_first(classes)
    network = _fitted(str(parts), card, ours, classes, told)
    named = _named(classes, int(network.config.classes))
    network = network.eval().requires_grad_(False).to(choose_device(device).name)
    if quick:
        network = prepared(network)
    return _model(network, named, name or str(parts), program, chosen, card, device, where)


def _recognised(
    tensors: Mapping[str, Tensor], card: Card, parts: ModelName, source: str, told: str
) -> tuple[str, Source, dict[str, Tensor]]:
    """The source whose names, translated, are those of our network."""
    if source and source not in card.sources:
        raise UnknownName.among(f"source of {parts.architecture}", source, card.sources)
    wanted = {
        name: one
        for name, one in card.sources.items()
        if source in ("", name) and parts.variant in ("", one.variant)
    }
    misses = {}
    for name, one in wanted.items():
        try:
            ours = _without_counters(translated(tensors, one))
        except WeightsMismatch:
            continue  # two of its names became one here: it is not of this program
        own = set(_names(str(parts._replace(variant=parts.variant or one.variant, weights=""))))
        if own == set(ours):
            return name, one, ours
        misses[name] = (sorted(own - set(ours)), sorted(set(ours) - own))
    known = ", ".join(f"{name} ({one.builder})" for name, one in (wanted or card.sources).items())
    raise WeightsMismatch(
        f"{told} holds the tensors of none of them{_first_miss(misses)}",
        allowed=known or "nothing: this network takes over no other program's weights",
        cure="give the state dict alone, of the program and the variant that the card names",
    )


def _names(model: str) -> list[str]:
    with torch.device("meta"):
        config = config_of(model)
        network = build(model, classes=config.classes, in_channels=config.in_channels)
    return [name for name in network.state_dict() if not name.endswith(COUNTER)]


def _without_counters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(COUNTER)}


def _first_miss(misses: Mapping[str, tuple[list[str], list[str]]]) -> str:
    if not misses:
        return ""
    name, (missing, foreign) = min(misses.items(), key=lambda item: len(item[1][0]) + len(item[1][1]))
    some = ", ".join((missing or foreign)[:3])
    return f"; nearest is {name}, which {'lacks' if missing else 'does not know'} {some}"


def _fitted(
    model: str,
    card: Card,
    tensors: Mapping[str, Tensor],
    classes: Sequence[str] | Classes | None,
    told: str,
) -> Any:
    """The network with the tensors, built for as many classes and channels as they have."""
    count = _count(model, tensors) if classes is None else len(classes)
    channels = _channels(model, tensors)
    network: Any = build(model, classes=count, in_channels=channels, things=_things(model, count))
    counters = {name: value for name, value in network.state_dict().items() if name.endswith(COUNTER)}
    fit(network, {**tensors, **counters}, where=told)
    return network


def _beside_ground(model: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A head for one class, read by a sigmoid, as a head for two: the ground's logit is 0, so the soft-max of
    both is that sigmoid."""
    channels = _channels(model, tensors)
    one, two = (_shapes(model, classes, channels) for classes in (1, 2))
    heads = {name: shape for name, shape in one.items() if shape != two[name]}
    grown = dict(tensors)
    for name, shape in heads.items():
        for axis, (few, many) in enumerate(zip(shape, two[name], strict=True)):
            if few != many:
                grown[name] = torch.cat([torch.zeros_like(grown[name]), grown[name]], dim=axis)
    return grown


def _ground_first(classes: Sequence[str] | Classes | None) -> Sequence[str] | Classes | None:
    return ("background", *classes) if classes is not None and len(classes) == 1 else classes


def _things(model: str, count: int) -> int | None:
    """Of networks that treat stuff apart, as many things as their variant has."""
    things = getattr(config_of(model), "things", None)
    return None if things is None else min(int(things), count)


def _count(model: str, tensors: Mapping[str, Tensor]) -> int:
    """The number of classes: sizes grow linearly with it, so two networks without memory tell it."""
    config = config_of(model)
    first, second = (_shapes(model, config.classes + more, config.in_channels) for more in (0, 1))
    for name, shape in first.items():
        for axis, (one, other) in enumerate(zip(shape, second[name], strict=True)):
            if one != other and name in tensors and tensors[name].ndim == len(shape):
                return int(config.classes + (tensors[name].shape[axis] - one) // (other - one))
    return int(config.classes)


def _channels(model: str, tensors: Mapping[str, Tensor]) -> int:
    config = config_of(model)
    first, second = (_shapes(model, config.classes, config.in_channels + more) for more in (0, 1))
    for name, shape in first.items():
        for axis, (one, other) in enumerate(zip(shape, second[name], strict=True)):
            if one != other and name in tensors and tensors[name].ndim == len(shape):
                return int(config.in_channels + (tensors[name].shape[axis] - one) // (other - one))
    return int(config.in_channels)


def _shapes(model: str, classes: int, channels: int) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        network = build(model, classes=classes, in_channels=channels, things=_things(model, classes))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _order(source: Source) -> str:
    return str((source.input or {}).get("order", "rgb")).lower()


def _in_rgb(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The first convolution turned round, so that images come in the usual order."""
    first = next(name for name, tensor in tensors.items() if tensor.ndim >= 4)
    return tensors | {first: tensors[first].flip(1).contiguous()}


def _named(classes: Sequence[str] | Classes | None, count: int) -> Classes:
    if isinstance(classes, Classes):
        return classes
    return Classes.named(*(classes or [f"class_{index}" for index in range(count)]))


def _model(
    network: nn.Module,
    classes: Classes,
    name: str,
    program: str,
    source: Source,
    card: Card,
    device: str,
    where: Path | None,
) -> Model | VolumeModel:
    place = choose_device(device)
    config: Any = network.config
    shared: dict[str, Any] = {
        "name": name,
        "network": network,
        "classes": _counted(classes, card.task, getattr(config, "things", None)),
        "device": place,
        "facts": {"licence": source.licence, "source": f"{program}: {source.builder}", "task": card.task},
        "path": where,
    }
    if getattr(network, "dimensions", 2) == 3:
        normalise = NormaliseVolume(channels=config.in_channels)
        return VolumeModel(normalise=normalise, patch=getattr(config, "size", PATCH), **shared)
    tiling = Tiling(tile=TILE, batch=1 if place.kind == "cpu" else 8, step=SIDE_STEP)
    return Model(normalise=_normalise(source, config.in_channels), tiling=tiling, task=card.task, **shared)


def _counted(classes: Classes, task: str, things: int | None) -> Classes:
    """Which classes are countable, where the task asks for it and the names do not tell."""
    if task == "semantic" or any(c.thing for c in classes):
        return classes
    return Classes(replace(c, thing=things is None or i < things) for i, c in enumerate(classes))


def _normalise(source: Source, channels: int) -> Normalise:
    """What the program does to images; ``scale`` is the number that white has there.

    Networks for another number of channels than its own were trained by someone else: they get 0 to 1.
    """
    told = source.input or {}
    if len(told.get("mean", ())) != channels:
        return Normalise.plain(channels)
    scale = float(told.get("scale", 1.0))
    mean, std = ([float(v) / scale for v in told[key]] for key in ("mean", "std"))
    if "bgr" in _order(source):
        mean, std = mean[::-1], std[::-1]
    return Normalise(channels=channels, mean=tuple(mean), std=tuple(std))
