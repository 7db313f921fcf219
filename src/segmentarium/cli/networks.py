"""The verbs about networks: which there are, what is known of one, how fast they are here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segmentarium.cli.app import app
from segmentarium.cli.console import Voice
from segmentarium.cli.options import Device, Json, Quiet

if TYPE_CHECKING:
    from segmentarium.engine.catalogue import Entry


@app.command()
def models(
    task: Annotated[str | None, typer.Option(help="Only networks for this task, such as semantic.")] = None,
    family: Annotated[str | None, typer.Option(help="Only networks of this family, such as dilated.")] = None,
    every: Annotated[bool, typer.Option("--all", help="A line for every variant.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List every network and every weight that can be named."""
    from segmentarium.engine.catalogue import models as run

    voice = Voice(as_json=as_json, quiet=quiet)
    entries = run(task=task, family=family)
    voice.result([entry.as_dict() for entry in entries])
    if every:
        heads = ("name", ">million", "learns", "weights", "also takes those of")
        voice.table("Models", heads, _each(entries))
    else:
        _tell_families(entries, voice)
    voice.say("\nNext: [bold]seg show unet[/bold], or [bold]seg train DATA --model unet-small[/bold]")


def _each(entries: Sequence[Entry]) -> Iterator[tuple[str, ...]]:
    """A line for each variant; the last cell tells whose weights it takes over."""
    for entry in entries:
        weights = ", ".join(entry.weights)
        if weights:
            weights += f" ({entry.licence.rpartition('weights ')[2]})"
        tasks, sources = ", ".join(entry.tasks), ", ".join(entry.sources)
        yield (entry.name, _millions(entry), tasks, weights or "-", sources or "-")


def _tell_families(entries: Sequence[Entry], voice: Voice) -> None:
    """A table for each family, a line in it for each architecture, in the order of the years."""
    ordered = sorted(entries, key=lambda entry: entry.family)
    for family, group in groupby(ordered, key=lambda entry: entry.family):
        papers = [list(own) for _, own in groupby(group, key=lambda entry: entry.architecture)]
        papers.sort(key=lambda own: own[0].year)
        heads = ("name", ">year", ">million", "learns", "variants, @weights")
        voice.table(f"\n{family}", heads, map(_together, papers))


def _together(own: Sequence[Entry]) -> tuple[str, ...]:
    """The first variant of an architecture, and the names of the others."""
    first = own[0]
    others = [entry.name.partition("-")[2] for entry in own[1:]]
    weights = [f"@{name}" for entry in own for name in entry.weights]
    return first.name, str(first.year), _millions(first), first.tasks[0], ", ".join([*others, *weights])


def _millions(entry: Entry) -> str:
    return f"{entry.parameters / 1e6:.2f}" if entry.parameters else "-"


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A name from 'seg models'.", show_default=False)],
    figure: Annotated[
        Path | None, typer.Option(help="Draw the network, from its code, into this .svg file.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show one network: paper, variants, weights, scores, licence."""
    from segmentarium.engine.catalogue import show as run

    voice = Voice(as_json=as_json, quiet=quiet)
    facts = run(model).as_dict()
    if figure:
        from segmentarium.engine.catalogue import draw

        draw(model, figure)
        facts["figure"] = str(figure)
    voice.result(facts)
    voice.table(model, ("what", "value"), [(key, _in_words(value)) for key, value in facts.items()])


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_in_words(inner)}" for key, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_in_words, value))
    return "-" if value is None else str(value)


@app.command()
def bench(
    models: Annotated[
        list[str], typer.Argument(help="Names from 'seg models', run folders or weights.", show_default=False)
    ],
    imgsz: Annotated[int, typer.Option(help="Side of the image in pixels; of volumes a quarter.")] = 512,
    batch: Annotated[int, typer.Option(help="Images at a time.")] = 1,
    classes: Annotated[int, typer.Option(help="Of untrained networks.")] = 21,
    channels: Annotated[int, typer.Option(help="Of the images of untrained networks.")] = 3,
    precision: Annotated[str, typer.Option(help="32, bf16 or 16.")] = "32",
    runs: Annotated[int, typer.Option(help="Passes of each network.")] = 10,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time networks in turn on this machine: milliseconds, images a second, operations, memory."""
    from segmentarium.cli.watching import tell_bench
    from segmentarium.engine.bench import bench as run

    voice = Voice(as_json=as_json, quiet=quiet)
    with voice.progress() as bar:
        task = bar.add_task("timing", total=None, note="")
        rows = run(
            models,
            side=imgsz,
            batch=batch,
            classes=classes,
            channels=channels,
            precision=precision,
            runs=runs,
            device=device,
            progress=lambda done, all_: bar.update(task, completed=done, total=all_),
        )
    voice.result([row.as_dict() for row in rows])
    tell_bench(rows, voice)
