"""What a training run says: values that the terminal, the log and the browser all read.

    for event in train(recipe, out=Path("run")):
        print(event.as_dict())

A line of ``events.jsonl`` is one ``as_dict``; :func:`event_from_dict` reads it back.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal

from segmentarium.errors import BadRun


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened; ``kind`` names it in JSON."""

    kind: ClassVar[str] = "event"

    def as_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """Training begins, or goes on after ``step`` finished steps."""

    kind: ClassVar[str] = "started"
    step: int
    steps: int
    model: str
    parameters: int
    device: str
    why: str
    train_images: int
    val_images: int
    classes: tuple[str, ...]
    out: str
    task: str = "semantic"


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """One optimiser step is done; ``step`` counts from 1. ``terms`` are the unweighted parts of ``loss``.

    ``images_s`` (images a second) and ``eta_s`` (seconds to the end) are measured, as ``seconds`` elsewhere;
    all else is equal in runs of one recipe that are deterministic.
    """

    kind: ClassVar[str] = "step"
    step: int
    steps: int
    loss: float
    lr: float
    terms: dict[str, float] = field(default_factory=dict)
    images_s: float = 0.0
    eta_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Evaluated(Event):
    """Scores on the validation split after ``step`` steps; ``None`` where one is undefined.

    ``headline`` names the one of ``mean`` that decides which weights are best: ``mean_iou``, ``ap``, ``pq``
    or, of volumes, ``mean_dice``. ``per_class`` has that quantity for each class.
    """

    kind: ClassVar[str] = "evaluated"
    step: int
    headline: str = "mean_iou"
    mean: dict[str, float | None] = field(default_factory=dict)
    per_class: dict[str, float | None] = field(default_factory=dict)
    best: bool = False
    seconds: float = 0.0

    @property
    def score(self) -> float:
        """The headline; nan if it is undefined."""
        value = self.mean.get(self.headline)
        return math.nan if value is None else value


@dataclass(frozen=True, kw_only=True)
class Checkpointed(Event):
    """The state after ``step`` steps is safe on the disk; ``path`` is the weight file."""

    kind: ClassVar[str] = "checkpointed"
    step: int
    path: str


@dataclass(frozen=True, kw_only=True)
class Note(Event):
    """A sentence for the reader."""

    kind: ClassVar[str] = "note"
    text: str
    level: Literal["info", "warning"] = "info"


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The run is over: ``reason`` is ``done``, ``interrupted`` or ``time``; ``best`` is the best headline."""

    kind: ClassVar[str] = "finished"
    step: int
    reason: Literal["done", "interrupted", "time"]
    best: float | None
    weights: str
    seconds: float = 0.0


_KINDS: dict[str, type[Event]] = {k.kind: k for k in (Started, Step, Evaluated, Checkpointed, Note, Finished)}


def event_from_dict(line: dict[str, Any]) -> Event:
    """Read what ``as_dict`` wrote; keys of later versions are passed over.

    Raises:
        BadRun: the kind is unknown, or a field is missing.
    """
    kind = _KINDS.get(str(line.get("kind")))
    if kind is None:
        raise BadRun(f"event of kind {line.get('kind')!r}", allowed=", ".join(_KINDS))
    known = {f.name for f in fields(kind)}
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in line.items() if key in known}
    try:
        return kind(**values)
    except TypeError as error:
        raise BadRun(f"event {line}: {error}") from error
