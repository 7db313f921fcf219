"""ADE20K as SceneParse150: ``images/training`` and ``annotations/training``; 0 is void, 1-150 are classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segmentarium.data import tables
from segmentarium.data.dataset import DataSet, MaskReading
from segmentarium.data.folders import open_folders
from segmentarium.data.meta import described

VOID_ID = 0


def open_ade20k(root: Path) -> DataSet | None:
    """Read ``root`` as ADE20K; None if it does not look like that.

    The folders alone are too common to tell: the files must be called ``ADE_...``. Since 0 means "other
    objects", it is void and not a class, and class ids start at 1.
    """
    images = root / "images" / "training"
    if not (root / "annotations" / "training").is_dir() or next(images.glob("ADE_*"), None) is None:
        return None
    data = open_folders(root)
    if data is None:
        return None
    facts = described(root, tables.ade20k(), (VOID_ID,))
    return replace(
        data,
        layout="ADE20K (images/training + annotations/training)",
        classes=facts.classes,
        ignore_ids=facts.ignore_ids,
        reading=MaskReading.INDEX,
        notes=(*facts.notes, "value 0 is void; classes are the values from 1 (the reduce-zero rule)"),
    )
