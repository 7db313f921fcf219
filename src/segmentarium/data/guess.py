"""Open a data set by looking at it; every guess is said in its notes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from pathlib import Path

from segmentarium.data.ade20k import open_ade20k
from segmentarium.data.cityscapes import open_cityscapes
from segmentarium.data.coco import open_coco
from segmentarium.data.dataset import DataSet, with_validation
from segmentarium.data.folders import open_folders
from segmentarium.data.voc import open_voc
from segmentarium.errors import BadData

READERS: dict[str, Callable[[Path], DataSet | None]] = {
    "Pascal VOC": open_voc,
    "Cityscapes": open_cityscapes,
    "ADE20K": open_ade20k,
    "COCO (annotations/KIND_SPLIT.json + SPLIT; SPLIT/instances.json, panoptic.json or "
    "_annotations.coco.json)": open_coco,
    "images/ + masks/, also by split (SPLIT/images or images/SPLIT); SPLIT + SPLITannot": open_folders,
}

NESTED = 3


def open_data(path: str | Path) -> DataSet:
    """Recognise the layout of the folder ``path`` and read which files and classes it has.

    A few masks are read where no description says what their numbers mean; no image is.

    Raises:
        BadData: no such folder (the nearest is offered), a layout that no reader knows, or annotations that
            cannot be read as COCO's.
    """
    root = Path(path)
    if not root.is_dir():
        raise _missing(root)
    for folder in _unpacked(root):
        for reader in READERS.values():
            data = reader(folder)
            if data is not None:
                found = (
                    data if folder == root else data.with_notes(f"the data lie in {folder.relative_to(root)}")
                )
                return with_validation(found)
    inside = ", ".join(sorted(p.name for p in root.iterdir())[:8]) or "nothing"
    raise BadData(
        f"{root} looks like no data set (it holds {inside})",
        allowed="; ".join(READERS),
        cure="name the folder that holds images/ and masks/",
    )


def _unpacked(root: Path) -> Iterator[Path]:
    """The folder, and the folders inside as long as there is only one: archives often unpack like that."""
    folder = root
    for _ in range(NESTED):
        yield folder
        inner = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        if len(inner) != 1:
            return
        folder = inner[0]


def _missing(root: Path) -> BadData:
    if root.exists():
        return BadData(f"{root} is a file", allowed="a folder of images and masks")
    parent = root.parent
    beside = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
    near = get_close_matches(root.name, beside, n=1, cutoff=0.5)
    cure = f"did you mean {parent / near[0]}?" if near else "check the path"
    return BadData(f"there is no folder {root}", cure=cure)
