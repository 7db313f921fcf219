"""Pascal VOC: ``JPEGImages``, ``SegmentationClass`` and the lists in ``ImageSets/Segmentation``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from segmentarium.data import evidence, pairing, tables
from segmentarium.data.dataset import DataSet, Pair
from segmentarium.data.meta import described
from segmentarium.errors import BadData

IMAGES, MASKS, LISTS = "JPEGImages", "SegmentationClass", Path("ImageSets", "Segmentation")
VOID_ID = 255


def open_voc(root: Path) -> DataSet | None:
    """Read ``root`` as Pascal VOC; None if it does not look like that.

    Classes are the 21 of VOC, unless a description lies in ``root``.

    Raises:
        BadData: a list names an image that is not there.
    """
    if not ((root / IMAGES).is_dir() and (root / MASKS).is_dir()):
        return None
    matched = pairing.match(pairing.list_files(root / IMAGES), pairing.list_files(root / MASKS))
    by_stem = {pair.stem: pair for pair in matched.pairs}
    splits = {path.stem: _listed(path, by_stem) for path in sorted((root / LISTS).glob("*.txt"))}
    if {"train", "val"} <= splits.keys():
        splits.pop("trainval", None)  # their union
    notes = () if splits else (f"no lists in {LISTS}: every image with a mask is used",)
    splits = splits or {"all": tuple(pair for pair in matched.pairs if pair.mask is not None)}
    facts = described(root, tables.voc(), (VOID_ID,))
    meta = replace(facts, ignore_colors=(*facts.ignore_colors, tables.VOID_COLOR))
    seen = evidence.weigh([pair for pairs in splits.values() for pair in pairs], meta)
    return DataSet(
        name=facts.name or root.absolute().name,
        root=root,
        layout="Pascal VOC (JPEGImages + SegmentationClass)",
        task=facts.task or "semantic segmentation",
        classes=seen.classes,
        ignore_ids=seen.ignore_ids,
        ignore_colors=meta.ignore_colors,
        splits=splits,
        terms=facts.terms,
        reading=seen.reading,
        lonely_masks=matched.lonely_masks,
        notes=(*notes, *facts.notes, *seen.notes),
    )


def _listed(path: Path, by_stem: dict[str, Pair]) -> tuple[Pair, ...]:
    stems = [line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    for stem in stems:
        if stem not in by_stem:
            raise BadData(
                f"{path} names {stem!r}, but {IMAGES} has no such image",
                allowed="stems of existing images, one a line",
                cure="take the line out, or add the image",
            )
    return tuple(by_stem[stem] for stem in stems)
