"""What the classical methods can be told, read from their signatures and docstrings.

The command line, the service and the gallery ask here, so a method is described in one place: its own file.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Union

import numpy as np

from segmentarium import classical
from segmentarium.classical.seeds import Points
from segmentarium.errors import UnknownName
from segmentarium.values import LabelMap

Kind = Literal["int", "float", "bool", "str", "numbers", "points", "map"]

SEED = ("decides all that is random", "nothing is random here")
"""What is said of the seed by default, and where a method takes one because all do."""

_SCALARS: dict[Any, Kind] = {int: "int", float: "float", bool: "bool", str: "str"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One keyword of a method.

    Attributes:
        kind: ``numbers`` is a tuple of them, ``points`` are pixels (x, y), ``map`` is a label map.
        choices: the words that are allowed, where there are only some.
        required: whether it must be given; there is no default then.
    """

    name: str
    kind: Kind
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Method:
    """One classical method: how it is called, and what it does, in its author's words."""

    name: str
    family: str
    line: str
    settings: tuple[Setting, ...]
    call: Callable[..., LabelMap]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        settings = [
            {
                "name": s.name,
                "kind": s.kind,
                "default": s.default if isinstance(s.default, int | float | str | None) else list(s.default),
                "help": s.help,
                "choices": list(s.choices),
                "required": s.required,
            }
            for s in self.settings
        ]
        return {"name": self.name, "family": self.family, "line": self.line, "settings": settings}


def methods() -> dict[str, tuple[str, ...]]:
    """The names by family."""
    return dict(classical.METHODS)


def method(name: str) -> Method:
    """What there is to know of one method.

    Raises:
        UnknownName: with the nearest name.
    """
    families = {member: family for family, members in classical.METHODS.items() for member in members}
    known = name.replace("-", "_").lower()
    if known not in families:
        raise UnknownName.among("method", name, families, cure="see 'seg classic --help'")
    function = getattr(classical, known)
    text = inspect.getdoc(function) or ""
    plain = inspect.unwrap(function)
    hints = typing.get_type_hints(plain) | {"seed": int}
    told = {"seed": SEED["seed" not in inspect.signature(plain).parameters]} | arguments_of(text)
    keywords = list(inspect.signature(function).parameters.values())[1:]
    return Method(
        name=known,
        family=families[known],
        line=text.split("\n\n")[0].replace("\n", " "),
        settings=tuple(_setting(p, hints[p.name], told.get(p.name, "")) for p in keywords),
        call=function,
    )


def arguments_of(text: str) -> dict[str, str]:
    """What the ``Args:`` part of a docstring says of each name, in one line.

    >>> arguments_of("Cut.\\n\\nArgs:\\n    a, b: sides,\\n        in pixels.\\n\\nRaises:\\n    X: y.")
    {'a': 'sides, in pixels.', 'b': 'sides, in pixels.'}
    """
    part = re.search(r"^Args:\n((?:(?: .*)?\n)*(?: .*)?)", text, re.MULTILINE)
    if not part:
        return {}
    told: dict[str, str] = {}
    for entry in re.split(r"^ {4}(?=\S)", part[1], flags=re.MULTILINE)[1:]:
        names, _, words = entry.partition(": ")
        told |= dict.fromkeys(names.split(", "), " ".join(words.split()))
    return told


def _setting(parameter: inspect.Parameter, hint: Any, told: str) -> Setting:
    kind, choices = _kind_of(hint)
    required = parameter.default is inspect.Parameter.empty
    default = None if required else parameter.default
    return Setting(
        name=parameter.name, kind=kind, default=default, help=told, choices=choices, required=required
    )


def _kind_of(hint: Any) -> tuple[Kind, tuple[str, ...]]:
    """The kind of an annotation; of a union the first that is not None."""
    if hint in _SCALARS:
        return _SCALARS[hint], ()
    if hint == Points:
        return "points", ()
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "str", tuple(map(str, inner))
    if origin in (Union, types.UnionType):
        return _kind_of_union([one for one in inner if one is not type(None)])
    if origin is tuple:
        return "numbers", ()
    if getattr(hint, "array_type", None) is np.ndarray:
        return "map", ()
    raise TypeError(f"no setting is made of {hint}")


def _kind_of_union(inner: list[Any]) -> tuple[Kind, tuple[str, ...]]:
    """Of several kinds the one that the command line can write best; the choices of all."""
    found = [_kind_of(one) for one in inner]
    kinds = {kind for kind, _ in found}
    choices = tuple(dict.fromkeys(choice for _, more in found for choice in more))
    wide: tuple[Kind, ...] = ("map", "points", "numbers", "float")
    for kind in wide:
        if kind in kinds:
            return kind, ()
    return found[0][0], choices
