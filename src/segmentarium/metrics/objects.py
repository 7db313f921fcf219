"""Objects of one picture as AP-like metrics take them: columns, and masks as runs of pixels.

Masks stay what they are in files and results, run-length code of the crop around an object. They become runs
of the whole picture's pixels, column by column, and two masks meet by walking along both lists of runs: no
picture is ever painted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int64

from segmentarium.errors import BadArgument, BadMask
from segmentarium.metrics import objects_kernels as kernels
from segmentarium.values.instances import Instances
from segmentarium.values.runs import Rle, encode

T = TypeVar("T")

KINDS = ("mask", "box", "boundary")
"""What of an object is compared: its mask, its box, or its mask and the band along its boundary."""

BAND = 0.02
"""Width of the boundary's band as a share of the picture's diagonal (Cheng et al. 2021)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Runs:
    """Masks as runs [start, end) of pixels, counted down the columns of a picture of ``size``.

    Those of all masks stand one after another; ``stops`` says where each mask's end.
    """

    spans: Int64[np.ndarray, "m 2"]
    stops: Int64[np.ndarray, " n"]
    size: tuple[int, int]

    @classmethod
    def of(cls, masks: Sequence[Rle], *, at: Int64[np.ndarray, "n 2"], size: tuple[int, int]) -> Runs:
        """Masks with their upper left corners at (x, y) in a picture of ``size`` (height, width).

        Raises:
            BadMask: code that is cut off or does not add up to its size, or a crop that does not fit.
        """
        text = "".join([mask["counts"] for mask in masks]).encode("ascii", "replace")
        ends = np.cumsum([len(mask["counts"]) for mask in masks], dtype=np.int64)
        sides = np.array([mask["size"] for mask in masks], np.int64).reshape(-1, 2)
        outside = (at < 0).any(1) | (at[:, ::-1] + sides > np.array(size)).any(1)
        if outside.any():
            first = int(np.flatnonzero(outside)[0])
            raise BadMask(
                f"object {first} with a mask of {sides[first].tolist()} at {at[first].tolist()}",
                allowed=f"inside the picture of {list(size)}",
            )
        spans, stops, broken = kernels.unpack(np.frombuffer(text, np.uint8), ends, sides, at, size[0])
        if broken >= 0:
            raise BadMask(
                f"the run-length mask of object {broken} is broken",
                allowed="COCO's compressed counts that add up to height x width",
                cure="write the mask again",
            )
        return cls(spans=spans, stops=stops, size=size)

    @cached_property
    def areas(self) -> Int64[np.ndarray, " n"]:
        """Pixels of each mask."""
        lengths = np.r_[0, np.cumsum(self.spans[:, 1] - self.spans[:, 0])]
        stops = np.r_[0, self.stops]
        return np.diff(lengths[stops])

    def take(self, rows: Int64[np.ndarray, " m"]) -> Runs:
        """The masks of some rows, in their order."""
        begins, lengths = np.r_[0, self.stops][rows], np.diff(np.r_[0, self.stops])[rows]
        stops = np.cumsum(lengths)
        at = np.arange(int(lengths.sum())) + np.repeat(begins - (stops - lengths), lengths)
        return Runs(spans=self.spans[at], stops=stops, size=self.size)

    def band(self, share: float = BAND) -> Runs:
        """The inner band of each mask along its boundary.

        Mask minus its erosion by 3 x 3, repeated ``round(share x diagonal)`` times but at least once; the
        outside of the picture is no mask, so its edge counts as boundary.
        """
        from scipy.ndimage import minimum_filter

        width = max(1, round(share * float(np.hypot(*self.size))))
        bands, corners = [], []
        for begin, end in zip(np.r_[0, self.stops][:-1], self.stops, strict=True):
            mask, corner = kernels.paint(self.spans[begin:end], self.size[0])
            inner = minimum_filter(mask, size=2 * width + 1, mode="constant", cval=0)
            bands.append(encode(mask > inner))
            corners.append(corner)
        return Runs.of(bands, at=np.array(corners, np.int64).reshape(-1, 2), size=self.size)


