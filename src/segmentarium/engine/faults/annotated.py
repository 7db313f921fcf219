"""Look at every annotation of a picture, those that cannot be used included; nothing is refused here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segmentarium.data import coco_instances, coco_json, coco_panoptic
from segmentarium.data.coco_instances import Annotation, Runs
from segmentarium.data.coco_panoptic import Table
from segmentarium.data.dataset import DataSet, Pair, Segmenting, is_background
from segmentarium.engine.faults.finding import WHOLE_FILE, at
from segmentarium.engine.faults.survey import Size, Wrong
from segmentarium.errors import BadData, BadMask, SegError
from segmentarium.ops.crops import Crop, tight
from segmentarium.values.classes import VOID
from segmentarium.values.image import probe_image

BOX_SLACK = 3.0  # pixels that a side of a box may lie off its mask; boxes of polygons are not whole pixels
BOX_SHARE = 0.05  # or this share of the box, whichever is more


@dataclass(frozen=True)
class Annotated:
    """What the annotations of a picture say, and what is wrong with them.

    ``ids`` are the class ids of pixels (void -1), None where nobody says what the ``numbers`` mean.
    """

    size: Size
    ids: np.ndarray | None
    numbers: np.ndarray
    wrongs: tuple[Wrong, ...] = ()
    objects: int = 0
    crowds: int = 0


def look_at(data: DataSet, pair: Pair) -> Annotated | None:
    """Look at a picture's annotations; None where the set has none or the picture is not described."""
    path = data.segment_file(pair)
    if path is None or data.segmented_by is Segmenting.NUMBERS:
        return None
    if data.segmented_by is Segmenting.COCO:
        return _Canvas(data, pair, path).drawn()
    annotations = pair.annotations or path.parent.parent / "panoptic.json"
    table = coco_panoptic.read_panoptic(annotations).tables.get(path.stem)
    try:
        numbers = coco_panoptic.read_numbers(path)
    except BadMask:
        return None
    if table is None:
        wrong = Wrong("annotation-missing", WHOLE_FILE, f"{annotations.name} does not describe it")
        return Annotated(_size(numbers), None, numbers, (wrong,))
    return _panoptic(data, numbers, table, coco_panoptic.read_panoptic(annotations))


@dataclass
class _Canvas:
    """The annotations of one picture, drawn one after the other."""

    data: DataSet
    pair: Pair
    path: Path
    wrongs: list[Wrong] = field(default_factory=list)

    def drawn(self) -> Annotated | None:
        file = coco_instances.read_instances(self.path)
        picture = file.picture(self.pair.image)
        size = _told(picture, self.pair)
        if picture is None or size is None:
            return None
        index = coco_json.indices(file.categories, self.data.classes)
        ground = [c.id for c in self.data.classes if is_background(c)]
        ids, numbers = np.full(size, [*ground, VOID][0]), np.zeros(size, np.int32)
        seen: dict[tuple[object, ...], Annotation] = {}
        crops = [(one, crop) for one in picture.annotations if (crop := self._crop(one, size)) is not None]
        for one, crop in crops:
            twin = seen.setdefault((one.category, crop.box, crop.mask.tobytes()), one)
            if twin is not one:
                self._add("annotation-twice", one, crop, f"{one.name} is {twin.name} once more")
            if one.flaw is None and one.category not in index:
                self._add(
                    "category-unknown", one, crop, f"{one.name} is of category {one.category}, no class"
                )
        for one, crop in sorted(crops, key=lambda item: -int(item[1].mask.sum())):
            known = not one.crowd and one.category in index
            ids[crop.window][crop.mask] = self.data.classes[index[one.category]].id if known else VOID
            numbers[crop.window][crop.mask] = one.row + 1
        crowds = sum(one.crowd for one in picture.annotations)
        return Annotated(size, ids, numbers, tuple(self.wrongs), len(picture.annotations), crowds)

    def _crop(self, one: Annotation, size: Size) -> Crop | None:
        """The mask, or None and a word why there is none."""
        if one.flaw is not None:
            self.wrongs.append(Wrong(one.flaw.fault, f"annotation {one.id}", one.flaw.note, one.row))
            return None
        try:
            crop = coco_instances.crop_of(one, size=size, path=self.path, image=self.pair.image.name)
        except SegError as error:
            fault = "rle-broken" if isinstance(one.shape, Runs) else "polygon-broken"
            said = f"{one.name}: {error.came.rpartition(': ')[2]}"
            self.wrongs.append(Wrong(fault, f"annotation {one.id}", said, one.row))
            return None
        if not crop.mask.size:
            note = f"{one.name} covers no pixel"
            self.wrongs.append(Wrong("segment-without-pixels", f"annotation {one.id}", note, one.row))
            return None
        contradiction = box_contradicts(one.box, crop)
        if contradiction and not _is_box_of_corners(one):
            self._add("box-contradicts-mask", one, crop, f"{one.name}: {contradiction}")
        if one.crowd and not isinstance(one.shape, Runs):
            self._add("crowd-misuse", one, crop, f"{one.name} is a crowd, yet drawn as a polygon")
        return crop

    def _add(self, fault: str, one: Annotation, crop: Crop, note: str) -> None:
        self.wrongs.append(Wrong(fault, f"annotation {one.id}, {_place(crop)}", note, one.row))


