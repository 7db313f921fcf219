"""Drawn shapes: textured overlapping objects on textured ground, with semantic, instance and panoptic truth.

For tests and demos of every task: small, fast, seeded, in 2-D and 3-D. Each class has its own form, texture
and colour, so a network can learn it; light, shadow, overlap and noise keep it from being trivial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int32

from segmentarium.data import shapes_layouts, shapes_paint
from segmentarium.data.shapes_forms import shape_classes
from segmentarium.errors import BadData
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.image import Image
from segmentarium.values.results import Instances, LabelMap, Panoptic, Segment

Seed = int | Sequence[int]
DTYPES = ("uint8", "uint16", "float32")
TRIES = 40
"""How often a split is drawn anew until every class shows."""


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn picture (h, w) or volume (d, h, w) and three truths that agree in every pixel.

    ``labels`` are class indices with void -1; ``numbers`` count the objects from 1, 0 being ground or void;
    ``classes_of[n - 1]`` is the class index of object n. An object hidden by later ones is not counted.
    """

    image: Image
    classes: Classes
    labels: Int32[np.ndarray, "*s"]
    numbers: Int32[np.ndarray, "*s"]
    classes_of: tuple[int, ...]

    @property
    def semantic(self) -> LabelMap:
        return LabelMap(self.labels, self.classes)

    @property
    def instances(self) -> Instances:
        """The objects of a picture, without the ground."""
        self._picture_only("instances")
        return Instances.from_labels(self.numbers, self.classes, class_of=dict(enumerate(self.classes_of, 1)))

    @property
    def panoptic(self) -> Panoptic:
        """Segment 1 is the ground, segment n + 1 the object n; void is in no segment."""
        self._picture_only("panoptic")
        segments = [Segment(number + 1, index) for number, index in enumerate((0, *self.classes_of))]
        ids = self.segment_ids
        return Panoptic(ids, tuple(s for s in segments if s.id > 1 or (ids == 1).any()), self.classes)

    @property
    def segment_ids(self) -> Int32[np.ndarray, "*s"]:
        """The panoptic map of a picture or a volume: 0 void, 1 ground, n + 1 object n."""
        return np.where(self.labels == VOID, np.int32(0), self.numbers + 1)

    def _picture_only(self, what: str) -> None:
        if self.labels.ndim != 2:
            raise BadData(
                f"{what} of a drawn volume as an object",
                allowed="pictures",
                cure="use numbers, classes_of and segment_ids: the same truth as arrays",
            )


def draw_scene(
    seed: Seed,
    *,
    size: tuple[int, int] = (128, 128),
    classes: int = 4,
    objects: int = 8,
    channels: int = 3,
    dtype: str = "uint8",
    void_share: float = 0.0,
) -> Scene:
    """Draw textured, lit, overlapping shapes; equal arguments give equal pixels.

    Args:
        seed: a number, or several numbers that together are one seed.
        size: height and width in pixels, from 1x1.
        classes: the ground and ``classes - 1`` kinds of shapes.
        objects: how many are drawn; all kinds come in turn, so that each is drawn if there are enough.
        channels: 1 is grey, 3 RGB, more are further bands in which each class has its own brightness.
        dtype: ``uint8``, ``uint16`` (both over their full range) or ``float32`` (0 to 1).
        void_share: the share of pixels, in smooth blots, whose truth is void.

    Raises:
        BadData: fewer than two classes, a share beyond 0..1, another dtype.
    """
    return _draw(seed, Look(size, classes, objects, channels, dtype, void_share))


def draw_volume(
    seed: Seed,
    *,
    size: tuple[int, int, int] = (32, 64, 64),
    classes: int = 4,
    objects: int = 8,
    channels: int = 1,
    dtype: str = "uint8",
    void_share: float = 0.0,
) -> Scene:
    """The same in space: balls, boxes, tetrahedra, tori ...; ``size`` is depth, height and width."""
    return _draw(seed, Look(size, classes, objects, channels, dtype, void_share))


def write_data_set(
    folder: str | Path,
    *,
    train: int = 8,
    val: int = 4,
    seed: int = 0,
    size: tuple[int, ...] = (128, 128),
    classes: int = 4,
    layout: str = "folders",
    objects: int = 8,
    channels: int | None = None,
    dtype: str = "uint8",
    void_share: float = 0.0,
) -> Path:
    """Draw scenes and write them as a data set; every class appears in every split.

    Args:
        folder: made if missing; files in it are replaced.
        size: of pictures height and width, of volumes depth, height and width.
        layout: ``folders`` (SPLIT/images, SPLIT/masks, meta.json), ``segmentarium`` (the same with instance
            numbers and panoptic files), ``plain`` (images, masks, no description, no splits), ``colour``
            (colour masks with a legend), ``voc``, ``cityscapes``, ``ade20k``, ``coco`` (instances),
            ``coco-panoptic``, or ``volumes`` (SPLIT/images, SPLIT/masks as NIfTI, meta.json).
        channels: three in pictures and one in volumes if not given.

    Raises:
        BadData: an unknown layout, too many classes for it, or scenes too small to show every class.
        CannotWrite: no permission or no space.
    """
    channels = channels or (3 if len(size) == 2 else 1)
    folder, look = Path(folder), Look(size, classes, objects, channels, dtype, void_share)
    shapes_layouts.require_layout(layout, dimensions=len(size))
    splits = {
        name: _draw_split(look, (seed, place), count)
        for place, (name, count) in enumerate({"train": train, "val": val}.items())
        if count
    }
    shapes_layouts.write(folder, splits, layout)
    return folder


