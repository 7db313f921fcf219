"""COCO panoptic: a picture of segment numbers (R + 256 G + 65536 B) beside a table of what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32

from segmentarium.data.coco_instances import require_size
from segmentarium.data.coco_json import Flaw, ImageRow, Size, indices, number, opened, remembered, whole
from segmentarium.data.segments import Crowd, Segments
from segmentarium.data.translate import packed
from segmentarium.errors import BadMask
from segmentarium.ops.crops import Crop, tight
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.mask import read_mask


class SegmentRow(NamedTuple):
    """One line of ``segments_info``; ``box`` is (x, y, width, height)."""

    id: int
    category: object
    crowd: bool
    area: float | None
    box: tuple[float, ...] | None


@dataclass(frozen=True)
class Table:
    """The segments of one picture. ``flaws`` tell what is wrong in it; with ``grave`` ones it cannot be used.

    ``image`` is what the file says of the picture, None if it does not list it.
    """

    file_name: str
    image: ImageRow | None
    rows: tuple[SegmentRow, ...]
    flaws: tuple[Flaw, ...] = ()

    @property
    def grave(self) -> tuple[Flaw, ...]:
        """Flaws with which the numbers of the picture have no sure meaning."""
        return tuple(flaw for flaw in self.flaws if flaw.fault != "segment-id-zero")


@dataclass(frozen=True)
class PanopticFile:
    """An annotation file; ``tables`` by file name, without ending, of the picture of numbers."""

    path: Path
    categories: tuple[Mapping[str, Any], ...]
    images: tuple[ImageRow, ...]
    tables: Mapping[str, Table]
    flaws: tuple[Flaw, ...]

    @cached_property
    def by_image(self) -> dict[object, Table]:
        """Tables by image id."""
        return {table.image.id: table for table in self.tables.values() if table.image is not None}


def read_panoptic(path: Path) -> PanopticFile:
    """Read the file, or remember it.

    Raises:
        BadData: no such file, no JSON, or not COCO's three lists. Anything else wrong is kept as a flaw.
    """
    return remembered(path, _parse)


def read_numbers(path: Path) -> Int32[np.ndarray, "h w"]:
    """The segment numbers of a picture; raises ``BadMask`` if it cannot be read or is grey."""
    raw = read_mask(path)
    if raw.values.ndim != 3 or not raw.is_color:
        raise BadMask(f"{path} has one number per pixel", allowed="an RGB panoptic mask")
    return packed(raw.values)


def table_of(annotations: Path, picture: Path) -> Table:
    """What the file says of a picture of numbers; raises ``BadMask`` if it says nothing, or nothing sure."""
    table = read_panoptic(annotations).tables.get(picture.stem)
    if table is None:
        raise BadMask(f"{picture} is not described in {annotations.name}", cure="add its annotation there")
    for flaw in table.grave:
        raise BadMask(f"{annotations}, {table.file_name}: {flaw.note}", cure="see `seg check`")
    return table


def segments_of(path: Path, annotations: Path, *, size: Size, classes: Classes) -> Segments:
    """The segments of a picture of numbers whose image has ``size``.

    Raises:
        BadData: as :func:`read_panoptic`.
        BadMask: the picture cannot be read, is not described or of another size; a number that is no segment,
            a category that is no class.
    """
    numbers, table = read_numbers(path), table_of(annotations, path)
    if table.image is not None:
        require_size(annotations, table.image, size)
    if numbers.shape != size:
        raise BadMask(
            f"{path} is {numbers.shape[1]}x{numbers.shape[0]} pixels (width x height), "
            f"its image {size[1]}x{size[0]}",
            allowed="equal sizes",
            cure="export both again",
        )
    index = indices_of(table, annotations, classes)
    require_listed(path, annotations, numbers, table)
    crowds = tuple(_crowd(row, numbers, index[row.id]) for row in table.rows if row.crowd)
    numbers[np.isin(numbers, [0, *(row.id for row in table.rows if row.crowd)])] = VOID
    rows = [row for row in table.rows if not row.crowd and row.id > 0]
    return Segments.from_numbers(
        numbers,
        {row.id: index[row.id] for row in rows},
        areas={row.id: row.area for row in rows if row.area is not None},
        crowds=crowds,
    )


def indices_of(table: Table, annotations: Path, classes: Classes) -> dict[int, int]:
    """Class index by segment number; raises ``BadMask`` for a category that is none of the classes."""
    index = indices(read_panoptic(annotations).categories, classes)
    for row in table.rows:
        if row.category not in index:
            raise BadMask(
                f"{annotations}, segment {row.id} of {table.file_name} is of category {row.category}, "
                "which is no class",
                cure="add it to the description, or see `seg check`",
            )
    return {row.id: index[row.category] for row in table.rows}


def require_listed(path: Path, annotations: Path, numbers: Int32[np.ndarray, "h w"], table: Table) -> None:
    """Raise ``BadMask`` at the first pixel whose number is neither 0 nor a segment of the table."""
    wrong = ~np.isin(numbers, [0, *(row.id for row in table.rows)])
    if wrong.any():
        row, column = divmod(int(wrong.argmax()), wrong.shape[1])
        raise BadMask(
            f"{path} has segment {numbers[row, column]} at row {row}, column {column}",
            allowed=f"segments that {annotations.name} lists for this file",
            cure=f"write the file and {annotations.name} again, together",
        )


def _crowd(row: SegmentRow, numbers: Int32[np.ndarray, "h w"], index: int) -> Crowd:
    height, width = numbers.shape
    crop = tight(Crop((0, 0, width, height), numbers == row.id))
    return Crowd(index, crop, float(crop.mask.sum()) if row.area is None else row.area)


def _parse(path: Path) -> PanopticFile:
    reading, annotations = opened(path)
    known, tables = reading.known, dict[str, Table]()
    for place, row in enumerate(annotations):
        name = row.get("file_name") if isinstance(row, dict) else None
        rows = row.get("segments_info") if isinstance(row, dict) else None
        if not isinstance(name, str) or not isinstance(rows, list):
            what = f"annotation {place} of {path.name} has no file_name or no segments_info"
            reading.add("annotation-broken", "", what)
            continue
        table = _table(name, reading.image_of(row), rows, known)
        stem = PurePosixPath(name).stem
        if stem in tables:
            twice = Flaw("annotation-broken", "", f"{name} is described twice")
            table = Table(table.file_name, table.image, table.rows, (*table.flaws, twice))
        if table.image is None:
            reading.add("annotation-without-image", "", f"{name} of {path.name} belongs to no listed image")
        tables[stem] = table
    images = tuple(reading.images.values())
    return PanopticFile(path, reading.categories, images, tables, tuple(reading.flaws))


def _table(name: str, image: ImageRow | None, rows: list[Any], known: frozenset[object]) -> Table:
    kept, flaws, seen = list[SegmentRow](), list[Flaw](), set[int]()
    for place, row in enumerate(rows):
        identity = whole(row.get("id")) if isinstance(row, dict) else None
        if identity is None or "category_id" not in row or isinstance(row["category_id"], list | dict):
            flaws.append(Flaw("annotation-broken", "", f"segment in row {place} has no id or no category_id"))
            continue
        category = row["category_id"]
        if identity in seen:
            flaws.append(Flaw("segment-id-twice", "", f"segment {identity} stands twice"))
        if category not in known:
            what = f"segment {identity} is of category {category}, which the file does not list"
            flaws.append(Flaw("category-unknown", "", what))
        if identity <= 0:
            flaws.append(Flaw("segment-id-zero", "", f"segment {identity}, and 0 is void"))
        if row.get("iscrowd", 0) not in (0, 1):
            flaws.append(
                Flaw("crowd-misuse", "", f"segment {identity} has iscrowd {str(row['iscrowd'])[:20]}")
            )
        seen.add(identity)
        box = row.get("bbox")
        corners = [number(v) for v in box] if isinstance(box, list) else []
        sides = tuple(v for v in corners if v is not None)
        crowd = bool(row.get("iscrowd", 0))
        kept.append(
            SegmentRow(identity, category, crowd, number(row.get("area")), sides if len(sides) == 4 else None)
        )
    return Table(name, image, tuple(kept), tuple(flaws))
