"""Mask values that are not what was declared: each mask gets the one diagnosis that explains it best."""

from __future__ import annotations

from collections.abc import Iterator

from segmentarium.data.dataset import MaskReading
from segmentarium.engine.faults.finding import WHOLE_FILE, Finding, Hit, Severity, at, group
from segmentarium.engine.faults.survey import Survey, Truth

WHITE = 255
LINE = 0.6  # share of odd pixels that must lie on thin lines to be called interpolated
CLIMB = 0.3  # share of edges that must climb to be called interpolated
SEVERAL = 3  # in-between values needed

FAULTS: dict[str, tuple[Severity, str, str, str, bool]] = {
    "jpeg-mask": (
        Severity.ERROR,
        "the mask is a JPEG, whose compression invents values along every edge",
        "a lossless format, best PNG",
        "export as PNG; `seg check --fix` snaps values to the nearest class",
        True,
    ),
    "colour-mask": (
        Severity.ERROR,
        "the mask is stored in another way than the others: colours where numbers are read, or the reverse",
        "one class id per pixel in all masks, or colours of the legend in all",
        "export class ids; `seg check --fix` does so where the legend knows the colours",
        True,
    ),
    "palette-order": (
        Severity.ERROR,
        "the palette is sorted otherwise than the class ids, so positions and colours mean different classes",
        "a palette whose position is the class id",
        "`seg check --fix` writes the ids that the colours mean",
        True,
    ),
    "zero-255": (
        Severity.ERROR,
        "the mask holds 0 and 255 instead of class ids",
        "declared class ids",
        "`seg check --fix` writes 1 for 255",
        True,
    ),
    "off-by-one-ids": (
        Severity.ERROR,
        "all ids are one away from those declared",
        "declared class ids",
        "`seg check --fix` moves the ids by one",
        True,
    ),
    "interpolated-labels": (
        Severity.ERROR,
        "in-between values on thin lines along edges: the mask was resized or smoothed like a picture",
        "declared class ids, resized by nearest neighbour",
        "export again; `seg check --fix` gives these pixels the majority of their neighbours",
        True,
    ),
    "ignore-undeclared": (
        Severity.ERROR,
        "255 stands in the mask, usually meaning void, yet it is neither declared as ignored nor a class",
        "declared class ids",
        'if it means void, add "ignore_index": 255 to meta.json (`seg check --fix` does)',
        True,
    ),
    "ids-undeclared": (
        Severity.ERROR,
        "the mask holds values that are no declared class",
        "declared class ids and ignore ids",
        "declare the classes in meta.json, or correct the mask",
        False,
    ),
    "ids-overflow": (
        Severity.ERROR,
        "8 bits are full and numbers are used again: more than 255 objects were numbered in an 8-bit mask",
        "16-bit object numbers",
        "export again as 16-bit PNG or TIFF: which object was which is lost here",
        False,
    ),
}


def find(survey: Survey) -> Iterator[Finding]:
    """One finding for each kind of wrong value."""
    hits: dict[str, list[Hit]] = {fault: [] for fault in FAULTS}
    for truth in survey.truths():
        fault = diagnose(truth, survey)
        if fault:
            hits[fault].append(Hit(truth.file, _place(truth, fault), _note(truth, fault)))
    for fault, (severity, what, allowed, cure, fixable) in FAULTS.items():
        ids = ", ".join(map(str, sorted(survey.ids)[:12]))
        shown = f"{allowed} ({ids})" if "declared" in allowed else allowed
        if fault == "colour-mask" and _understood(survey):
            severity = Severity.WARNING
        yield from group(fault, severity, hits[fault], what=what, allowed=shown, cure=cure, fixable=fixable)


