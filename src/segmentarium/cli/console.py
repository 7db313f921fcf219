"""What a person reads: the console, progress bars for events, tables; and what a machine reads: JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

if TYPE_CHECKING:  # rich takes 0.2 s to import, which `seg --help` must not pay
    from rich.console import Console
    from rich.progress import Progress


def shown(value: Any) -> str:
    """``value`` as text in which square brackets are brackets, not markup: file names may hold them."""
    return str(value).replace("\\", "\\\\").replace("[", "\\[")


class Voice:
    """How a verb speaks: in words, in JSON, or not at all.

    Words go to standard output; with ``json`` standard output carries nothing but JSON and words are dropped.
    """

    def __init__(self, *, as_json: bool, quiet: bool) -> None:
        self.as_json, self.quiet = as_json, quiet
        self.chatty = not (as_json or quiet)

    @cached_property
    def console(self) -> Console:
        """Where words go."""
        from rich.console import Console

        return Console(highlight=False, soft_wrap=True)

    def say(self, *words: Any) -> None:
        """Print for people; silent with ``--json`` or ``--quiet``."""
        if self.chatty:
            self.console.print(*words)

    def result(self, value: Any) -> None:
        """Print ``value`` as JSON when machines listen."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")

    def line(self, value: Any) -> None:
        """Print one JSON line of a stream when machines listen."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
            sys.stdout.flush()

    def table(self, title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table for people; numbers are told by their head's leading '>'."""
        from rich.table import Table

        table = Table(
            title=title,
            title_justify="left",
            title_style="bold",
            header_style="bold",
            box=None,
            pad_edge=False,
        )
        for place, head in enumerate(heads):
            justify: Literal["left", "right"] = "right" if head.startswith(">") else "left"
            table.add_column(head.lstrip(">"), justify=justify, no_wrap=place == 0)
        for row in rows:
            table.add_row(*row)
        self.say(table)

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Say once why it takes so long, should loops be compiled for this machine meanwhile."""
        from numba.core.event import Event, RecordingListener, install_listener

        voice = self

        class Told(RecordingListener):  # type: ignore[misc]
            def on_start(self, event: Event) -> None:
                if not self.buffer:
                    voice.say("[dim]compiling for this machine, once; it takes some seconds[/dim]")
                super().on_start(event)

        with install_listener("numba:compile", Told()):
            yield

    def progress(self) -> Progress:
        """A progress bar with count, time spent and time left; invisible when nobody watches."""
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.chatty,
        )


def tell_rows(
    rows: Iterable[Any], tell: Callable[[Any, Voice], None], voice: Voice, output: Path
) -> NoReturn:
    """Tell of each file as it is written to ``output``; the exit code is 1 if one could not be."""
    told, failed = [], 0
    with voice.compiling():
        for row in rows:
            failed += row.error is not None
            told.append(row.as_dict())
            tell(row, voice)
    voice.result(told)
    voice.say(f"\n{len(told) - failed} of {len(told)} written to [bold]{output}[/bold]")
    sys.exit(1 if failed else 0)
