"""Plants one fault into the annotations of a clean set in COCO's layout; says which files have it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pil

from segmentarium.ops.rle import decode

Rows = list[dict[str, Any]]


class Annotations:
    """The annotations of the training split, and what the doctor calls its files."""

    def __init__(self, root: Path, rng: np.random.Generator) -> None:
        self.root, self.rng = root, rng
        self.path = next((root / "annotations").glob("*_train2017.json"))
        self.table = json.loads(self.path.read_text())
        self.panoptic = "panoptic" in self.path.name

    @property
    def rows(self) -> Rows:
        return self.table["annotations"]

    def image_of(self, row: dict[str, Any]) -> str:
        name = next(i["file_name"] for i in self.table["images"] if i["id"] == row["image_id"])
        return f"train2017/{name}"

    def numbers_of(self, row: dict[str, Any]) -> str:
        return f"annotations/{self.path.stem}/{row['file_name']}"

    @property
    def file(self) -> str:
        return f"annotations/{self.path.name}"

    def some(self, fits: Callable[[dict[str, Any]], bool] = lambda row: True) -> dict[str, Any]:
        rows = [row for row in self.rows if fits(row)]
        return rows[int(self.rng.integers(len(rows)))]

    def segment(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """An annotation of a panoptic picture, and one of its segments that is a thing."""
        row = self.some()
        segments = [s for s in row["segments_info"] if s["category_id"] > 1]
        return row, segments[int(self.rng.integers(len(segments)))]

    def repaint(self, row: dict[str, Any], change: Callable[[np.ndarray], None]) -> None:
        """Change the numbers of a panoptic picture in place."""
        path = self.root / self.numbers_of(row)
        colors = np.array(Pil.open(path)).astype(np.int32)
        numbers = colors @ np.array([1, 256, 65536])
        change(numbers)
        packed = numbers.astype("<u4")[..., None].view(np.uint8)[..., :3]
        Pil.fromarray(np.ascontiguousarray(packed)).save(path)

    def written(self, *files: str) -> list[str]:
        self.path.write_text(json.dumps(self.table))
        return sorted(files)


def _polygon(row: dict[str, Any]) -> bool:
    return isinstance(row["segmentation"], list)


def _runs(row: dict[str, Any]) -> bool:
    return isinstance(row["segmentation"], dict)


def _packed(row: dict[str, Any]) -> bool:
    return _runs(row) and isinstance(row["segmentation"]["counts"], str)


def without_key(key: str) -> Callable[[Annotations], list[str]]:
    def plant(bed: Annotations) -> list[str]:
        row = bed.some()
        del row[key]
        return bed.written(bed.image_of(row))

    return plant


def strange_category(bed: Annotations) -> list[str]:
    row = bed.some()
    row["category_id"] = 77
    return bed.written(bed.image_of(row))


def two_points(bed: Annotations) -> list[str]:
    row = bed.some(_polygon)
    row["segmentation"].append([3.0, 4.0, 5.0, 6.0])
    return bed.written(bed.image_of(row))


def odd_coordinates(bed: Annotations) -> list[str]:
    row = bed.some(_polygon)
    row["segmentation"][0].append(4.0)
    return bed.written(bed.image_of(row))


def not_a_number(bed: Annotations) -> list[str]:
    row = bed.some(_polygon)
    row["segmentation"][0][2] = float("nan")
    return bed.written(bed.image_of(row))


def runs_of_other_size(bed: Annotations) -> list[str]:
    row = bed.some(_runs)
    row["segmentation"]["size"].reverse()
    return bed.written(bed.image_of(row))


def runs_cut_off(bed: Annotations) -> list[str]:
    row = bed.some(_packed)
    row["segmentation"]["counts"] = row["segmentation"]["counts"][:-2]
    return bed.written(bed.image_of(row))


def runs_too_long(bed: Annotations) -> list[str]:
    row = bed.some(_runs)
    size = row["segmentation"]["size"]
    row["segmentation"]["counts"] = [3, 5, size[0] * size[1]]
    return bed.written(bed.image_of(row))


def crowd_polygon(bed: Annotations) -> list[str]:
    row = bed.some(_polygon)
    row["iscrowd"] = 1
    return bed.written(bed.image_of(row))


def all_crowds(bed: Annotations) -> list[str]:
    for row in bed.rows:
        row["iscrowd"] = 1
        if _polygon(row):
            row["segmentation"] = row.pop("segmentation")
    bed.written()
    return []


def strange_crowd(bed: Annotations) -> list[str]:
    row = bed.some()
    row["iscrowd"] = 3
    return bed.written(bed.image_of(row))


def twice(bed: Annotations) -> list[str]:
    row = bed.some()
    bed.rows.append({**row, "id": 9999})
    return bed.written(bed.image_of(row))


def id_zero(bed: Annotations) -> list[str]:
    row = bed.some()
    row["id"] = 0
    return bed.written(bed.image_of(row))


def id_twice(bed: Annotations) -> list[str]:
    one = bed.rows[0]
    other = bed.some(lambda row: row is not one)
    other["id"] = one["id"]
    return bed.written(bed.image_of(other))


def outside(bed: Annotations) -> list[str]:
    row = bed.some(_polygon)
    row["segmentation"] = [[v + 5000 for v in row["segmentation"][0]]]
    row["bbox"] = [row["bbox"][0] + 5000, row["bbox"][1] + 5000, *row["bbox"][2:]]
    return bed.written(bed.image_of(row))


def corners_as_box(bed: Annotations) -> list[str]:
    row = bed.some(lambda row: min(row["bbox"]) > 12)
    x, y, width, height = row["bbox"]
    row["bbox"] = [x, y, x + width, y + height]
    return bed.written(bed.image_of(row))


def box_elsewhere(bed: Annotations) -> list[str]:
    row = bed.some()
    row["bbox"][0] += 40
    return bed.written(bed.image_of(row))


def image_gone(bed: Annotations) -> list[str]:
    name = bed.table["images"][0]["file_name"]
    (bed.root / "train2017" / name).unlink()
    return bed.written(bed.file)


def nobodys(bed: Annotations) -> list[str]:
    bed.rows.append({**bed.some(), "id": 9999, "image_id": 5555})
    return bed.written(bed.file)


def size_told_wrong(bed: Annotations) -> list[str]:
    image = bed.table["images"][0]
    image["height"] += 8
    for row in bed.rows:
        if row["image_id"] == image["id"] and _runs(row):
            row["segmentation"]["size"][0] += 8
            row["segmentation"]["counts"] = _taller(row, 8)
    return bed.written(f"train2017/{image['file_name']}")


def _taller(row: dict[str, Any], more: int) -> list[int]:
    height, width = row["segmentation"]["size"]
    old = {"size": [height - more, width], "counts": row["segmentation"]["counts"]}
    if isinstance(old["counts"], list):
        runs = np.repeat(np.arange(len(old["counts"])) % 2 == 1, old["counts"])
        mask = runs.reshape(width, height - more).T
    else:
        mask = decode(old)
    flat = np.pad(mask, ((0, more), (0, 0))).T.ravel()
    turns = np.flatnonzero(np.diff(flat, prepend=False))
    return np.diff(turns, prepend=0, append=flat.size).tolist()


def pixels_unlisted(bed: Annotations) -> list[str]:
    row = bed.some()

    def change(numbers: np.ndarray) -> None:
        numbers[3:9, 4:12] = 70000

    bed.repaint(row, change)
    for segment in row["segments_info"]:  # only the one fault: areas are those of the new picture
        _measure(bed, row, segment)
    return bed.written(bed.numbers_of(row))


def _measure(bed: Annotations, row: dict[str, Any], segment: dict[str, Any]) -> None:
    colors = np.array(Pil.open(bed.root / bed.numbers_of(row))).astype(np.int32)
    mask = colors @ np.array([1, 256, 65536]) == segment["id"]
    segment["area"] = int(mask.sum())
    ys, xs = np.nonzero(mask)
    segment["bbox"] = [
        int(xs.min()), int(ys.min()), int(xs.max() - xs.min()) + 1, int(ys.max() - ys.min()) + 1
    ]  # fmt: skip


def segment_without_pixels(bed: Annotations) -> list[str]:
    row = bed.some()
    row["segments_info"].append({"id": 4711, "category_id": 4, "area": 5, "bbox": [0, 0, 1, 5], "iscrowd": 0})
    return bed.written(bed.numbers_of(row))


def painted_over(bed: Annotations) -> list[str]:
    row, segment = bed.segment()
    segment["area"] += 31
    return bed.written(bed.numbers_of(row))


def segment_zero(bed: Annotations) -> list[str]:
    row = bed.some()
    row["segments_info"].append({"id": 0, "category_id": 4, "area": 5, "bbox": [0, 0, 1, 5], "iscrowd": 0})
    return bed.written(bed.numbers_of(row))


def segment_twice(bed: Annotations) -> list[str]:
    row, segment = bed.segment()
    row["segments_info"].append(dict(segment))
    return bed.written(bed.numbers_of(row))


def segment_of_strange_category(bed: Annotations) -> list[str]:
    row, segment = bed.segment()
    segment["category_id"] = 77
    return bed.written(bed.numbers_of(row))


def segment_without_category(bed: Annotations) -> list[str]:
    row, segment = bed.segment()
    del segment["category_id"]
    return bed.written(bed.numbers_of(row))


def crowd_of_stuff(bed: Annotations) -> list[str]:
    row = bed.some()
    next(s for s in row["segments_info"] if s["category_id"] == 1)["iscrowd"] = 1
    return bed.written(bed.numbers_of(row))


def segment_box_elsewhere(bed: Annotations) -> list[str]:
    row, segment = bed.segment()
    segment["bbox"][1] += 50
    return bed.written(bed.numbers_of(row))


def picture_undescribed(bed: Annotations) -> list[str]:
    row = bed.some()
    bed.rows.remove(row)
    return bed.written(bed.numbers_of(row))
