"""Make ``docs/models/``: a page for each paper and an overview, from the code and the cards.

    python docs/make_models.py              # the pages
    python docs/make_models.py --figures    # and draw the figures anew
    python docs/make_models.py --measure    # and measure anew, on this machine, alone

A test makes the pages again and compares. Figures and measurements take minutes and are kept in files.
"""

from __future__ import annotations

import argparse
import ast
import json
import platform
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import segmentarium  # noqa: F401  before torch, whose threads it tells how to wait

# isort: split

import torch

from segmentarium.engine.bench import bench
from segmentarium.engine.catalogue import Entry, draw, models
from segmentarium.engine.latency import flops_of
from segmentarium.errors import BadArgument
from segmentarium.models import ModelName, aliases, build, config_of, dimensions, file_of
from segmentarium.nn import geometry_of
from segmentarium.weights import measured as record
from segmentarium.weights.cards import Card, cards

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "models"
FIGURES = PAGES / "figures"
SIDE, TIMED_SIDE, RUNS, REFERENCE = 512, 256, 3, "unet-small"
SHOWN = {
    "smoothed_dilated_convs": (
        "gridding.png",
        "What a pixel sees through three dilated convolutions, before and after smoothing",
    ),
}
"""Demonstrations, beside the figures of networks, and what they show."""
NOT_TIMED = 130  # million parameters; larger networks are counted only

HEAD = """# Models

Every network, by family and year. This page and the pages it leads to are made from the code and its cards by
`python docs/make_models.py`; do not edit them. `seg models` lists the same, `seg show NAME` tells all that is
known of one, `seg bench NAME NAME` measures on your machine.

{where}A time of 2.0 means: twice as long as `{reference}` on the same machine, the passes of both in turn.
GFLOP are those of one forward pass of 512 x 512 pixels (volumes: 128 a side), a multiplication and an
addition being two. Memory is what a pass needs on top of the network. Time and memory are measured for the
first variant, "small" and "tiny" of networks with fewer than {most} million parameters. A dash stands for the
others, and for operations whose number depends on the image.
"""


def pages() -> dict[str, str]:
    """The text of every page by its name."""
    known = cards()
    entries = {name: list(own) for name, own in groupby(models(), key=lambda entry: entry.architecture)}
    made = {name: page(name, known[name], own) for name, own in entries.items()}
    return made | {"README": overview(entries)}


def page(name: str, card: Card, entries: list[Entry]) -> str:
    """One paper."""
    lines = [f"# {card.title}", "", f"`{name}`, {card.family}, {card.year}, {_linked(card.paper)}.", ""]
    if (FIGURES / f"{name}.svg").is_file():
        lines += [f"![{card.title}, drawn from the code](figures/{name}.svg)", ""]
        lines += ["Time runs to the right, a step down is half the size of the map; drawn from the code.", ""]
    if name in SHOWN:
        lines += [f"![{SHOWN[name][1]}](../figures/{SHOWN[name][0]})", "", f"{SHOWN[name][1]}.", ""]
    lines += [*_told(name), "", f"**The paper reports** {_sentence(card.claim)}", ""]
    lines += [f"**Ours compared.** {_sentence(card.parity)}", "", "## Variants", "", *_table(entries), ""]
    if card.note:
        lines += [_sentence(card.note), ""]
    lines += _others(name)
    lines += [f"- weights of other programs: {_sources(card)}"] if card.sources else []
    lines += [f"- trained weights: {_weights(card)}"] if card.weights else []
    lines += [f"- recipes: {', '.join(found)}"] if (found := list(_recipes(name))) else []
    return "\n".join(lines).rstrip() + "\n"


def overview(entries: dict[str, list[Entry]]) -> str:
    """All papers in one table for each family."""
    where = record.measured().where
    lines = [
        HEAD.format(where=f"Measured on {where}.\n" if where else "", reference=REFERENCE, most=NOT_TIMED)
    ]
    by_family = sorted(entries.values(), key=lambda own: (own[0].family, own[0].year, own[0].name))
    for family, group in groupby(by_family, key=lambda own: own[0].family):
        lines += [f"## {family[0].upper()}{family[1:]}", "", *_heads("network", "year", "learns")]
        for own in group:
            first = own[0]
            link = f"[{first.title}]({first.architecture}.md) `{first.name}`"
            lines.append(_row(link, str(first.year), ", ".join(first.tasks), *_costs(first)))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _table(entries: list[Entry]) -> list[str]:
    return _heads("name") + [_row(f"`{entry.name}`", *_costs(entry)) for entry in entries]