@dataclass(frozen=True)
class Look:
    """What every scene of a set has in common."""

    size: tuple[int, ...]
    classes: int
    objects: int
    channels: int
    dtype: str
    void_share: float

    def __post_init__(self) -> None:
        for came, wrong, allowed in (
            (f"size {self.size}", min(self.size) < 1, "at least one pixel along each axis"),
            (f"{self.classes} classes", not 2 <= self.classes <= 255, "2 to 255, the ground included"),
            (f"{self.objects} objects", self.objects < 0, "none or more"),
            (f"{self.channels} channels", self.channels < 1, "one or more"),
            (f"dtype {self.dtype!r}", self.dtype not in DTYPES, ", ".join(DTYPES)),
            (f"void_share {self.void_share}", not 0 <= self.void_share <= 1, "0 to 1"),
        ):
            if wrong:
                raise BadData(f"drawn shapes of {came}", allowed=allowed)


def _draw_split(look: Look, seed: tuple[int, ...], count: int) -> list[Scene]:
    """``count`` scenes that together show every class; one after the other is drawn anew until they do."""
    scenes = [_draw((*seed, place, 0), look) for place in range(count)]
    for trial in range(TRIES):
        shown = {int(index) for scene in scenes for index in np.unique(scene.labels)}
        if shown >= set(range(look.classes)):
            return scenes
        scenes[trial % count] = _draw((*seed, trial % count, trial + 1), look)
    raise BadData(
        f"{count} scenes of {'x'.join(map(str, look.size))} pixels with {look.objects} objects each "
        f"do not show all {look.classes} classes",
        allowed="room for every class in every split",
        cure="draw more or larger scenes, more objects, or fewer classes",
    )


def _draw(seed: Seed, look: Look) -> Scene:
    rng = np.random.default_rng(seed)
    canvas = shapes_paint.lay_ground(rng, look.size)
    numbers = np.zeros(look.size, np.int32)
    kinds = 1 + rng.permutation(look.objects).astype(np.int32) % (look.classes - 1)
    centres, radii = _places(rng, look)
    for number, (index, centre, radius) in enumerate(zip(kinds, centres, radii, strict=True), 1):
        window, inside = shapes_paint.paint(rng, canvas, int(index), centre, float(radius))
        numbers[window][inside] = number
    labels = np.concatenate([[0], kinds]).astype(np.int32)[numbers]
    bands = shapes_paint.in_bands(rng, canvas, labels, look.channels)
    void = shapes_paint.blots(rng, look.size, look.void_share)
    labels[void], numbers[void] = VOID, 0
    numbers, seen = _renumber(numbers)
    classes_of = tuple(int(kinds[number - 1]) for number in seen)
    image = Image(shapes_paint.quantise(bands, look.dtype))
    return Scene(image, shape_classes(look.classes, len(look.size)), labels, numbers, classes_of)


def _places(rng: np.random.Generator, look: Look) -> tuple[Float[np.ndarray, "k n"], Float[np.ndarray, " k"]]:
    """Centres a little apart from one another, and radii from large to small, so that few are hidden."""
    room = (np.prod(look.size) / max(1, look.objects)) ** (1 / len(look.size))
    largest = 0.5 * min(look.size) + 0.5
    radii = np.sort(rng.uniform(0.3, 0.62, look.objects))[::-1] * room
    candidates = rng.uniform(0.06, 0.94, (look.objects, 4, len(look.size))) * look.size
    centres = candidates[:, 0].copy()
    for place in range(1, look.objects):
        apart = np.linalg.norm(candidates[place, :, None] - centres[None, :place], axis=-1).min(axis=1)
        centres[place] = candidates[place, apart.argmax()]
    return centres, np.clip(radii, 0.1, largest)


def _renumber(numbers: Int32[np.ndarray, "*s"]) -> tuple[Int32[np.ndarray, "*s"], list[int]]:
    """Count the objects that can be seen from 1 on; also returns their old numbers."""
    seen = [int(number) for number in np.flatnonzero(np.bincount(numbers.ravel())) if number]
    table = np.zeros(max([0, *seen]) + 1, np.int32)
    table[seen] = np.arange(1, len(seen) + 1)
    return table[numbers], seen
