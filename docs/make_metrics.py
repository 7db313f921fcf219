"""Make ``docs/metrics.md`` from the definitions in the code and the numbers in ``tests/parity/rosetta.toml``.

    python docs/make_metrics.py

A test makes the page again and compares.
"""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from segmentarium import metrics
from segmentarium.metrics.definition import Definition

HERE = Path(__file__).parent
ROSETTA = HERE.parent / "tests" / "parity" / "rosetta.toml"
BEST = {"high": "higher is better", "low": "lower is better", "neither": "describes, does not judge"}

FAMILIES: dict[str, tuple[str, ...]] = {
    "Regions": ("regions",),
    "Surfaces": ("surface", "lesions", "aggregate"),
    "Panoptic quality": ("panoptic",),
    "Average precision": ("average_precision", "voc_precision", "cityscapes", "cityscapes_precision"),
    "Boundaries": ("boundaries", "bsds"),
    "Partitions": ("partitions", "hierarchy", "isbi", "warping", "superpixels"),
    "Calibration and uncertainty": ("calibration", "uncertainty"),
    "Saliency": ("saliency",),
    "Video": ("video",),
}

HEAD = """# Metrics

Every quantity that Segmentarium computes, exactly as it computes it. This page is made from the code by
`python docs/make_metrics.py`; do not edit it.

Four rules hold everywhere. Sums first, ratio last: results over a data set, over processes and over shards
are the same. Undefined is nan and infinite is inf; neither is replaced, and means say what they left out.
Void pixels leave every count. Where tools disagree, `protocol="..."` names the tool whose rules are meant;
`seg eval MODEL DATA --explain` shows what each would have said of your data.
"""


def definitions() -> dict[str, list[Definition]]:
    """All definitions by family, in the order of the page; a module that is in no family comes last."""
    known = {module: family for family, modules in FAMILIES.items() for module in modules}
    names = [module.name for module in iter_modules(metrics.__path__)]
    order = [*known, *(name for name in names if name not in known)]
    found: dict[str, list[Definition]] = {}
    for name in order:
        module = import_module(f"segmentarium.metrics.{name}")
        told = [d.name for family in found.values() for d in family]
        for definition in getattr(module, "DEFINED", ()):
            if definition.name not in told:
                found.setdefault(known.get(name, "Others"), []).append(definition)
    return found


def entry(definition: Definition) -> list[str]:
    """One quantity."""
    unit = f", in {definition.unit}" if definition.unit else ""
    lines = [
        f"### {definition.title}",
        "",
        f"`{definition.name}`: {definition.formula}.".replace("..", "."),
        "",
    ]
    lines += [f"{BEST[definition.best].capitalize()}{unit}.", ""]
    if definition.edges:
        lines += ["| case | comes out as |", "|---|---|"]
        lines += [f"| {_cell(case)} | {_cell(value)} |" for case, value in definition.edges.items()] + [""]
    if definition.protocols:
        lines += ["| protocol | rule |", "|---|---|"]
        lines += [f"| `{name}` | {_cell(rule)} |" for name, rule in definition.protocols.items()] + [""]
    if definition.source:
        lines += [f"Source: {definition.source.rstrip('.')}.", ""]
    return lines


def rosetta() -> list[str]:
    """The table of disagreements."""
    lines = [
        "## Where tools disagree",
        "",
        "The same input, the same words, other numbers. A test computes each number again with our protocol",
        "of that name, and with the tool itself where it installs from the package registry.",
        "",
        "| quantity | input | values |",
        "|---|---|---|",
    ]
    for row in tomllib.loads(ROSETTA.read_text(encoding="utf-8"))["row"]:
        values = "; ".join(f"{name} **{number}**" for name, number in row["values"].items())
        lines.append(f"| {_cell(row['quantity'])} | {_cell(row['input'])} | {_cell(values)} |")
    return [*lines, ""]


def page() -> str:
    """The whole page."""
    lines = [HEAD, *rosetta()]
    for family, entries in definitions().items():
        lines += [f"## {family}", ""]
        for definition in entries:
            lines += entry(definition)
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    (HERE / "metrics.md").write_text(page(), encoding="utf-8")
