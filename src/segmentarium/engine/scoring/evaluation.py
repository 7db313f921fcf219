"""What a model is worth on a split, whatever its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np

from segmentarium.errors import BadData
from segmentarium.metrics.undefined import plain
from segmentarium.values.classes import Classes
from segmentarium.values.files import atomic_json, ensure_folder

Interval: TypeAlias = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Brief:
    """The scores that are told in the midst of training; nan where undefined.

    ``headline`` names the one of ``mean`` that decides which weights are best; ``per_class`` is the same
    quantity for each class.
    """

    headline: str
    mean: dict[str, float]
    per_class: dict[str, float]

    @property
    def score(self) -> float:
        return self.mean[self.headline]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One image: ``score`` is what cases are ranked by, nan if it cannot be told."""

    stem: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """For machines; None where undefined."""
        return {"stem": self.stem, "score": plain(self.score)}


AnyCase = TypeVar("AnyCase", bound=Case)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a model is worth on a split.

    Attributes:
        cases: one an image, in the order of the data.
        intervals: 95% interval over images, by name of score.
        seconds: from the first image to the last score.
        notes: what the reader must know, such as classes without pixels.
        provenance: model, data and versions, as far as known.
    """

    task: ClassVar[str]
    headline: ClassVar[str]
    """The score that stands for the others."""

    split: str
    classes: Classes
    cases: tuple[Case, ...]
    intervals: dict[str, Interval]
    seconds: float
    notes: tuple[str, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)

    def means(self) -> dict[str, Any]:
        """The scores over all images, by name; None where undefined."""
        raise NotImplementedError

    def details(self) -> dict[str, Any]:
        """What else ``summary.json`` holds: ``per_class``, ``undefined``, ``definitions`` and more."""
        raise NotImplementedError

    @property
    def score(self) -> float:
        """The headline; nan if it is undefined."""
        value = self.means()[self.headline]
        return float("nan") if value is None else float(value)

    def worst(self, count: int = 20) -> tuple[Case, ...]:
        """The images of lowest score, the lowest first; images without a score are left out."""
        scored = [case for case in self.cases if not np.isnan(case.score)]
        return tuple(sorted(scored, key=lambda case: (case.score, case.stem))[:count])

    def best(self, count: int = 3) -> tuple[Case, ...]:
        """The images of highest score, the highest first."""
        return self.worst(len(self.cases))[::-1][:count]

    def typical(self, count: int = 3) -> tuple[Case, ...]:
        """The images around the median."""
        ranked = self.worst(len(self.cases))
        start = max(0, (len(ranked) - count) // 2)
        return ranked[start : start + count]

    def as_dict(self) -> dict[str, Any]:
        """For machines: what ``summary.json`` holds; None where a score is undefined, as JSON has no nan."""
        return {
            "task": self.task,
            "headline": self.headline,
            "split": self.split,
            "images": len(self.cases),
            "mean": self.means(),
            "intervals": {key: [plain(bound) for bound in bounds] for key, bounds in self.intervals.items()},
            **self.details(),
            "notes": list(self.notes),
            "classes": self.classes.to_json(),
            "cases": [case.as_dict() for case in self.cases],
            "seconds": round(self.seconds, 3),
            "provenance": self.provenance,
        }

    def write(self, folder: Path) -> Path:
        """Write ``summary.json`` into ``folder`` and return its path."""
        return atomic_json(ensure_folder(folder) / "summary.json", self.as_dict())


@runtime_checkable
class Scorer(Protocol):
    """Takes in predictions and truths one by one; keeps numbers, no pixels."""

    def update(self, stem: str, prediction: Any, truth: Any, /) -> None:
        """Add an image.

        Raises:
            BadMask: prediction and truth do not fit one another.
        """
        ...

    def merge(self, other: Any, /) -> None:
        """Add another part of the data."""
        ...

    def brief(self) -> Brief:
        """The scores so far."""
        ...

    def evaluation(self, split: str, /, *, seconds: float, rounds: int = 1000, seed: int = 0) -> Evaluation:
        """The scores so far with their intervals; ``rounds`` and ``seed`` are those of the bootstrap.

        Raises:
            BadData: there was no image, or nothing but void.
        """
        ...


def refuse_nothing(split: str, *, images: int) -> None:
    """Raise :class:`BadData` if there was no image."""
    if not images:
        raise BadData(
            f"split {split!r} has no image with a mask", allowed="at least one", cure="choose another split"
        )


def listed(names: Sequence[str], *, most: int = 8) -> str:
    """Names for a sentence, not too many of them."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
