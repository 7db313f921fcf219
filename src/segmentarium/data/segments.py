"""The true segments of one picture: any number of them, overlapping or not, in one map of whole numbers.

The picture is cut into parts such that every segment is a union of whole parts. What turns, bends and crops a
map of labels then does the same to all segments at once, since picking pixels and naming them commute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, Integer
from numba import njit

from segmentarium.errors import BadMask
from segmentarium.metrics.segments import Segments as NumberedSegments
from segmentarium.ops.crops import Crop, tight
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.instances import Instances
from segmentarium.values.panoptic import Panoptic, Segment
from segmentarium.values.runs import encode


class Crowd(NamedTuple):
    """A region that holds many objects which nobody told apart; ``area`` is what its file says, in pixels."""

    class_index: int
    crop: Crop
    area: float


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of one picture.

    Attributes:
        atoms: the part of each pixel. Part 0 belongs to nobody; ``VOID`` is where the truth is not known.
        pairs: (part, segment), sorted: which segments a part belongs to.
        classes: class index by segment.
        areas: pixels by segment, as its file says where it does: COCO's are those of polygons.
        crowds: regions of many objects. Where nothing else is, their pixels are void.
    """

    atoms: Int32[np.ndarray, "h w"]
    pairs: Int32[np.ndarray, "m 2"]
    classes: Int32[np.ndarray, " n"]
    areas: Float64[np.ndarray, " n"]
    crowds: tuple[Crowd, ...] = ()

    @classmethod
    def from_numbers(
        cls,
        numbers: Integer[np.ndarray, "h w"],
        class_of: Mapping[int, int] | int,
        *,
        areas: Mapping[int, float] | None = None,
        crowds: tuple[Crowd, ...] = (),
    ) -> Segments:
        """Segments that do not overlap, from a map of their numbers: 0 is nobody, below is void.

        Args:
            class_of: class index by number, or one for all. Its order is that of the segments; numbers that
                are not in the map become segments without pixels.
            areas: by number; pixels are counted where none is given.

        Raises:
            BadMask: a number without class.
        """
        if isinstance(class_of, int):
            class_of = {int(n): class_of for n in np.unique(numbers) if n > 0}
        known = np.array([0, *class_of], np.int64)
        order = np.argsort(known)
        atoms = order[np.searchsorted(known[order], numbers).clip(max=len(known) - 1)].astype(np.int32)
        strange = (known[atoms] != numbers) & (numbers > 0)
        if strange.any():
            raise BadMask(
                f"number {numbers[strange][0]} is no segment", allowed="0 and the segments' numbers"
            )
        counts = np.bincount(atoms.ravel(), minlength=len(known))[1:]
        atoms[numbers < 0] = VOID
        shown = np.flatnonzero(counts)
        said = areas or {}
        return cls(
            atoms,
            np.stack([shown + 1, shown], axis=1).astype(np.int32),
            np.array(list(class_of.values()), np.int32),
            np.array([said.get(n, c) for n, c in zip(class_of, counts.tolist(), strict=True)], np.float64),
            crowds,
        )

    @classmethod
    def from_masks(
        cls,
        masks: Sequence[Crop],
        classes: Sequence[int],
        *,
        size: tuple[int, int],
        areas: Sequence[float | None] | None = None,
        crowds: tuple[Crowd, ...] = (),
    ) -> Segments:
        """Segments that may overlap, in a picture of ``size`` (height, width)."""
        atoms, pairs = _cut(masks, size)
        for crowd in crowds:
            window = atoms[crowd.crop.window]
            window[crowd.crop.mask & (window == 0)] = VOID
        counts = [float(mask.mask.sum()) for mask in masks]
        said = areas or [None] * len(masks)
        return cls(
            atoms,
            pairs,
            np.array(classes, np.int32),
            np.array([c if a is None else a for a, c in zip(said, counts, strict=True)], np.float64),
            crowds,
        )

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def pixels(self) -> Int64[np.ndarray, " n"]:
        """Pixels by segment, counted."""
        found = self.atoms[self.atoms > 0]
        counts = np.bincount(found, minlength=self._parts)
        return np.bincount(self.pairs[:, 1], counts[self.pairs[:, 0]], len(self)).astype(np.int64)

    def masks_in(
        self, atoms: Integer[np.ndarray, "h w"]
    ) -> tuple[Bool[np.ndarray, "t h w"], Int64[np.ndarray, " t"]]:
        """The masks of the segments that have pixels in ``atoms``, and which segments they are.

        Args:
            atoms: this picture's parts, cropped, turned or bent in any way that picks pixels.
        """
        atoms = np.ascontiguousarray(atoms)
        starts = np.searchsorted(self.pairs[:, 0], np.arange(self._parts + 1))
        seen = np.bincount(atoms[atoms > 0], minlength=self._parts) > 0
        which = np.unique(self.pairs[seen[self.pairs[:, 0]], 1]).astype(np.int64)
        slots = np.full(len(self), -1)
        slots[which] = np.arange(len(which))
        masks = np.zeros((len(which), *atoms.shape), bool)
        _paint(atoms, starts, slots[self.pairs[:, 1]], masks)
        return masks, which

    def labels(self, *, background: int = VOID) -> Int32[np.ndarray, "h w"]:
        """The class of each pixel: where segments overlap that of the smaller, ``background`` of nobody's."""
        classes = np.append(self.classes, [background, VOID]).astype(np.int32)
        labels: Int32[np.ndarray, "h w"] = classes[self._winners]
        return labels

    def numbers(self) -> Int32[np.ndarray, "h w"]:
        """The number of each pixel's segment, from 1 in their order; 0 is nobody, void stays void."""
        table = np.append(np.arange(1, len(self) + 1), [0, VOID]).astype(np.int32)
        numbers: Int32[np.ndarray, "h w"] = table[self._winners]
        return numbers

    def crops(self) -> tuple[Crop, ...]:
        """The masks, each in its smallest box; a segment without pixels has an empty one."""
        from scipy.ndimage import find_objects

        windows = find_objects(np.maximum(self.atoms, 0), max_label=self._parts - 1)
        parts: list[list[int]] = [[] for _ in range(len(self))]
        for part, segment in self.pairs.tolist():
            parts[segment].append(part)
        return tuple(self._crop(chosen, windows) for chosen in parts)

    def to_instances(self, classes: Classes) -> Instances:
        """The countable segments; all of them where no class is marked as a thing."""
        chosen = self._counted(classes)
        crops = self.crops()
        return _instances([crops[i] for i in chosen], self.classes[chosen], classes, self.size)

    def to_panoptic(self, classes: Classes) -> Panoptic:
        """Segment n of this as number n + 1; nobody's and void pixels are in no segment."""
        segments = tuple(Segment(n, int(index)) for n, index in enumerate(self.classes, 1))
        return Panoptic(np.maximum(self.numbers(), 0), segments, classes)

    def for_average_precision(self, classes: Classes) -> dict[str, Any]:
        """The arguments ``truth``, ``crowd`` and ``areas`` of :meth:`AveragePrecision.update`.

        As :meth:`to_instances`, with the crowds behind.
        """
        chosen = self._counted(classes)
        crops = self.crops()
        masks = [*(crops[i] for i in chosen), *(crowd.crop for crowd in self.crowds)]
        indices = np.append(self.classes[chosen], [crowd.class_index for crowd in self.crowds])
        areas = np.append(self.areas[chosen], [crowd.area for crowd in self.crowds])
        truth = _instances(masks, indices.astype(np.int32), classes, self.size)
        return {"truth": truth, "crowd": np.arange(len(masks)) >= len(chosen), "areas": areas}

    def for_panoptic_quality(self) -> NumberedSegments:
        """The truth that :meth:`PanopticQuality.update` takes; crowds are numbered behind the segments."""
        ids = np.maximum(self.numbers(), 0)
        for number, crowd in enumerate(self.crowds, len(self) + 1):
            window = ids[crowd.crop.window]
            window[crowd.crop.mask & (window == 0)] = number
        count = len(self) + len(self.crowds)
        return NumberedSegments(
            ids=ids,
            numbers=np.arange(1, count + 1),
            classes_of=np.append(self.classes, [c.class_index for c in self.crowds]).astype(np.int64),
            crowd=np.arange(count) >= len(self),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return (int(self.atoms.shape[0]), int(self.atoms.shape[1]))

    @property
    def _parts(self) -> int:
        """Numbers of parts go up to this, exclusive."""
        return int(self.pairs[-1, 0]) + 1 if len(self.pairs) else 1

    @cached_property
    def _winners(self) -> Int64[np.ndarray, "h w"]:
        """The smallest segment of each pixel; n where nobody is, n + 1 where it is void."""
        order = np.lexsort((self.pixels[self.pairs[:, 1]], self.pairs[:, 0]))
        parts, first = np.unique(self.pairs[order, 0], return_index=True)
        table = np.full(self._parts + 1, len(self))
        table[parts] = self.pairs[order[first], 1]
        table[VOID] = len(self) + 1
        winners: Int64[np.ndarray, "h w"] = table[self.atoms]
        return winners

    def _crop(self, parts: list[int], windows: list[tuple[slice, slice]]) -> Crop:
        boxes = [windows[part - 1] for part in parts]
        if not boxes:
            return tight(Crop((0, 0, 0, 0), np.zeros((0, 0), bool)))
        y0, y1 = min(rows.start for rows, _ in boxes), max(rows.stop for rows, _ in boxes)
        x0, x1 = min(columns.start for _, columns in boxes), max(columns.stop for _, columns in boxes)
        return Crop((x0, y0, x1, y1), np.isin(self.atoms[y0:y1, x0:x1], parts))

    def _counted(self, classes: Classes) -> Int64[np.ndarray, " t"]:
        things = np.array([c.thing for c in classes], bool)
        return np.flatnonzero(things[self.classes]) if things.any() else np.arange(len(self))


def _instances(
    crops: Sequence[Crop], indices: Int32[np.ndarray, " n"], classes: Classes, size: tuple[int, int]
) -> Instances:
    return Instances(
        tuple(encode(crop.mask) for crop in crops),
        np.array([crop.box for crop in crops], np.int32).reshape(-1, 4),
        np.ones(len(crops), np.float32),
        indices,
        classes,
        size,
    )


def _cut(
    masks: Sequence[Crop], size: tuple[int, int]
) -> tuple[Int32[np.ndarray, "h w"], Int32[np.ndarray, "m 2"]]:
    """Lay one mask after the other: it cuts each part that it meets in two."""
    atoms = np.zeros(size, np.int32)
    cut_from, laid = [np.zeros(1, np.int32)], [np.full(1, VOID, np.int32)]
    pieces, count = np.full(64, -1, np.int32), 1
    for index, mask in enumerate(masks):
        while len(pieces) < count:
            pieces = np.append(pieces, np.full(len(pieces), -1, np.int32))
        wholes = np.empty(min(count, mask.mask.size), np.int32)
        new = _split(atoms, np.ascontiguousarray(mask.mask), mask.box[:2], count, pieces, wholes)
        pieces[wholes[:new]] = -1
        cut_from.append(wholes[:new])
        laid.append(np.full(new, index, np.int32))
        count += new
    return _named(atoms, np.concatenate(cut_from), np.concatenate(laid))


def _named(
    atoms: Int32[np.ndarray, "h w"], cut_from: Int32[np.ndarray, " k"], laid: Int32[np.ndarray, " k"]
) -> tuple[Int32[np.ndarray, "h w"], Int32[np.ndarray, "m 2"]]:
    """Number the parts that are left from 1, and follow each back through the masks that cut it out."""
    left = np.bincount(atoms.ravel(), minlength=len(cut_from)) > 0
    left[0] = True
    names = (np.cumsum(left) - 1).astype(np.int32)
    at = np.flatnonzero(left)[1:]
    name, pairs = names[at], []
    while len(at):
        pairs.append(np.stack([name, laid[at]], axis=1))
        at = cut_from[at]
        name, at = name[at > 0], at[at > 0]
    found = np.concatenate(pairs) if pairs else np.zeros((0, 2), np.int32)
    return names[atoms], found[np.lexsort((found[:, 1], found[:, 0]))].astype(np.int32)


@njit(cache=True, nogil=True)
@no_type_check
def _split(atoms, mask, at, count, pieces, wholes):  # pragma: no cover (compiled)
    """Give the masked part of each part a number from ``count`` on; ``wholes`` tells what each was cut from.

    ``at`` is where the mask lies (x, y), ``pieces`` the new number by old, -1 where there is none yet.
    """
    new = 0
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            if mask[y, x]:
                whole = atoms[at[1] + y, at[0] + x]
                if pieces[whole] < 0:
                    pieces[whole] = count + new
                    wholes[new] = whole
                    new += 1
                atoms[at[1] + y, at[0] + x] = pieces[whole]
    return new


@njit(cache=True, nogil=True)
@no_type_check
def _paint(atoms, starts, slots, masks):  # pragma: no cover (compiled)
    """Set the pixels of each segment; ``starts`` is where the pairs of each part begin."""
    for y in range(atoms.shape[0]):
        for x in range(atoms.shape[1]):
            part = atoms[y, x]
            if part > 0:
                for pair in range(starts[part], starts[part + 1]):
                    masks[slots[pair], y, x] = True
