"""The classes of a data set or a model: index, file id, name and colour."""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from segmentarium.errors import BadData

VOID = -1
"""The index of a pixel that counts for nothing: neither trained on nor scored."""

Color = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Class:
    """One class.

    ``id`` is the number that stands in mask files; the *index* used by networks and results is the position
    in ``Classes``. ``thing`` is true for countable objects, false for stuff.
    """

    id: int
    name: str
    color: Color
    thing: bool = False


class Classes(Sequence[Class]):
    """An ordered, immutable list of classes; positions are what networks predict.

    >>> classes = Classes.named("background", "nucleus")
    >>> classes[1].name, classes.index_of("nucleus"), len(classes)
    ('nucleus', 1, 2)
    """

    def __init__(self, classes: Iterable[Class]) -> None:
        self._classes = tuple(classes)
        for what, values in (("id", self.ids), ("name", self.names)):
            twice = [value for value, count in Counter[int | str](values).items() if count > 1]
            if twice:
                raise BadData(f"class {what} {twice[0]!r} stands twice", cure="give each class its own")

    @classmethod
    def named(cls, *names: str) -> Classes:
        """Classes with ids 0, 1, 2 ... and colours that differ as well as they can."""
        return cls(Class(id=i, name=n, color=distinct_color(i)) for i, n in enumerate(names))

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self._classes[index]

    def __len__(self) -> int:
        return len(self._classes)

    def __iter__(self) -> Iterator[Class]:
        return iter(self._classes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Classes) and self._classes == other._classes

    def __hash__(self) -> int:
        return hash(self._classes)

    def __repr__(self) -> str:
        return f"Classes({', '.join(c.name for c in self)})"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self)

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(c.id for c in self)

    def index_of(self, name: str) -> int:
        """The index of the class called ``name``; raises ``KeyError`` if there is none."""
        for index, c in enumerate(self):
            if c.name == name:
                return index
        raise KeyError(name)

    def palette(self) -> UInt8[np.ndarray, "k 3"]:
        """RGB colours by index."""
        return np.array([c.color for c in self], np.uint8).reshape(-1, 3)

    def to_json(self) -> list[dict[str, object]]:
        return [{"id": c.id, "name": c.name, "color": list(c.color), "thing": c.thing} for c in self]

    @classmethod
    def from_json(cls, rows: Iterable[dict[str, object]]) -> Classes:
        """Read what :meth:`to_json` wrote; ``color`` and ``thing`` may miss, ``isthing`` is understood."""
        return cls(_class_from(row, index) for index, row in enumerate(rows))


def _class_from(row: dict[str, object], index: int) -> Class:
    try:
        identity, name = int(row["id"]), str(row["name"])  # type: ignore[call-overload]
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(
            f"class {index} is described as {row!r}", allowed="an object with 'id' and 'name'"
        ) from error
    color = row.get("color") or distinct_color(index)
    red, green, blue = (int(v) for v in color)  # type: ignore[attr-defined]
    return Class(
        id=identity,
        name=name,
        color=(red, green, blue),
        thing=bool(row.get("thing", row.get("isthing", False))),
    )


def distinct_color(index: int) -> Color:
    """A colour for class ``index``: black first, then hues a golden angle apart in three brightnesses."""
    if index == 0:
        return (0, 0, 0)
    hue = (0.08 + index * 0.61803398875) % 1.0
    r, g, b = colorsys.hsv_to_rgb(hue, (0.85, 0.6, 0.95)[index % 3], (1.0, 0.9, 0.7)[index // 3 % 3])
    return (round(255 * r), round(255 * g), round(255 * b))
