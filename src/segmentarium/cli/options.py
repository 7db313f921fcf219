"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Out = Annotated[Path | None, typer.Option("--output", "-o", help="Where to write.")]
Device = Annotated[str, typer.Option("--device", "-d", help="auto, cpu, cuda, cuda:1 or mps.")]
Model = Annotated[
    str, typer.Option("--model", "-m", help="A name (seg models), a run folder or a .safetensors file.")
]
TaskOption = Annotated[
    str | None, typer.Option("--task", help="semantic, instance or panoptic; the data decide if not given.")
]
Data = Annotated[
    Path, typer.Argument(help="A folder of images and masks; see 'seg check'.", show_default=False)
]
