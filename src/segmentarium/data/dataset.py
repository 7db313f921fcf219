"""A data set: pairs of image and mask files, what their numbers mean, and everything that was assumed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int32

from segmentarium.data import translate
from segmentarium.errors import BadData, BadMask, UnknownName
from segmentarium.values.classes import VOID, Class, Classes, Color
from segmentarium.values.image import Image, probe_image, read_image
from segmentarium.values.mask import RawMask, read_mask

if TYPE_CHECKING:
    from segmentarium.data.segments import Segments
    from segmentarium.values.volume import Volume

VALIDATION_SHARE = 0.2
SPLIT_SEED = 0
BACKGROUND = frozenset({"background", "ground", "_background_", "bg"})
"""Names of what remains where nothing was drawn."""


class MaskReading(StrEnum):
    """How the values of a mask file become classes.

    INDEX: a value is a class id. INSTANCES: a value above zero numbers an object of the one foreground class.
    COLOUR: a colour is looked up in the legend. PANOPTIC_RGB: a colour is a segment number, whose class
    stands in the annotations. COCO: the mask is a file of annotations, the same for many images. VOLUME: a
    value is a class id, in space. REGIONS are recognised, but hold no classes.
    """

    INDEX = "index"
    INSTANCES = "instances"
    COLOUR = "colour"
    PANOPTIC_RGB = "panoptic_rgb"
    REGIONS = "regions"
    VOLUME = "volume"
    COCO = "coco"


class Segmenting(StrEnum):
    """What tells the segments of a picture.

    NUMBERS: a picture whose values above zero number the objects. PANOPTIC: a picture whose colours are
    segment numbers, with annotations. COCO: annotations alone.
    """

    NUMBERS = "numbers"
    PANOPTIC = "panoptic"
    COCO = "coco"


_SEGMENTING = {
    MaskReading.INSTANCES: Segmenting.NUMBERS,
    MaskReading.PANOPTIC_RGB: Segmenting.PANOPTIC,
    MaskReading.COCO: Segmenting.COCO,
}


@dataclass(frozen=True)
class Pair:
    """An image and its truth.

    ``mask`` is None where a partner is missing. ``region``, where a data set has it, is a file that is zero
    where the truth must not be used. ``segments`` is the picture of segment numbers where the mask is none,
    ``annotations`` the JSON file that describes them.
    """

    stem: str
    image: Path
    mask: Path | None
    region: Path | None = None
    segments: Path | None = None
    annotations: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that the pair is read from, each once; annotations are shared with other pairs."""
        named = (self.image, self.mask, self.region, self.segments, self.annotations)
        return tuple(dict.fromkeys(path for path in named if path is not None))


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Pairs by split, their classes, and notes on everything that was guessed.

    ``ignore_ids`` are mask values, and ``ignore_colors`` mask colours, that mean void. ``lonely_masks`` are
    masks to which no image belongs. ``splitting`` tells how images came to their splits. ``segmenting`` tells
    where segments are read from, where the masks themselves do not number them.
    """

    name: str
    root: Path
    layout: str
    classes: Classes
    splits: Mapping[str, tuple[Pair, ...]]
    task: str = "semantic segmentation"
    ignore_ids: tuple[int, ...] = ()
    ignore_colors: tuple[Color, ...] = ()
    reading: MaskReading = MaskReading.INDEX
    segmenting: Segmenting | None = None
    splitting: str = "as the data set has it"
    terms: str = ""
    notes: tuple[str, ...] = ()
    lonely_masks: tuple[Path, ...] = field(default=(), repr=False)

    def split(self, name: str) -> tuple[Pair, ...]:
        """The pairs of one split; raises ``UnknownName`` offering the nearest."""
        if name not in self.splits:
            raise UnknownName.among("split", name, self.splits)
        return self.splits[name]

    @property
    def train(self) -> tuple[Pair, ...]:
        return self.split("train")

    @property
    def val(self) -> tuple[Pair, ...]:
        return self.split("val")

    def segmented(self, name: str) -> tuple[Pair, ...]:
        """The pairs of one split whose segments are known."""
        return tuple(pair for pair in self.split(name) if self.segment_file(pair) is not None)

    @property
    def segmented_by(self) -> Segmenting | None:
        """What tells the segments of a picture; None where only classes are known."""
        return self.segmenting or _SEGMENTING.get(self.reading)

    def segment_file(self, pair: Pair) -> Path | None:
        """The picture that numbers the pair's segments, or the annotations that draw them."""
        match self.segmented_by:
            case None:
                return None
            case Segmenting.COCO:
                return pair.annotations
            case _:
                return pair.mask if self.segmenting is None else pair.segments

    @property
    def tasks(self) -> tuple[str, ...]:
        """What the set can teach, of ``semantic``, ``instance`` and ``panoptic``."""
        if self.reading is MaskReading.REGIONS:
            return ()
        by = self.segmented_by
        instance = ("instance",) if by is not None and self.things else ()
        return ("semantic", *instance, *(("panoptic",) if by is Segmenting.PANOPTIC else ()))

    @property
    def dimensions(self) -> int:
        """2 for pictures, 3 for volumes."""
        return 3 if self.reading is MaskReading.VOLUME else 2

    @property
    def things(self) -> tuple[int, ...]:
        """Indices of the countable classes."""
        return tuple(index for index, c in enumerate(self.classes) if c.thing)

    def image(self, pair: Pair) -> Image:
        """Decode the image; raises ``BadImage`` if it is damaged, ``BadData`` if it is a volume."""
        if self.reading is MaskReading.VOLUME:
            raise BadData(f"{pair.image} is a volume", allowed="2-D images", cure="read it by `volume`")
        return read_image(pair.image)

    def volume(self, pair: Pair) -> Volume:
        """Decode the volume; raises ``BadData`` if it is a picture."""
        from segmentarium.values.volume import read_volume

        if self.reading is not MaskReading.VOLUME:
            raise BadData(f"{pair.image} is a picture", allowed="volumes", cure="read it by `image`")
        return read_volume(pair.image)

    def raw_mask(self, pair: Pair) -> RawMask:
        """The numbers or colours of the mask file as they stand there."""
        if self.reading in (MaskReading.VOLUME, MaskReading.COCO):
            kind = "labels of a volume" if self.reading is MaskReading.VOLUME else "annotations of pictures"
            raise BadData(f"{pair.mask} holds {kind}", allowed="a picture", cure="read it by `labels`")
        if self.reading is MaskReading.REGIONS:
            raise BadData(
                f"{pair.mask} holds regions drawn by several people, without classes",
                allowed="masks with one class per pixel",
                cure="a semantic network cannot learn from this set; use it to judge unsupervised methods",
            )
        if pair.mask is None:
            raise BadMask(f"{pair.image} has no mask", cure=f"add one, or see `seg check {self.root}`")
        return read_mask(pair.mask)

    def labels(self, pair: Pair) -> Int32[np.ndarray, "*s"]:
        """The class index of each pixel, (h, w) or (d, h, w); ``VOID`` where the truth is to be ignored.

        Where only annotations tell, the smaller of two objects lies on top, and what nobody drew is
        background, or void in a set without a class of that name.

        Raises:
            BadMask: a value or colour that is neither class nor void, or a size other than the image's; an
                annotation that cannot be used.
            BadData: the set has no classes per pixel (regions).
        """
        if self.reading is MaskReading.VOLUME:
            from segmentarium.data.volumes import labels_of

            return labels_of(pair, self)
        if self.reading is MaskReading.COCO:
            background = next((i for i, c in enumerate(self.classes) if is_background(c)), VOID)
            return self.segments(pair).labels(background=background)
        return self._truth(pair, lambda raw, path: self._translate(raw, path, pair))

    def segments(self, pair: Pair) -> Segments:
        """The true segments of a picture.

        Raises:
            BadMask: as for :meth:`labels`.
            BadData: the set tells classes alone, or its annotations are gone.
        """
        from segmentarium.data.segmenting import segments_of

        return segments_of(pair, self)

    def objects(self, pair: Pair) -> Int32[np.ndarray, "h w"]:
        """The number of the object that each pixel belongs to; 0 is ground, ``VOID`` is to be ignored.

        Raises:
            BadMask: as for :meth:`labels`.
            BadData: the masks do not number objects.
        """
        self.require_objects()
        return self._truth(pair, lambda raw, path: translate.objects(raw.values, path, self.legend))

    def require_objects(self) -> None:
        """Raise ``BadData`` unless the masks number objects."""
        if self.reading is not MaskReading.INSTANCES:
            raise BadData(
                f"the masks of {self.root} hold classes, so borders between touching objects are not known",
                allowed="masks that number objects: 0 is ground, 1, 2, 3 ... are objects",
                cure="give such masks, or set train.border_w0=0",
            )

    def _truth(
        self, pair: Pair, translated: Callable[[RawMask, Path], Int32[np.ndarray, "h w"]]
    ) -> Int32[np.ndarray, "h w"]:
        """The mask, checked against its image and translated, void outside its region."""
        raw = self.raw_mask(pair)
        assert pair.mask is not None
        require_size(pair.mask, raw.size, pair.image, probe_image(pair.image).size)
        labels = translated(raw, pair.mask)
        hide(labels, pair)
        return labels

    @property
    def legend(self) -> translate.Legend:
        """What mask values mean."""
        return translate.Legend(self.classes, self.ignore_ids, self.ignore_colors, self.root)

    def _translate(self, raw: RawMask, path: Path, pair: Pair) -> Int32[np.ndarray, "h w"]:
        legend = self.legend
        match self.reading:
            case MaskReading.INSTANCES:
                return translate.from_instances(raw.values, path, legend)
            case MaskReading.COLOUR:
                return translate.from_colors(raw.values, raw.palette, path, legend)
            case MaskReading.PANOPTIC_RGB:
                return translate.from_panoptic(raw.values, path, legend, pair.annotations)
            case _:
                return translate.from_ids(raw.values, path, legend)

    def fingerprint(self, split: str = "train") -> str:
        """A sha256 over the bytes of every file of ``split`` and over what their numbers mean.

        Any edit of an image, a mask, a file name or the classes changes it: a safe key for caches.
        """
        digest, known = hashlib.sha256(), dict[Path, bytes]()
        digest.update(
            repr((self.classes.to_json(), self.ignore_ids, self.ignore_colors, self.reading)).encode()
        )
        for pair in self.split(split):
            digest.update(repr(pair.stem).encode())
            told = [path for path in (pair.segments, pair.annotations) if path is not None]
            for path in (pair.image, pair.mask, pair.region, *told):
                if path is not None and path not in known:
                    known[path] = _file_digest(path)
                digest.update(b"-" if path is None else known[path])
        return digest.hexdigest()

    def describe(self) -> str:
        """One line: what it looks like, how many images, how many classes."""
        counts = ", ".join(f"{len(pairs)} {name}" for name, pairs in self.splits.items())
        total = len({pair.image for pairs in self.splits.values() for pair in pairs})
        return (
            f"{self.name}: looks like {self.layout}, {_count(total, 'image')} ({counts}), "
            f"{_count(len(self.classes), 'class', 'classes')}"
        )

    def with_notes(self, *notes: str) -> DataSet:
        """The same set with more notes."""
        return replace(self, notes=self.notes + notes)


