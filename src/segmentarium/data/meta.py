"""What a data set says about itself: ``meta.json``, ``classes.json`` or ``classes.txt``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from segmentarium.data.dataset import MaskReading
from segmentarium.errors import BadData
from segmentarium.values.classes import Classes, Color, distinct_color

FILES = ("meta.json", "classes.json", "classes.txt", "labelmap.txt")


@dataclass(frozen=True, kw_only=True)
class Meta:
    """The facts of a description; ``classes`` is empty where none are told.

    ``colored`` tells whether the colours stand in the file (a legend) or were made up here.
    """

    path: Path | None = None
    name: str = ""
    task: str = ""
    terms: str = ""
    classes: Classes = field(default_factory=lambda: Classes([]))
    colored: bool = False
    ignore_ids: tuple[int, ...] = ()
    ignore_colors: tuple[Color, ...] = ()
    reading: MaskReading | None = None
    notes: tuple[str, ...] = ()


def find_meta(*folders: Path) -> Meta:
    """Read the first description that lies in one of ``folders``; an empty one if there is none."""
    for folder in folders:
        for name in FILES:
            if (folder / name).is_file():
                return read_meta(folder / name)
    return Meta()


def described(root: Path, classes: Classes, ignore_ids: tuple[int, ...]) -> Meta:
    """The description in ``root``, or that of the well-known set whose classes are given."""
    meta = find_meta(root)
    if len(meta.classes):
        assert meta.path is not None
        return replace(meta, notes=(*meta.notes, f"classes are those of {meta.path.name}"))
    return replace(meta, classes=classes, colored=True, ignore_ids=ignore_ids)


def read_meta(path: Path) -> Meta:
    """Read one description.

    Raises:
        BadData: broken JSON, or classes that are no classes; the message names file and line.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if path.suffix == ".txt":
        return _from_table({"classes": list(_rows(text, path))}, path)
    try:
        table = json.loads(text)
    except ValueError as error:
        raise BadData(f"{path} is not JSON ({error})", cure="repair or remove it") from error
    if isinstance(table, list):
        table = {"classes": table}
    if not isinstance(table, dict):
        raise BadData(f"{path} holds a {type(table).__name__}", allowed="an object, or a list of classes")
    return _from_table(table if "classes" in table or path.name == "meta.json" else {"classes": table}, path)


def _from_table(table: Mapping[str, Any], path: Path) -> Meta:
    rows = _class_rows(table.get("classes"), path)
    ignored = _ignore_ids(table.get("ignore_index"), path)
    kept = [row for row in rows if _id_of(row) not in ignored]
    dropped = [row for row in rows if _id_of(row) in ignored]
    colors = [tuple(row["color"]) for row in dropped if row.get("color")] + _colors(table.get("ignore_color"))
    return Meta(
        path=path,
        name=str(table.get("name", "")),
        task=str(table.get("task", "")),
        terms=str(table.get("terms", "")),
        classes=_classes(kept, path),
        colored=bool(kept) and all(row.get("color") for row in kept),
        ignore_ids=ignored,
        ignore_colors=tuple(colors),
        reading=_reading(table.get("mask_reading"), path),
        notes=tuple(
            f"class {row.get('name')!r} has the ignore id {_id_of(row)}: it stays ignored" for row in dropped
        ),
    )


def _class_rows(classes: object, path: Path) -> list[dict[str, Any]]:
    """Rows with id, name and perhaps colour, from a list of objects, a list of names, or a mapping."""
    if classes is None or isinstance(classes, str):  # a sentence that points elsewhere
        return []
    if isinstance(classes, Mapping):
        return [_row_of(key, value, place) for place, (key, value) in enumerate(classes.items())]
    if isinstance(classes, list):
        return [{"id": i, "name": row} if isinstance(row, str) else row for i, row in enumerate(classes)]
    raise BadData(f"{path} has classes {classes!r}", allowed="a list of objects with id, name and colour")


def _classes(rows: list[dict[str, Any]], path: Path) -> Classes:
    try:
        return Classes.from_json(rows)
    except (TypeError, ValueError) as error:
        raise BadData(
            f"{path} describes a class wrongly ({error})",
            allowed="a color of three numbers, as in [128, 0, 64]",
        ) from error


def _row_of(key: str, value: object, place: int) -> dict[str, Any]:
    """``"0": "sky"``, ``"sky": 0`` or ``"sky": [128, 128, 128]``."""
    if isinstance(value, str):
        return {"id": int(key) if key.isdigit() else place, "name": value}
    if isinstance(value, int):
        return {"id": value, "name": key}
    return {"id": place, "name": key, "color": value}


def _id_of(row: object) -> int | None:
    try:
        return int(row["id"])  # type: ignore[index]
    except (TypeError, KeyError, ValueError):
        return None  # Classes.from_json says what is wrong with it


def _ignore_ids(value: object, path: Path) -> tuple[int, ...]:
    if isinstance(value, Mapping):  # one id for each kind of file: only masks are read here
        value = value.get("masks")
    values = value if isinstance(value, list) else [] if value is None else [value]
    if any(isinstance(v, bool) or not isinstance(v, int) for v in values):
        raise BadData(f"{path} has ignore_index {value!r}", allowed="a whole number, a list of them, or null")
    return tuple(values)


def _colors(value: object) -> list[Color]:
    return [tuple(value)] if isinstance(value, list) and len(value) == 3 else []


def _reading(value: object, path: Path) -> MaskReading | None:
    if value is None:
        return None
    try:
        return MaskReading(str(value))
    except ValueError as error:
        raise BadData(
            f"{path} has mask_reading {value!r}", allowed=", ".join(MaskReading), cure="choose one of them"
        ) from error


_TEXT_ROW = re.compile(
    r"(?:(?P<id>\d+)[\s,;:]+)?(?:(?P<name>[^\s\d,;:#][^,;:\t]*?))"
    r"(?:[\s,;:]+(?P<color>\d{1,3}[\s,]+\d{1,3}[\s,]+\d{1,3})[\s:]*)?"
)


def _rows(text: str, path: Path) -> Iterable[dict[str, Any]]:
    """Lines such as ``sky``, ``0 sky``, ``sky 128 128 128`` or ``sky:128,128,128::``; ``#`` is a comment."""
    lines = [line.strip() for line in text.splitlines()]
    for index, line in enumerate(line for line in lines if line and not line.startswith("#")):
        found = _TEXT_ROW.fullmatch(line)
        if found is None:
            raise BadData(
                f"{path} has the line {line!r}", allowed="a name, or id, name and three colour values"
            )
        color = [int(v) for v in re.findall(r"\d+", found["color"])] if found["color"] else None
        yield {
            "id": int(found["id"] or index),
            "name": found["name"],
            "color": color or distinct_color(index),
        }
