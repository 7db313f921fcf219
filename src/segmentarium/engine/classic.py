"""Classical methods over files: a label map and a picture to look at for each, and a listing of it all.

OUT/STEM.png, .nii.gz    numbers of regions, or class ids
OUT/STEM_overlay.jpg     the result over the picture
OUT/classic.json         method, settings, and what was found where, in how many seconds
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Integer
from PIL import Image as Pil

from segmentarium.classical.levels import levels
from segmentarium.classical.partition import is_partition
from segmentarium.classical.settings import require
from segmentarium.engine.listing import Listing, refuse_loss
from segmentarium.engine.methods import Method, Setting, method
from segmentarium.engine.sources import find_images, is_volume, output_stems
from segmentarium.errors import BadArgument, CannotWrite, SegError, UnknownName
from segmentarium.values import Image, LabelMap, Volume, read, read_mask
from segmentarium.values.draw_regions import draw_regions
from segmentarium.values.files import atomic_write, ensure_folder
from segmentarium.values.volume import read_label_values

LISTING = "classic.json"


@dataclass(frozen=True, kw_only=True)
class Outlined:
    """What became of one picture; ``error`` says in a sentence why there is no label map.

    Attributes:
        regions: how many regions or classes have a pixel.
        shares: of each class among the pixels, where the labels have names.
        seconds: for the method alone, without reading and writing.
    """

    source: str
    mask: str | None = None
    overlay: str | None = None
    size: tuple[int, ...] | None = None
    regions: int = 0
    shares: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self) | {
            "size": list(self.size) if self.size else None,
            "shares": {name: round(share, 6) for name, share in self.shares.items()},
            "seconds": round(self.seconds, 4),
            "notes": list(self.notes),
        }


def classic(
    name: str,
    sources: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    settings: Mapping[str, Any] | None = None,
    overlay: bool = True,
    overwrite: bool = False,
) -> Iterator[Outlined]:
    """Segment pictures and volumes one after another, as the result is iterated over.

    Args:
        name: of the method.
        sources: files, folders (the images in them, not below them) and globs.
        out: folder for the results; made if missing.
        settings: keywords of the method; a label map may be given as a file.
        overwrite: whether files that no classical method wrote may be replaced. The sources never are.

    Raises:
        UnknownName: there is no such method or setting.
        BadData: no image was found, or a source is not there.
        BadArgument: a value of the wrong kind.
        CannotWrite: the folder cannot be written, or a file would be lost.
    """
    chosen = method(name)
    told = {key: _value(_setting(chosen, key), value) for key, value in (settings or {}).items()}
    _require(chosen, told)
    require(chosen.call, told)
    found = find_images([sources] if isinstance(sources, str | Path) else sources)
    folder = Path(out)
    targets = [folder / stem for stem in output_stems(found)]
    files = [path for source, target in zip(found, targets, strict=True) for path in _files(source, target)]
    refuse_loss(files, found, folder / LISTING, what="classical method", overwrite=overwrite)
    head = {"method": chosen.name, "settings": _plain(chosen, settings or {})}
    listing = Listing(ensure_folder(folder) / LISTING, head=head, files=files, rows="results")
    return _all(chosen, told, list(zip(found, targets, strict=True)), listing, overlay=overlay)


def _all(
    chosen: Method,
    told: Mapping[str, Any],
    work: Sequence[tuple[Path, Path]],
    listing: Listing,
    *,
    overlay: bool,
) -> Iterator[Outlined]:
    rows: list[Outlined] = []
    try:
        for source, target in work:
            try:
                rows.append(_one(chosen, told, source, target, overlay=overlay))
            except CannotWrite:
                raise
            except SegError as error:
                rows.append(Outlined(source=str(source), error=str(error)))
            yield rows[-1]
    finally:
        listing.write([row.as_dict() for row in rows])


def _one(chosen: Method, told: Mapping[str, Any], source: Path, target: Path, *, overlay: bool) -> Outlined:
    picture = read(source)
    taken = levels(picture)
    begin = time.perf_counter()
    result = chosen.call(taken, **told)
    seconds = time.perf_counter() - begin
    mask, drawn = _files(source, target)
    ensure_folder(target.parent)
    result.save(mask)
    if overlay:
        _save_jpeg(picture_of(result, picture), drawn)
    plain = is_partition(result)
    return Outlined(
        source=str(source),
        mask=str(mask),
        overlay=str(drawn) if overlay else None,
        size=result.labels.shape,
        regions=len(np.unique(result.labels[result.labels >= 0])),
        shares={} if plain else result.area_share(),
        seconds=seconds,
        notes=taken.notes,
    )


def picture_of(result: LabelMap, picture: Image | Volume) -> Pil.Image:
    """A partition by its borders and mean colours; everything else as an overlay."""
    if is_partition(result) and isinstance(picture, Image):
        return draw_regions(picture, result.labels, result.classes)
    return result.overlay(picture)


def _files(source: Path, target: Path) -> tuple[Path, Path]:
    ending = ".nii.gz" if is_volume(source) else ".png"
    return target.with_name(target.name + ending), target.with_name(f"{target.name}_overlay.jpg")


def _save_jpeg(drawn: Pil.Image, path: Path) -> None:
    def save(file: BinaryIO) -> None:
        drawn.convert("RGB").save(file, "JPEG", quality=90)

    atomic_write(path, save)


def _setting(chosen: Method, key: str) -> Setting:
    for setting in chosen.settings:
        if setting.name == key:
            return setting
    raise UnknownName.among(f"setting of {chosen.name}", key, [s.name for s in chosen.settings])


def _require(chosen: Method, told: Mapping[str, Any]) -> None:
    missing = [s.name for s in chosen.settings if s.required and told.get(s.name) is None]
    if missing:
        raise BadArgument(f"{chosen.name} without {missing[0]}", cure=f"give {' and '.join(missing)}")


def _value(setting: Setting, value: Any) -> Any:
    """What a method takes, of what people write: ``12,40`` are numbers, a file name is a map."""
    if value is None:
        return None
    if setting.kind == "points":
        return [_numbers(setting, one) for one in ([value] if isinstance(value, str) else value)]
    if setting.kind == "numbers":
        return _numbers(setting, value)
    if setting.kind == "map" and isinstance(value, str | Path):
        return read_seeds(value)
    return value


def _numbers(setting: Setting, value: Any) -> tuple[int | float, ...]:
    return numbers_in(setting.name, value) if isinstance(value, str) else tuple(value)


def numbers_in(name: str, text: str, *, count: int | None = None) -> tuple[int | float, ...]:
    """The numbers of ``12,40``.

    Raises:
        BadArgument: something else, or not ``count`` of them.
    """
    try:
        numbers = tuple(
            int(part) if part.strip().lstrip("-").isdecimal() else float(part) for part in text.split(",")
        )
    except ValueError:
        numbers = None
    if numbers is None or len(numbers) != (count or len(numbers)):
        many, example = (
            (f"{count} numbers", ",".join(map(str, range(1, count + 1)))) if count else ("numbers", "12,40")
        )
        raise BadArgument(f"{name} = {text!r}", allowed=f"{many} with commas, such as {example}")
    return numbers


def read_seeds(path: str | Path) -> Integer[np.ndarray, "*s"]:
    """The numbers in a map of scribbles: a mask of one channel, or a NIfTI file.

    Raises:
        BadMask: it cannot be read.
        BadArgument: it holds colours.
    """
    path = Path(path)
    if is_volume(path):
        return read_label_values(path)[0]
    values = read_mask(path).values
    if values.ndim == 2:
        return values
    raise BadArgument(
        f"the seeds in {path} are colours", allowed="a mask of one channel: 0 unknown, then 1, 2, ..."
    )


def _plain(chosen: Method, settings: Mapping[str, Any]) -> dict[str, Any]:
    """All settings as JSON has them, those that were not given too."""
    defaults = {s.name: s.default for s in chosen.settings} | dict(settings)
    return {
        key: value if isinstance(value, int | float | str | list | None) else str(value)
        for key, value in defaults.items()
    }
