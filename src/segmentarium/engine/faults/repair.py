"""A corrected copy of a data set, for those faults whose cure is safe; the original is never touched."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from segmentarium.data.dataset import MaskReading, Pair
from segmentarium.engine.faults import cures
from segmentarium.engine.faults.finding import Finding
from segmentarium.engine.faults.rewrite import Repair, rewrite_annotations
from segmentarium.engine.faults.survey import Sample, Survey
from segmentarium.errors import BadData
from segmentarium.values.decode import decode
from segmentarium.values.files import atomic_json, cannot_write, ensure_folder
from segmentarium.values.image import Image, read_image
from segmentarium.values.mask import read_mask

DROPPED = {
    "undecodable": "it cannot be read",
    "image-without-mask": "it has no mask",
    "mask-without-image": "it has no image",
    "duplicate-across-splits": "another split has the same picture",
    "near-duplicate-across-splits": "another split has nearly the same picture",
    "annotation-broken": "an object of it is unknown",
    "annotation-missing": "its segments are not described",
    "polygon-broken": "an object of it is unknown",
    "rle-broken": "an object of it is unknown",
    "segment-id-twice": "nobody can tell two of its segments apart",
}
REWRITTEN_IMAGE = {"exif-disagreement", "alpha-channel", "value-range", "nan-in-image"}
REWRITTEN_MASK = {
    "exif-disagreement",
    "mask-flipped",
    "jpeg-mask",
    "colour-mask",
    "palette-order",
    "zero-255",
    "off-by-one-ids",
    "interpolated-labels",
}


def repair(findings: Iterable[Finding], survey: Survey, folder: Path) -> tuple[Repair, ...]:
    """Write the corrected copy to ``folder`` as SPLIT/images, SPLIT/masks and meta.json.

    Raises:
        BadData: ``folder`` is not empty.
        CannotWrite: no permission or no space.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadData(f"{folder} is not empty", allowed="a new or empty folder", cure="choose another one")
    ensure_folder(folder)
    faults: dict[str, list[str]] = {}
    for finding in findings:
        for file in finding.files if finding.fixable else ():
            faults.setdefault(file, []).append(finding.fault)
    done = list(_orphans(survey, faults))
    copy = _Copy(survey, folder, faults)
    for sample in survey.samples:
        done.extend(copy.write(sample))
    done.extend(rewrite_annotations(survey, folder, copy.kept))
    void = any("ignore-undeclared" in names for names in faults.values())
    atomic_json(folder / "meta.json", _description(survey, extra_void=void))
    return tuple(done)


def _orphans(survey: Survey, faults: dict[str, list[str]]) -> Iterator[Repair]:
    for path in survey.data.lonely_masks:
        name = survey.name(path)
        if "mask-without-image" in faults.get(name, ()):
            yield Repair(name, "mask-without-image", f"left out: {DROPPED['mask-without-image']}")


def _description(survey: Survey, *, extra_void: bool) -> dict[str, object]:
    data = survey.data
    ignored = [*data.ignore_ids, *([255] if extra_void and 255 not in data.ignore_ids else [])]
    description: dict[str, object] = {
        "name": data.name,
        "task": data.task,
        "classes": data.classes.to_json(),
        "ignore_index": ignored[0] if len(ignored) == 1 else ignored or None,
        "mask_reading": str(_reading_of_copy(survey)),
        "terms": data.terms,
        "notes": f"corrected copy of {data.name}",
    }
    if data.ignore_colors:
        description["ignore_color"] = list(data.ignore_colors[0])
    return description


def _reading_of_copy(survey: Survey) -> MaskReading:
    """Numbers, if most masks are numbers and the rest were translated."""
    if survey.data.reading is not MaskReading.COLOUR:
        return survey.data.reading
    colored = sum(bool(truth.colors) for truth in survey.truths())
    return MaskReading.COLOUR if 2 * colored > len(list(survey.truths())) else MaskReading.INDEX


