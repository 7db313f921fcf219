"""Masks, objects and overlays for files, folders and globs of images of any size, and of volumes.

:mod:`segmentarium.engine.written` lists the files; ``OUT/predictions.json`` tells what was found where, and
how long it took.

Where two sources have the same stem, all keep their folders below the deepest one that they share; where that
is not enough (``a.png`` beside ``a.jpg``), the suffix joins the stem.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from segmentarium.classical.crf.dense import DenseCRF
from segmentarium.engine.listing import Listing, refuse_loss
from segmentarium.engine.load import load
from segmentarium.engine.model import Model
from segmentarium.engine.panels import SURE
from segmentarium.engine.refining import field_of
from segmentarium.engine.sources import find_images, is_volume, output_stems
from segmentarium.engine.volume_model import VolumeModel
from segmentarium.engine.written import Order, write
from segmentarium.errors import BadData, BadRecipe, CannotWrite, SegError
from segmentarium.values.files import ensure_folder

LISTING = "predictions.json"

Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What became of one source; ``error`` says in a sentence why there is no mask.

    Attributes:
        objects: the file that describes objects or segments.
        size: height and width of mask and upright image; of a volume depth, height and width.
        shares: of each class among the pixels, where every pixel has one.
        counts: of objects or segments by class, where these were found.
        seconds: for reading, predicting and writing.
        notes: what reading changed, what did not fit into memory, and at which scale the overlay is.
    """

    source: str
    mask: str | None = None
    objects: str | None = None
    overlay: str | None = None
    probs: str | None = None
    size: tuple[int, ...] | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "source": self.source,
            "mask": self.mask,
            "objects": self.objects,
            "overlay": self.overlay,
            "probs": self.probs,
            "size": list(self.size) if self.size else None,
            "shares": {name: round(share, 6) for name, share in self.shares.items()},
            "counts": dict(self.counts),
            "seconds": round(self.seconds, 4),
            "notes": list(self.notes),
            "error": self.error,
        }


def predict(
    sources: str | Path | Sequence[str | Path],
    *,
    model: str | Path | Model | VolumeModel,
    out: str | Path,
    overwrite: bool = False,
    overlay: bool = True,
    probs: bool = False,
    tile: int | None = None,
    overlap: float | None = None,
    score: float = SURE,
    crf: DenseCRF | bool = False,
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
        score: objects of a lower score are left out.
        crf: refine labels by a fully connected field over the whole picture: the usual one, or this one; see
            :func:`segmentarium.engine.refining.field_of`.
        progress: called with the number of images done and of all.

    Raises:
        BadData: no image was found, or a source is not there.
        CannotWrite: the folder cannot be written, or a file would be lost; also while iterating, if the disk
            is full.
    """
    given = [sources] if isinstance(sources, str | Path) else sources
    found = find_images(given)
    seer = model if isinstance(model, Model | VolumeModel) else load(model, device=device)
    _refuse_others(found, seer)
    field_ = field_of() if crf is True else crf or None
    order = Order(
        model=seer, overlay=overlay, probs=probs, tile=tile, overlap=overlap, score=score, crf=field_
    )
    _refuse_wishes(order)
    folder = Path(out)
    targets = [folder / name for name in output_stems(found)]
    files = [target.with_name(target.name + end) for target in targets for end in order.endings()]
    refuse_loss(files, found, folder / LISTING, what="prediction", overwrite=overwrite)
    head = _head(order)
    listing = Listing(ensure_folder(folder) / LISTING, head=head, files=files, rows="predictions")
    return _predict_all(found, targets, order, listing, progress)


def _predict_all(
    found: Sequence[Path],
    targets: Sequence[Path],
    order: Order,
    listing: Listing,
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
        listing.write([row.as_dict() for row in rows])


def _predict_one(source: Path, target: Path, order: Order) -> Prediction:
    """Everything for one image; an image that cannot be predicted leaves no file."""
    begin = time.perf_counter()
    try:
        ensure_folder(target.parent)
        written = write(source, target, order)
    except CannotWrite:
        raise
    except SegError as error:
        return Prediction(source=str(source), error=str(error), seconds=time.perf_counter() - begin)
    files = (written.mask, written.objects, written.overlay, written.probs)
    mask, objects, overlay, probs = (str(file) if file else None for file in files)
    return Prediction(
        source=str(source),
        mask=mask,
        objects=objects,
        overlay=overlay,
        probs=probs,
        size=written.size,
        shares=written.shares,
        counts=written.counts,
        seconds=time.perf_counter() - begin,
        notes=written.notes,
    )


def _refuse_others(found: Sequence[Path], model: Model | VolumeModel) -> None:
    """Pictures are no volumes, and volumes no pictures."""
    wanted = isinstance(model, VolumeModel)
    others = [path for path in found if is_volume(path) != wanted]
    if others:
        kinds = ("volumes", "pictures") if wanted else ("pictures", "volumes")
        raise BadData(
            f"{model.name} labels {kinds[0]}, and {others[0]} is one of {len(others)} {kinds[1]}",
            allowed=kinds[0],
            cure="choose another model, or other files",
        )


def _refuse_wishes(order: Order) -> None:
    """Tiles and probabilities are for models that name every pixel of a picture."""
    model = order.model
    if isinstance(model, Model) and model.task == "semantic":
        model.cut(order.tile, order.overlap)
        return
    asked: dict[str, Any] = {
        "tile": order.tile,
        "probabilities": order.probs or None,
        "crf": order.crf,
    }
    if isinstance(model, Model):
        asked["overlap"] = order.overlap
    told = [name for name, value in asked.items() if value is not None]
    if told:
        raise BadRecipe(
            f"{' and '.join(told)} asked of {model.name}",
            allowed="a model that names every pixel of pictures",
            cure="leave that out",
        )


def _head(order: Order) -> dict[str, Any]:
    """What is true of all predictions of a folder."""
    model = order.model
    return {
        "model": model.name,
        "weights": str(model.path) if model.path else None,
        "licence": model.facts.get("licence") or None,
        "device": model.device.name,
        "classes": model.classes.to_json(),
        "ignore_id": model.ignore_id,
        "crf": None if order.crf is None else order.crf.as_dict(),
    }
