"""Segments that lie beside masks of classes: panoptic files, COCO annotations, or pictures of numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from segmentarium.data import coco_instances, coco_json, coco_panoptic
from segmentarium.data.dataset import DataSet, MaskReading, Pair, Segmenting, is_background
from segmentarium.data.translate import PANOPTIC
from segmentarium.values.classes import Classes

INSTANCES = ("instances.json", "_annotations.coco.json")
"""What COCO annotations are called that lie beside their images; the second is what Roboflow writes."""
NUMBERS = "instances"
"""The folder of pictures whose values number the objects."""


def with_segments(data: DataSet, homes: Mapping[str, Path]) -> DataSet:
    """The same set, its pairs knowing their segments; ``homes`` are the folders of images by split."""
    match data.reading:
        case MaskReading.VOLUME | MaskReading.REGIONS:
            return data
        case MaskReading.INSTANCES:
            return replace(data, classes=marked(data.classes, {1}))
        case MaskReading.PANOPTIC_RGB:
            return _paired(data, homes, _described)
    for by, find, words in (
        (Segmenting.PANOPTIC, _panoptic, f"segments are read from panoptic/ and {PANOPTIC}"),
        (Segmenting.COCO, _annotated, "objects are read from the COCO annotations beside the images"),
        (Segmenting.NUMBERS, _numbered, f"objects are read from the numbers in {NUMBERS}/"),
    ):
        found = _paired(data, homes, find)
        if found.splits != data.splits:
            noted = replace(found, segmenting=by).with_notes(words)
            return replace(noted, classes=_with_things(noted, by))
    return data


def marked(classes: Classes, things: set[int]) -> Classes:
    """The same classes, those of these indices marked as countable."""
    return Classes(replace(c, thing=index in things) for index, c in enumerate(classes))


def with_things(classes: Classes, path: Path, *, panoptic: bool) -> Classes:
    """Mark what is countable: as panoptic categories say, else every category but the background.

    Classes of which some are marked already stay as they are.
    """
    if any(c.thing for c in classes):
        return classes
    rows = (coco_panoptic.read_panoptic if panoptic else coco_instances.read_instances)(path).categories
    counted = coco_json.indices([row for row in rows if not panoptic or row.get("isthing")], classes)
    return marked(classes, {index for index in counted.values() if not is_background(classes[index])})


def _with_things(data: DataSet, by: Segmenting) -> Classes:
    path = next((p.annotations for pairs in data.splits.values() for p in pairs if p.annotations), None)
    if path is not None:
        return with_things(data.classes, path, panoptic=by is Segmenting.PANOPTIC)
    if any(c.thing for c in data.classes):
        return data.classes
    return marked(data.classes, {i for i, c in enumerate(data.classes) if not is_background(c)})


def _paired(data: DataSet, homes: Mapping[str, Path], find: Callable[[Pair, Path], Pair]) -> DataSet:
    splits = {
        name: tuple(find(pair, homes[name]) for pair in pairs) if name in homes else pairs
        for name, pairs in data.splits.items()
    }
    return replace(data, splits=splits)


def _described(pair: Pair, home: Path) -> Pair:
    path = home / PANOPTIC
    return replace(pair, annotations=path) if path.is_file() else pair


def _panoptic(pair: Pair, home: Path) -> Pair:
    picture, path = home / "panoptic" / f"{pair.stem}.png", home / PANOPTIC
    if not picture.is_file() or not path.is_file():
        return pair
    return replace(pair, segments=picture, annotations=path)


def _annotated(pair: Pair, home: Path) -> Pair:
    for path in _files(home):
        if coco_instances.read_instances(path).picture(pair.image) is not None:
            return replace(pair, annotations=path)
    return pair


def _files(home: Path) -> Iterator[Path]:
    return (home / name for name in INSTANCES if (home / name).is_file())


def _numbered(pair: Pair, home: Path) -> Pair:
    path = home / NUMBERS / f"{pair.stem}.png"
    return replace(pair, segments=path) if path.is_file() else pair