def with_validation(data: DataSet) -> DataSet:
    """Give a set without validation split one: a fixed fifth of its training images, said in the notes.

    Which images go there depends on their stems alone, so adding images moves none of the others far.
    """
    if "train" in data.splits and "val" in data.splits:
        return data
    source = "train" if "train" in data.splits else next(name for name, pairs in data.splits.items() if pairs)
    pairs = data.splits[source]
    rest = {name: kept for name, kept in data.splits.items() if name != source}
    if len(pairs) == 1:
        note = (
            f"ONLY ONE IMAGE ({pairs[0].stem}): it trains and validates, so scores say nothing about others"
        )
        whole = {"train": pairs, "val": pairs, **rest}
        return replace(data, splits=whole, splitting="one image for both").with_notes(note)
    chosen = set(sorted(pairs, key=_lottery)[: max(1, round(VALIDATION_SHARE * len(pairs)))])
    train = tuple(pair for pair in pairs if pair not in chosen)
    val = tuple(pair for pair in pairs if pair in chosen)
    missing = "val" if source == "train" else "train and val"
    note = f"no {missing} split: of {len(pairs)} images, {len(train)} train and {len(val)} validate"
    splitting = f"{VALIDATION_SHARE:.0%} of {source} drawn by a hash of their names, the same ones every time"
    return replace(data, splits={"train": train, "val": val, **rest}, splitting=splitting).with_notes(note)


