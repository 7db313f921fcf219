"""The verbs, one small function each: read the words, call the engine function of the same name, speak."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from segmentarium.cli.app import app
from segmentarium.cli.console import Voice, tell_rows
from segmentarium.cli.options import Data, Device, Json, Model, Out, Quiet, TaskOption


@app.command()
def demo(
    output: Out = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on bundled nuclei, predict unseen ones, score and report, in about a minute and offline."""
    from segmentarium.cli.watching import watch
    from segmentarium.engine.demo import demo as run

    voice = Voice(as_json=as_json, quiet=quiet)
    out = output or Path("runs/demo")
    done = watch(run(out, seed=seed, device=device), voice)
    voice.line({"kind": "demonstrated", **done.as_dict()})
    for line in done.lines():
        voice.say(line)


@app.command()
def check(
    data: Data,
    fix: Annotated[
        Path | None, typer.Option(help="Write a corrected copy of the data set to this folder.")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder for a picture of each finding (default: runs/check/NAME)."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look for faults that would make training silently wrong. Exit code: 0 clean, 1 warnings, 2 errors."""
    from segmentarium.cli.watching import tell_findings
    from segmentarium.engine.check import check as run

    voice = Voice(as_json=as_json, quiet=quiet)
    if pictures is None and voice.chatty:
        pictures = Path("runs/check") / data.resolve().name
    with voice.progress() as bar:
        task = bar.add_task("checking", total=None, note="")
        report = run(
            data,
            fix=fix,
            pictures=pictures,
            progress=lambda done, all_: bar.update(task, completed=done, total=all_),
        )
    voice.result(report.as_dict())
    tell_findings(report, voice)
    sys.exit(report.exit_code)


@app.command()
def plan(
    data: Data,
    output: Out = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Plan for this network.")] = None,
    task: TaskOption = None,
    time: Annotated[str | None, typer.Option(help="How long training may take: 90s, 30m, 2h.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    imgsz: Annotated[int | None, typer.Option(help="Side of the training crop, in pixels.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a data set and this machine, and write a recipe with a reason for each choice."""
    from segmentarium.cli.watching import tell_plan
    from segmentarium.engine.plan import plan as run

    voice = Voice(as_json=as_json, quiet=quiet)
    made = run(
        data,
        model=model,
        task=task or "",
        time=time,
        epochs=epochs,
        crop=imgsz,
        batch=batch,
        seed=seed,
        device=device,
    )
    voice.result(made.as_dict())
    tell_plan(made, voice)
    if output:
        made.write(output)
        voice.say(f"\nNext: [bold]seg train {output}[/bold]")


@app.command()
def train(
    data: Annotated[
        Path | None, typer.Argument(help="A data set, or a recipe (.toml).", show_default=False)
    ] = None,
    data_option: Annotated[Path | None, typer.Option("--data", help="The same, for habit's sake.")] = None,
    output: Out = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="unet-small, mask_rcnn-resnet18, unet_3d-small, ...")
    ] = None,
    task: TaskOption = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint of the run.")
    ] = False,
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="Start anew in a folder that holds a run.")
    ] = False,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key.key=value of the recipe.")] = None,
    time: Annotated[
        str | None, typer.Option(help="How long training may take: 90s, 30m, 2h; with --resume, from now on.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    imgsz: Annotated[int | None, typer.Option(help="Side of the training crop, in pixels.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    workers: Annotated[int | None, typer.Option(help="Threads that prepare batches ahead.")] = None,
    amp: Annotated[bool | None, typer.Option("--amp/--no-amp", help="Mixed precision.")] = None,
    device: Annotated[
        str | None, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:1 or mps.")
    ] = None,
    project: Annotated[Path, typer.Option(help="Folder of runs, when no --output is given.")] = Path(
        "runs/segment"
    ),
    name: Annotated[str, typer.Option(help="Name of the run in it.")] = "train",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on a data set (planned first) or by a recipe; predict, score and report at the end."""
    from segmentarium.cli.training import run_folder
    from segmentarium.cli.training import train as run
    from segmentarium.engine.wishes import Wishes

    if data and data_option:
        raise typer.BadParameter(f"DATA is {data} and --data is {data_option}; give one of them")
    wishes = Wishes(
        source=data or data_option,
        out=run_folder(output, project, name, resume=resume, exist_ok=exist_ok),
        model=model, task=task, seed=seed, resume=resume, exist_ok=exist_ok,
        settings=tuple(settings or ()), time=time,
        epochs=epochs, crop=imgsz, batch=batch, lr=lr, workers=workers, amp=amp, device=device,
    )  # fmt: skip
    run(wishes, Voice(as_json=as_json, quiet=quiet), dry_run=dry_run)


@app.command()
def predict(
    sources: Annotated[list[str], typer.Argument(help="Files, folders or globs.", show_default=False)],
    model: Model = "unet@nuclei",
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for masks and overlays.")] = Path(
        "predictions"
    ),
    tile: Annotated[int | None, typer.Option(help="Side of a tile, in pixels.")] = None,
    overlap: Annotated[
        float | None, typer.Option(help="Share of a tile that its neighbour sees too.")
    ] = None,
    score: Annotated[float, typer.Option(help="Leave out objects of a lower score.")] = 0.5,
    crf: Annotated[bool, typer.Option("--crf", help="Refine labels by a fully connected field.")] = False,
    crf_kernel: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHT,SIGMA,CONTRAST",
            help="The field for your data: strength, reach in pixels, difference in levels [4,60,5].",
        ),
    ] = None,
    save_prob: Annotated[bool, typer.Option("--save-prob", help="Also write probabilities as .npz.")] = False,
    overlay: Annotated[
        bool, typer.Option("--overlay/--no-overlay", help="Draw the mask over the picture.")
    ] = True,
    exist_ok: Annotated[
        bool, typer.Option("--exist-ok", help="Replace files that no prediction wrote.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Predict masks, objects or segments, and overlays, for pictures of any size and for volumes."""
    from segmentarium.cli.watching import tell_licence, tell_prediction
    from segmentarium.engine.classic import numbers_in
    from segmentarium.engine.load import load
    from segmentarium.engine.predict import predict as run
    from segmentarium.engine.refining import field_of

    voice = Voice(as_json=as_json, quiet=quiet)
    kernel = numbers_in("--crf-kernel", crf_kernel, count=3) if crf_kernel is not None else None
    seer = load(model, device=device)
    tell_licence(seer, voice)
    rows = run(
        sources,
        model=seer,
        out=output,
        tile=tile,
        overlap=overlap,
        score=score,
        crf=crf if kernel is None else field_of(*map(float, kernel)),
        probs=save_prob,
        overlay=overlay,
        overwrite=exist_ok,
    )
    tell_rows(rows, tell_prediction, voice, output)


@app.command(name="eval")
def evaluate(
    model: Annotated[
        str, typer.Argument(help="A name, a run folder or a .safetensors file.", show_default=False)
    ],
    data: Data,
    split: Annotated[str, typer.Option(help="Which split to score.")] = "val",
    output: Out = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what other tools would report, and why it differs.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a model on a data set, with 95 % intervals over images."""
    from segmentarium.cli.watching import tell_licence, tell_readings, tell_scores
    from segmentarium.data import open_data
    from segmentarium.engine.evaluate import evaluate as run
    from segmentarium.engine.explain import explain as readings_of
    from segmentarium.engine.load import load

    voice = Voice(as_json=as_json, quiet=quiet)
    with voice.progress() as bar:
        task = bar.add_task("scoring", total=None, note="")
        seer = load(model, device=device)
        tell_licence(seer, voice)
        scores = run(
            seer,
            open_data(data),
            split=split,
            out=output,
            progress=lambda done, all_: bar.update(task, completed=done, total=all_),
        )
    tally = getattr(scores, "tally", None)
    readings = readings_of(tally, scores.classes.names) if explain and tally else ()
    told = {"other_tools": [reading.as_dict() for reading in readings]} if explain else {}
    voice.result(scores.as_dict() | told)
    tell_scores(scores, voice)
    tell_readings(readings, voice)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="A run folder.", show_default=False)],
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the run's report.html: one page that needs nothing else."""
    from segmentarium.engine.report import report as write

    voice = Voice(as_json=as_json, quiet=quiet)
    path = write(run)
    voice.result({"report": str(path)})
    voice.say(f"report: [bold]{path}[/bold]")


@app.command()
def doctor(device: Device = "auto", as_json: Json = False, quiet: Quiet = False) -> None:
    """Say which device is used and why, list versions, and measure speed for ten seconds."""
    from segmentarium.engine.doctor import doctor as run

    voice = Voice(as_json=as_json, quiet=quiet)
    facts = run(device=device)
    voice.result(facts.as_dict())
    voice.table("Doctor", ("what", "value"), facts.rows())
