"""Folders of images and masks: with or without splits, with or without a description.

``images/`` and ``masks/``, with splits above or below them, or SegNet's ``train/`` beside ``trainannot/``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from segmentarium.data import beside, coco_json, coco_panoptic, evidence, pairing, tables
from segmentarium.data.dataset import DataSet, MaskReading, Pair
from segmentarium.data.meta import Meta, described, find_meta
from segmentarium.data.translate import PANOPTIC
from segmentarium.errors import BadData

IMAGE_FOLDERS = ("images", "image", "imgs", "img")
MASK_FOLDERS = (
    "masks", "mask", "labels", "label", "annotations", "groundtruth", "ground_truth", "gt", "segmentations",
    "panoptic",
)  # fmt: skip
SPLIT_NAMES = {
    "training": "train",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "testing": "test",
}
REGION_FOLDER = "fov"
ANNOTATED = "annot"
"""What SegNet adds to the name of a folder of images for that of their masks."""
CAMVID_VOID = 11


@dataclass(frozen=True)
class Part:
    """One split: its name, where its images lie, and where its masks."""

    split: str
    images: Path
    masks: Path


def open_folders(root: Path) -> DataSet | None:
    """Read ``root`` as folders of images and masks; None if it does not look like that.

    Raises:
        BadData: the folders are there but hold no image, or contradict themselves.
    """
    layout, parts = find_parts(root)
    if not parts:
        return None
    matched = {part: pairing.match(*_listed(part)) for part in parts}
    splits = {part.split: tuple(_with_region(p, part) for p in m.pairs) for part, m in matched.items()}
    if not any(splits.values()):
        raise BadData(
            f"{parts[0].images} holds no image",
            allowed=", ".join(sorted(pairing.PICTURES)),
            cure="put images there",
        )
    meta = _with_categories(_of_camvid(root) if _is_camvid(root, parts) else describe_root(root), parts)
    pairs = [pair for split in splits.values() for pair in split]
    seen = evidence.weigh(pairs, meta)
    data = DataSet(
        name=meta.name or root.absolute().name,
        root=root,
        layout=layout,
        task=meta.task or "semantic segmentation",
        classes=seen.classes,
        ignore_ids=seen.ignore_ids,
        ignore_colors=meta.ignore_colors,
        splits=splits,
        terms=meta.terms,
        reading=seen.reading,
        lonely_masks=tuple(path for m in matched.values() for path in m.lonely_masks),
        notes=(
            *(f"{part.split}: {note}" for part, m in matched.items() for note in m.notes),
            *_folder_notes(parts, splits),
            *meta.notes,
            *seen.notes,
        ),
    )
    return beside.with_segments(data, {part.split: part.images.parent for part in parts})


def find_parts(root: Path) -> tuple[str, tuple[Part, ...]]:
    """The layout in words and its splits; no parts where ``root`` looks like something else."""
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    images, masks = _pick(folders, IMAGE_FOLDERS), _pick(folders, MASK_FOLDERS)
    if images is None or masks is None:
        parts = tuple(part for folder in folders for part in _split_folder(folder))
        if parts:
            return "SPLIT/images + SPLIT/masks", parts
        return f"SPLIT + SPLIT{ANNOTATED}", tuple(_annotated(folders))
    if any(pairing.is_data(p) for p in images.iterdir()):
        return f"{images.name} + {masks.name}", (Part("all", images, masks),)
    inner = [p.name for p in sorted(images.iterdir()) if p.is_dir() and (masks / p.name).is_dir()]
    parts = tuple(Part(_canonical(name), images / name, masks / name) for name in inner)
    return f"{images.name}/SPLIT + {masks.name}/SPLIT", parts or (Part("all", images, masks),)


def describe_root(root: Path) -> Meta:
    """The description in ``root``; that of one split of a set may lie a floor higher."""
    meta, parent = find_meta(root), root.absolute().parent
    if meta.path is not None or _canonical(root.absolute().name) not in ("train", "val", "test"):
        return meta
    meta = find_meta(parent)
    return (
        replace(meta, notes=(*meta.notes, f"described by {meta.path.name} in {parent.name}"))
        if meta.path
        else meta
    )


def _is_camvid(root: Path, parts: tuple[Part, ...]) -> bool:
    """Whether this is CamVid as it comes with SegNet, by its layout and by a name or the list of files."""
    if not all(part.masks.name == part.images.name + ANNOTATED for part in parts):
        return False
    listed = root / "train.txt"
    told = listed.read_text(encoding="utf-8", errors="replace") if listed.is_file() else ""
    return "camvid" in f"{root.absolute().name} {told}".lower()


def _of_camvid(root: Path) -> Meta:
    meta = described(root, tables.camvid(), (CAMVID_VOID,))
    if meta.classes is not tables.camvid():
        return meta
    note = f"classes are the {len(meta.classes)} of SegNet's CamVid, and {CAMVID_VOID} is void"
    return replace(meta, notes=(*meta.notes, note))


def _annotated(folders: list[Path]) -> Iterator[Part]:
    """SegNet's layout: NAME holds images, NAMEannot beside it their masks."""
    by_name = {folder.name: folder for folder in folders}
    for folder in folders:
        masks = by_name.get(folder.name + ANNOTATED)
        if masks is not None:
            yield Part(_canonical(folder.name), folder, masks)


def _split_folder(folder: Path) -> Iterator[Part]:
    inner = [p for p in folder.iterdir() if p.is_dir()]
    images, masks = _pick(inner, IMAGE_FOLDERS), _pick(inner, MASK_FOLDERS)
    if images is not None and masks is not None:
        yield Part(_canonical(folder.name), images, masks)


def _pick(folders: list[Path], names: tuple[str, ...]) -> Path | None:
    by_name = {folder.name.lower(): folder for folder in folders}
    return next((by_name[name] for name in names if name in by_name), None)


def _canonical(name: str) -> str:
    return SPLIT_NAMES.get(name.lower(), name)


def _listed(part: Part) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    return pairing.list_files(part.images), pairing.list_files(part.masks)


def _with_region(pair: Pair, part: Part) -> Pair:
    region = part.images.parent / REGION_FOLDER / f"{pair.stem}.png"
    return replace(pair, region=region) if region.is_file() else pair


def _folder_notes(parts: tuple[Part, ...], splits: dict[str, tuple[Pair, ...]]) -> Iterator[str]:
    if any(pair.region for pairs in splits.values() for pair in pairs):
        yield f"pixels where {REGION_FOLDER}/ is zero are void"
    for part in parts:
        for folder in (part.images.name, part.images.parent.name):
            if folder.lower() in SPLIT_NAMES:
                yield f"{folder!r} is taken as the {part.split} split"


def _with_categories(meta: Meta, parts: tuple[Part, ...]) -> Meta:
    """Where the description only points to ``panoptic.json``, take the classes from there."""
    path = parts[0].masks.parent / PANOPTIC
    if len(meta.classes) or not path.is_file():
        return meta
    rows = coco_panoptic.read_panoptic(path).categories
    note = f"masks are panoptic: segments and their {len(rows)} classes are read from panoptic.json"
    return replace(
        meta,
        classes=coco_json.classes_of(path, rows),
        reading=MaskReading.PANOPTIC_RGB,
        notes=(*meta.notes, note),
    )
