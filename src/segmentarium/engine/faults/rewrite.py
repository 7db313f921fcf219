"""Corrected annotations for a corrected copy: what has a safe cure is cured, what has none is as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pil

from segmentarium.data import coco_instances, coco_panoptic
from segmentarium.data.coco_json import Size, remembered
from segmentarium.data.dataset import MaskReading, Pair, Segmenting
from segmentarium.engine.faults.annotated import file_flaws
from segmentarium.engine.faults.survey import Sample, Survey
from segmentarium.ops.crops import Crop, tight
from segmentarium.values.files import atomic_json, atomic_write, ensure_folder

LEFT_OUT = ("annotation-twice", "segment-without-pixels")
DONE = {
    "annotation-twice": "the second annotation left out",
    "segment-without-pixels": "annotations without pixels left out",
    "box-contradicts-mask": "the box of the mask written",
    "polygon-too-short": "polygons of fewer than three points taken out",
    "segment-area": "the number of pixels written",
    "segment-unlisted": "pixels of unlisted numbers made void",
    "segment-id-zero": "segments of number 0 taken out",
}
OF_FILES = {
    "annotation-without-image": "annotations without image left out",
    "annotated-image-missing": "images that are not there left out",
    "annotation-id-zero": "annotations numbered anew",
    "annotation-id-twice": "annotations numbered anew",
}


@dataclass(frozen=True)
class Repair:
    """What was done to one file; ``file`` is relative to the original data set."""

    file: str
    fault: str
    done: str

    def as_dict(self) -> dict[str, str]:
        return {"file": self.file, "fault": self.fault, "done": self.done}


Kept = Sequence[tuple[Sample, Pair]]


def rewrite_annotations(survey: Survey, folder: Path, kept: Kept) -> Iterator[Repair]:
    """Write the annotations of the pictures that were kept, one file for each split; tells what was done."""
    by = survey.data.segmented_by
    if by not in (Segmenting.COCO, Segmenting.PANOPTIC):
        return
    write = _instances if by is Segmenting.COCO else _panoptic
    for split in survey.data.splits:
        here = [(sample, pair) for sample, pair in kept if sample.split == split]
        if any(pair.annotations for _, pair in here):
            write(survey, folder / split, here)
    for sample, _ in kept:
        for fault in dict.fromkeys(wrong.fault for wrong in sample.wrongs if wrong.fault in DONE):
            yield Repair(sample.annotated, fault, DONE[fault])
    told = ((survey.name(path), flaw.fault) for path, flaw in file_flaws(survey.data))
    for name, fault in dict.fromkeys(told):
        if fault in OF_FILES:
            yield Repair(name, fault, OF_FILES[fault])


def _instances(survey: Survey, folder: Path, kept: Kept) -> None:
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    categories: dict[object, Mapping[str, Any]] = {}
    for sample, pair in kept:
        file = None if pair.annotations is None else coco_instances.read_instances(pair.annotations)
        picture = None if file is None else file.picture(pair.image)
        if file is None or picture is None or pair.annotations is None:
            continue
        number, size = len(images) + 1, picture.image.size or sample.image.size
        name = _written(folder / "images", pair)
        images.append({"id": number, "file_name": name, "height": size[0], "width": size[1]})
        raw = remembered(pair.annotations, _rows)
        for one in picture.annotations:
            row = _cured(raw[one.row], one, sample, pair, size)
            if row is not None:
                rows.append(row | {"image_id": number})
        categories |= {row["id"]: row for row in file.categories}
    if len({str(row.get("id", 0)) for row in rows} - {"0"}) < len(rows):
        rows = [row | {"id": number} for number, row in enumerate(rows, 1)]
    table = {"images": images, "annotations": rows, "categories": list(categories.values())}
    atomic_json(ensure_folder(folder) / "instances.json", table, indent=None)


def _cured(
    row: dict[str, Any], one: coco_instances.Annotation, sample: Sample, pair: Pair, size: Size
) -> dict[str, Any] | None:
    """The annotation as it should be, or None if it is left out."""
    faults = {wrong.fault for wrong in sample.wrongs if wrong.key == one.row}
    if faults & set(LEFT_OUT):
        return None
    if "polygon-too-short" in faults:
        parts = [part for part in row["segmentation"] if len(part) >= 6]
        return row | {"segmentation": parts} if parts else None
    if "box-contradicts-mask" in faults and pair.annotations is not None:
        crop = coco_instances.crop_of(one, size=size, path=pair.annotations, image=pair.image.name)
        return row | {"bbox": _box(crop)}
    return row


def _panoptic(survey: Survey, folder: Path, kept: Kept) -> None:
    inner = "masks" if survey.data.reading is MaskReading.PANOPTIC_RGB else "panoptic"
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    categories: dict[object, Mapping[str, Any]] = {}
    for sample, pair in kept:
        path = survey.data.segment_file(pair)
        if path is None or pair.annotations is None:
            continue
        file = coco_panoptic.read_panoptic(pair.annotations)
        numbers, table = coco_panoptic.read_numbers(path), file.tables[path.stem]
        numbers[~np.isin(numbers, [row.id for row in table.rows if row.id > 0])] = 0
        _save(folder / inner / f"{pair.stem}.png", numbers)
        number, (height, width) = len(images) + 1, sample.image.size
        name = _written(folder / "images", pair)
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        segments = [_segment(row, numbers) for row in table.rows if (numbers == row.id).any() and row.id > 0]
        rows.append({"image_id": number, "file_name": f"{pair.stem}.png", "segments_info": segments})
        categories |= {row["id"]: row for row in file.categories}
    table_of_all = {"images": images, "annotations": rows, "categories": list(categories.values())}
    atomic_json(folder / "panoptic.json", table_of_all, indent=None)


def _segment(row: coco_panoptic.SegmentRow, numbers: np.ndarray) -> dict[str, Any]:
    """A line of segments_info, with the pixels and the box that the map has."""
    height, width = numbers.shape
    crop = tight(Crop((0, 0, width, height), numbers == row.id))
    return {
        "id": row.id,
        "category_id": row.category,
        "iscrowd": int(row.crowd),
        "area": int(crop.mask.sum()),
        "bbox": _box(crop),
    }


def _box(crop: Crop) -> list[int]:
    x0, y0, x1, y1 = crop.box
    return [x0, y0, x1 - x0, y1 - y0]


def _written(folder: Path, pair: Pair) -> str:
    """The name of the image in the copy; where it had to be rewritten, its ending is another one."""
    name = f"{pair.stem}{pair.image.suffix}"
    return name if (folder / name).is_file() else next(folder.glob(f"{pair.stem}.*")).name


def _rows(path: Path) -> list[dict[str, Any]]:
    """The annotations as they stand in the file."""
    rows: list[dict[str, Any]] = json.loads(path.read_bytes())["annotations"]
    return rows


def _save(path: Path, numbers: np.ndarray) -> None:
    ensure_folder(path.parent)
    colors = np.ascontiguousarray(numbers.astype("<u4")[..., None].view(np.uint8)[..., :3])
    atomic_write(path, lambda file: Pil.fromarray(colors).save(file, "PNG"))
