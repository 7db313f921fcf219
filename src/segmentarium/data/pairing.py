"""Which mask belongs to which image: by file stem, after taking off the usual suffixes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from segmentarium.data.dataset import Pair
from segmentarium.errors import BadData

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp"})
VOLUMES = (".nii.gz", ".nii")
REGIONS = ".npz"

MASK_SUFFIXES = (
    "_gtFine_labelIds",
    "_gtFine_labelTrainIds",
    "_labelIds",
    "_labelTrainIds",
    "_segmentation",
    "_annotation",
    "_groundtruth",
    "_instances",
    "_manual1",
    "_labels",
    "_label",
    "_masks",
    "_mask",
    "_seg",
    "_gt",
    "_L",
)
IMAGE_SUFFIXES = ("_leftImg8bit", "_image", "_img", "_rgb", "_sat")


@dataclass(frozen=True)
class Matched:
    """Pairs in order of their stems, masks without an image, and what had to be assumed."""

    pairs: tuple[Pair, ...]
    lonely_masks: tuple[Path, ...]
    notes: tuple[str, ...]


def list_files(folder: Path) -> tuple[Path, ...]:
    """The pictures, volumes and region files directly in ``folder``, by name; hidden files are not seen."""
    return tuple(sorted(p for p in folder.iterdir() if is_data(p)))


def is_data(path: Path) -> bool:
    """Whether ``path`` is a visible picture, volume or region file."""
    name = path.name.lower()
    known = path.suffix.lower() in PICTURES or name.endswith((*VOLUMES, REGIONS))
    return known and not name.startswith(".") and path.is_file()


def stem_of(path: Path) -> str:
    """The name without its ending; ``.nii.gz`` is one ending."""
    for ending in VOLUMES:
        if path.name.lower().endswith(ending):
            return path.name[: -len(ending)]
    return path.stem


def match(images: Iterable[Path], masks: Iterable[Path]) -> Matched:
    """Pair images and masks; images without mask stay, with ``mask=None``.

    Raises:
        BadData: two images or two masks have the same stem.
    """
    by_stem = _unique(images, "image")
    masks_by_stem = _unique(masks, "mask")
    taken_off: Counter[str] = Counter()
    found: dict[str, Path] = {stem: path for stem, path in masks_by_stem.items() if stem in by_stem}
    bare_images = {_strip(stem, IMAGE_SUFFIXES)[0]: stem for stem in by_stem if stem not in found}
    for stem, path in masks_by_stem.items():
        bare, suffix = _strip(stem, MASK_SUFFIXES)
        image_stem = bare_images.get(bare)
        if stem not in found and image_stem is not None and image_stem not in found:
            found[image_stem] = path
            taken_off.update(filter(None, [suffix, image_stem[len(bare) :]]))
    pairs = tuple(Pair(stem, image, found.get(stem)) for stem, image in by_stem.items())
    used = set(found.values())
    lonely = tuple(path for path in masks_by_stem.values() if path not in used)
    return Matched(pairs, lonely, tuple(_notes(pairs, lonely, taken_off)))


def _unique(paths: Iterable[Path], what: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(stem_of(path), path)
        if other != path:
            raise BadData(
                f"{path.name} and {other.name} in {path.parent} share one stem",
                allowed=f"one {what} per stem",
                cure="remove or rename one of them",
            )
    return found


def _strip(stem: str, suffixes: tuple[str, ...]) -> tuple[str, str]:
    """``cat_mask`` as ``("cat", "_mask")``; case and ``-`` for ``_`` do not matter."""
    lowered = stem.lower().replace("-", "_")
    for suffix in suffixes:
        if lowered.endswith(suffix.lower()) and len(stem) > len(suffix):
            return stem[: -len(suffix)], stem[-len(suffix) :]
    return stem, ""


def _notes(pairs: tuple[Pair, ...], lonely: tuple[Path, ...], taken_off: Counter[str]) -> Iterable[str]:
    for suffix, times in taken_off.items():
        yield f"partners found by taking {suffix!r} off {times} file names"
    bare = [pair.stem for pair in pairs if pair.mask is None]
    if bare:
        yield f"{len(bare)} images have no mask, such as {bare[0]}"
    if lonely:
        yield f"{len(lonely)} masks have no image, such as {lonely[0].name}"
