"""Cards: what is known of a network and of its weights, as TOML beside the weights.

A card is data: reading one runs nothing and needs no torch. ``cards/unet.toml`` describes ``models/unet.py``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from segmentarium.errors import BadData, UnknownName
from segmentarium.weights.download import cache_folder, fetch
from segmentarium.weights.foreign import Source

CARDS = Path(__file__).parent / "cards"

Table = TypeVar("Table")


@dataclass(frozen=True, kw_only=True)
class WeightsCard:
    """One set of weights.

    ``file`` is relative to the folder of this module; weights that are not in the package have ``url`` and
    ``sha256`` (or its first digits) in its place. ``source`` names the program that wrote the file, if it was
    not ours. ``score`` says what, on which data, and measured by whom.
    """

    variant: str
    licence: str
    data: str
    classes: tuple[str, ...]
    file: str = ""
    url: str = ""
    sha256: str = ""
    source: str = ""
    input: dict[str, Any] = field(default_factory=dict)
    score: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """Where the file lies, or will lie once it is fetched."""
        if self.file:
            return Path(__file__).parent / self.file
        return cache_folder() / Path(self.url).name

    def fetched(self) -> Path:
        """The file; it is fetched if it is neither in the package nor in the cache.

        Raises:
            WeightsMismatch: it cannot be fetched, or is not the one promised.
        """
        if self.file:
            return self.path
        return fetch(self.url, self.path, sha256=self.sha256, licence=self.licence)


@dataclass(frozen=True, kw_only=True)
class Card:
    """One architecture.

    ``variants`` holds millions of parameters, exact to the last one; ``licence`` is that of our file;
    ``sources`` are programs whose weights ours takes over. ``claim`` is what the paper reports, ``parity``
    what ours was compared with and how close it comes.
    """

    title: str
    paper: str
    task: str
    output: str
    licence: str
    variants: dict[str, float]
    year: int = 0
    family: str = ""
    claim: str = ""
    parity: str = ""
    note: str = ""
    weights: dict[str, WeightsCard] = field(default_factory=dict)
    sources: dict[str, Source] = field(default_factory=dict)

    def parameters(self, variant: str) -> int:
        """How many parameters ``variant`` has, as written in the card."""
        return round(self.variants[variant] * 1e6)


def cards() -> dict[str, Card]:
    """All cards by architecture."""
    return {path.stem: _read(path) for path in sorted(CARDS.glob("*.toml"))}


def read_card(architecture: str) -> Card:
    """The card of ``architecture``.

    Raises:
        UnknownName: there is none.
        BadData: it has an unknown, missing or wrongly typed entry.
    """
    path = CARDS / f"{architecture}.toml"
    known = [file.stem for file in CARDS.glob("*.toml")]
    if architecture not in known:
        raise UnknownName.among("architecture", architecture, known, cure="see `seg models`")
    return _read(path)


def find(architecture: str, weights: str) -> WeightsCard:
    """The weights that ``architecture@weights`` names.

    Raises:
        UnknownName: there are none of that name.
    """
    known = read_card(architecture).weights
    if weights not in known:
        raise UnknownName.among(f"weights of {architecture}", weights, known, cure="see `seg models`")
    return known[weights]


def _read(path: Path) -> Card:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BadData(f"the card {path.name} is no TOML ({error})", cure="mend it there") from error
    return _strict(Card, table, where=path.name)


def _strict(kind: type[Table], table: object, *, where: str) -> Table:
    """``table`` as the dataclass ``kind``: every entry known, every needed one there, lists as tuples."""
    if not isinstance(table, Mapping):
        raise BadData(f"{where} is {table!r}", allowed="a table", cure="mend the card")
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name in table:
        if name not in known:
            raise BadData(f"{where}: {UnknownName.among('entry', name, known)}")
    for name, f in known.items():
        if name not in table and f.default is MISSING and f.default_factory is MISSING:
            raise BadData(f"{where}: no entry {name!r}", allowed=", ".join(known), cure="add it to the card")
    hints = get_type_hints(kind)
    return kind(**{name: _typed(value, hints[name], f"{where}: {name}") for name, value in table.items()})


def _typed(value: Any, hint: Any, where: str) -> Any:
    if type(None) in get_args(hint):
        hint = get_args(hint)[0]
    wanted = get_origin(hint) or hint
    if wanted is tuple:
        value = _frozen(value)
    inner = get_args(hint)[-1] if wanted is dict else object
    good = isinstance(value, wanted)
    if good and inner in (WeightsCard, Source):
        return {name: _strict(inner, entry, where=f"{where}.{name}") for name, entry in value.items()}
    if good and wanted is dict and inner is float:
        good = all(isinstance(entry, int | float) for entry in value.values())
    if not good:
        raise BadData(f"{where} is {value!r}", allowed=f"a {wanted.__name__}", cure="mend the card")
    return value


def _frozen(value: Any) -> Any:
    """Lists as tuples, all the way down."""
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
