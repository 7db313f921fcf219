"""COCO instances: polygons of any number of parts, run-length code of both kinds, crowds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from segmentarium.data.coco_json import Flaw, ImageRow, Reading, Size, indices, number, opened, remembered
from segmentarium.data.segments import Crowd, Segments
from segmentarium.errors import BadMask, SegError
from segmentarium.ops.crops import Crop, crop_of_runs
from segmentarium.ops.polygons import fill_crop
from segmentarium.values.classes import Classes
from segmentarium.values.runs import unpack

Polygons = tuple[Float64[np.ndarray, "_ 2"], ...]


class Runs(NamedTuple):
    """Run-length code as it stands in a file: a list of runs, or packed text; ``size`` is what it says."""

    size: Size
    counts: Int64[np.ndarray, " n"] | str


class Annotation(NamedTuple):
    """One annotation; ``flaw`` tells why it cannot be used, ``row`` is its place in the file's list.

    ``box`` is (x, y, width, height) in pixels as the file has it, ``area`` likewise; None where missing.
    """

    row: int
    id: object
    category: object
    shape: Polygons | Runs | None
    crowd: bool
    area: float | None
    box: tuple[float, ...] | None
    flaw: Flaw | None = None

    @property
    def name(self) -> str:
        """What a message calls it."""
        return f"annotation {self.id}" if self.id is not None else f"annotation without id in row {self.row}"


@dataclass(frozen=True)
class Picture:
    """A picture and its annotations, in the order of the file."""

    image: ImageRow
    annotations: tuple[Annotation, ...]


@dataclass(frozen=True)
class InstancesFile:
    """An annotation file. ``flaws`` belong to no usable picture, or to many."""

    path: Path
    categories: tuple[Mapping[str, Any], ...]
    pictures: Mapping[str, Picture]
    flaws: tuple[Flaw, ...]

    def picture(self, image: Path) -> Picture | None:
        """The picture of that file name; where folders differ, the longest common path counts."""
        for count in range(min(4, len(image.parts)), 0, -1):
            found = self.pictures.get(PurePosixPath(*image.parts[-count:]).as_posix())
            if found is not None:
                return found
        return None


def read_instances(path: Path) -> InstancesFile:
    """Read the file, or remember it.

    Raises:
        BadData: no such file, no JSON, or not COCO's three lists. Anything else wrong is kept as a flaw.
    """
    return remembered(path, _parse)


def segments_of(path: Path, image: Path, *, size: Size, classes: Classes) -> Segments:
    """The segments of a picture of ``size``; none if the file lists it without annotations.

    Raises:
        BadData: as :func:`read_instances`.
        BadMask: the picture is not listed or of another size, or an annotation cannot be used; it is named.
    """
    file = read_instances(path)
    picture = file.picture(image)
    if picture is None:
        raise BadMask(f"{path} does not list {image.name}", cure="add it to 'images', or take the image out")
    require_size(path, picture.image, size)
    index = indices(file.categories, classes)
    shapes, crowds = list[tuple[Crop, int, float | None]](), list[Crowd]()
    for one in picture.annotations:
        crop = crop_of(one, size=size, path=path, image=image.name)
        if one.category not in index:
            raise BadMask(
                f"{path}, {one.name} of {image.name} is of category {one.category}, which is no class",
                allowed=f"the {len(index)} categories that are classes",
                cure="add it to the description, or see `seg check`",
            )
        if one.crowd:
            pixels = float(crop.mask.sum())
            crowds.append(Crowd(index[one.category], crop, pixels if one.area is None else one.area))
        else:
            shapes.append((crop, index[one.category], one.area))
    masks, indexed, areas = ([shape[i] for shape in shapes] for i in range(3))
    return Segments.from_masks(masks, indexed, size=size, areas=areas, crowds=tuple(crowds))  # type: ignore[arg-type]


def crop_of(one: Annotation, *, size: Size, path: Path, image: str) -> Crop:
    """The mask of an annotation in a picture of ``size``; raises ``BadMask`` naming file and annotation."""
    if one.flaw is not None:
        raise BadMask(f"{path}, {one.flaw.note} ({image})", cure="see `seg check`")
    try:
        if not isinstance(one.shape, Runs):
            return fill_crop(one.shape or (), size)
        if one.shape.size != size:
            told = "x".join(map(str, one.shape.size[::-1]))
            raise BadMask(
                f"run-length code of {told} pixels", allowed=f"{size[1]}x{size[0]}, the image's size"
            )
        counts = one.shape.counts
        text = isinstance(counts, str)
        return crop_of_runs(unpack({"size": list(size), "counts": counts}) if text else counts, size)  # type: ignore[typeddict-item, arg-type]
    except SegError as error:
        raise BadMask(
            f"{path}, {one.name} of {image}: {error.came}", allowed=error.allowed, cure="see `seg check`"
        ) from error


def require_size(path: Path, image: ImageRow, size: Size) -> None:
    """Raise ``BadMask`` where the file says another size than the image has."""
    if image.size is not None and image.size != size:
        raise BadMask(
            f"{path} says {image.size[1]}x{image.size[0]} pixels (width x height) of {image.file_name}, "
            f"which has {size[1]}x{size[0]}",
            allowed="equal sizes",
            cure="annotate the image as it is, or put the right image back",
        )


def _parse(path: Path) -> InstancesFile:
    reading, rows = opened(path)
    found: dict[object, list[Annotation]] = {identity: [] for identity in reading.images}
    known = reading.known
    for place, row in enumerate(rows):
        image = reading.image_of(row)
        if image is None:
            named = f"annotation {row.get('id')}" if isinstance(row, dict) else f"annotation in row {place}"
            reading.add("annotation-without-image", "", f"{named} of {path.name} belongs to no listed image")
            continue
        found[image.id].append(_annotation(row, place, known))
    _note_ids(reading, rows)
    pictures = dict[str, Picture]()
    for identity, image in reading.images.items():
        if image.file_name in pictures:
            reading.add("image-id-twice", image.file_name, f"{image.file_name} is listed with two ids")
            found[identity] = [*pictures[image.file_name].annotations, *found[identity]]
        pictures[image.file_name] = Picture(image, tuple(found[identity]))
    return InstancesFile(path, reading.categories, pictures, tuple(reading.flaws))


def _note_ids(reading: Reading, rows: Sequence[Any]) -> None:
    """Ids play no part here, but other tools count 0 as "not matched", and keep the last of equal ones."""
    seen: set[object] = set()
    for row in rows:
        identity = row.get("id") if isinstance(row, dict) else None
        if identity is None or isinstance(identity, list | dict):
            continue
        image = reading.image_of(row)
        name = "" if image is None else image.file_name
        if identity == 0:
            reading.add("annotation-id-zero", name, "annotation 0")
        if identity in seen:
            reading.add("annotation-id-twice", name, f"annotation {identity}")
        seen.add(identity)


def _annotation(row: dict[str, Any], place: int, known: frozenset[object]) -> Annotation:
    box = row.get("bbox")
    numbers = [number(v) for v in box] if isinstance(box, list) else []
    identity, category = row.get("id"), row.get("category_id")
    one = Annotation(
        row=place,
        id=identity if isinstance(identity, int | str) else None,
        category=category,
        shape=None,
        crowd=bool(row.get("iscrowd", 0)),
        area=number(row.get("area")),
        box=tuple(v for v in numbers if v is not None) if len(numbers) == 4 and None not in numbers else None,
    )
    if category is None or isinstance(category, list | dict):
        return _flawed(one, "annotation-broken", "has no category_id")
    if category not in known:
        return _flawed(one, "category-unknown", f"is of category {category}, which the file does not list")
    if row.get("iscrowd", 0) not in (0, 1):
        return _flawed(one, "crowd-misuse", f"has iscrowd {str(row['iscrowd'])[:20]}, neither 0 nor 1")
    return _with_shape(one, row.get("segmentation"))


def _with_shape(one: Annotation, segmentation: Any) -> Annotation:
    if isinstance(segmentation, dict):
        return _with_runs(one, segmentation)
    if not isinstance(segmentation, list) or not segmentation:
        return _flawed(one, "annotation-broken", "has no segmentation")
    parts = []
    for part in segmentation:
        try:
            flat = np.array(part, np.float64)
        except (TypeError, ValueError):
            flat = np.zeros((0, 0))
        if flat.ndim != 1 or len(flat) % 2:
            return _flawed(one, "polygon-broken", "has a polygon that is no list of x, y, x, y ...")
        if len(flat) < 6:
            points = "1 point" if len(flat) == 2 else f"{len(flat) // 2} points"
            return _flawed(one, "polygon-too-short", f"has a polygon of {points}, which needs three")
        if not np.isfinite(flat).all():
            return _flawed(one, "polygon-broken", "has a polygon with a corner that is no number")
        parts.append(flat.reshape(-1, 2))
    return one._replace(shape=tuple(parts))


def _with_runs(one: Annotation, code: dict[str, Any]) -> Annotation:
    size, counts = code.get("size"), code.get("counts")
    if not isinstance(size, list) or len(size) != 2 or any(not isinstance(v, int) for v in size):
        return _flawed(one, "rle-broken", "has run-length code without a size of height and width")
    if isinstance(counts, list):
        try:
            counts = np.array(counts, np.int64)
        except (TypeError, ValueError, OverflowError):
            counts = None
    if not isinstance(counts, str | np.ndarray) or (isinstance(counts, np.ndarray) and counts.ndim != 1):
        return _flawed(one, "rle-broken", "has run-length code whose counts are neither a list nor text")
    return one._replace(shape=Runs((size[0], size[1]), counts))


def _flawed(one: Annotation, fault: str, note: str) -> Annotation:
    return one._replace(flaw=Flaw(fault, "", f"{one.name} {note}"))
