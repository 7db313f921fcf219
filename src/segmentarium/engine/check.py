"""The data set doctor: reads every file once, and says what would make training silently wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from segmentarium.data import open_data
from segmentarium.data.dataset import DataSet, MaskReading
from segmentarium.engine.faults import FAMILIES
from segmentarium.engine.faults.finding import Finding, Severity
from segmentarium.engine.faults.gather import survey
from segmentarium.engine.faults.illustrate import illustrate
from segmentarium.engine.faults.repair import REWRITTEN_MASK, repair
from segmentarium.engine.faults.rewrite import Repair
from segmentarium.engine.faults.survey import Survey
from segmentarium.errors import BadData


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What the doctor found.

    ``facts`` describe the data set as it was read. Where a corrected copy was asked for, ``repairs`` tell
    what was done to which file, and ``after`` is what the doctor finds in the copy. ``seen`` is what he
    remembers of the files.
    """

    name: str
    facts: dict[str, object]
    findings: tuple[Finding, ...]
    seconds: float
    notes: tuple[str, ...] = ()
    repairs: tuple[Repair, ...] = ()
    after: CheckReport | None = field(default=None, repr=False)
    seen: Survey | None = field(default=None, repr=False, compare=False)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings with which training is wrong for sure."""
        return tuple(f for f in self.findings if f.severity is Severity.ERROR)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Findings that somebody should look at."""
        return tuple(f for f in self.findings if f.severity is Severity.WARNING)

    @property
    def exit_code(self) -> int:
        """0 clean, 1 warnings, 2 errors."""
        return 2 if self.errors else 1 if self.warnings else 0

    def illustrated(self, folder: Path) -> CheckReport:
        """The same with a picture of each finding in ``folder``; raises ``CannotWrite``."""
        if self.seen is None or not self.findings:
            return self
        return replace(self, findings=illustrate(self.findings, self.seen, folder))

    def as_dict(self) -> dict[str, object]:
        """The same for machines."""
        return {
            "name": self.name,
            "facts": self.facts,
            "notes": list(self.notes),
            "findings": [finding.as_dict() for finding in self.findings],
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "exit_code": self.exit_code,
            "seconds": round(self.seconds, 3),
            "repairs": [repair.as_dict() for repair in self.repairs],
            "after": self.after.as_dict() if self.after else None,
        }


def check(
    path: str | Path,
    *,
    fix: Path | None = None,
    pictures: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Examine the data set in the folder ``path``.

    Args:
        fix: an empty or new folder for a corrected copy; the data set itself is never touched.
        pictures: a folder for one small picture per finding.
        progress: is told (files done, files in all).

    Raises:
        BadData: no such folder, nothing that looks like a data set, not one mask, ``fix`` is not empty, or is
            asked for volumes.
        CannotWrite: no permission or space for the copy or the pictures.
    """
    start = time.perf_counter()
    data = open_data(path)
    if data.reading is MaskReading.REGIONS:
        note = "not examined: regions without classes"
        return _brief(data, (), start, note)
    if data.reading is MaskReading.VOLUME:
        from segmentarium.engine.faults.volumes import examine_volumes

        if fix is not None:
            raise BadData("volumes are not corrected here", cure="see the cures of `seg check` without --fix")
        return _brief(data, examine_volumes(data, progress), start)
    if not any(pair.mask for pairs in data.splits.values() for pair in pairs):
        raise BadData(
            f"{path} holds images but not one mask", allowed="a mask for each image", cure="add the masks"
        )
    seen = survey(data, progress)
    findings = examine(seen)
    if pictures is not None:
        findings = illustrate(findings, seen, pictures)
    repairs: tuple[Repair, ...] = ()
    after = None
    if fix is not None:
        repairs = repair(findings, seen, fix)
        after = check(fix)
    return CheckReport(
        name=data.name,
        facts=_facts(seen),
        notes=data.notes,
        findings=findings,
        seconds=time.perf_counter() - start,
        repairs=repairs,
        after=after,
        seen=seen,
    )


def examine(seen: Survey) -> tuple[Finding, ...]:
    """What all families of faults find, errors first."""
    found = [_curable(finding, seen.data) for family in FAMILIES for finding in family(seen)]
    return tuple(sorted(found, key=lambda finding: finding.severity is not Severity.ERROR))


def _curable(finding: Finding, data: DataSet) -> Finding:
    """Annotations are not turned or translated like masks."""
    drawn = data.reading in (MaskReading.COCO, MaskReading.PANOPTIC_RGB)
    if not drawn or finding.fault not in REWRITTEN_MASK:
        return finding
    return replace(finding, fixable=False, cure="correct it where the annotations were made")


def _brief(data: DataSet, findings: tuple[Finding, ...], start: float, *notes: str) -> CheckReport:
    """A report without pictures and cures, on what is no picture."""
    return CheckReport(
        name=data.name,
        facts=_shape(data),
        findings=findings,
        seconds=time.perf_counter() - start,
        notes=(*data.notes, *notes),
    )


def _shape(data: DataSet) -> dict[str, object]:
    return {
        "looks_like": data.describe(),
        "layout": data.layout,
        "reading": str(data.reading),
        "splits": {name: len(pairs) for name, pairs in data.splits.items()},
        "tasks": list(data.tasks),
        "classes": list(data.classes.names),
        "ignore_ids": list(data.ignore_ids),
    }


def _facts(seen: Survey) -> dict[str, object]:
    pixels = seen.class_pixels()
    total = sum(pixels.values()) or 1
    shares = {c.name: round(pixels[c.id] / total, 5) for c in seen.data.classes}
    return {
        **_shape(seen.data),
        "image_sizes": _span(p.size for p in seen.pictures()),
        "channels": sorted({p.channels for p in seen.pictures()}),
        "types": sorted({p.dtype for p in seen.pictures()}),
        "class_shares": shares,
    }


def _span(sizes: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Smallest and largest height and width."""
    found = list(sizes)
    return [[f(s[i] for s in found) for i in (0, 1)] for f in (min, max)] if found else []
