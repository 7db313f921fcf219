"""The registry is this folder: one file a paper, its name is the architecture's name.

Listing imports nothing, and nothing outside the folder can be named, so neither a recipe nor a web request
can import code. A name is ``architecture[-variant][@weights]``, as in ``unet-resnet34@camvid``; without a
variant it means the paper's own network, the first of the file's ``VARIANTS``. A paper of several networks
(``SEVERAL``) has ``VARIANTS`` for each. Other spellings, such as ``UNet++``, are taken too.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from segmentarium.errors import UnknownName

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

SEVERAL: dict[str, tuple[str, ...]] = {
    "fcn": ("fcn_32s", "fcn_16s", "fcn_8s"),
    "hrnet": ("hrnetv1", "hrnetv2", "hrnetv2p"),
    "segmenter": ("segmenter_linear", "segmenter_mask"),
    "setr": ("setr_naive", "setr_pup", "setr_mla"),
}
"""Files of the folder that hold several networks of one paper, and how these are called."""

_GRAMMAR = re.compile(r"(?P<architecture>[a-z]\w*)(-(?P<variant>[\w.]+))?(@(?P<weights>[\w.-]+))?", re.ASCII)

_SPELLING = re.compile(r"[a-z][\w+ -]*", re.ASCII | re.IGNORECASE)


class ModelName(NamedTuple):
    """The three parts of a model's name; absent parts are empty.

    >>> ModelName.parse("unet-resnet34@camvid")
    ModelName(architecture='unet', variant='resnet34', weights='camvid')
    >>> str(ModelName("unet", "tiny"))
    'unet-tiny'
    """

    architecture: str
    variant: str = ""
    weights: str = ""

    @classmethod
    def parse(cls, name: str) -> ModelName:
        """Take ``name`` apart; other spellings of an architecture become ours.

        Raises:
            UnknownName: it does not follow the grammar, or there is no such architecture.
        """
        match = _GRAMMAR.fullmatch(_usual(name))
        if match is None:
            raise UnknownName(
                f"{name!r} is no model name",
                allowed="architecture[-variant][@weights], as in unet-resnet34@camvid",
                cure="`seg models` lists what there is",
            )
        parts = cls(**{part: text or "" for part, text in match.groupdict().items()})
        if parts.architecture not in architectures():
            raise UnknownName.among(
                "architecture", parts.architecture, architectures(), cure="see `seg models`"
            )
        return parts

    def __str__(self) -> str:
        variant = f"-{self.variant}" if self.variant else ""
        return self.architecture + variant + (f"@{self.weights}" if self.weights else "")


@cache
def architectures() -> tuple[str, ...]:
    """The architectures there are, by listing the folder."""
    files = [file.stem for file in Path(__file__).parent.glob("[a-z]*.py")]
    return tuple(sorted(name for file in files for name in SEVERAL.get(file, (file,))))


def file_of(architecture: str) -> Path:
    """The file that ``architecture`` is written in.

    Raises:
        UnknownName: there is no such architecture.
    """
    if architecture not in architectures():
        raise UnknownName.among("architecture", architecture, architectures(), cure="see `seg models`")
    stem = next((file for file, names in SEVERAL.items() if architecture in names), architecture)
    return Path(__file__).parent / f"{stem}.py"


@cache
def aliases() -> dict[str, str]:
    """Other spellings of names, as lectures and papers have them, and what they stand for."""
    table = tomllib.loads((Path(__file__).parent / "aliases.toml").read_text(encoding="utf-8"))
    return {spelling: name for name, spellings in table.items() for spelling in spellings}


def _usual(name: str) -> str:
    """``name`` as the registry spells it; unchanged if it is no other spelling of anything."""
    spelt, at, weights = name.partition("@")
    if spelt.partition("-")[0] in architectures() or not _SPELLING.fullmatch(spelt):
        return name
    plain = {_folded(one): one for one in architectures()}
    known = plain | {_folded(spelling): one for spelling, one in aliases().items()}
    return known.get(_folded(spelt), spelt) + at + weights


def _folded(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.casefold())


def variants(architecture: str) -> tuple[str, ...]:
    """The named variants of ``architecture``, the paper's own first."""
    return tuple(_variants(architecture))


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
    known = _variants(parts.architecture)
    if not parts.variant:
        return next(iter(known.values()))
    if parts.variant in known:
        return known[parts.variant]
    if not hasattr(_paper(parts.architecture), "from_encoder"):
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
    """
    parts = ModelName.parse(name)
    if parts.weights:
        raise UnknownName(
            f"{name!r} asks for weights, and a network is built without",
            allowed=str(parts._replace(weights="")),
            cure=f"segmentarium.load({name!r}) gives the trained model",
        )
    config = replace(config_of(name), classes=classes, in_channels=in_channels)
    if hasattr(config, "things"):
        config = replace(config, things=classes if things is None else things)
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
            classes=classes or config.classes,
            in_channels=in_channels or config.in_channels,
            things=things if classes else getattr(config, "things", None),
        )
    return sum(p.numel() for p in network.parameters())


def _paper(architecture: str) -> ModuleType:
    return import_module(f"{__name__}.{file_of(architecture).stem}")


def _variants(architecture: str) -> dict[str, Any]:
    known: dict[str, Any] = _paper(architecture).VARIANTS
    return known.get(architecture, known)


def _network(architecture: str) -> Any:
    """The paper's network: the one class spelt like its name, ``UNetPlusPlus`` for ``unet_plus_plus``."""
    spelt = architecture.replace("_", "")
    return next(thing for name, thing in vars(_paper(architecture)).items() if name.lower() == spelt)


def _from_encoder(parts: ModelName) -> Any:
    from segmentarium.backbones import encoder_names

    paper = _paper(parts.architecture)
    if parts.variant.split(".")[0] in encoder_names():
        # a paper of several networks is told which
        which = {"network": parts.architecture} if parts.architecture in paper.VARIANTS else {}
        return paper.from_encoder(parts.variant, **which)
    variants = _variants(parts.architecture)
    known = [*variants, *sorted(encoder_names())]
    near = get_close_matches(parts.variant, known, n=1, cutoff=0.5)
    raise UnknownName(
        f"unknown variant {parts.variant!r} of {parts.architecture}",
        allowed=f"{', '.join(variants)}, or any encoder of timm",
        cure=f"did you mean {near[0]!r}?" if near else "`seg models` lists what there is",
    )
