"""The program ``seg``: grammar, exit codes and the habits of other tools' users.

Exit codes: 0 done, 1 a ``SegError`` told in one sentence, 2 wrong usage; ``seg check`` has its own: 0 clean,
1 warnings, 2 errors. ``--debug`` shows the trace.
"""

from __future__ import annotations

import json
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from segmentarium import __version__
from segmentarium.errors import SegError

_ASSIGNMENT = re.compile(r"(?P<key>[a-z][a-z_-]*)=(?P<value>.*)", re.DOTALL)


class Verbs(TyperGroup):
    """A group of verbs that offers the nearest one for a word it does not know."""

    kind = "verb"

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb; raises a usage error (exit 2) that names the nearest."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            near = get_close_matches(args[0], known, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"unknown {self.kind} {args[0]!r}.{hint} {self.kind.title()}s: {', '.join(known)}.")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="seg",
    cls=Verbs,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,  # plain help: rich costs 0.3 s at every start
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Segmentarium: image segmentation that is never silently wrong. Start with: seg demo",
)


def _tell_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"segmentarium {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def face(
    version: bool = typer.Option(
        False, "--version", callback=_tell_version, is_eager=True, help="Print the version."
    ),
    debug: bool = typer.Option(False, "--debug", help="Show the whole trace of an error."),
) -> None:
    """Options that stand before the verb."""


def spoken_as_flags(words: list[str]) -> list[str]:
    """Turn ``epochs=50`` into ``--epochs 50``, a habit from other tools; files and values of ``--set`` stay.

    >>> spoken_as_flags(["train", "data", "epochs=50", "--set", "train.lr=1e-3"])
    ['train', 'data', '--epochs', '50', '--set', 'train.lr=1e-3']
    """
    spoken: list[str] = []
    for word in words:
        match = _ASSIGNMENT.fullmatch(word)
        is_value = bool(spoken) and spoken[-1] == "--set"
        if match and not is_value and not Path(word).exists():
            spoken += [f"--{match['key'].replace('_', '-')}", match["value"]]
        else:
            spoken.append(word)
    return spoken


def main(words: list[str] | None = None) -> None:
    """Run ``seg``; never returns."""
    from segmentarium.cli import (  # noqa: I001  (registers the verbs, in the order of the help)
        verbs,  # noqa: F401
        networks,  # noqa: F401
        classical,  # noqa: F401
    )

    words = spoken_as_flags(sys.argv[1:] if words is None else words)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        app(words, prog_name="seg")
    except SegError as error:
        if debug:
            raise
        _tell(error, as_json="--json" in words)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("seg: stopped\n")
        sys.exit(130)


def _tell(error: SegError, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(error.as_dict(), ensure_ascii=False) + "\n")
    sys.stderr.write(f"seg: {error}\n")
