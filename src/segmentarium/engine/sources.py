"""Which images are meant, and what their results are called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from glob import glob, has_magic
from pathlib import Path

from segmentarium.errors import BadData

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".npy", ".nii", ".nii.gz"})
"""What counts as an image in a folder; a file that is named itself is tried whatever its suffix."""


def is_volume(path: Path) -> bool:
    """Whether ``path`` is a NIfTI file or the folder of a DICOM series."""
    return path.name.lower().endswith((".nii", ".nii.gz")) or path.is_dir()


def find_images(sources: Iterable[str | Path]) -> list[Path]:
    """The image files that files, folders and globs stand for, each once, in the order given.

    Args:
        sources: of a folder the images in it, by name, not those below it; ``**`` in a glob goes below. A
            folder of DICOM slices is one volume.

    Raises:
        BadData: a source is not there, or there is no image in all of them.
    """
    sources = list(sources)
    found = {path.resolve(): path for source in sources for path in _expand(source)}
    if not found:
        raise BadData(
            f"no image in {', '.join(map(str, sources)) or 'nothing'}",
            allowed=f"files, folders or globs of {', '.join(sorted(SUFFIXES))}",
            cure="check the path; folders are not searched below, 'folder/**/*.png' does that",
        )
    return list(found.values())


def _expand(source: str | Path) -> list[Path]:
    path = Path(source)
    if path.is_dir():
        return [path] if any(path.glob("*.dcm")) else _images(path.iterdir())
    if path.exists():
        return [path]
    if has_magic(str(source)):
        return _images(map(Path, glob(str(source), recursive=True)))  # noqa: PTH207 - absolute ones, too
    raise BadData(
        f"there is no file or folder {path}", allowed="files, folders or globs", cure="check the spelling"
    )


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(
        path
        for path in paths
        if _suffix(path) in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def output_stems(sources: Sequence[Path]) -> list[Path]:
    """A name for the results of each source, without suffix, relative to the folder for results.

    The stem, if all are different (capitals do not count). Otherwise all keep their folders below the deepest
    one that they share, and where that is not enough, the suffix joins the stem.

    >>> [str(stem) for stem in output_stems([Path("in/a.png"), Path("in/b.png")])]
    ['a', 'b']
    >>> [str(stem) for stem in output_stems([Path("in/x/a.png"), Path("in/y/a.png"), Path("in/y/a.jpg")])]
    ['x/a', 'y/a_png', 'y/a_jpg']
    """
    stems = [Path(_bare(source)) for source in sources]
    if not _repeated(stems):
        return stems
    absolute = [source.absolute() for source in sources]
    shared = os.path.commonpath([path.parent for path in absolute])
    below = [path.relative_to(shared).with_name(_bare(path)) for path in absolute]
    twice = _repeated(below)
    return [
        stem.with_name(f"{stem.name}_{_suffix(source).lstrip('.').replace('.', '_')}")
        if _key(stem) in twice
        else stem
        for stem, source in zip(below, sources, strict=True)
    ]


def _repeated(stems: Iterable[Path]) -> set[str]:
    return {stem for stem, count in Counter(map(_key, stems)).items() if count > 1}


def _key(stem: Path) -> str:
    return str(stem).casefold()


def _suffix(path: Path) -> str:
    """In lower case; ``.nii.gz`` is one."""
    packed = path.name.lower().endswith(".nii.gz")
    return ".nii.gz" if packed else path.suffix.lower()


def _bare(path: Path) -> str:
    """The name without its suffix."""
    return path.name[: len(path.name) - len(_suffix(path))]
