"""What can be named: every network with its paper, size and weights, read from cards without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.models import ModelName, aliases
from segmentarium.values.files import atomic_text
from segmentarium.weights.cards import Card, WeightsCard, cards, read_card
from segmentarium.weights.measured import measured

GIVES: dict[str, tuple[str, ...]] = {
    "semantic": ("semantic",),
    "queries": ("panoptic", "instance", "semantic"),
    "regions": ("instance",),
    "semantic_regions": ("panoptic",),
}
"""The tasks that a raw output is trained for, the one that says most first."""

CLAIMED: dict[str, tuple[str, ...]] = {
    "deeplabv3plus": ("paper", "paper_x71"),
    "dilation_context_net": ("paper", "front_end", "dilation10_cityscapes"),
    "fcn_32s": ("paper", "fixed"),
    "fcn_resnet": ("torchvision_r50", "torchvision_r101"),
    "frrn": ("b",),
    "hrnetv2p": ("w32",),
    "mask2former": ("r50", "swin_l"),
    "ocrnet": ("resnet101", "w48_aspp"),
    "segmenter_linear": ("b8", "b16_deit"),
    "smoothed_dilated_convs": ("paper", "separable_shared"),
}
"""The variants that a card's claim is about, where it is not about the first alone."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One network.

    Attributes:
        family: the idea it belongs to, such as ``dilated``.
        claim: what the paper reports of this variant; empty if that is of others.
        parity: what ours was compared with, and how close it comes.
        aliases: other spellings that stand for this variant.
        task: what it was made for; ``tasks`` are those that it learns.
        parameters: 0 where the card does not count them (an encoder by name).
        sources: programs whose weights it takes over.
        measured: operations, memory and time where they were recorded; the file says on which machine.
    """

    name: str
    title: str
    year: int
    family: str
    claim: str
    parity: str
    aliases: tuple[str, ...]
    task: str
    tasks: tuple[str, ...]
    paper: str
    output: str
    parameters: int
    weights: tuple[str, ...]
    sources: tuple[str, ...]
    licence: str
    measured: Mapping[str, float]

    @property
    def architecture(self) -> str:
        """The name without the variant."""
        return ModelName.parse(self.name).architecture

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        lists = {key: list(getattr(self, key)) for key in ("aliases", "tasks", "weights", "sources")}
        return asdict(self) | lists | {"measured": dict(self.measured)}


@dataclass(frozen=True, kw_only=True)
class Details:
    """One network, its sisters, and what is known of each of its weights."""

    entry: Entry
    variants: dict[str, int]
    published: dict[str, WeightsCard]
    note: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        published = {name: _facts(card) for name, card in self.published.items()}
        return self.entry.as_dict() | {"variants": self.variants, "published": published, "note": self.note}


def models(task: str | None = None, *, family: str | None = None) -> list[Entry]:
    """Every network that has a card, the paper's own variant first.

    Args:
        task: only those that learn it.
        family: only those of it.

    Raises:
        UnknownName: no network is for such a task, or of such a family; the nearest is offered.
    """
    known = cards()
    tasks = {task for given in GIVES.values() for task in given}
    if task is not None and task not in tasks:
        raise UnknownName.among("task", task, tasks)
    families = {card.family for card in known.values()}
    if family is not None and family not in families:
        raise UnknownName.among("family", family, families)
    return [
        _entry(architecture, variant, card)
        for architecture, card in known.items()
        for variant in card.variants
        if (task is None or task in GIVES[card.output]) and family in (None, card.family)
    ]


def draw(name: str, path: Path) -> None:
    """Write a figure of the network called ``name``, drawn from its code, as SVG.

    Raises:
        UnknownName: there is no such network.
        BadArgument: how many objects it finds depends on the image, so that it has no fixed course.
        CannotWrite: the file cannot be written.
    """
    import torch

    from segmentarium.engine.diagram import diagram, svg
    from segmentarium.models import build, config_of

    parts = ModelName.parse(name)
    if read_card(parts.architecture).output not in ("semantic", "queries"):
        raise BadArgument(
            f"a figure of {name}, whose course depends on what it finds",
            allowed="networks that answer for every pixel or with queries",
        )
    config = config_of(name)
    with torch.device("meta"):
        network = build(
            str(parts._replace(weights="")), classes=config.classes, in_channels=config.in_channels
        )
    atomic_text(path, svg(diagram(network), title=f"{read_card(parts.architecture).title}: {name}"))


def show(name: str) -> Details:
    """All that is known of the network, or of the trained weights, called ``name``.

    Raises:
        UnknownName: there is no such architecture, variant or weight; the nearest is offered.
    """
    parts = ModelName.parse(name)
    card = read_card(parts.architecture)
    variant = parts.variant or next(iter(card.variants))
    published = {n: w for n, w in card.weights.items() if w.variant == variant}
    if parts.weights:
        if parts.weights not in card.weights:
            raise UnknownName.among(f"weights of {parts.architecture}", parts.weights, card.weights)
        published = {parts.weights: card.weights[parts.weights]}
        variant = parts.variant or published[parts.weights].variant
    if variant not in card.variants:
        _require_variant(name)
    counts = {variant: card.parameters(variant) for variant in card.variants}
    return Details(
        entry=_entry(parts.architecture, variant, card), variants=counts, published=published, note=card.note
    )


def _entry(architecture: str, variant: str, card: Card) -> Entry:
    held = {name: weights for name, weights in card.weights.items() if weights.variant == variant}
    first = next(iter(card.variants))
    name = str(ModelName(architecture, "" if variant == first else variant))
    licences = [f"weights {licence}" for licence in sorted({weights.licence for weights in held.values()})]
    return Entry(
        name=name,
        title=card.title,
        year=card.year,
        family=card.family,
        claim=card.claim if variant in CLAIMED.get(architecture, (first,)) else "",
        parity=card.parity,
        aliases=tuple(other for other, own in aliases().items() if own == name),
        task=card.task,
        tasks=GIVES[card.output],
        paper=card.paper,
        output=card.output,
        parameters=card.parameters(variant) if variant in card.variants else 0,
        weights=tuple(held),
        sources=tuple(source for source, facts in card.sources.items() if facts.variant == variant),
        licence=", ".join([card.licence, *licences]),
        measured=measured().networks.get(f"{architecture}-{variant}", {}),
    )


def _require_variant(name: str) -> None:
    """Ask the architecture itself; only now is torch needed."""
    from segmentarium.models import config_of

    config_of(name)


def _facts(card: WeightsCard) -> dict[str, Any]:
    return {name: value for name, value in asdict(card).items() if value}
