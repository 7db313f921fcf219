"""``seg classic METHOD IMAGE``: a verb for each classical method, made from its signature when called."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.main import get_command

from segmentarium.cli.app import Verbs, app
from segmentarium.cli.console import Voice, tell_rows
from segmentarium.cli.options import Json, Quiet

if TYPE_CHECKING:
    from segmentarium.engine.classic import Outlined
    from segmentarium.engine.methods import Method, Setting

_OWN = ("output", "overlay", "exist_ok", "as_json", "quiet")
"""What every method is told by the same words; no setting may be called so."""

MOST_NAMED = 8
"""Classes that a line names; of more, the largest."""


class Methods(Verbs):
    """The methods as verbs; only the one that is asked for is loaded."""

    kind = "method"

    def list_commands(self, ctx: Any) -> list[str]:
        """All names, family by family."""
        from segmentarium.classical import METHODS

        return [name for names in METHODS.values() for name in names]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The verb of a method; None if there is no such."""
        from segmentarium.engine.methods import method

        known = cmd_name.replace("-", "_").lower()
        return verb_of(method(known)) if known in self.list_commands(ctx) else None


group = typer.Typer(
    cls=Methods,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Segment without learning; 'seg classic METHOD --help' tells the settings of each method.",
)
app.add_typer(group, name="classic")


@group.callback()
def classic() -> None:
    """Nothing is said before the method."""


def verb_of(method: Method) -> Any:
    """A verb with an option for each setting of the method."""

    def run(**words: Any) -> None:
        own = {name: words.pop(name) for name in _OWN}
        _run(method.name, words.pop("images"), words, **own)

    run.__doc__ = method.line
    run.__signature__ = inspect.Signature(_parameters(method))  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in _parameters(method)}
    alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    alone.command(name=method.name, help=method.line)(run)
    return get_command(alone)


def _parameters(method: Method) -> list[inspect.Parameter]:
    images = Annotated[list[str], typer.Argument(help="Files, folders or globs.", show_default=False)]
    output = Annotated[Path, typer.Option("--output", "-o", help="Folder for labels and overlays.")]
    overlay = Annotated[bool, typer.Option("--overlay/--no-overlay", help="Draw the result, too.")]
    exist_ok = Annotated[bool, typer.Option("--exist-ok", help="Replace files that no method wrote.")]
    return [
        _parameter("images", images, inspect.Parameter.empty),
        *(_parameter(s.name, _annotation(s), _default(s)) for s in method.settings),
        _parameter("output", output, Path("classic") / method.name),
        _parameter("overlay", overlay, True),
        _parameter("exist_ok", exist_ok, False),
        _parameter("as_json", Json, False),
        _parameter("quiet", Quiet, False),
    ]


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _annotation(setting: Setting) -> Any:
    """How the command line writes a setting: tuples and points with commas, maps as files."""
    flag = setting.name.replace("_", "-")
    names = [f"--{flag}/--no-{flag}"] if setting.kind == "bool" else [f"--{flag}"]
    metavar = {"numbers": "N,N,...", "points": "X,Y", "map": "FILE"}.get(setting.kind)
    option = typer.Option(*names, help=setting.help, metavar=metavar)
    if setting.choices:
        return Annotated[Literal[setting.choices] | None, option]
    kinds: dict[str, Any] = {
        "int": int,
        "float": float,
        "bool": bool,
        "str": str,
        "numbers": str,
        "map": Path,
    }
    kind = list[str] if setting.kind == "points" else kinds[setting.kind]
    return Annotated[kind, option] if setting.required else Annotated[kind | None, option]


def _default(setting: Setting) -> Any:
    if setting.required:
        return inspect.Parameter.empty
    if setting.kind == "numbers":
        return ",".join(f"{number:g}" for number in setting.default or ()) or None
    return None if setting.kind == "points" else setting.default


def _run(
    name: str,
    images: list[str],
    settings: dict[str, Any],
    *,
    output: Path,
    overlay: bool,
    exist_ok: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from segmentarium.engine.classic import classic as run

    voice = Voice(as_json=as_json, quiet=quiet)
    given = {key: value for key, value in settings.items() if value is not None}
    rows = run(name, images, out=output, settings=given, overlay=overlay, overwrite=exist_ok)
    tell_rows(rows, _tell, voice, output)


def _tell(row: Outlined, voice: Voice) -> None:
    from segmentarium.cli.console import shown

    if row.error:
        voice.say(f"[red]{shown(row.source)}[/red]: {shown(row.error)}")
        return
    largest = sorted(row.shares.items(), key=lambda one: -one[1])[:MOST_NAMED]
    named = largest if len(largest) < len(row.shares) else list(row.shares.items())
    found = ", ".join(f"{shown(name)} {share:.1%}" for name, share in named)
    if len(named) < len(row.shares):
        found += f" and {len(row.shares) - len(named)} more"
    voice.say(f"{shown(row.source)}: {found or f'{row.regions} regions'}, {row.seconds:.2f} s")
    for note in row.notes:
        voice.say(f"  [dim]{shown(note)}[/dim]")