def box_contradicts(box: tuple[float, ...] | None, crop: Crop) -> str:
    """How a box (x, y, width, height) lies off its mask, or nothing."""
    if box is None:
        return ""
    true = crop.box
    told = (box[0], box[1], box[0] + box[2], box[1] + box[3])
    slack = [max(BOX_SLACK, BOX_SHARE * side) for side in (true[2] - true[0], true[3] - true[1])] * 2
    if all(abs(a - b) <= s for a, b, s in zip(told, true, slack, strict=True)):
        return ""
    corners = all(abs(a - b) <= s for a, b, s in zip(box, true, slack, strict=True))
    hint = ", as if it were x0, y0, x1, y1" if corners else ""
    width, height = true[2] - true[0], true[3] - true[1]
    shown = ", ".join(f"{v:g}" for v in box)
    return f"box ({shown}) around a mask at ({true[0]}, {true[1]}, {width}, {height}){hint}"


def _is_box_of_corners(one: Annotation) -> bool:
    """Corners may reach farther than pixels do: as spikes too thin for one, or out of the picture."""
    if one.box is None or one.shape is None or isinstance(one.shape, Runs):
        return False
    corners = np.concatenate(one.shape)
    true = np.concatenate([corners.min(0), np.ptp(corners, axis=0)])
    return bool((np.abs(true - one.box) <= BOX_SLACK).all())


def _told(picture: coco_instances.Picture | None, pair: Pair) -> Size | None:
    """The size that the file says, else that of the image."""
    if picture is None:
        return None
    if picture.image.size is not None:
        return picture.image.size
    try:
        height, width = probe_image(pair.image).size
    except SegError:
        return None
    return (height, width)


def _panoptic(
    data: DataSet, numbers: np.ndarray, table: Table, file: coco_panoptic.PanopticFile
) -> Annotated:
    index = coco_json.indices(file.categories, data.classes)
    present, counts = np.unique(numbers, return_counts=True)
    pixels = dict(zip(present.tolist(), counts.tolist(), strict=True))
    wrongs = [*_of_rows(data, numbers, table, index, pixels), *_unlisted(numbers, table, pixels)]
    meaning = {row.id: data.classes[index[row.category]].id for row in table.rows if row.category in index}
    values = np.array([meaning.get(int(n), VOID) if n else VOID for n in present])
    ids = values[np.searchsorted(present, numbers)]
    crowds = sum(row.crowd for row in table.rows)
    return Annotated(_size(numbers), ids, numbers, tuple(wrongs), len(table.rows), crowds)


