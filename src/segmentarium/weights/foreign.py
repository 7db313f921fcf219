"""Weights of other programs under our names.

A card's ``[sources.NAME]`` says how the tensors of program NAME become those of our network; it is data, and
applied in this order: drop, split, rename, roll.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from segmentarium.errors import WeightsMismatch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Source:
    """How the state dict of one program maps to ours. Patterns are regular expressions, searched for.

    Attributes:
        builder: what its users call to make the network.
        variant: of ours, the one it equals.
        licence: of its published weights.
        rename: pattern and replacement, applied one after another to every name.
        drop: patterns of foreign names that we have no use for.
        split: pattern, and templates of the names into which such a tensor is cut along its first axis.
        roll: patterns of *our* names whose first entry, the ground, stands last with us.
        input: what its networks expect of images: ``mean`` and ``std``, in units in which white is ``scale``
            (1 if not told); ``order`` is ``rgb`` or ``bgr``.
    """

    builder: str
    variant: str
    licence: str
    rename: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    split: tuple[tuple[str, tuple[str, ...]], ...] = ()
    roll: tuple[str, ...] = ()
    input: dict[str, Any] | None = None


def translated(tensors: Mapping[str, Tensor], source: Source) -> dict[str, Tensor]:
    """``tensors`` by our names, none of them copied unless it is cut or turned.

    Raises:
        WeightsMismatch: two tensors get one name, or one cannot be cut evenly.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in _pieces(tensors, source):
        for pattern, replacement in source.rename:
            name = re.sub(pattern, replacement, name)
        if name in ours:
            raise WeightsMismatch(
                f"two tensors of {source.builder} would be {name!r}",
                allowed="one",
                cure="the state dict is of another version or network",
            )
        ours[name] = tensor.roll(-1, 0) if _matches(source.roll, name) else tensor
    return ours


def _pieces(tensors: Mapping[str, Tensor], source: Source) -> Iterable[tuple[str, Tensor]]:
    for name, tensor in tensors.items():
        if _matches(source.drop, name):
            continue
        templates, match = _cut(source, name)
        if match is None:
            yield name, tensor
            continue
        if len(tensor) % len(templates):
            raise WeightsMismatch(
                f"{name} of shape {tuple(tensor.shape)} is to be cut into {len(templates)}",
                allowed="a first axis that divides evenly",
            )
        for template, part in zip(templates, tensor.chunk(len(templates)), strict=True):
            yield match.expand(template), part


def _cut(source: Source, name: str) -> tuple[tuple[str, ...], re.Match[str] | None]:
    for pattern, templates in source.split:
        match = re.fullmatch(pattern, name)
        if match:
            return templates, match
    return (), None


def _matches(patterns: Iterable[str], name: str) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)
