"""Annotations that contradict themselves, their pictures, or COCO's rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from segmentarium.engine.faults.annotated import file_flaws
from segmentarium.engine.faults.finding import WHOLE_FILE, Finding, Hit, Severity, group
from segmentarium.engine.faults.survey import Survey

CROWDED = 0.5  # share of annotations that are crowds from which the mark must mean something else
FEW = 20  # annotations below which no such share is taken
_OUT = "correct it; `seg check --fix` leaves the image out"

FAULTS: dict[str, tuple[Severity, str, str, str, bool]] = {
    "annotation-broken": (
        Severity.ERROR,
        "an annotation lacks what it must have, so an object of the picture is unknown",
        "id, image_id, category_id and segmentation; in panoptic files id and category_id",
        _OUT,
        True,
    ),
    "annotation-missing": (
        Severity.ERROR,
        "the picture of segment numbers is not described",
        "one annotation for each picture of numbers",
        "write the annotations again; `seg check --fix` leaves the image out",
        True,
    ),
    "image-id-twice": (
        Severity.ERROR,
        "one image id stands for two pictures, or one picture has two ids",
        "one id for each image",
        "number the images of the file anew",
        False,
    ),
    "category-unknown": (
        Severity.ERROR,
        "an annotation is of a category that is not listed, or that is no class of this set",
        "categories that the file lists and the description knows",
        "add the category to the list, or correct category_id",
        False,
    ),
    "polygon-too-short": (
        Severity.ERROR,
        "a polygon of fewer than three points, which encloses nothing",
        "three points or more",
        "`seg check --fix` takes the polygon out",
        True,
    ),
    "polygon-broken": (
        Severity.ERROR,
        "a polygon that is no list of numbers x, y, x, y ...",
        "finite numbers, an even count of them",
        _OUT,
        True,
    ),
    "rle-broken": (
        Severity.ERROR,
        "run-length code that does not fit its picture",
        "the height and width of the picture, and runs that add up to them",
        _OUT,
        True,
    ),
    "segment-unlisted": (
        Severity.ERROR,
        "pixels whose number is in no segments_info",
        "0 and the listed segments",
        "`seg check --fix` makes these pixels void",
        True,
    ),
    "segment-id-twice": (
        Severity.ERROR,
        "two segments of one number: nobody can tell whose the pixels are",
        "a number for each segment",
        _OUT,
        True,
    ),
    "segment-id-zero": (
        Severity.ERROR,
        "a segment of number 0 or below, while 0 is void: its pixels are lost",
        "numbers from 1",
        "write the picture again with other numbers; `seg check --fix` takes the segment out",
        True,
    ),
    "crowd-misuse": (
        Severity.WARNING,
        "iscrowd is used for something else than regions of many things",
        "iscrowd 1 with run-length code, for groups of things that nobody told apart",
        "write iscrowd 0 for single objects; what is a crowd is neither learned nor scored",
        False,
    ),
    "annotation-twice": (
        Severity.WARNING,
        "the same object is annotated twice, so one of the two can never be found",
        "each object once",
        "`seg check --fix` leaves the second out",
        True,
    ),
    "segment-without-pixels": (
        Severity.WARNING,
        "an annotation covers no pixel",
        "masks inside their picture",
        "`seg check --fix` leaves the annotation out",
        True,
    ),
    "box-contradicts-mask": (
        Severity.WARNING,
        "a box lies elsewhere than its mask; boxes are taken from masks here, yet not in other tools",
        "x, y, width and height of the smallest box around the mask",
        "`seg check --fix` writes the box of the mask",
        True,
    ),
    "segment-area": (
        Severity.WARNING,
        "the map has another number of pixels than segments_info says: segments were painted over",
        "the number of pixels",
        "look at the pictures; `seg check --fix` writes the number of pixels",
        True,
    ),
    "annotation-without-image": (
        Severity.WARNING,
        "annotations belong to no listed image",
        "image_ids of the list of images",
        "`seg check --fix` leaves them out",
        True,
    ),
    "annotated-image-missing": (
        Severity.WARNING,
        "images are listed that are not there",
        "a file for each listed image",
        "put them back; `seg check --fix` leaves them out of the list",
        True,
    ),
    "annotation-id-zero": (
        Severity.WARNING,
        "an annotation has the id 0, which pycocotools takes for 'not found' when it scores",
        "ids from 1",
        "`seg check --fix` numbers the annotations anew",
        True,
    ),
    "annotation-id-twice": (
        Severity.WARNING,
        "two annotations have one id, of which other tools keep the last",
        "an id for each annotation",
        "`seg check --fix` numbers the annotations anew",
        True,
    ),
}


def find(survey: Survey) -> Iterator[Finding]:
    """One finding for each kind of wrong annotation."""
    hits: dict[str, list[Hit]] = {fault: [] for fault in FAULTS}
    for sample in survey.samples:
        for fault in dict.fromkeys(wrong.fault for wrong in sample.wrongs):
            same = [wrong for wrong in sample.wrongs if wrong.fault == fault]
            hits[fault].append(Hit(sample.annotated, same[0].where, _and_more(same[0].note, len(same))))
    for fault, found in _of_files(survey).items():
        hits[fault] += found
    crowded = _all_crowds(survey)
    if crowded:
        hits["crowd-misuse"] = [crowded, *hits["crowd-misuse"]]
    for fault, (severity, what, allowed, cure, fixable) in FAULTS.items():
        grave = Severity.ERROR if fault == "crowd-misuse" and crowded else severity
        yield from group(fault, grave, hits[fault], what=what, allowed=allowed, cure=cure, fixable=fixable)


def _of_files(survey: Survey) -> dict[str, list[Hit]]:
    """Hits of what is wrong with files, one for each picture that is concerned, or for the file."""
    shown = {PurePosixPath(sample.image.file).name: sample.image.file for sample in survey.samples}
    notes: dict[tuple[str, str], list[str]] = {}
    for path, flaw in file_flaws(survey.data):
        name = shown.get(PurePosixPath(flaw.image).name) if flaw.image else None
        notes.setdefault((flaw.fault, name or survey.name(path)), []).append(flaw.note)
    hits: dict[str, list[Hit]] = {}
    for (fault, file), said in notes.items():
        hits.setdefault(fault, []).append(Hit(file, WHOLE_FILE, _and_more(said[0], len(said))))
    return hits


def _all_crowds(survey: Survey) -> Hit | None:
    """Where most annotations are crowds, the mark means something else, and little would be learned."""
    objects = sum(sample.objects for sample in survey.samples)
    crowds = sum(sample.crowds for sample in survey.samples)
    if objects < FEW or crowds < CROWDED * objects:
        return None
    first = next(sample for sample in survey.samples if sample.crowds)
    return Hit(first.annotated, WHOLE_FILE, f"{crowds} of {objects} annotations of the set are crowds")


def _and_more(note: str, count: int) -> str:
    return note if count == 1 else f"{note}, and {count - 1} more"
