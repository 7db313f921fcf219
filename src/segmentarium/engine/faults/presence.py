"""Classes that are nowhere, or only on one side of the split; masks that teach nothing."""

from __future__ import annotations

from collections.abc import Iterator

from segmentarium.data.dataset import MaskReading
from segmentarium.engine.faults.finding import Finding, Hit, Severity, group
from segmentarium.engine.faults.survey import Survey, Truth
from segmentarium.values.classes import VOID

SHOWN = 8  # class names written out


def find(survey: Survey) -> Iterator[Finding]:
    """Missing classes; empty masks; gaps between declared ids."""
    ignored = frozenset(survey.data.ignore_ids) | {VOID}
    yield from group(
        "all-ignore-mask",
        Severity.WARNING,
        [Hit(truth.file) for truth in survey.truths() if _all_void(truth, survey)],
        what="every pixel of the mask is void, so nothing is learned from this image",
        allowed="masks with at least one class",
        cure="label these images or leave them out",
    )
    if 0 in survey.ids and len(survey.ids) > 1:
        yield from group(
            "all-background-mask",
            Severity.WARNING,
            [Hit(truth.file) for truth in survey.truths() if _only_ground(truth, ignored)],
            what=f"the mask holds nothing but {survey.data.classes[_ground(survey)].name!r}",
            allowed="empty masks only where the image truly shows nothing",
            cure="look at the pictures; label what was forgotten",
        )
    if any(True for _ in survey.truths()):
        yield from _missing(survey)
    yield from _gaps(survey)


def _all_void(truth: Truth, survey: Survey) -> bool:
    """Void everywhere; a picture without objects is none where only objects are drawn."""
    if survey.data.reading is MaskReading.COCO:
        return False
    return bool(truth.counts) and set(truth.counts) <= {*survey.data.ignore_ids, VOID}


def _only_ground(truth: Truth, ignored: frozenset[int]) -> bool:
    return set(truth.counts) - ignored == {0} and not truth.odd


def _ground(survey: Survey) -> int:
    return survey.data.classes.ids.index(0)


def _missing(survey: Survey) -> Iterator[Finding]:
    names = {c.id: c.name for c in survey.data.classes if c.id in survey.ids}
    total = survey.class_pixels()
    nowhere = [name for identity, name in names.items() if not total[identity]]
    if nowhere:
        yield _about_classes(
            "class-without-pixels",
            f"{_listed(nowhere)} {'has' if len(nowhere) == 1 else 'have'} no pixel in any mask",
            "remove the class from the description, or add images that show it",
        )
    for split in ("train", "val"):
        pairs = survey.data.splits.get(split)
        here = survey.class_pixels(split)
        absent = [name for i, name in names.items() if total[i] and not here[i]]
        if pairs and absent:
            cure = "it cannot be learned" if split == "train" else "it cannot be scored"
            yield _about_classes(
                "class-absent-from-split",
                f"{_listed(absent)} {'is' if len(absent) == 1 else 'are'} absent from {split}",
                f"move images that show {'it' if len(absent) == 1 else 'them'} into {split}: without, {cure}",
            )


def _gaps(survey: Survey) -> Iterator[Finding]:
    """Ids need not be consecutive here, yet other tools demand it."""
    ids = sorted(survey.ids)
    missing = sorted(set(range(ids[0], ids[-1] + 1)) - set(ids) - set(survey.data.ignore_ids)) if ids else []
    if survey.indexed and missing and survey.data.layout.count("images"):
        yield Finding(
            fault="class-ids-with-gaps",
            severity=Severity.WARNING,
            message=f"class ids {', '.join(map(str, ids[:SHOWN]))} leave out {missing[0]}",
            allowed="consecutive ids",
            cure="nothing to do here, the reader maps ids to positions; other tools may train empty classes",
        )


def _about_classes(fault: str, message: str, cure: str) -> Finding:
    return Finding(
        fault=fault,
        severity=Severity.WARNING,
        message=message,
        allowed="every class in every split",
        cure=cure,
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:SHOWN]))
    count = "class" if len(names) == 1 else f"{len(names)} classes"
    return f"{count} {shown}{', ...' if len(names) > SHOWN else ''}"