def diagnose(truth: Truth, survey: Survey) -> str:
    """The fault code that explains the values of a mask best, or nothing."""
    if truth.format == "JPEG":
        return "jpeg-mask"
    if survey.data.reading in (MaskReading.PANOPTIC_RGB, MaskReading.COCO):
        return ""
    if _stored_otherwise(truth, survey):
        return "colour-mask"
    if truth.permuted:
        return "palette-order"
    if survey.data.reading is MaskReading.INSTANCES:
        return "ids-overflow" if truth.scattered >= 8 else ""
    if is_zero_255(truth, survey):
        return "zero-255"
    if offset(truth, survey):
        return "off-by-one-ids"
    if is_interpolated(truth):
        return "interpolated-labels"
    if set(truth.odd) == {WHITE}:
        return "ignore-undeclared"
    return "ids-undeclared" if truth.odd else ""


def is_zero_255(truth: Truth, survey: Survey) -> bool:
    """Only 0 and 255 in a set that has a class 1, and in which 255 is not void beside real classes."""
    if (
        truth.colors
        or WHITE not in truth.counts
        or not set(truth.counts) <= {0, WHITE}
        or WHITE in survey.ids
    ):
        return False
    if WHITE in survey.data.ignore_ids and len(survey.ids) > 2:
        return False
    if set(truth.counts) == {WHITE} and WHITE in survey.data.ignore_ids:
        return False
    return 1 in survey.ids and not any(
        WHITE in other.counts and set(other.counts) & (survey.ids - {0}) for other in survey.truths()
    )


def offset(truth: Truth, survey: Survey) -> int:
    """How far the ids of a mask lie from the declared ones: 1, -1, or 0 where they do not."""
    ids, found = survey.ids, set(truth.counts) - set(survey.data.ignore_ids)
    if truth.colors or not ids or not found:
        return 0
    low, high = min(ids), max(ids)
    if high + 1 in found and found <= {i + 1 for i in ids} and _unused(low, survey, step=1):
        return 1
    if low - 1 in found and low > 0 and found <= {i - 1 for i in ids} and _unused(high, survey, step=-1):
        return -1
    return 0


def _unused(edge: int, survey: Survey, *, step: int) -> bool:
    """No mask whose ids reach beyond the declared ones uses the id at the other end."""
    beyond = max(survey.ids) + 1 if step > 0 else min(survey.ids) - 1
    return not any(beyond in truth.counts and edge in truth.counts for truth in survey.truths())


def is_interpolated(truth: Truth) -> bool:
    """Odd values on thin lines, or edges that climb over declared values between."""
    if truth.colors:
        return bool(truth.odd) and truth.thin_odd >= LINE and truth.colors > 2 * SEVERAL + len(truth.classes)
    odd = set(truth.odd)
    between = {v for v in odd if min(truth.counts) < v < max(truth.counts)}
    if len(between) >= SEVERAL and truth.thin_odd >= LINE and truth.ramp > CLIMB / 2:
        return True
    return truth.ramp >= CLIMB and not odd - between


def _stored_otherwise(truth: Truth, survey: Survey) -> bool:
    """Colours where most masks are numbers; or numbers, without a palette, where most are colours."""
    if 2 * sum(bool(other.colors) for other in survey.truths()) > len(list(survey.truths())):
        return not truth.colors and truth.mode != "P"
    return bool(truth.colors)


def _understood(survey: Survey) -> bool:
    """Palettes and true colours side by side are both read by one legend."""
    mixed = all(truth.legend or truth.mode == "P" for truth in survey.truths())
    return survey.data.reading is MaskReading.COLOUR and mixed


def _place(truth: Truth, fault: str) -> str:
    if fault in ("jpeg-mask", "off-by-one-ids", "zero-255", "colour-mask", "palette-order", "ids-overflow"):
        return WHOLE_FILE
    place = next(iter(truth.odd.values()), None) or truth.ramp_at
    return at(*place) if place else WHOLE_FILE


def _note(truth: Truth, fault: str) -> str:
    if truth.colors:
        return f"{truth.colors} colours"
    if fault == "ids-overflow":
        return f"{len(truth.counts) - 1} numbers, {truth.scattered} pieces more than that"
    values = sorted(truth.odd) if fault in ("ids-undeclared", "ignore-undeclared") else sorted(truth.counts)
    shown = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
    return f"values {shown}"