@dataclass(frozen=True, eq=False, kw_only=True)
class Objects:
    """The objects of one picture, by row; boxes are (x, y, width, height) in pixels.

    ``ignored`` objects of truth are neither found nor missed (COCO's crowds, VOC's difficult ones).
    """

    classes_of: Int64[np.ndarray, " n"]
    scores: Float[np.ndarray, " n"]
    areas: Float[np.ndarray, " n"]
    ignored: Bool[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    runs: Runs | None

    @classmethod
    def of(
        cls,
        instances: Instances,
        *,
        kind: str = "mask",
        name: str,
        ignored: Bool[np.ndarray, " n"] | None = None,
        areas: Float[np.ndarray, " n"] | None = None,
    ) -> Objects:
        """The objects of one of our results; ``name`` says in messages which side they are.

        Raises:
            BadArgument: a class that does not exist, a score that is no number, or a column of other length.
        """
        count = len(instances)
        runs = None
        if kind != "box":
            runs = Runs.of(instances.masks, at=instances.boxes[:, :2].astype(np.int64), size=instances.size)
        boxes = instances.boxes.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        if areas is None:
            areas = (boxes[:, 2] * boxes[:, 3] if runs is None else runs.areas).astype(np.float64)
        ignored = np.zeros(count, bool) if ignored is None else ignored
        columns = (instances.classes_of, instances.scores, instances.boxes, areas, ignored)
        if any(len(column) != count for column in columns):
            raise BadArgument(f"{name}: columns of {[len(c) for c in columns]} rows for {count} objects")
        objects = cls(
            classes_of=instances.classes_of.astype(np.int64),
            scores=instances.scores.astype(np.float64),
            areas=areas.astype(np.float64),
            ignored=ignored,
            boxes=boxes,
            runs=runs,
        )
        objects.check(classes=len(instances.classes), name=name)
        return objects

    def __len__(self) -> int:
        return len(self.classes_of)

    def take(self, rows: Int64[np.ndarray, " m"]) -> Objects:
        """The objects of some rows, in their order."""
        return Objects(
            classes_of=self.classes_of[rows],
            scores=self.scores[rows],
            areas=self.areas[rows],
            ignored=self.ignored[rows],
            boxes=self.boxes[rows],
            runs=None if self.runs is None else self.runs.take(rows),
        )

    @property
    def masks(self) -> Runs:
        """The runs, for those who need them; refused where only boxes were read."""
        if self.runs is None:
            raise BadArgument("objects without masks", allowed="objects read with their masks")
        return self.runs

    def check(self, *, classes: int, name: str) -> None:
        """Refuse classes that do not exist and scores that are no numbers."""
        if ((self.classes_of < 0) | (self.classes_of >= classes)).any():
            raise BadArgument(f"{name}: an object without class", allowed=f"class 0 to {classes - 1}")
        if np.isnan(self.scores).any():
            raise BadArgument(f"{name}: a score that is no number", allowed="finite scores")


def shared(prediction: Objects, truth: Objects, *, by_class: bool = True) -> Int64[np.ndarray, "p t"]:
    """Pixels that each predicted object shares with each true one; 0 between classes if ``by_class``.

    Raises:
        BadMask: pictures of different size.
    """
    found, true = prediction.masks, truth.masks
    if found.size != true.size:
        raise BadMask(
            f"a prediction of size {found.size} for a truth of size {true.size}", allowed="equal sizes"
        )
    classes = (prediction.classes_of, truth.classes_of)
    classes = classes if by_class else (np.zeros_like(classes[0]), np.zeros_like(classes[1]))
    return np.asarray(kernels.shared(found.spans, found.stops, true.spans, true.stops, *classes))


def overlaps(prediction: Objects, truth: Objects, *, kind: str = "mask") -> Float[np.ndarray, "p t"]:
    """IoU of each predicted with each true object of its class, 0 between classes.

    For an ignored true object it is the share of the *predicted* one inside it (COCO's rule for crowds).
    ``boundary`` is the smaller one of the IoU of masks and of bands; for ignored objects that of masks.

    Source: Lin et al. 2014 (COCO); Cheng et al. 2021, "Boundary IoU", section 5.
    """
    if kind == "box":
        return np.asarray(_box_iou(prediction, truth))
    iou: Float[np.ndarray, "p t"] = _mask_iou(prediction, truth)
    if kind == "mask" or not iou.size:
        return iou
    bands = (replace(side, runs=side.masks.band()) for side in (prediction, truth))
    smaller = np.minimum(iou, _mask_iou(*bands))
    return np.asarray(np.where(truth.ignored, iou, smaller))


def _mask_iou(prediction: Objects, truth: Objects) -> Any:
    meet: Any = shared(prediction, truth)
    found, true = prediction.masks.areas, truth.masks.areas
    union = np.where(truth.ignored, found[:, None], found[:, None] + true[None] - meet)
    return np.divide(meet, union, out=np.zeros(meet.shape), where=meet > 0)


def _box_iou(prediction: Objects, truth: Objects) -> Any:
    found, true = prediction.boxes[:, None], truth.boxes[None]
    low = np.maximum(found[..., :2], true[..., :2])
    high = np.minimum(found[..., :2] + found[..., 2:], true[..., :2] + true[..., 2:])
    meet = np.prod(np.maximum(high - low, 0), axis=-1)
    meet[prediction.classes_of[:, None] != truth.classes_of[None]] = 0
    area, other = np.prod(found[..., 2:], axis=-1), np.prod(true[..., 2:], axis=-1)
    union = np.where(truth.ignored, area, area + other - meet)
    return np.divide(meet, union, out=np.zeros(meet.shape), where=meet > 0)


def add_pictures(mine: dict[int | str, T], others: Mapping[int | str, T]) -> None:
    """Add the pictures of another part of the data; those without a name are numbered on.

    Raises:
        BadArgument: a picture with a name is in both parts.
    """
    for image, picture in others.items():
        name = len(mine) if isinstance(image, int) and image in mine else image
        if name in mine:
            raise BadArgument(f"other: picture {image!r} is in both parts", allowed="each picture once")
        mine[name] = picture
