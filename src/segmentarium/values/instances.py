"""Countable objects, each with a box, a class, a score and a mask kept as runs inside its box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int32, Integer
from PIL import Image as Pil

from segmentarium.errors import BadMask, CannotWrite
from segmentarium.values.classes import Classes, Color, distinct_color
from segmentarium.values.draw import Picture, framed, tint, to_rgb8
from segmentarium.values.files import atomic_json
from segmentarium.values.marks import inner_edge, line_width, numbered
from segmentarium.values.runs import Rle, area, box, decode, encode, place


@dataclass(frozen=True, eq=False)
class Instances:
    """The objects in a picture of ``size`` (height, width): any number of them, and they may overlap.

    ``masks`` are run-length code of the crops inside ``boxes``; these are (x0, y0, x1, y1) in pixels, end
    exclusive; ``classes_of`` are indices into ``classes``.
    """

    masks: tuple[Rle, ...]
    boxes: Int32[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    classes_of: Int32[np.ndarray, " n"]
    classes: Classes
    size: tuple[int, int]

    def __post_init__(self) -> None:
        sides = self.boxes[:, 2:] - self.boxes[:, :2]
        for index, mask in enumerate(self.masks):
            if mask["size"] != [int(sides[index, 1]), int(sides[index, 0])]:
                raise BadMask(
                    f"object {index} has a mask of {mask['size']} in the box {self.boxes[index].tolist()}"
                )

    @classmethod
    def from_labels(
        cls, numbers: Integer[np.ndarray, "h w"], classes: Classes, *, class_of: Mapping[int, int] | int
    ) -> Instances:
        """Objects from a map of object numbers; 0 and below are no object.

        ``class_of`` is the class index by object number, or one index for all.
        """
        from scipy.ndimage import find_objects

        present, dense = np.unique(np.maximum(numbers, 0), return_inverse=True)
        dense = dense.reshape(numbers.shape) + (1 if present[:1].any() else 0)  # number 0 stays 0
        windows = [(rows, columns) for rows, columns in find_objects(dense)]
        masks = [encode(dense[window] == index) for index, window in enumerate(windows, start=1)]
        boxes = [(columns.start, rows.start, columns.stop, rows.stop) for rows, columns in windows]
        ids = [int(i) for i in present if i]
        indices = [class_of if isinstance(class_of, int) else class_of[i] for i in ids]
        return cls(
            tuple(masks),
            np.array(boxes, np.int32).reshape(-1, 4),
            np.ones(len(ids), np.float32),
            np.array(indices, np.int32),
            classes,
            (int(numbers.shape[0]), int(numbers.shape[1])),
        )

    def above(self, score: float) -> Instances:
        """The objects whose score is at least ``score``."""
        kept = np.flatnonzero(self.scores >= score)
        masks = tuple(self.masks[i] for i in kept)
        return replace(
            self,
            masks=masks,
            boxes=self.boxes[kept],
            scores=self.scores[kept],
            classes_of=self.classes_of[kept],
        )

    def __len__(self) -> int:
        return len(self.masks)

    def mask(self, index: int) -> Bool[np.ndarray, "h w"]:
        """The mask of one object, as large as the picture."""
        full = np.zeros(self.size, bool)
        full[self.window(index)] = decode(self.masks[index])
        return full

    def numbers(self) -> Int32[np.ndarray, "h w"]:
        """A map of object numbers, from 1 in the order of the objects; the better score lies on top."""
        canvas = np.zeros(self.size, np.int32)
        for index in np.argsort(self.scores, kind="stable").tolist():
            canvas[self.window(index)][decode(self.masks[index])] = index + 1
        return canvas

    def window(self, index: int) -> tuple[slice, slice]:
        """Rows and columns of the box of one object."""
        x0, y0, x1, y1 = (int(v) for v in self.boxes[index])
        return slice(y0, y1), slice(x0, x1)

    def save(self, path: str | Path) -> Path:
        """Write a JSON file: size, classes and COCO annotations.

        Raises:
            CannotWrite: no permission, no space, a folder of that name, or a name of another format.
        """
        if Path(path).suffix.lower() != ".json":
            raise CannotWrite(f"objects cannot be saved as {path}", allowed="a name in .json")
        size = {"height": self.size[0], "width": self.size[1]}
        return atomic_json(
            path, {**size, "categories": self.classes.to_json(), "annotations": self.to_coco()}
        )

    def overlay(self, image: Picture, *, alpha: float = 0.5) -> Pil.Image:
        """The objects over their picture, each in a colour of its own, with its outline and its number.

        Outlines are whole, also where an object lies below another; numbers are those of :meth:`numbers`, and
        stand in objects that have room for them. Below, how many objects there are of each class.
        """
        numbers = self.numbers()
        colors = np.array([distinct_color(i) for i in range(len(self) + 1)], np.uint8)
        plain = np.zeros_like(numbers)
        drawn = tint(to_rgb8(image)[0], numbers, colors, numbers > 0, alpha=alpha, regions=plain)
        wide = line_width(self.size)
        for index in np.argsort(self.scores, kind="stable").tolist():
            drawn[self.window(index)][inner_edge(decode(self.masks[index]), wide)] = colors[index + 1]
        return framed(np.array(numbered(drawn, numbers)), self._counts())

    def _counts(self) -> list[tuple[str, Color | None]]:
        counts = np.bincount(self.classes_of, minlength=len(self.classes))
        return [(f"{c.name}: {n}", None) for c, n in zip(self.classes, counts, strict=True) if n]

    def to_coco(self) -> list[dict[str, Any]]:
        """An annotation for each object: run-length mask in the size of the picture, area, box and score."""
        return [self._annotation(index) for index in range(len(self))]

    def _annotation(self, index: int) -> dict[str, Any]:
        x0, y0 = (int(v) for v in self.boxes[index, :2])
        mask = place(self.masks[index], (x0, y0), self.size)
        category = self.classes[int(self.classes_of[index])].id
        return annotation(mask, category, score=float(self.scores[index]))


def annotation(mask: Rle, category: int, **more: float) -> dict[str, Any]:
    """A COCO annotation; its box is (x, y, width, height), as COCO wants it."""
    x0, y0, x1, y1 = box(mask)
    corner = {"bbox": [x0, y0, x1 - x0, y1 - y0]}
    return {"category_id": category, "segmentation": mask, "area": area(mask), **corner, "iscrowd": 0, **more}
