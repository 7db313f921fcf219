"""Masks and overlays for files, folders and globs of images of any size.

    OUT/STEM.png           the mask: class ids, with the classes' colours as palette
    OUT/STEM_overlay.jpg   the mask over the picture, to look at
    OUT/STEM_prob.npz      probabilities (k, h, w) in half precision, if asked for
    OUT/predictions.json   what was found where, and how long it took

Where two sources have the same stem, all keep their folders below the deepest one that they share; where that
is not enough (``a.png`` beside ``a.jpg``), the suffix joins the stem.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil, sqrt
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Int64, Shaped
from PIL import Image as Pil

from segmentarium.engine.load import Model, load
from segmentarium.engine.sources import find_images, output_stems
from segmentarium.engine.tiled import Source, Tiling, label_bands
from segmentarium.errors import CannotWrite, SegError
from segmentarium.values.draw import overlay as draw_overlay
from segmentarium.values.files import atomic_json, atomic_write, ensure_folder
from segmentarium.values.image import read_image
from segmentarium.values.png import IndexPngWriter
from segmentarium.values.results import LabelMap
from segmentarium.values.rows import open_rows

MAPPED = frozenset({".tif", ".tiff", ".npy"})
"""Files that may be larger than memory, since rows of them can be read alone."""
OVERLAY_PIXELS = 2**22
"""Overlays show every second, third ... pixel of images that are larger than this."""
OVERLAY_SIDE = 2**14
LISTING = "predictions.json"

Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What became of one source; ``error`` says in a sentence why there is no mask.

    Attributes:
        size: height and width of mask and upright image.
        shares: of each class among the pixels.
        seconds: for reading, predicting and writing.
        notes: what reading changed, what did not fit into memory, and at which scale the overlay is.
    """

    source: str
    mask: str | None = None
    overlay: str | None = None
    probs: str | None = None
    size: tuple[int, int] | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "source": self.source,
            "mask": self.mask,
            "overlay": self.overlay,
            "probs": self.probs,
            "size": list(self.size) if self.size else None,
            "shares": {name: round(share, 6) for name, share in self.shares.items()},
            "seconds": round(self.seconds, 4),
            "notes": list(self.notes),
            "error": self.error,
        }


@dataclass(frozen=True, kw_only=True)
class _Order:
    """What is wanted of each image."""

    model: Model
    overlay: bool
    probs: bool
    tile: int | None
    overlap: float | None


