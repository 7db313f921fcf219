"""Files that are damaged, or that miss their partner."""

from __future__ import annotations

from collections.abc import Iterator

from segmentarium.engine.faults.finding import WHOLE_FILE, Finding, Hit, Severity, group
from segmentarium.engine.faults.survey import Survey


def find(survey: Survey) -> Iterator[Finding]:
    """Damaged files, NaN, and files without partner."""
    files = [sample.image for sample in survey.samples] + [s.truth for s in survey.samples if s.truth]
    broken = [Hit(f.file, note=f.trouble) for f in files if f.trouble and not getattr(f, "nan", False)]
    yield from group(
        "undecodable",
        Severity.ERROR,
        broken,
        what="cannot be read",
        allowed="whole PNG, JPEG, TIFF, WebP or BMP files",
        cure="copy them again from the source; `seg check --fix` leaves these pairs out",
        fixable=True,
    )
    nan = [
        Hit(s.image.file, _after_at(s.image.trouble), s.image.trouble) for s in survey.samples if s.image.nan
    ]
    yield from group(
        "nan-in-image",
        Severity.ERROR,
        nan,
        what="holds values that are not finite, which turn all weights into NaN",
        allowed="finite numbers",
        cure="replace them; `seg check --fix` writes the mean of the picture there",
        fixable=True,
    )
    yield from _lonely(survey)


def _lonely(survey: Survey) -> Iterator[Finding]:
    yield from group(
        "image-without-mask",
        Severity.WARNING,
        [Hit(sample.image.file) for sample in survey.samples if sample.truth is None],
        what="has no mask",
        allowed="one mask for each image, of the same stem",
        cure="add the mask or remove the image; `seg check --fix` leaves it out",
        fixable=True,
    )
    yield from group(
        "mask-without-image",
        Severity.WARNING,
        [Hit(survey.name(path)) for path in survey.data.lonely_masks],
        what="has no image",
        allowed="one image for each mask, of the same stem",
        cure="add the image or remove the mask; `seg check --fix` leaves it out",
        fixable=True,
    )


def _after_at(trouble: str) -> str:
    """The place as the reader says it ("... at row 3, column 5 ...")."""
    _, found, place = trouble.partition(" at ")
    return place if found else WHOLE_FILE
