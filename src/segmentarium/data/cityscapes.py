"""Cityscapes: ``leftImg8bit/SPLIT/CITY`` and ``gtFine/SPLIT/CITY``, 19 evaluated classes."""

from __future__ import annotations

from pathlib import Path

from segmentarium.data import tables
from segmentarium.data.dataset import DataSet, Pair
from segmentarium.data.meta import described

IMAGES, MASKS = "leftImg8bit", "gtFine"
IMAGE_END = "_leftImg8bit"
LABEL_IDS, TRAIN_IDS = "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
ALL_IDS = range(34)
LICENCE_PLATE = 255  # -1 in the official table, stored as 255


def open_cityscapes(root: Path) -> DataSet | None:
    """Read ``root`` as Cityscapes; None if it does not look like that.

    ``labelIds`` files are preferred, and the ids that the benchmark does not evaluate are void; where there
    are only ``labelTrainIds`` files, those are read.
    """
    if not ((root / IMAGES).is_dir() and (root / MASKS).is_dir()):
        return None
    official = any((root / MASKS).glob(f"*/*/*{LABEL_IDS}"))
    ending, classes = (LABEL_IDS, tables.cityscapes()) if official else (TRAIN_IDS, tables.cityscapes_train())
    void = tuple(i for i in ALL_IDS if i not in classes.ids) if official else ()
    facts = described(root, classes, (*void, LICENCE_PLATE))
    folders = sorted(path for path in (root / IMAGES).iterdir() if path.is_dir())
    splits = {folder.name: tuple(_pairs(folder, root / MASKS / folder.name, ending)) for folder in folders}
    rule = "ids outside the evaluated classes are void" if official else "255 is void"
    return DataSet(
        name=facts.name or root.absolute().name,
        root=root,
        layout="Cityscapes (leftImg8bit + gtFine)",
        task=facts.task or "semantic segmentation",
        classes=facts.classes,
        ignore_ids=facts.ignore_ids,
        splits={name: pairs for name, pairs in splits.items() if pairs},
        terms=facts.terms,
        notes=(*facts.notes, f"masks are the *{ending} files: {rule}"),
    )


def _pairs(images: Path, masks: Path, ending: str) -> list[Pair]:
    found = []
    for image in sorted(images.glob(f"*/*{IMAGE_END}.*")):
        stem = image.stem.removesuffix(IMAGE_END)
        mask = masks / image.parent.name / f"{stem}{ending}"
        found.append(Pair(stem, image, mask if mask.is_file() else None))
    return found
