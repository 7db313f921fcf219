"""Every pixel in at most one segment: things counted, stuff not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32
from PIL import Image as Pil

from segmentarium.errors import BadMask, CannotWrite
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.draw import Picture, entries_of, framed, tint, to_rgb8
from segmentarium.values.files import atomic_json, atomic_write
from segmentarium.values.instances import annotation
from segmentarium.values.runs import encode


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
        unknown = set(np.unique(self.ids).tolist()) - {0, *numbers}
        if unknown:
            raise BadMask(
                f"number {min(unknown)} in the map is no segment", allowed="0 and the segments' numbers"
            )

    def labels(self) -> Int32[np.ndarray, "h w"]:
        """Class indices, void where there is no segment."""
        class_of = {0: VOID} | {s.id: s.class_index for s in self.segments}
        present, inverse = np.unique(self.ids, return_inverse=True)
        table = np.array([class_of[int(i)] for i in present], np.int32)
        return table[inverse.reshape(self.ids.shape)]

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
        """The segments over their picture in the colours of their classes; contours part the things."""
        labels = self.labels()
        shown = labels != VOID
        drawn = tint(to_rgb8(image)[0], labels, self.classes.palette(), shown, alpha=alpha, regions=self.ids)
        return framed(drawn, entries_of(self.classes, labels))

    def to_coco(self) -> list[dict[str, Any]]:
        """COCO's ``segments_info``, each with a run-length mask."""
        return [
            {
                "id": s.id,
                **annotation(encode(self.ids == s.id), self.classes[s.class_index].id, score=s.score),
            }
            for s in self.segments
        ]
