"""Drawn scenes as files, in every layout that a reader knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image as Pil

from segmentarium.data import shapes_coco, tables
from segmentarium.errors import BadData, UnknownName
from segmentarium.values.classes import VOID, Class, Classes
from segmentarium.values.files import atomic_json, atomic_text, atomic_write, ensure_folder
from segmentarium.values.image import Image
from segmentarium.values.results import LabelMap
from segmentarium.values.volume import Volume

if TYPE_CHECKING:
    from segmentarium.data.shapes import Scene

Splits = Mapping[str, list["Scene"]]
VOID_ID = 255
VOLUMES = "volumes"
TERMS = "drawn by Segmentarium; no rights reserved (CC0 1.0)"


def write(folder: Path, splits: Splits, layout: str) -> None:
    """Write all scenes; ``layout`` is one of ``LAYOUTS``."""
    LAYOUTS[layout](folder, splits)


def require_layout(layout: str, *, dimensions: int) -> None:
    """Raise ``UnknownName`` for a layout that is none, ``BadData`` for scenes that it cannot hold."""
    if layout not in LAYOUTS:
        raise UnknownName.among("layout", layout, LAYOUTS)
    if (layout == VOLUMES) != (dimensions == 3):
        raise BadData(
            f"scenes of {dimensions} dimensions in layout {layout!r}",
            allowed=f"three in {VOLUMES!r}, two in the others",
        )


def _folders(folder: Path, splits: Splits) -> None:
    for split, stem, scene in _each(splits):
        _picture(folder / split / "images" / stem, scene.image)
        _index(folder / split / "masks" / f"{stem}.png", scene.labels, scene.classes)
    _describe(folder, _classes(splits), splits)


def _segmentarium(folder: Path, splits: Splits) -> None:
    """The layout of ``shared/data``: besides the masks, 16-bit object numbers and panoptic files."""
    _folders(folder, splits)
    for split, stem, scene in _each(splits):
        _save(folder / split / "instances" / f"{stem}.png", Pil.fromarray(scene.numbers.astype(np.uint16)))
        _save(folder / split / "panoptic" / f"{stem}.png", _numbers(scene.segment_ids))
    for split, scenes in splits.items():
        atomic_json(folder / split / "panoptic.json", _panoptic_json(split, scenes))


def _plain(folder: Path, splits: Splits) -> None:
    """No splits and no description: what people have on their disks."""
    for split, stem, scene in _each(splits):
        _picture(folder / "images" / f"{split}_{stem}", scene.image)
        _index(folder / "masks" / f"{split}_{stem}.png", scene.labels, scene.classes)


def _colour(folder: Path, splits: Splits) -> None:
    for split, stem, scene in _each(splits):
        _picture(folder / split / "images" / stem, scene.image)
        colors = np.vstack([scene.classes.palette(), tables.VOID_COLOR]).astype(np.uint8)[scene.labels]
        _save(folder / split / "masks" / f"{stem}.png", Pil.fromarray(colors))
    rows = _classes(splits).to_json()
    void: dict[str, object] = {"id": VOID_ID, "name": "void", "color": list(tables.VOID_COLOR)}
    atomic_json(folder / "classes.json", {"classes": [*rows, void], "ignore_index": VOID_ID})


def _voc(folder: Path, splits: Splits) -> None:
    for split, stem, scene in _each(splits):
        _picture(folder / "JPEGImages" / f"{split}_{stem}", scene.image, jpeg=True)
        _index(folder / "SegmentationClass" / f"{split}_{stem}.png", scene.labels, scene.classes)
    lists = ensure_folder(folder / "ImageSets" / "Segmentation")
    for split, scenes in splits.items():
        names = [f"{split}_{_stem(place)}\n" for place in range(len(scenes))]
        atomic_text(lists / f"{split}.txt", "".join(names))
    _describe(folder, _classes(splits), splits)


def _cityscapes(folder: Path, splits: Splits) -> None:
    """Drawn classes take the ids of the first evaluated classes of Cityscapes."""
    classes = _with_ids(_classes(splits), tables.cityscapes().ids, "cityscapes")
    for split, stem, scene in _each(splits):
        name = f"{split}/drawn/drawn_{stem}_000000"
        _picture(folder / "leftImg8bit" / f"{name}_leftImg8bit", scene.image)
        _index(folder / "gtFine" / f"{name}_gtFine_labelIds.png", scene.labels, classes, void=0)
    _describe(folder, classes, splits, ignore=0)


def _ade20k(folder: Path, splits: Splits) -> None:
    """Zero is void, so the ground takes id 1."""
    classes = _with_ids(_classes(splits), tuple(range(1, 151)), "ade20k")
    for split, stem, scene in _each(splits):
        inner = {"train": "training", "val": "validation"}[split]
        _picture(folder / "images" / inner / f"ADE_{split}_{stem}", scene.image, jpeg=True)
        _index(folder / "annotations" / inner / f"ADE_{split}_{stem}.png", scene.labels, classes, void=0)
    _describe(folder, classes, splits, ignore=0)


def _coco(folder: Path, splits: Splits) -> None:
    names = _coco_images(folder, splits)
    shapes_coco.write_instances(folder, splits, names)


def _coco_panoptic(folder: Path, splits: Splits) -> None:
    names = _coco_images(folder, splits)
    shapes_coco.write_panoptic(folder, splits, names)
    for split, stem, scene in _each(splits):
        path = folder / "annotations" / f"panoptic_{split}2017" / f"{split}_{stem}.png"
        _save(path, _numbers(scene.segment_ids))


def _coco_images(folder: Path, splits: Splits) -> dict[str, list[str]]:
    """Write the images; returns their file names by split."""
    names: dict[str, list[str]] = {split: [] for split in splits}
    for split, stem, scene in _each(splits):
        written = _picture(folder / f"{split}2017" / f"{split}_{stem}", scene.image)
        names[split].append(written.name)
    return names


def _numbers(ids: Int32[np.ndarray, "h w"]) -> Pil.Image:
    """Numbers as colours: R + 256 G + 65536 B."""
    colors = ids.astype("<u4")[..., None].view(np.uint8)[..., :3]
    return Pil.fromarray(np.ascontiguousarray(colors))


def _volumes(folder: Path, splits: Splits) -> None:
    """NIfTI files of cubic voxels of 1 mm, stored to the right, the front and the head."""
    for split, stem, scene in _each(splits):
        for part in ("images", "masks"):
            ensure_folder(folder / split / part)
        bands = np.moveaxis(scene.image.pixels, -1, 0)
        volume = Volume.plain(bands if len(bands) > 1 else bands[0])
        volume.save(folder / split / "images" / f"{stem}.nii.gz")
        truth = LabelMap(scene.labels, scene.classes, ignore_id=VOID_ID, grid=volume.grid)
        truth.save(folder / split / "masks" / f"{stem}.nii.gz")
    _describe(folder, _classes(splits), splits)


LAYOUTS: dict[str, Callable[[Path, Splits], None]] = {
    "folders": _folders,
    "segmentarium": _segmentarium,
    "plain": _plain,
    "colour": _colour,
    "voc": _voc,
    "cityscapes": _cityscapes,
    "ade20k": _ade20k,
    "coco": _coco,
    "coco-panoptic": _coco_panoptic,
    VOLUMES: _volumes,
}


def _stem(place: int) -> str:
    return f"scene_{place:04d}"


def _each(splits: Splits) -> Iterator[tuple[str, str, Scene]]:
    for split, scenes in splits.items():
        for place, scene in enumerate(scenes):
            yield split, _stem(place), scene


def _classes(splits: Splits) -> Classes:
    return next(scene.classes for _, _, scene in _each(splits))


def _with_ids(classes: Classes, ids: tuple[int, ...], layout: str) -> Classes:
    if len(classes) > len(ids):
        raise BadData(f"{len(classes)} drawn classes in layout {layout!r}", allowed=f"at most {len(ids)}")
    return Classes(
        Class(id=i, name=c.name, color=c.color, thing=c.thing) for i, c in zip(ids, classes, strict=False)
    )


def _describe(folder: Path, classes: Classes, splits: Splits, ignore: int = VOID_ID) -> None:
    has_void = any((scene.labels == VOID).any() for _, _, scene in _each(splits))
    meta = {
        "name": folder.name,
        "task": "semantic segmentation (drawn shapes)",
        "classes": classes.to_json(),
        "ignore_index": ignore if has_void or ignore == 0 else None,
        "terms": TERMS,
        "splits": {split: len(scenes) for split, scenes in splits.items()},
    }
    atomic_json(folder / "meta.json", meta)


def _picture(path: Path, image: Image, *, jpeg: bool = False) -> Path:
    """PNG (or JPEG) where it can hold the pixels, else TIFF; the ending is added to ``path``."""
    pixels = image.pixels
    eight_bit = pixels.dtype == np.uint8 and image.channels in (1, 3)
    if eight_bit or (pixels.dtype == np.uint16 and image.channels == 1):
        picture = Pil.fromarray(pixels[..., 0] if image.channels == 1 else pixels)
        ending = ".jpg" if jpeg and eight_bit else ".png"
        return _save(path.with_name(path.name + ending), picture)
    from tifffile import imwrite

    ensure_folder(path.parent)
    kind = "rgb" if image.channels == 3 else "minisblack"
    layout: dict[str, Any] = {"planarconfig": "contig"} if image.channels > 1 else {}
    shown = pixels if image.channels > 1 else pixels[..., 0]
    return atomic_write(
        path.with_name(path.name + ".tif"), lambda file: imwrite(file, shown, photometric=kind, **layout)
    )


def _index(path: Path, labels: Int32[np.ndarray, "h w"], classes: Classes, void: int = VOID_ID) -> None:
    """A palette PNG of class ids; the last entry of the table is void's, where index -1 finds it."""
    ids = np.array([*classes.ids, void], np.uint8)[labels]
    picture = Pil.fromarray(ids)
    picture.putpalette(_palette(classes, void).tobytes())
    _save(path, picture)


