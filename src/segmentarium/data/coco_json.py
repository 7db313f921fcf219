"""COCO's annotation files: read once, never older than on disk; what is wrong in them is kept, not hidden."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from segmentarium.errors import BadData
from segmentarium.values.classes import Classes

MAX_BYTES = 2**30
"""Twice the largest file of COCO; reading takes about six times as much memory."""
KEPT = 16
"""Files that are remembered at a time."""

T = TypeVar("T")
Size = tuple[int, int]
"""Height and width in pixels."""


class Flaw(NamedTuple):
    """Something wrong in an annotation file: the doctor's code, its picture ('' for none), a word."""

    fault: str
    image: str
    note: str


class ImageRow(NamedTuple):
    """A picture as a file lists it; ``size`` is None where it does not tell."""

    id: object
    file_name: str
    size: Size | None


@dataclass
class Reading:
    """What is being read of one file."""

    path: Path
    images: dict[object, ImageRow] = field(default_factory=dict)
    categories: tuple[Mapping[str, Any], ...] = ()
    flaws: list[Flaw] = field(default_factory=list)

    def add(self, fault: str, image: str, note: str) -> None:
        self.flaws.append(Flaw(fault, image, note))

    def image_of(self, row: Any) -> ImageRow | None:
        """The picture that an annotation names, if there is one."""
        identity = row.get("image_id") if isinstance(row, dict) else None
        return None if isinstance(identity, list | dict) else self.images.get(identity)

    @property
    def known(self) -> frozenset[object]:
        """Category ids of the list."""
        return frozenset(row["id"] for row in self.categories)


_read: dict[tuple[Path, Callable[[Path], Any]], tuple[tuple[int, ...], Any]] = {}
_lock = Lock()


def remembered(path: Path, parse: Callable[[Path], T]) -> T:
    """``parse(path)``, done once as long as the file stays what it is; raises ``BadData`` if it is gone."""
    try:
        facts = path.stat()
    except OSError as error:
        raise BadData(f"there is no {path}", cure="put the annotations back") from error
    stamp = (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
    with _lock:
        known = _read.pop((path, parse), None)
        found: T = known[1] if known is not None and known[0] == stamp else parse(path)
        _read[path, parse] = (stamp, found)
        while len(_read) > KEPT:
            _read.pop(next(iter(_read)))
    return found


def opened(path: Path) -> tuple[Reading, list[Any]]:
    """The pictures and categories of a file, and its annotations as they stand there.

    Raises:
        BadData: larger than 1 GiB, no JSON, or without lists of images, annotations and categories.
    """
    table = _load(path)
    for key in ("images", "annotations", "categories"):
        if not isinstance(table, dict) or not isinstance(table.get(key), list):
            raise BadData(
                f"{path} has no list of {key}",
                allowed="the lists 'images', 'annotations' and 'categories' of COCO",
                cure="export it again as COCO JSON",
            )
    reading = Reading(path, categories=tuple(_categories(table["categories"], path)))
    for place, row in enumerate(table["images"]):
        _add_image(reading, row, place)
    return reading, table["annotations"]


def classes_of(path: Path, rows: Iterable[Mapping[str, Any]]) -> Classes:
    """The categories as classes; raises ``BadData`` where an id or a name stands twice."""
    try:
        return Classes.from_json(dict(row) for row in rows)
    except (BadData, TypeError, ValueError) as error:
        said = error.came if isinstance(error, BadData) else str(error)
        raise BadData(f"{path}, categories: {said}", cure="give each category its own id and name") from error


def indices(rows: Iterable[Mapping[str, Any]], classes: Classes) -> dict[object, int]:
    """Class index by category id: of the class of that name, else of that id; some may have none."""
    by_name = {c.name: index for index, c in enumerate(classes)}
    by_id = {c.id: index for index, c in enumerate(classes)}
    found = {row["id"]: by_name.get(str(row["name"])) for row in rows}
    if not any(index is not None for index in found.values()):
        found = {identity: by_id.get(identity) for identity in found}
    return {identity: index for identity, index in found.items() if index is not None}


def whole(value: object) -> int | None:
    """A whole number, or None for anything else; true is not 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return int(value) if int(value) == value else None


def number(value: object) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < float("inf") else None


def _load(path: Path) -> Any:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise BadData(
                f"{path} has {size / 2**30:.1f} GiB",
                allowed="1 GiB",
                cure="split it, one file for each split",
            )
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadData(f"{path} is not JSON ({error})", cure="export it again as COCO JSON") from error


def _categories(rows: list[Any], path: Path) -> Iterable[Mapping[str, Any]]:
    for place, row in enumerate(rows):
        if not isinstance(row, dict) or whole(row.get("id")) is None or "name" not in row:
            raise BadData(
                f"{path} describes category {place} as {str(row)[:80]}",
                allowed="an object with 'id' and 'name'",
                cure="correct it",
            )
        yield row


def _add_image(reading: Reading, row: Any, place: int) -> None:
    name = row.get("file_name") if isinstance(row, dict) else None
    if not isinstance(name, str) or not name or "id" not in row or isinstance(row["id"], list | dict):
        reading.add(
            "annotation-broken", "", f"image {place} of {reading.path.name} has no id or no file_name"
        )
        return
    name = name.replace("\\", "/").removeprefix("./")
    height, width = whole(row.get("height")), whole(row.get("width"))
    size = None if height is None or width is None else (height, width)
    other = reading.images.setdefault(row["id"], ImageRow(row["id"], name, size))
    if other.file_name != name:
        reading.add("image-id-twice", name, f"image id {row['id']} stands also for {other.file_name}")
