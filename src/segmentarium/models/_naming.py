"""How networks are called: the grammar of names, other spellings of them, and the nearest to a wrong one.

A name is taken as it is if it begins with an architecture in our spelling. Otherwise its longest beginning
that is known under any spelling stands for an architecture, and the rest for a variant: ``UNet++-tiny``,
``FC-DenseNet103``. Case, hyphens, underscores and blanks do not count in other spellings.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from difflib import SequenceMatcher
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from segmentarium.errors import UnknownName

SEVERAL: dict[str, tuple[str, ...]] = {
    "fcn": ("fcn_32s", "fcn_16s", "fcn_8s"),
    "hrnet": ("hrnetv1", "hrnetv2", "hrnetv2p"),
    "segmenter": ("segmenter_linear", "segmenter_mask"),
    "setr": ("setr_naive", "setr_pup", "setr_mla"),
}
"""Files of the folder that hold several networks of one paper, and how these are called."""

_GRAMMAR = re.compile(r"(?P<architecture>[a-z]\w*)(-(?P<variant>[\w.]+))?(@(?P<weights>[\w.-]+))?", re.ASCII)

_SPELLING = re.compile(r"[a-z0-9][\w+ ()/.-]{0,99}", re.ASCII | re.IGNORECASE)

_LIKE = 0.6
"""Names less alike than this are not offered for each other."""


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
        """Take ``name`` apart; other spellings of an architecture become ours, and of a variant after these.

        Raises:
            UnknownName: it does not follow the grammar, or there is no such architecture.
        """
        spelt, at, weights = name.partition("@")
        usual = _usual(spelt) if _SPELLING.fullmatch(spelt) else ""
        if usual is None:
            raise _unknown(spelt)
        match = _GRAMMAR.fullmatch(usual + at + weights)
        if match is None:
            raise UnknownName(
                f"{name!r} is no model name",
                allowed="architecture[-variant][@weights], as in unet-resnet34@camvid",
                cure="`seg models` lists what there is",
            )
        return cls(**{part: text or "" for part, text in match.groupdict().items()})

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
    """Other spellings of names, as lectures and papers have them, and what they stand for.

    That is an architecture, ``pspnet``, or one variant of it, ``ternausnet-unet16``.
    """
    table = tomllib.loads((Path(__file__).parent / "aliases.toml").read_text(encoding="utf-8"))
    return {spelling: name for name, spellings in table.items() for spelling in spellings}


def paper(architecture: str) -> ModuleType:
    """The module that ``architecture`` is written in."""
    return import_module(f"{__package__}.{file_of(architecture).stem}")


def configs(architecture: str) -> dict[str, Any]:
    """The configs of ``architecture`` by the names of its variants, the paper's own first."""
    known: dict[str, Any] = paper(architecture).VARIANTS
    return known.get(architecture, known)


@cache
def _known() -> dict[str, str]:
    """What each spelling stands for; the spellings folded."""
    plain = {_folded(name): name for name in architectures()}
    return plain | {_folded(spelling): name for spelling, name in aliases().items()}


def _usual(spelt: str) -> str | None:
    """``spelt`` as the registry has it, unless nothing in it is known.

    A rest that is no variant is kept, so that the error is about variants of the architecture.
    """
    if spelt == spelt.lower() and spelt.partition("-")[0] in architectures():
        return spelt
    if found := _found(spelt):
        return found
    return next((f"{own}-{re.sub('[ -]', '_', rest)}" for own, rest in _split(spelt)), None)


def _found(spelt: str) -> str | None:
    """What ``spelt`` is another spelling of; a variant after it must be one."""
    if whole := _known().get(_folded(spelt)):
        return whole
    parts = ((own, _variant(own, rest)) for own, rest in _split(spelt))
    return next((f"{own}-{variant}" for own, variant in parts if variant), None)


def _split(spelt: str) -> Iterator[tuple[str, str]]:
    """The ways to read ``spelt`` as an architecture and a variant, the longest architecture first.

    A variant begins after a hyphen, or with a digit after something else: ``FC-DenseNet103``. None follows
    what stands for a variant itself, such as ``UNet16``.
    """
    for cut in range(len(spelt) - 1, 0, -1):
        before, first = spelt[cut - 1], spelt[cut]
        begins = first == "-" or (first.isdigit() and not before.isdigit() and before not in "- _.")
        architecture = _known().get(_folded(spelt[:cut]), "")
        if begins and architecture in architectures() and (rest := spelt[cut:].strip("-_ ")):
            yield architecture, rest


def _variant(architecture: str, spelt: str) -> str | None:
    """The variant, or the encoder of timm, that ``spelt`` is another spelling of."""
    if found := _like(spelt, configs(architecture)):
        return found
    if not hasattr(paper(architecture), "from_encoder"):
        return None
    from segmentarium.backbones import encoder_names

    encoder, dot, tag = spelt.lower().partition(".")
    found = _like(encoder, encoder_names())
    return found and found + dot + tag


def _like(spelt: str, known: Iterable[str]) -> str | None:
    return next((name for name in known if _folded(name) == _folded(spelt)), None)


def _folded(name: str) -> str:
    return re.sub(r"[ _-]", "", name.casefold())


def _unknown(spelt: str) -> UnknownName:
    """The error for ``spelt``; the name of ours is offered whose spellings, by any of them, come nearest."""
    error = UnknownName.among("architecture", spelt, architectures(), cure="`seg models` lists what there is")
    likeness = {
        spelling: max(SequenceMatcher(None, spelling, _folded(text)).ratio() for text in _readings(spelt))
        for spelling in _known()
    }
    nearest = max(likeness, key=lambda spelling: likeness[spelling])
    near = _found(re.sub("[ _]+", "-", spelt)) or (_known()[nearest] if likeness[nearest] > _LIKE else None)
    return UnknownName(
        error.came, allowed=error.allowed, cure=f"did you mean {near!r}?" if near else error.cure
    )


def _readings(spelt: str) -> tuple[str, ...]:
    """``spelt``, and its parts before a hyphen: the rest may be a variant."""
    return spelt, *(spelt[: match.start()] for match in re.finditer("-", spelt))