def _heads(*names: str) -> list[str]:
    costs = ("million parameters", "GFLOP", "memory, MB", "time")
    return [_row(*names, *costs), "|" + "---|" * len(names) + "---:|" * len(costs)]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _costs(entry: Entry) -> tuple[str, ...]:
    known = entry.measured
    count = f"{entry.parameters / 1e6:.2f}" if entry.parameters else "-"
    shown = [f"{known[key]:{form}}" if key in known else "-" for key, form in _FORMS.items()]
    return (count, *shown)


_FORMS = {"gflop": ".1f", "memory_mb": ".0f", "time": ".2f"}


def _told(name: str) -> list[str]:
    """The head of the file: its title, and what it says below the lines on paper, origin and weights."""
    head = ast.get_docstring(ast.parse(file_of(name).read_text(encoding="utf-8"))) or ""
    title, *rest = head.split("\n\n")
    kept = [part for part in rest if not part.startswith("Paper ")]
    told = "\n\n".join([_sentence(title.partition(": ")[2] or title), *kept])
    return told.replace("``", "`").splitlines()


def _linked(paper: str) -> str:
    kind, _, number = paper.partition(":")
    at = {"arXiv": "https://arxiv.org/abs/", "doi": "https://doi.org/"}.get(kind)
    return f"[{paper}]({at}{number})" if at else paper


def _sentence(words: str) -> str:
    """``words`` with a capital and a full stop; a name of ours at the beginning stays as it is."""
    first = words.split()[0]
    start = words if set(first) & set("-_(") else words[0].upper() + words[1:]
    return start.rstrip(".") + "."


def _others(name: str) -> list[str]:
    known = [
        spelling if own == name else f"{spelling} (`{own}`)"
        for spelling, own in aliases().items()
        if ModelName.parse(own).architecture == name
    ]
    return [f"- also called {', '.join(known)}"] if known else []


def _sources(card: Card) -> str:
    return ", ".join(f"{source.builder} (`{source.variant}`)" for source in card.sources.values())


def _weights(card: Card) -> str:
    return ", ".join(f"`@{name}` ({kept.data}; {kept.licence})" for name, kept in card.weights.items())


def _recipes(name: str) -> Iterator[str]:
    for path in sorted((ROOT / "recipes").rglob("*.toml")):
        if path.stem.partition("-")[0] == name:
            told = path.relative_to(ROOT).as_posix()
            yield f"[{told}](../../{told})"


def draw_figures() -> None:
    """A figure of the first variant of each paper, where it has a fixed course."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    for name, own in groupby(models(), key=lambda entry: entry.architecture):
        try:
            draw(next(own).name, FIGURES / f"{name}.svg")
        except BadArgument as error:
            print(error)


def measure() -> None:
    """Count every network, time each first and small variant in turn with the reference; keep the figures."""
    found = {}
    for entry in models():
        variant = entry.name.partition("-")[2] or next(iter(cards()[entry.architecture].variants))
        name = f"{entry.architecture}-{variant}"
        found[name] = _counted(entry) | (_timed(entry) if _is_timed(entry) else {})
        print(name, found[name], flush=True)
    where = (
        f"{platform.machine()} with {torch.get_num_threads()} threads, float32, one image of "
        f"{TIMED_SIDE} x {TIMED_SIDE} pixels (volumes {TIMED_SIDE // 4} a side), medians of {RUNS} passes"
    )
    record.FILE.write_text(json.dumps({"where": where, "networks": found}, indent=1) + "\n", encoding="utf-8")
    record.measured.cache_clear()


def _is_timed(entry: Entry) -> bool:
    variant = entry.name.partition("-")[2]
    return variant in ("", "small", "tiny") and entry.parameters < NOT_TIMED * 1e6


def _timed(entry: Entry) -> dict[str, float]:
    rows = {row.name: row.cost for row in bench([REFERENCE, entry.name], side=TIMED_SIDE, runs=RUNS)}
    cost = rows[entry.name]
    return {
        "memory_mb": round(cost.peak_memory_mb),
        "ms": round(cost.median_ms, 1),
        "time": round(cost.median_ms / rows[REFERENCE].median_ms, 2),
    }


def _counted(entry: Entry) -> dict[str, float]:
    """Operations, counted without computing; none where the course depends on the image."""
    config = config_of(entry.name)
    with torch.device("meta"):
        network = build(entry.name, classes=config.classes, in_channels=config.in_channels).eval()
    side = SIDE if dimensions(entry.name) == 2 else SIDE // 4
    sides = [geometry_of(network).input_side(side)] * dimensions(entry.name)
    try:
        return {"gflop": round(flops_of(network, (1, config.in_channels, *sides)) / 1e9, 2)}
    except NotImplementedError:
        return {}


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    words.add_argument("--figures", action="store_true")
    words.add_argument("--measure", action="store_true")
    asked = words.parse_args()
    if asked.measure:
        measure()
    if asked.figures:
        draw_figures()
    for stem, text in pages().items():
        (PAGES / f"{stem}.md").write_text(text, encoding="utf-8")
