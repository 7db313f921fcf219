"""Read each file once and keep the few numbers that tell its faults."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import numpy as np

from segmentarium.data.dataset import DataSet, MaskReading, Pair, Segmenting
from segmentarium.engine.faults import alignment, likeness, numbers
from segmentarium.engine.faults.annotated import Annotated, look_at
from segmentarium.engine.faults.survey import Fit, Picture, Sample, Survey, Truth, relative
from segmentarium.errors import BadImage, BadMask
from segmentarium.values.decode import decode
from segmentarium.values.image import probe_image, read_image
from segmentarium.values.mask import RawMask, read_mask

AT_ONCE = 64  # pairs handed to the threads at a time, so that nothing piles up
EIGHT_BITS_FULL = 240  # object numbers in use from which an 8-bit mask is suspected to have overflowed
VOID_ID = -1

Progress = Callable[[int, int], None]


def survey(data: DataSet, progress: Progress | None = None) -> Survey:
    """Decode every image and mask of ``data`` once; ``progress`` hears (done, total)."""
    pairs = [(split, pair) for split, pairs in data.splits.items() for pair in pairs]
    samples: list[Sample] = []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(pairs), AT_ONCE):
            for sample in pool.map(lambda item: _sample(data, *item), pairs[start : start + AT_ONCE]):
                samples.append(sample)
                if progress is not None:
                    progress(len(samples), len(pairs))
    return Survey(data=data, samples=tuple(samples))


def _sample(data: DataSet, split: str, pair: Pair) -> Sample:
    annotated = look_at(data, pair)
    truth, labels = (None, None) if pair.mask is None else _truth(data, pair, annotated)
    picture, fit = _picture(data, pair, labels, truth)
    sample = Sample(stem=pair.stem, split=split, image=picture, truth=truth, fit=fit)
    if annotated is None:
        return sample
    path = data.segment_file(pair)
    told = pair.image if path is None or data.segmented_by is Segmenting.COCO else path
    return replace(
        sample,
        annotated=relative(told, data.root),
        wrongs=annotated.wrongs,
        objects=annotated.objects,
        crowds=annotated.crowds,
    )


def _picture(
    data: DataSet, pair: Pair, labels: np.ndarray | None, truth: Truth | None
) -> tuple[Picture, Fit | None]:
    name = relative(pair.image, data.root)
    try:
        header = probe_image(pair.image)
        image = read_image(pair.image)
    except BadImage as error:
        return Picture(file=name, trouble=_short(error.came, pair.image), nan=_has_nan(pair.image)), None
    pixels = image.pixels
    if pixels.ndim != 3:
        return Picture(file=name, trouble="holds a stack of pictures"), None
    shown = likeness.shown(pixels)
    fits = labels is not None and labels.shape == pixels.shape[:2]
    objects = data.reading is MaskReading.INSTANCES
    classes = None if labels is None or not fits else labels > 0 if objects else labels
    picture = Picture(
        file=name,
        size=(pixels.shape[0], pixels.shape[1]),
        mode=header.mode,
        channels=pixels.shape[-1],
        dtype=str(pixels.dtype),
        orientation=header.orientation,
        top=_top(pixels),
        digest=blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest(),
        signature=likeness.signature_of(shown),
        tints=likeness.tints_of(pixels, classes),
    )
    return picture, (alignment.fit_of(shown, labels) if fits and labels is not None else None)


def _truth(data: DataSet, pair: Pair, annotated: Annotated | None) -> tuple[Truth, np.ndarray | None]:
    """The facts of a mask, and the numbers on which its edges are compared with the image's."""
    assert pair.mask is not None
    if data.reading is MaskReading.COCO:
        return _drawn(data, pair, annotated)
    name = relative(pair.mask, data.root)
    try:
        raw = read_mask(pair.mask)
        if raw.values.ndim != (3 if raw.is_color else 2):
            raise BadMask(f"{pair.mask} holds a stack of pages")
    except BadMask as error:
        return Truth(file=name, trouble=_short(error.came, pair.mask)), None
    if data.reading is MaskReading.PANOPTIC_RGB:
        return _panoptic(raw, annotated, name)
    values = _plane(raw.values)
    return _colored(data, raw, name) if values is None else _numbered(data, raw, values, name)


