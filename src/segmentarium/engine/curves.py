"""Curves for TensorBoard, where it is installed: one more reader of the events."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from segmentarium.engine.events import Evaluated, Event, Step


class Curves:
    """Writes the numbers of events to ``RUN/tensorboard``; does nothing where TensorBoard is missing.

    Use as a context: the file is opened at the first number and closed at the end.
    """

    def __init__(self, run: Path) -> None:
        self.folder = run / "tensorboard"
        self.available = find_spec("tensorboard") is not None
        self._writer: Any = None

    def __enter__(self) -> Curves:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, event: Event) -> None:
        """Take up what ``event`` says in numbers."""
        if not self.available:
            return
        match event:
            case Step():
                self._put(
                    event.step,
                    {"train/loss": event.loss, "train/lr": event.lr, **_named("train", event.terms)},
                )
            case Evaluated():
                each = f"val/{event.headline.removeprefix('mean_')}"
                self._put(event.step, {**_named("val", event.mean), **_named(each, event.per_class)})

    def _put(self, step: int, numbers: dict[str, float]) -> None:
        if self._writer is None:
            with warnings.catch_warnings():  # TensorBoard's own imports warn about their dependencies
                warnings.simplefilter("ignore")
                from torch.utils.tensorboard import SummaryWriter
            self._writer = SummaryWriter(str(self.folder))
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)


def _named(prefix: str, numbers: dict[str, Any]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in numbers.items() if value is not None}