def _palette(classes: Classes, void: int) -> UInt8[np.ndarray, "256 3"]:
    palette = np.zeros((256, 3), np.uint8)
    palette[void] = tables.VOID_COLOR
    palette[list(classes.ids)] = classes.palette()
    return palette


def _save(path: Path, picture: Pil.Image) -> Path:
    ensure_folder(path.parent)
    buffer = BytesIO()
    picture.save(
        buffer,
        "JPEG" if path.suffix == ".jpg" else "PNG",
        **({"quality": 95} if path.suffix == ".jpg" else {}),
    )
    return atomic_write(path, buffer.getvalue())


def _panoptic_json(split: str, scenes: list[Scene]) -> dict[str, Any]:
    """COCO's panoptic description of one split."""
    return {
        "images": [
            {
                "id": place,
                "file_name": f"{_stem(place)}.png",
                "height": scene.image.size[0],
                "width": scene.image.size[1],
            }
            for place, scene in enumerate(scenes)
        ],
        "annotations": [
            {"image_id": place, "file_name": f"{_stem(place)}.png", "segments_info": _segments(scene)}
            for place, scene in enumerate(scenes)
        ],
        "categories": [{**row, "isthing": int(bool(row["thing"]))} for row in scenes[0].classes.to_json()],
    }


def _segments(scene: Scene) -> list[dict[str, Any]]:
    areas = np.bincount(scene.segment_ids.ravel(), minlength=len(scene.classes_of) + 2)
    return [
        {"id": s.id, "category_id": scene.classes[s.class_index].id, "area": int(areas[s.id]), "iscrowd": 0}
        for s in scene.panoptic.segments
    ]
