"""Results on the disk: one writer a kind of result, each whole or not at all.

OUT/STEM.png, .nii.gz   class ids, numbers of objects or of segments; of a volume in its own geometry
OUT/STEM.json           objects or segments with their classes and scores
OUT/STEM_overlay.jpg    the result over the picture, to look at
OUT/STEM_prob.npz       probabilities (k, h, w) in half precision, if asked for
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, sqrt
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Int64, Shaped
from PIL import Image as Pil

from segmentarium.classical.crf.dense import DenseCRF
from segmentarium.engine.model import Model
from segmentarium.engine.panels import SURE
from segmentarium.engine.refining import refined
from segmentarium.engine.tiled import Source, Tiling, label_bands
from segmentarium.engine.volume_model import VolumeModel
from segmentarium.values.draw import overlay as draw_overlay
from segmentarium.values.files import atomic_write
from segmentarium.values.image import read_image
from segmentarium.values.instances import Instances
from segmentarium.values.panoptic import Panoptic
from segmentarium.values.png import IndexPngWriter
from segmentarium.values.results import LabelMap
from segmentarium.values.rows import open_rows
from segmentarium.values.volume import read_volume

MAPPED = frozenset({".tif", ".tiff", ".npy"})
"""Files that may be larger than memory, since rows of them can be read alone."""
OVERLAY_PIXELS = 2**22
"""Overlays show every second, third ... pixel of images that are larger than this."""
OVERLAY_SIDE = 2**14


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is wanted of each image."""

    model: Model | VolumeModel
    overlay: bool
    probs: bool
    tile: int | None
    overlap: float | None
    score: float = SURE
    crf: DenseCRF | None = None

    def endings(self) -> tuple[str, ...]:
        """How the names of the files end that are written for an image."""
        picture = ("_overlay.jpg",) if self.overlay else ()
        if isinstance(self.model, VolumeModel):
            return (".nii.gz", *picture)
        if self.model.task != "semantic":
            return (".png", ".json", *picture)
        return (".png", *picture, *(("_prob.npz",) if self.probs else ()))


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was found in an image, and in which files it stands."""

    mask: Path
    size: tuple[int, ...]
    objects: Path | None = None
    overlay: Path | None = None
    probs: Path | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def write(source: Path, target: Path, order: Order) -> Written:
    """Predict one image and write what was found; ``target`` is the name without its ending.

    Raises:
        SegError: the image cannot be read or predicted; no file is left.
    """
    if isinstance(order.model, VolumeModel):
        return _write_volume(source, target, order, order.model)
    if order.model.task != "semantic":
        return _write_objects(source, target, order, order.model)
    return _write_labels(source, target, order, order.model)


def _ending(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


def _write_volume(source: Path, target: Path, order: Order, model: VolumeModel) -> Written:
    volume = read_volume(source, channels=model.normalise.channels > 1)
    found = model(volume, overlap=order.overlap)
    mask = found.save(_ending(target, ".nii.gz"))
    overlay = None
    if order.overlay:
        overlay = _write_jpeg(found.overlay(volume), _ending(target, "_overlay.jpg"))
    return Written(
        mask=mask, overlay=overlay, size=volume.size, shares=found.area_share(), notes=volume.notes
    )


def _write_objects(source: Path, target: Path, order: Order, model: Model) -> Written:
    image = read_image(source)
    found, told = model.find(image)
    mask = _ending(target, ".png")
    if isinstance(found, Panoptic):
        found.save(mask)
        classes_of = [segment.class_index for segment in found.segments]
    else:
        found = found.above(order.score)
        mask = _write_numbers(found, mask)
        found.save(_ending(target, ".json"))
        classes_of = found.classes_of.tolist()
    overlay = None
    if order.overlay:
        overlay = _write_jpeg(found.overlay(image), _ending(target, "_overlay.jpg"))
    counts = Counter(found.classes[index].name for index in classes_of)
    return Written(
        mask=mask,
        objects=_ending(target, ".json"),
        overlay=overlay,
        size=image.size,
        counts=dict(counts),
        notes=image.notes + ((told,) if told else ()),
    )


def _write_numbers(found: Instances, path: Path) -> Path:
    """Numbers of objects as a 16-bit picture; of more than 65,535 as a 32-bit TIFF in its place."""
    numbers = found.numbers()
    if len(found) > np.iinfo(np.uint16).max:
        from tifffile import imwrite

        wide, place = numbers.astype(np.uint32), path.with_suffix(".tif")
        return atomic_write(place, lambda file: imwrite(file, wide, compression="zlib"))
    picture = Pil.fromarray(numbers.astype(np.uint16))
    return atomic_write(path, lambda file: picture.save(file, "PNG"))


def _write_jpeg(drawn: Pil.Image, path: Path) -> Path:
    def save(file: BinaryIO) -> None:
        drawn.convert("RGB").save(file, "JPEG", quality=90)

    return atomic_write(path, save)


def _write_labels(source: Path, target: Path, order: Order, model: Model) -> Written:
    if order.crf is not None:
        return _write_refined(source, target, order, model)
    pixels, notes = _open(source)
    seen, told = model.fitted(
        lambda tiling: _write_mask(pixels, target, order, model, tiling),
        tile=order.tile,
        overlap=order.overlap,
    )
    notes += (told,) if told else ()
    overlay = probs = None
    if order.overlay:
        overlay = _write_overlay(pixels, seen, _ending(target, "_overlay.jpg"))
        notes += (f"the overlay shows every {seen.thinning}th pixel",) if seen.thinning > 1 else ()
    if seen.probs is not None:
        probs = _write_probs(seen.probs, _ending(target, "_prob.npz"))
    return Written(
        mask=_ending(target, ".png"),
        overlay=overlay,
        probs=probs,
        size=(pixels.shape[0], pixels.shape[1]),
        shares=seen.shares,
        notes=notes,
    )


def _write_refined(source: Path, target: Path, order: Order, model: Model) -> Written:
    """The whole picture at once, since its pixels look at each other: 2 k bytes a pixel, twice."""
    image = read_image(source)
    found = model(image, probs=True, tile=order.tile, overlap=order.overlap)
    assert isinstance(found, LabelMap)
    found = refined(found, image, field=order.crf)
    thinning = _thinning(*found.labels.shape)
    thinned = replace(found, labels=found.labels[::thinning, ::thinning], probs=None)
    seen = _Seen(thinned=thinned, thinning=thinning, shares=found.area_share(), probs=found.probs)
    mask = found.save(_ending(target, ".png"))
    overlay = _write_overlay(image.pixels, seen, _ending(target, "_overlay.jpg")) if order.overlay else None
    kept = found.probs if order.probs else None
    probs = None if kept is None else _write_probs(kept, _ending(target, "_prob.npz"))
    return Written(
        mask=mask, overlay=overlay, probs=probs, size=image.size, shares=seen.shares, notes=image.notes
    )


def _open(source: Path) -> tuple[Source, tuple[str, ...]]:
    if source.suffix.lower() in MAPPED:
        rows = open_rows(source)
        return rows, rows.notes
    image = read_image(source)
    return image.pixels, image.notes


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """What is left when the mask is on the disk: a thinned map to draw, shares, probabilities."""

    thinned: LabelMap
    thinning: int
    shares: Mapping[str, float]
    probs: Shaped[np.ndarray, "k h w"] | None


def _write_mask(pixels: Source, target: Path, order: Order, model: Model, tiling: Tiling) -> _Seen:
    """Predict band by band and write each at once; in memory there is never more than a thinned map."""
    height, width = pixels.shape[:2]
    thinning = _thinning(height, width)
    blank = LabelMap(np.zeros((0, width), np.int32), model.classes, ignore_id=model.ignore_id)
    table = blank.id_table()
    counts = np.zeros(len(model.classes), np.int64)
    thin, shares = [], []
    with IndexPngWriter(
        target.with_name(target.name + ".png"),
        width=width,
        height=height,
        palette=blank.file_palette(),
        bits=8 * table.itemsize,
    ) as png:
        for band in label_bands(pixels, model.eye, tiling, probs=order.probs):
            png.write(table[band.labels])
            counts += _count(band.labels, len(counts))
            thin.append(band.labels[-band.top % thinning :: thinning, ::thinning])
            shares += [band.probs] if band.probs is not None else []
    return _Seen(
        thinned=LabelMap(np.concatenate(thin), model.classes, ignore_id=model.ignore_id),
        thinning=thinning,
        shares=dict(zip(model.classes.names, (counts / counts.sum()).tolist(), strict=True)),
        probs=np.concatenate(shares, axis=1) if shares else None,
    )


def _count(labels: Shaped[np.ndarray, "n w"], classes: int) -> Int64[np.ndarray, " k"]:
    return np.bincount(labels.ravel(), minlength=classes).astype(np.int64)


def _thinning(height: int, width: int) -> int:
    """Every which pixel an overlay shows, so that it can be opened by any viewer."""
    return max(1, ceil(sqrt(height * width / OVERLAY_PIXELS)), ceil(max(height, width) / OVERLAY_SIDE))


def _write_overlay(pixels: Source, seen: _Seen, path: Path) -> Path:
    step, height = seen.thinning, pixels.shape[0]
    rows = (
        pixels[0:height] if step == 1 else np.concatenate([pixels[y : y + 1] for y in range(0, height, step)])
    )
    drawn: Pil.Image = draw_overlay(rows[:, ::step], seen.thinned.labels, seen.thinned.classes)
    return atomic_write(path, lambda file: drawn.save(file, "JPEG", quality=90))


def _write_probs(probs: Shaped[np.ndarray, "k h w"], path: Path) -> Path:
    return atomic_write(path, lambda file: np.savez_compressed(file, probs=probs))