def _lottery(pair: Pair) -> bytes:
    return hashlib.sha256(f"{SPLIT_SEED}:{pair.stem}".encode()).digest()


def _file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def hide(labels: Int32[np.ndarray, "h w"], pair: Pair) -> None:
    """Make void what lies outside the pair's region, if it has one."""
    if pair.region is not None:
        region = read_mask(pair.region)
        require_size(pair.region, region.size, pair.image, labels.shape)
        labels[translate.single_channel(region.values, pair.region) == 0] = VOID


def is_background(one: Class) -> bool:
    """Whether a class is what remains where nothing was drawn."""
    return one.name.lower() in BACKGROUND


def require_size(path: Path, size: tuple[int, ...], image: Path, expected: tuple[int, ...]) -> None:
    """Raise ``BadMask`` where a mask is a stack, or of another size than its image."""
    if len(size) != 2:
        raise BadMask(
            f"{path} is a stack of {size[0]} pages", allowed="one page per mask", cure="save one of them"
        )
    if size != expected:
        raise BadMask(
            f"{path} is {size[1]}x{size[0]} pixels (width x height), "
            f"its image {image.name} {expected[1]}x{expected[0]}",
            allowed="equal sizes",
            cure="export the mask again at the size of the image, without interpolation",
        )


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