def predict(
    sources: str | Path | Sequence[str | Path],
    *,
    model: str | Path | Model,
    out: str | Path,
    overwrite: bool = False,
    overlay: bool = True,
    probs: bool = False,
    tile: int | None = None,
    overlap: float | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Iterator[Prediction]:
    """Predict images one after another, as the result is iterated over.

    Files, folder and model are checked at once. An image that cannot be read is told in its row, the others
    go on.

    Args:
        sources: files, folders (the images in them, not below them) and globs.
        model: a model, or what :func:`load` takes.
        out: folder for the results; made if missing.
        overwrite: whether files that no prediction wrote may be replaced. The sources never are.
        overlay: whether to draw the masks over the pictures.
        probs: whether to write probabilities, too; they need ``2 k`` bytes a pixel of memory.
        tile, overlap: as for a call of :class:`Model`.
        progress: called with the number of images done and of all.

    Raises:
        BadData: no image was found, or a source is not there.
        CannotWrite: the folder cannot be written, or a file would be lost; also while iterating, if the disk
            is full.
    """
    found = find_images([sources] if isinstance(sources, str | Path) else sources)
    folder = Path(out)
    targets = [folder / name for name in output_stems(found)]
    files = [file for target in targets for file in _files(target, overlay=overlay, probs=probs)]
    _refuse_loss(files, found, folder, overwrite=overwrite)
    seer = model if isinstance(model, Model) else load(model, device=device)
    seer.cut(tile, overlap)
    listing = _Listing(ensure_folder(folder), seer, [str(file.relative_to(folder)) for file in files])
    order = _Order(model=seer, overlay=overlay, probs=probs, tile=tile, overlap=overlap)
    return _predict_all(found, targets, order, listing, progress)


def _predict_all(
    found: Sequence[Path],
    targets: Sequence[Path],
    order: _Order,
    listing: _Listing,
    progress: Progress | None,
) -> Iterator[Prediction]:
    rows: list[Prediction] = []
    try:
        for source, target in zip(found, targets, strict=True):
            rows.append(_predict_one(source, target, order))
            yield rows[-1]
            if progress is not None:
                progress(len(rows), len(found))
    finally:
        listing.write(rows)


def _predict_one(source: Path, target: Path, order: _Order) -> Prediction:
    """Everything for one image; an image that cannot be predicted leaves no file."""
    begin = time.perf_counter()
    try:
        pixels, notes = _open(source)
        ensure_folder(target.parent)
        seen, told = order.model.fitted(
            lambda tiling: _write_mask(pixels, target, order, tiling), tile=order.tile, overlap=order.overlap
        )
    except CannotWrite:
        raise
    except SegError as error:
        return Prediction(source=str(source), error=str(error), seconds=time.perf_counter() - begin)
    notes += (told,) if told else ()
    mask, overlay, probs = target.with_name(target.name + ".png"), None, None
    if order.overlay:
        overlay = _write_overlay(pixels, seen, target.with_name(target.name + "_overlay.jpg"))
        notes += (f"the overlay shows every {seen.thinning}th pixel",) if seen.thinning > 1 else ()
    if seen.probs is not None:
        probs = target.with_name(target.name + "_prob.npz")
        _write_probs(seen.probs, probs)
    return Prediction(
        source=str(source),
        mask=str(mask),
        overlay=str(overlay) if overlay else None,
        probs=str(probs) if probs else None,
        size=(pixels.shape[0], pixels.shape[1]),
        shares=seen.shares,
        seconds=time.perf_counter() - begin,
        notes=notes,
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


def _write_mask(pixels: Source, target: Path, order: _Order, tiling: Tiling) -> _Seen:
    """Predict band by band and write each at once; in memory there is never more than a thinned map."""
    height, width = pixels.shape[:2]
    model, thinning = order.model, _thinning(height, width)
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


def _files(target: Path, *, overlay: bool, probs: bool) -> list[Path]:
    """The files that will be written for one image."""
    ends = (".png", *(("_overlay.jpg",) if overlay else ()), *(("_prob.npz",) if probs else ()))
    return [target.with_name(target.name + end) for end in ends]


def _refuse_loss(files: Sequence[Path], sources: Sequence[Path], out: Path, *, overwrite: bool) -> None:
    """Sources are never written over; other files only if a prediction wrote them or that is asked for."""
    originals = {source.resolve() for source in sources}
    ours = _listed(out)
    for file in files:
        if file.resolve() in originals:
            raise CannotWrite(
                f"the mask of an image would replace the image {file}", cure="choose another folder"
            )
        if not overwrite and file.exists() and file.relative_to(out).as_posix() not in ours:
            raise CannotWrite(
                f"{file} is there already, and no prediction wrote it",
                allowed="a new folder, or one that holds predictions",
                cure="choose another folder",
            )


def _listed(out: Path) -> set[str]:
    """The files that earlier predictions wrote into a folder, by its listing."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return set(json.loads((out / LISTING).read_text(encoding="utf-8"))["files"])
    return set()


class _Listing:
    """``predictions.json``: written before the work, to find out a folder without permission, and after."""

    def __init__(self, folder: Path, model: Model, files: Sequence[str]) -> None:
        self._path = folder / LISTING
        self._head = {
            "model": model.name,
            "weights": str(model.path) if model.path else None,
            "device": model.device.name,
            "classes": model.classes.to_json(),
            "ignore_id": model.ignore_id,
            "files": sorted({Path(file).as_posix() for file in files} | _listed(folder)),
        }
        self.write([])

    def write(self, rows: Sequence[Prediction]) -> None:
        atomic_json(self._path, {**self._head, "predictions": [row.as_dict() for row in rows]})
