"""What the doctor reports: one finding per fault, however many files have it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

WHOLE_FILE = "whole file"


class Severity(StrEnum):
    """ERROR: training on it is wrong for sure. WARNING: somebody should look."""

    ERROR = "error"
    WARNING = "warning"


class Hit(NamedTuple):
    """One file that has a fault: its path from the root of the data set, where in it, and what was seen."""

    file: str
    where: str = WHOLE_FILE
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault with every file that has it.

    ``fault`` is a stable kebab-case code. ``files`` are relative to the data set; ``places`` says where in
    each. ``message`` is what came, ``allowed`` what would have been right, ``cure`` one command or sentence.
    ``fixable`` faults have a safe cure that ``--fix`` applies to a copy.
    """

    fault: str
    severity: Severity
    message: str
    allowed: str
    cure: str
    files: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    fixable: bool = False
    picture: Path | None = None

    @property
    def count(self) -> int:
        """Number of files."""
        return len(self.files)

    @property
    def where(self) -> str | None:
        """The place in the first file: ``x=3, y=5``, a box, or ``whole file``."""
        return self.places[0] if self.places else None

    def as_dict(self) -> dict[str, object]:
        """The same for machines."""
        return {
            "fault": self.fault,
            "severity": str(self.severity),
            "count": self.count,
            "files": list(self.files),
            "where": self.where,
            "places": list(self.places),
            "message": self.message,
            "allowed": self.allowed,
            "cure": self.cure,
            "fixable": self.fixable,
            "picture": str(self.picture) if self.picture else None,
        }


def group(
    fault: str,
    severity: Severity,
    hits: Iterable[Hit],
    *,
    what: str,
    allowed: str,
    cure: str,
    fixable: bool = False,
) -> list[Finding]:
    """One finding for all ``hits``, or none; the message ends with what was seen in the first file."""
    hits = list(hits)
    if not hits:
        return []
    first = hits[0]
    seen = f" ({first.file}: {first.note})" if first.note else f" ({first.file})"
    number = "1 file" if len(hits) == 1 else f"{len(hits)} files"
    return [
        Finding(
            fault=fault,
            severity=severity,
            message=f"{number}: {what}{seen}",
            allowed=allowed,
            cure=cure,
            files=tuple(hit.file for hit in hits),
            places=tuple(hit.where for hit in hits),
            fixable=fixable,
        )
    ]


def at(x: int, y: int) -> str:
    """A pixel, in words that a report and a machine can both read."""
    return f"x={x}, y={y}"