@dataclass(frozen=True)
class _Copy:
    """Writes the pairs of one data set."""

    survey: Survey
    folder: Path
    faults: dict[str, list[str]]
    kept: list[tuple[Sample, Pair]] = field(default_factory=list)

    def write(self, sample: Sample) -> Iterator[Repair]:
        """Leave the pair out, correct it, or copy it byte for byte; tells what was done."""
        files = [sample.image.file, sample.truth.file if sample.truth else "", sample.annotated]
        for file in dict.fromkeys(filter(None, files)):
            for fault in self.faults.get(file, ()):
                if fault in DROPPED:
                    yield Repair(file, fault, f"left out: {DROPPED[fault]}")
                    return
        if sample.truth is None:
            return
        pair = next(p for p in self.survey.data.splits[sample.split] if p.stem == sample.stem)
        self.kept.append((sample, pair))
        yield from self._image(sample, pair)
        if self.survey.data.reading not in (MaskReading.COCO, MaskReading.PANOPTIC_RGB):
            yield from self._mask(sample, pair)
        if pair.region is not None:
            _copy(pair.region, self.folder / sample.split / "fov" / f"{sample.stem}.png")

    def _image(self, sample: Sample, pair: Pair) -> Iterator[Repair]:
        named = set(self.faults.get(sample.image.file, ()))
        exif = sample.image.orientation != 1 and "exif-disagreement" in self._of_mask(sample)
        faults = [*(named & REWRITTEN_IMAGE), *(["exif-disagreement"] if exif else [])]
        target = self.folder / sample.split / "images"
        if not faults:
            _copy(pair.image, target / f"{sample.stem}{pair.image.suffix}")
            return
        pixels = _pixels(pair.image)
        done = ["pixels turned upright, tag dropped"] if exif else []
        if "alpha-channel" in faults:
            done.append("alpha dropped")
        if "nan-in-image" in faults:
            pixels = cures.without_nan(pixels)
            done.append("values that were not finite replaced by the mean")
        if "value-range" in faults:
            pixels, said = cures.rescaled(pixels, *_usual(self.survey))
            done.append(said)
        cures.write_image(target, sample.stem, pixels)
        yield Repair(sample.image.file, faults[0], "; ".join(done))

    def _mask(self, sample: Sample, pair: Pair) -> Iterator[Repair]:
        assert pair.mask is not None
        assert sample.truth is not None
        faults = [fault for fault in self._of_mask(sample) if fault in REWRITTEN_MASK]
        target = self.folder / sample.split / "masks"
        if "ignore-undeclared" in self._of_mask(sample):
            yield Repair(sample.truth.file, "ignore-undeclared", "255 declared as void in meta.json")
        if not faults:
            _copy(pair.mask, target / f"{sample.stem}{pair.mask.suffix}")
            return
        raw, said = read_mask(pair.mask), []
        values = np.asarray(raw.values)
        for fault in faults:
            values, done = cures.cured(fault, values, raw.palette, sample, self.survey)
            said.append(Repair(sample.truth.file, fault, done))
        cures.write_mask(target, sample.stem, values)
        yield from said

    def _of_mask(self, sample: Sample) -> list[str]:
        return self.faults.get(sample.truth.file, []) if sample.truth else []


def _pixels(path: Path) -> np.ndarray:
    """As the reader of images gives them, or with NaN where it would refuse."""
    values = decode(path).values
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return values if values.ndim == 3 else values[..., None]
    image: Image = read_image(path)
    return image.pixels


def _usual(survey: Survey) -> tuple[float, str]:
    """The usual brightest value and the usual type."""
    pictures = list(survey.pictures())
    top = float(np.median([p.top for p in pictures if p.top > 0]))
    return top, Counter(p.dtype for p in pictures).most_common(1)[0][0]


def _copy(source: Path, target: Path) -> None:
    ensure_folder(target.parent)
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise cannot_write(target, error) from error