def _of_rows(
    data: DataSet, numbers: np.ndarray, table: Table, index: dict[object, int], pixels: dict[int, int]
) -> Iterator[Wrong]:
    """What is wrong with what the table says."""
    for flaw in table.flaws:
        yield Wrong(flaw.fault, WHOLE_FILE, flaw.note)
    stuff_known = any(c.thing for c in data.classes)
    listed = any(flaw.fault == "category-unknown" for flaw in table.flaws)
    for row in table.rows:
        if row.id <= 0:
            continue
        if row.id not in pixels:
            yield Wrong("segment-without-pixels", WHOLE_FILE, f"segment {row.id} has no pixel", row.id)
            continue
        height, width = numbers.shape
        crop = tight(Crop((0, 0, width, height), numbers == row.id))
        where = f"segment {row.id}, {_place(crop)}"
        contradiction = box_contradicts(row.box, crop)
        if contradiction:
            yield Wrong("box-contradicts-mask", where, f"segment {row.id}: {contradiction}", row.id)
        if row.area is not None and row.area != pixels[row.id]:
            note = f"segment {row.id} has {pixels[row.id]} pixels, its area says {row.area:g}"
            yield Wrong("segment-area", where, note, row.id)
        known = row.category in index
        if known and row.crowd and stuff_known and not data.classes[index[row.category]].thing:
            name = data.classes[index[row.category]].name
            note = f"segment {row.id} is a crowd of {name!r}, which is stuff"
            yield Wrong("crowd-misuse", where, note, row.id)
        if not known and not listed:
            note = f"segment {row.id} is of category {row.category}, which is no class"
            yield Wrong("category-unknown", where, note, row.id)


def _unlisted(numbers: np.ndarray, table: Table, pixels: dict[int, int]) -> Iterator[Wrong]:
    listed = {row.id for row in table.rows}
    for number in sorted(set(pixels) - listed - {0}):
        row, column = divmod(int((numbers == number).argmax()), numbers.shape[1])
        note = f"number {number} on {pixels[number]} pixels is no segment"
        yield Wrong("segment-unlisted", at(column, row), note, number)


def _place(crop: Crop) -> str:
    """A pixel of the mask: the first of its middle column."""
    column = crop.mask.shape[1] // 2
    filled = crop.mask[:, column]
    if not filled.any():
        column = int(crop.mask.any(0).argmax())
        filled = crop.mask[:, column]
    return at(crop.box[0] + column, crop.box[1] + int(filled.argmax()))


def _size(numbers: np.ndarray) -> Size:
    return (int(numbers.shape[0]), int(numbers.shape[1]))


def file_flaws(data: DataSet) -> Iterator[tuple[Path, coco_json.Flaw]]:
    """What is wrong with files as a whole, and the pictures that they list and that are not there."""
    for path, pairs in annotation_files(data).items():
        try:
            yield from ((path, flaw) for flaw in _flaws(path, data.segmented_by, pairs))
        except BadData:
            continue


def annotation_files(data: DataSet) -> dict[Path, list[Pair]]:
    """The files of annotations, and the pairs of each."""
    found: dict[Path, list[Pair]] = {}
    for pairs in data.splits.values():
        for pair in pairs:
            if pair.annotations is not None:
                found.setdefault(pair.annotations, []).append(pair)
    return found


def _flaws(path: Path, by: Segmenting | None, pairs: list[Pair]) -> Iterator[coco_json.Flaw]:
    if by is Segmenting.COCO:
        file = coco_instances.read_instances(path)
        yield from file.flaws
        used = {id(picture) for pair in pairs if (picture := file.picture(pair.image)) is not None}
        listed = [p.image.file_name for p in file.pictures.values() if id(p) not in used]
    else:
        panoptic = coco_panoptic.read_panoptic(path)
        yield from panoptic.flaws
        stems = {pair.image.stem for pair in pairs}
        listed = [image.file_name for image in panoptic.images if Path(image.file_name).stem not in stems]
    for name in listed:
        yield coco_json.Flaw("annotated-image-missing", "", f"{name} is not there")
