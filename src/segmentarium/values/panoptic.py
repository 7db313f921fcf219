"""Every pixel in at most one segment: things counted, stuff not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image as Pil

from segmentarium.errors import BadMask, CannotWrite
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.draw import Picture, contour, entries_of, framed, tint, to_rgb8
from segmentarium.values.files import atomic_json, atomic_write
from segmentarium.values.instances import annotation
from segmentarium.values.marks import borders, line_width, numbered
from segmentarium.values.runs import encode

_BORDER = (255, 255, 255)
_TURNS = (0.0, 0.35, -0.3, 0.6, -0.5)
"""How far toward white (or black, below 0) the colour of a class goes for its things, one after another."""


@dataclass(frozen=True)
class Segment:
    """One segment: its number in the map, the index of its class, how sure the network is (1 for truth)."""

    id: int
    class_index: int
    score: float = 1.0


@dataclass(frozen=True, eq=False)
class Panoptic:
    """The number of a segment for every pixel, 0 where there is none, and what the segments are.

    Raises:
        BadMask: a number in the map without segment, or two segments of one number.
    """

    ids: Int32[np.ndarray, "h w"]
    segments: tuple[Segment, ...]
    classes: Classes

    def __post_init__(self) -> None:
        numbers = [s.id for s in self.segments]
        if len(set(numbers)) < len(numbers) or min(numbers, default=1) < 1:
            raise BadMask("segments of one number, or of number 0", allowed="numbers from 1, each once")
        unknown = set(_present(self.ids)) - {0, *numbers}
        if unknown:
            raise BadMask(
                f"number {min(unknown)} in the map is no segment", allowed="0 and the segments' numbers"
            )

    def labels(self) -> Int32[np.ndarray, "h w"]:
        """Class indices, void where there is no segment."""
        class_of = np.array([VOID, *(s.class_index for s in self.segments)], np.int32)
        return np.asarray(class_of[self._rows()])

    def save(self, path: str | Path) -> Path:
        """Write COCO's pair: a PNG whose colours are numbers (R + 256 G + 65536 B), a JSON file beside it.

        Raises:
            CannotWrite: no permission, no space, a folder of that name, or a name of another format.
        """
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise CannotWrite(f"segments cannot be saved as {path}", allowed="a name in .png")
        numbers = self.ids.astype("<u4")[..., None].view(np.uint8)[..., :3]
        picture = Pil.fromarray(np.ascontiguousarray(numbers))
        description = {"categories": self.classes.to_json(), "segments_info": self.to_coco()}
        atomic_json(path.with_suffix(".json"), description)
        return atomic_write(path, lambda file: picture.save(file, "PNG"))

    def overlay(self, image: Picture, *, alpha: float = 0.5) -> Pil.Image:
        """The segments over their picture in the colours of their classes, with white borders between them.

        Things of one class differ in shade, and bear their numbers where there is room.
        """
        rows = self._rows()
        drawn = tint(to_rgb8(image)[0], rows, self._shades(), rows > 0, alpha=alpha, regions=0 * rows)
        lines = borders(rows, line_width(rows.shape)) | contour((rows > 0).astype(np.int32))
        drawn[lines & (rows > 0)] = _BORDER
        things = np.array([False, *(self.classes[s.class_index].thing for s in self.segments)])
        drawn = np.array(numbered(drawn, np.where(things[rows], self.ids, 0)))
        return framed(drawn, entries_of(self.classes, self.labels()))

    def _rows(self) -> Int32[np.ndarray, "h w"]:
        """For each pixel the place of its segment among ``segments``, from 1; 0 where there is none."""
        numbers = np.array([0, *(s.id for s in self.segments)])
        order = np.argsort(numbers)
        return order[np.searchsorted(numbers[order], self.ids)].astype(np.int32)

    def _shades(self) -> UInt8[np.ndarray, "n 3"]:
        """A colour for each row: that of the class, for things lighter or darker by turns."""
        shades, seen = [(0, 0, 0)], Counter[int]()
        for segment in self.segments:
            kind = self.classes[segment.class_index]
            turn = seen[segment.class_index] % len(_TURNS) if kind.thing else 0
            seen[segment.class_index] += 1
            toward = 255 if _TURNS[turn] > 0 else 0
            red, green, blue = (round(c + (toward - c) * abs(_TURNS[turn])) for c in kind.color)
            shades.append((red, green, blue))
        return np.array(shades, np.uint8)

    def to_coco(self) -> list[dict[str, Any]]:
        """COCO's ``segments_info``, each with a run-length mask."""
        return [
            {
                "id": s.id,
                **annotation(encode(self.ids == s.id), self.classes[s.class_index].id, score=s.score),
            }
            for s in self.segments
        ]


def _present(ids: Int32[np.ndarray, "h w"]) -> list[int]:
    """The numbers in a map, ascending; small ones by a table, which spares sorting the pixels."""
    if not ids.size or not 0 <= int(ids.min()) <= int(ids.max()) < 2**20:
        return [int(i) for i in np.unique(ids)]
    seen = np.zeros(int(ids.max()) + 1, bool)
    seen[ids.ravel()] = True
    return [int(i) for i in np.flatnonzero(seen)]