def _numbered(data: DataSet, raw: RawMask, values: np.ndarray, name: str) -> tuple[Truth, np.ndarray]:
    counts = numbers.count(values)
    objects = data.reading is MaskReading.INSTANCES
    ids = frozenset(data.classes.ids)
    odd = set() if objects else set(counts) - ids - frozenset(data.ignore_ids)
    ramp, ramp_at = numbers.ramps(values)
    full = objects and values.dtype == np.uint8 and len(counts) > EIGHT_BITS_FULL
    colors = {c.color: c.id for c in data.classes} | {(i, i, i): i for i in ids}
    used = set(counts) - frozenset(data.ignore_ids)
    truth = Truth(
        file=name,
        size=(values.shape[0], values.shape[1]),
        mode=raw.mode,
        format=raw.format,
        dtype=str(values.dtype),
        orientation=raw.orientation,
        counts=counts,
        classes=_by_class(data, counts),
        odd=numbers.places(values, odd),
        ramp=ramp,
        ramp_at=ramp_at,
        thin_odd=numbers.thin_share(~np.isin(values, list(set(counts) - odd))) if odd else 0.0,
        permuted=raw.palette is not None and not objects and numbers.is_permuted(raw.palette, used, colors),
        scattered=numbers.spare_pieces(values) if full else 0,
    )
    return truth, values


def _by_class(data: DataSet, counts: dict[int, int]) -> dict[int, int]:
    ignored = frozenset(data.ignore_ids)
    kept = {value: n for value, n in counts.items() if value not in ignored}
    if data.reading is MaskReading.INSTANCES and len(data.classes) > 1:
        ground, thing = data.classes.ids[:2]
        objects = sum(n for value, n in kept.items() if value > 0)
        return {i: n for i, n in ((ground, kept.get(0, 0)), (thing, objects)) if n}
    ids = frozenset(data.classes.ids)
    return {value: n for value, n in kept.items() if value in ids}


def _colored(data: DataSet, raw: RawMask, name: str) -> tuple[Truth, np.ndarray]:
    """A mask of true colours: known ones become ids, the rest are odd, numbered from the highest id on."""
    packed = raw.values.astype(np.int64) @ np.array([1, 256, 65536])
    found, inverse = np.unique(packed, return_inverse=True)
    known = {_pack(c.color): c.id for c in data.classes} | {_pack(c): VOID_ID for c in data.ignore_colors}
    strange = max(data.classes.ids, default=0) + 1
    ids = np.array([known.get(int(color), strange) for color in found], np.int32)
    labels = ids[inverse].reshape(packed.shape)
    counts = numbers.count(labels)
    unknown = labels == strange
    odd = {strange: numbers.place_of(unknown)} if strange in counts else {}
    truth = Truth(
        file=name,
        size=(labels.shape[0], labels.shape[1]),
        mode=raw.mode,
        format=raw.format,
        dtype=str(raw.values.dtype),
        orientation=raw.orientation,
        counts=counts,
        classes={i: n for i, n in counts.items() if i in data.classes.ids},
        odd=odd,
        thin_odd=numbers.thin_share(unknown) if odd else 0.0,
        colors=len(found),
        legend=not odd,
    )
    return truth, labels


def _drawn(data: DataSet, pair: Pair, annotated: Annotated | None) -> tuple[Truth, np.ndarray | None]:
    """The truth of a picture whose masks stand among annotations; it goes by the name of the picture."""
    name = relative(pair.image, data.root)
    if annotated is None:
        return Truth(file=name), None
    return _of_ids(Truth(file=name, size=annotated.size, format="COCO"), annotated)


def _panoptic(raw: RawMask, annotated: Annotated | None, name: str) -> tuple[Truth, np.ndarray | None]:
    """Segment numbers in colours mean nothing alone: their annotations translate them."""
    if annotated is None:
        trouble = "holds one number per pixel, where colours are segments"
        return Truth(file=name, trouble="" if raw.is_color else trouble), None
    truth = Truth(
        file=name, size=annotated.size, mode=raw.mode, format=raw.format, orientation=raw.orientation
    )
    return _of_ids(truth, annotated)


def _of_ids(truth: Truth, annotated: Annotated) -> tuple[Truth, np.ndarray | None]:
    if annotated.ids is None:
        return truth, None
    counts = numbers.count(annotated.ids)
    return replace(
        truth, counts=counts, classes={i: n for i, n in counts.items() if i != VOID_ID}
    ), annotated.ids


def _plane(values: np.ndarray) -> np.ndarray | None:
    """One number per pixel; three equal channels count as one, true colours give None."""
    if values.ndim == 2:
        return values
    first = values[..., 0]
    return first if (first == values[..., 1]).all() and (first == values[..., 2]).all() else None


def _top(pixels: np.ndarray) -> float:
    """The brightest value, the outermost 0.1 % of every seventh row left out."""
    rows = pixels[:: 7 if pixels.shape[0] > 64 else 1].ravel()
    place = max(0, int(0.999 * rows.size) - 1)
    return float(np.partition(rows, place)[place])


def _has_nan(path: Path) -> bool:
    try:
        values = decode(path).values
    except BadImage:
        return False
    return values.dtype.kind == "f" and not np.isfinite(values).all()


def _short(came: str, path: Path) -> str:
    """The sentence without the path, which the report tells already."""
    return came.removeprefix(str(path)).strip()


def _pack(color: tuple[int, int, int]) -> int:
    return color[0] + 256 * color[1] + 65536 * color[2]
