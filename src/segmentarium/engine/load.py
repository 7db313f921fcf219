"""A trained model by name, run folder or weight file, ready to label images of any size.

model = load("unet@nuclei")
result = model("cells.png")
for result in model.stream(paths): ...
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segmentarium.data.normalise import Normalise
from segmentarium.data.volume_normalise import NormaliseVolume
from segmentarium.engine.device import choose_device
from segmentarium.engine.foreign import adopt
from segmentarium.engine.model import SIDE_STEP, Model
from segmentarium.engine.networks import make
from segmentarium.engine.tiled import Tiling
from segmentarium.engine.volume_model import VolumeModel
from segmentarium.errors import BadData, BadRun, UnknownName, WeightsMismatch
from segmentarium.models import ModelName
from segmentarium.nn.inference import prepared
from segmentarium.values.classes import Classes
from segmentarium.weights.cards import cards, find
from segmentarium.weights.store import fit, load_weights

__all__ = ["Model", "VolumeModel", "load", "load_pictures", "locate"]


def load(
    name_or_path: str | Path,
    *,
    device: str = "auto",
    model: str = "",
    source: str = "",
    classes: Sequence[str] | Classes | None = None,
    quick: bool = True,
) -> Model | VolumeModel:
    """Load a trained model.

    Args:
        name_or_path: a published name (``unet@nuclei``), the folder of a training run (its best weights, or
            the
            last), or a ``.safetensors`` file of ours.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``.
        model: our network that a file of another program is for; for it, ``source`` and ``classes`` see
            :func:`segmentarium.engine.foreign.adopt`.
        quick: made ready to answer (:func:`segmentarium.nn.inference.prepared`): the network is no longer the
            one to train on or to export.

    Raises:
        UnknownName: no such name; the nearest is offered.
        BadRun: the folder holds no weights.
        WeightsMismatch: the file is damaged, foreign, or does not fit the network it names.
    """
    if model:
        tensors, _ = load_weights(name_or_path)
        told = Path(name_or_path)
        foreign: dict[str, Any] = {"source": source, "where": told, "quick": quick}
        return adopt(tensors, model=model, classes=classes, device=device, **foreign)
    path, digest, name = locate(name_or_path)
    tensors, metadata = load_weights(path, sha256=digest)
    card = find(*_parts(name)) if name else None
    if card is not None and card.source:
        ours = f"{ModelName.parse(name).architecture}-{card.variant}"
        named = card.classes or None
        whose: dict[str, Any] = {"source": card.source, "where": path, "name": name}
        return adopt(tensors, model=ours, classes=named, device=device, quick=quick, **whose)
    facts = _facts(metadata, path)
    place = choose_device(device)
    try:
        classes = Classes.from_json(facts["classes"])
        network = make(
            str(facts["model"]),
            refine=str(facts.get("refine") or ""),
            classes=len(classes),
            in_channels=int(facts["in_channels"]),
            things=sum(c.thing for c in classes) if facts.get("task") == "panoptic" else None,
        )
        sides = [int(side) for side in facts["tile"]]
        if len(sides) not in (2, 3):
            raise ValueError(f"a tile of {sides}")
        normalise = (NormaliseVolume if len(sides) == 3 else Normalise).from_json(facts["normalise"])
        steps = [float(step) for step in facts.get("spacing_mm") or ()]
    except (BadData, UnknownName, KeyError, TypeError, ValueError, IndexError) as error:
        raise _foreign(path, f"its description is not understood ({error})") from error
    fit(network, tensors, where=str(path))
    network = network.eval().requires_grad_(False).to(place.name)
    if quick:
        network = prepared(network)
    shared: dict[str, Any] = {
        "name": name or str(facts["model"]),
        "network": network,
        "classes": classes,
        "device": place,
        "ignore_id": int(facts.get("ignore_id", 255)),
        "facts": {key: facts.get(key) for key in ("data", "licence", "score", "step", "task")},
        "path": path,
    }
    if isinstance(normalise, NormaliseVolume):
        patch = (sides[0], sides[1], sides[2])
        spacing = (steps[0], steps[1], steps[2]) if steps else None
        return VolumeModel(normalise=normalise, patch=patch, spacing_mm=spacing, **shared)
    tiling = Tiling(tile=(sides[0], sides[1]), batch=1 if place.kind == "cpu" else 8, step=SIDE_STEP)
    return Model(normalise=normalise, tiling=tiling, task=str(facts.get("task") or "semantic"), **shared)


def load_pictures(name_or_path: str | Path, *, device: str = "auto") -> Model:
    """:func:`load` for what looks at pictures alone; raises ``WeightsMismatch`` for a model of volumes."""
    model = load(name_or_path, device=device)
    if isinstance(model, VolumeModel):
        raise WeightsMismatch(
            f"{model.name} labels volumes",
            allowed="a model of pictures",
            cure="give volumes, or another model",
        )
    return model


def locate(name_or_path: str | Path) -> tuple[Path, str, str]:
    """The weight file that is meant, the digest it must have, and its published name; empty if there is none.

    Raises:
        UnknownName: neither a name nor a path that exists.
        BadRun: a folder without weights.
    """
    path = Path(name_or_path)
    if path.is_dir():
        return _of_run(path), "", ""
    if path.is_file() or path.suffix == ".safetensors":
        return path, "", ""
    if len(path.parts) > 1 or path.suffix in (".pt", ".pth", ".toml"):
        raise BadRun(
            f"there is no file or folder {path}", allowed="a model's name, a run folder or a weight file"
        )
    return _published(str(name_or_path))


def _of_run(folder: Path) -> Path:
    for inner in (folder / "weights", folder):
        for name in ("best.safetensors", "last.safetensors"):
            if (inner / name).is_file():
                return inner / name
    raise BadRun(
        f"{folder} holds no weights",
        allowed="a run folder with weights/best.safetensors or weights/last.safetensors",
        cure=f"train one by `seg train DATA -o {folder}`, or give a model's name",
    )


def _published(name: str) -> tuple[Path, str, str]:
    known = [
        f"{architecture}@{weights}" for architecture, card in cards().items() for weights in card.weights
    ]
    try:
        parts = ModelName.parse(name)
    except UnknownName as error:
        raise UnknownName.among("model", name, known, cure="`seg models` lists what there is") from error
    if not parts.weights:
        raise UnknownName(
            f"{name!r} is a network without weights",
            allowed=", ".join(known) or "a run folder or a .safetensors file",
            cure=f"train it by `seg train DATA --model {name}`",
        )
    card = find(parts.architecture, parts.weights)
    if parts.variant not in ("", card.variant):
        raise UnknownName.among("model", name, [f"{parts.architecture}@{parts.weights}"])
    return card.fetched(), card.sha256, name


def _parts(name: str) -> tuple[str, str]:
    parts = ModelName.parse(name)
    return parts.architecture, parts.weights


def _facts(metadata: Mapping[str, str], path: Path) -> dict[str, Any]:
    """What our trainer wrote into the head of the file."""
    if "segmentarium" not in metadata:
        raise _foreign(path, "it was not written by Segmentarium")
    try:
        facts = json.loads(metadata["segmentarium"])
    except json.JSONDecodeError as error:
        raise _foreign(path, f"its description is no JSON ({error})") from error
    if not isinstance(facts, dict):
        raise _foreign(path, "its description is no JSON object")
    return facts


def _foreign(path: Path, why: str) -> WeightsMismatch:
    return WeightsMismatch(
        f"{path} cannot be used: {why}",
        allowed="a .safetensors file of `seg train`, which names its network and classes",
        cure="give a run folder, or a name from `seg models`",
    )
