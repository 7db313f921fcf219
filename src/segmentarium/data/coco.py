"""COCO's own layouts: annotations apart from images, or one file of annotations in each split."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from segmentarium.data import pairing
from segmentarium.data.beside import with_things
from segmentarium.data.coco_instances import read_instances
from segmentarium.data.coco_json import ImageRow, classes_of
from segmentarium.data.coco_panoptic import read_panoptic
from segmentarium.data.dataset import DataSet, MaskReading, Pair
from segmentarium.data.folders import SPLIT_NAMES, describe_root, find_parts
from segmentarium.data.meta import Meta
from segmentarium.errors import BadData
from segmentarium.values.classes import Classes

ANNOTATIONS = "annotations"
BESIDE = ("instances.json", "_annotations.coco.json", "panoptic.json")
"""What a file of annotations beside its images may be called; the second is what Roboflow writes."""
_NAMED = re.compile(r"(?P<kind>instances|panoptic)_(?P<split>.+)\.json")
_YEAR = re.compile(r"[_-]?\d{4}$")


@dataclass(frozen=True)
class Source:
    """One split: its annotations, where their file names start, and the pictures of numbers."""

    split: str
    annotations: Path
    images: Path
    numbers: Path | None = None


def open_coco(root: Path) -> DataSet | None:
    """Read ``root`` as COCO instances or COCO panoptic; None if it does not look like that.

    Raises:
        BadData: a file of annotations that is not COCO's, or of which no image is there.
    """
    layout, sources = find_sources(root)
    if not sources:
        return None
    panoptic = sources[0].numbers is not None
    meta = describe_root(root)
    classes = meta.classes if len(meta.classes) else _all_classes(sources)
    splits, notes = dict[str, tuple[Pair, ...]](), list[str]()
    for source in sources:
        shared = source.images == root or sum(other.images == source.images for other in sources) > 1
        pairs = tuple(_pairs(source, alone=not shared))
        splits[source.split] = (*splits.get(source.split, ()), *pairs)
        notes += _notes(source, pairs)
    return DataSet(
        name=meta.name or root.absolute().name,
        root=root,
        layout=layout,
        task=meta.task or f"{'panoptic' if panoptic else 'instance'} segmentation",
        classes=with_things(classes, sources[0].annotations, panoptic=panoptic),
        splits=splits,
        terms=meta.terms,
        reading=MaskReading.PANOPTIC_RGB if panoptic else MaskReading.COCO,
        lonely_masks=tuple(_lonely(sources, splits)),
        notes=(*notes, *meta.notes, *_about_classes(meta, classes, sources[0].annotations)),
    )


def find_sources(root: Path) -> tuple[str, tuple[Source, ...]]:
    """The layout in words and its splits; none where ``root`` looks like something else."""
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    own = list(_own(root))
    if own:
        panoptic = [source for source in own if source.numbers is not None]
        return "COCO (annotations/KIND_SPLIT.json + SPLIT)", tuple(panoptic or own)
    _, parts = find_parts(root)
    if any(pairing.is_data(path) for part in parts for path in part.masks.iterdir()):
        return "", ()  # masks by pixel say more
    inner = [source for folder in folders for source in _beside(folder, _split_name(folder.name))]
    if inner:
        return f"SPLIT/{inner[0].annotations.name} + images", tuple(inner)
    return "annotations + images", tuple(_beside(root, "all"))


def _own(root: Path) -> Iterator[Source]:
    folder = root / ANNOTATIONS
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        named = _NAMED.fullmatch(path.name)
        if named is None:
            continue
        split, panoptic = named["split"], named["kind"] == "panoptic"
        images = _first(root / split, root / "images" / split, root / "images", root)
        numbers = _first(folder / path.stem, root / path.stem) if panoptic else None
        if images is not None and (numbers is not None or not panoptic):
            yield Source(_split_name(split), path, images, numbers)


def _beside(folder: Path, split: str) -> Iterator[Source]:
    for name in BESIDE:
        path = folder / name
        if not path.is_file():
            continue
        images = _first(folder / "images", folder)
        numbers = _first(folder / "panoptic", folder / "masks") if name == "panoptic.json" else None
        if images is not None and (numbers is not None or name != "panoptic.json"):
            yield Source(split, path, images, numbers)
            return


def _first(*folders: Path) -> Path | None:
    return next((folder for folder in folders if folder.is_dir()), None)


def _split_name(name: str) -> str:
    bare = _YEAR.sub("", name) or name
    return SPLIT_NAMES.get(bare.lower(), bare)


def _all_classes(sources: Sequence[Source]) -> Classes:
    """The categories of all files; a category that two files describe differently is refused."""
    rows: dict[object, dict[str, object]] = {}
    for source in sources:
        read = read_instances if source.numbers is None else read_panoptic
        for row in read(source.annotations).categories:
            other = rows.setdefault(row["id"], dict(row))
            if other["name"] != row["name"]:
                raise BadData(
                    f"{source.annotations} calls category {row['id']} {row['name']!r}, "
                    f"{sources[0].annotations.name} {other['name']!r}",
                    cure="use one list of categories for all splits",
                )
    return classes_of(sources[0].annotations, rows.values())


def _pairs(source: Source, *, alone: bool) -> Iterator[Pair]:
    """The pictures that are listed and there; then, if the folder is its ``alone``, those not listed."""
    present = {path.relative_to(source.images).as_posix(): path for path in _pictures(source.images)}
    listed = _listed(source)
    used, stems = set[str](), set[str]()
    for row in listed:
        path = _found(row, source, present)
        if path is None:
            continue
        used.add(path.relative_to(source.images).as_posix())
        stem = PurePosixPath(row.file_name).stem
        if stem in stems:  # folders tell them apart
            stem = row.file_name.removesuffix(PurePosixPath(row.file_name).suffix).replace("/", "_")
        stems.add(stem)
        yield _pair(stem, path, row, source)
    if listed and not used:
        raise BadData(
            f"none of the {len(listed)} images of {source.annotations} is in {source.images}, "
            f"such as {listed[0].file_name}",
            cure="put the images there, or correct the file names",
        )
    for name, path in sorted(present.items()):
        if alone and name not in used:
            yield Pair(path.stem, path, None)


def _listed(source: Source) -> tuple[ImageRow, ...]:
    if source.numbers is not None:
        return read_panoptic(source.annotations).images
    return tuple(picture.image for picture in read_instances(source.annotations).pictures.values())


def _pictures(folder: Path) -> Iterable[Path]:
    known = (path for path in folder.rglob("*") if path.suffix.lower() in pairing.PICTURES)
    return (path for path in known if not path.name.startswith(".") and path.is_file())


def _found(row: ImageRow, source: Source, present: dict[str, Path]) -> Path | None:
    """The image of a row: its file name from the folder, or its bare name there."""
    return present.get(row.file_name) or present.get(PurePosixPath(row.file_name).name)


def _pair(stem: str, image: Path, row: ImageRow, source: Source) -> Pair:
    if source.numbers is None:
        return Pair(stem, image, source.annotations, annotations=source.annotations)
    table = read_panoptic(source.annotations).by_image.get(row.id)
    mask = source.numbers / (f"{stem}.png" if table is None else PurePosixPath(table.file_name).name)
    return Pair(stem, image, mask if mask.is_file() else None, annotations=source.annotations)


def _lonely(sources: Iterable[Source], splits: dict[str, tuple[Pair, ...]]) -> Iterator[Path]:
    used = {pair.mask for pairs in splits.values() for pair in pairs}
    for source in sources:
        if source.numbers is not None:
            yield from (path for path in pairing.list_files(source.numbers) if path not in used)


def _notes(source: Source, pairs: Sequence[Pair]) -> Iterator[str]:
    bare = [pair.stem for pair in pairs if pair.mask is None]
    missing = len(_listed(source)) - (len(pairs) - len(bare))
    name = source.annotations.name
    if missing > 0:
        yield f"{source.split}: {missing} images of {name} are not there"
    if bare:
        yield f"{source.split}: {len(bare)} images are not annotated in {name}, such as {bare[0]}"


def _about_classes(meta: Meta, classes: Classes, annotations: Path) -> Iterator[str]:
    if len(meta.classes):
        assert meta.path is not None
        yield f"classes are those of {meta.path.name}"
    else:
        yield f"classes are the {len(classes)} categories of {annotations.name}"
