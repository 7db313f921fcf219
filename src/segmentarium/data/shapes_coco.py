"""Drawn scenes as COCO writes them: every kind of mask that its annotation files may hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from segmentarium.errors import BadData
from segmentarium.values.classes import Classes
from segmentarium.values.files import atomic_json, ensure_folder
from segmentarium.values.runs import box, count_runs, encode

if TYPE_CHECKING:
    from segmentarium.data.shapes import Scene

Splits = Mapping[str, list["Scene"]]
STEP = 3
"""Category ids are three apart, as those of real sets have gaps."""


def write_instances(folder: Path, splits: Splits, names: Mapping[str, list[str]]) -> None:
    """``annotations/instances_SPLIT2017.json``, with the file names of the images of each split.

    Objects are polygons where their outline is simple, else run-length code, packed or not.
    """
    for split, scenes in splits.items():
        objects = [row for image, scene in enumerate(scenes) for row in _objects(scene, image)]
        table = {
            "images": [_image(place, scene, names[split][place]) for place, scene in enumerate(scenes)],
            "annotations": [{"id": number, **row} for number, row in enumerate(objects, 1)],
            "categories": _categories(scenes[0].classes)[1:],
        }
        atomic_json(ensure_folder(folder / "annotations") / f"instances_{split}2017.json", table)


def write_panoptic(folder: Path, splits: Splits, names: Mapping[str, list[str]]) -> None:
    """``annotations/panoptic_SPLIT2017.json``; the pictures of numbers go elsewhere."""
    for split, scenes in splits.items():
        rows = [
            {
                "image_id": 100 + place,
                "file_name": f"{Path(name).stem}.png",
                "segments_info": _segments(scene),
            }
            for place, (scene, name) in enumerate(zip(scenes, names[split], strict=True))
        ]
        table = {
            "images": [_image(place, scene, names[split][place]) for place, scene in enumerate(scenes)],
            "annotations": rows,
            "categories": _categories(scenes[0].classes),
        }
        atomic_json(ensure_folder(folder / "annotations") / f"panoptic_{split}2017.json", table)


def outline(mask: Bool[np.ndarray, "h w"]) -> list[float] | None:
    """The corners x, y, x, y ... around a mask that is one run in each column, without gaps; else None."""
    columns = np.flatnonzero(mask.any(0))
    if not len(columns) or columns[-1] - columns[0] + 1 != len(columns):
        return None
    part = mask[:, columns[0] : columns[-1] + 1]
    top, bottom = part.argmax(0), len(part) - part[::-1].argmax(0)
    if (part.sum(0) != bottom - top).any():
        return None
    left = np.arange(columns[0], columns[-1] + 1)
    there = np.stack([np.repeat(left, 2) + np.tile([0, 1], len(left)), np.repeat(top, 2)], axis=1)
    back = np.stack([there[:, 0], np.repeat(bottom, 2)], axis=1)[::-1]
    return [float(v) for v in np.concatenate([there, back]).ravel()]


def _image(place: int, scene: Scene, name: str) -> dict[str, Any]:
    height, width = scene.image.size
    return {"id": 100 + place, "file_name": name, "height": height, "width": width}


def _categories(classes: Classes) -> list[dict[str, Any]]:
    if any(c.id > 50 for c in classes):
        raise BadData(f"{len(classes)} drawn classes in a layout of COCO", allowed="at most 50")
    return [
        {"id": 1 + STEP * place, "name": c.name, "isthing": int(c.thing), "color": list(c.color)}
        for place, c in enumerate(classes)
    ]


def _objects(scene: Scene, image: int) -> list[dict[str, Any]]:
    return [
        _annotation(scene.numbers == number, number, 100 + image, 1 + STEP * index)
        for number, index in enumerate(scene.classes_of, 1)
    ]


def _annotation(mask: Bool[np.ndarray, "h w"], number: int, image: int, category: int) -> dict[str, Any]:
    code, corners = encode(mask), outline(mask)
    x0, y0, x1, y1 = box(code)
    shape: Any = code if number % 2 else {"size": code["size"], "counts": count_runs(mask).tolist()}
    return {
        "image_id": image,
        "category_id": category,
        "segmentation": shape if corners is None else [corners],
        "area": int(mask.sum()),
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0,
    }


def _segments(scene: Scene) -> list[dict[str, Any]]:
    rows = []
    for segment in scene.panoptic.segments:
        mask = scene.segment_ids == segment.id
        x0, y0, x1, y1 = box(encode(mask))
        rows.append(
            {
                "id": segment.id,
                "category_id": 1 + STEP * segment.class_index,
                "area": int(mask.sum()),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iscrowd": 0,
            }
        )
    return rows
