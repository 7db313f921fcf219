"""From operations to the blocks that a reader thinks in.

A module is one block if its maps are of one size, or if it only changes the size on its way; else its parts
are looked at. Neighbours of a kind, one after the other, become one block. Operations between modules are
shown where maps meet: sums, products and joins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from segmentarium.engine.diagram.graph import Operation, operations

MEETINGS = {"cat": "join", "add": "+", "mul": "x", "stack": "join"}
"""Operations outside all blocks that are shown, with their signs."""

SIDE = 512
"""Pixels a side of the image that figures are drawn for; of volumes a quarter."""

MANY = 60
"""Of more blocks, those that only bring a map from one size to a sum of another are drawn as arrows."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """Something that makes a map.

    Attributes:
        name: path of the module, or the sign of an operation.
        kind: class of the module; empty for an operation.
        repeats: how many modules of that kind stand one after the other in it.
        level: halvings of the image's side.
        shape: of the map without the batch; channels first, or tokens and their width.
    """

    name: str
    kind: str
    level: int
    shape: tuple[int, ...]
    parameters: int = 0
    repeats: int = 1


@dataclass(frozen=True)
class Diagram:
    """Blocks in the order of computing, and arrows between them by index; -1 is the image."""

    blocks: tuple[Block, ...]
    arrows: tuple[tuple[int, int], ...]


def diagram(network: nn.Module) -> Diagram:
    """The blocks of ``network`` as it answers one image."""
    side = SIDE if getattr(network, "dimensions", 2) == 2 else SIDE // 4
    side = getattr(network, "input_side", lambda given: given)(side)
    done = operations(network, side=side, channels=int(network.config.in_channels))  # type: ignore[union-attr,arg-type]
    homes = _homes(done, _chosen(done))
    modules = dict(network.named_modules())
    drawn = _sums_joined(_merged(_drawn(done, homes, modules), modules))
    return _without_bridges(drawn) if len(drawn.blocks) > MANY else drawn


def _chosen(done: list[Operation]) -> set[str]:
    """Paths of the modules that become blocks."""
    inside: dict[str, list[int]] = defaultdict(list)
    parts: dict[str, set[str]] = defaultdict(set)
    users: dict[int, set[int]] = defaultdict(set)
    for place, operation in enumerate(done):
        for parent, path in zip(("", *operation.inside), operation.inside, strict=False):
            inside[path].append(place)
            parts[parent].add(path)
        for source in operation.inputs:
            users[source].add(place)
    chosen: set[str] = set()
    ahead = sorted(parts[""])
    while ahead:
        path = ahead.pop()
        if parts[path] and not _is_one(inside[path], done, users):
            ahead += parts[path]
        else:
            chosen.add(path)
    return chosen


def _is_one(own: list[int], done: list[Operation], users: Mapping[int, set[int]]) -> bool:
    """Whether what a module does, the operations ``own``, can be shown as one block."""
    levels = {done[i].level for i in own} - {None}
    handed = {done[i].level for i in own if users[i] - set(own)} - {None}
    return len(levels) <= 2 and len(handed) <= 1 and len(own) < len(done) / 2


def _homes(done: list[Operation], chosen: set[str]) -> list[str]:
    """The block that each operation belongs to, by a name for each; empty for what is not shown."""
    homes = []
    for place, operation in enumerate(done):
        home = next((path for path in operation.inside if path in chosen), "")
        if (
            not home
            and operation.name in MEETINGS
            and len(set(operation.inputs)) > 1
            and operation.level is not None
        ):
            home = f"{MEETINGS[operation.name]} {place}"
        homes.append(home)
    return homes


def _drawn(done: list[Operation], homes: list[str], modules: Mapping[str, Any]) -> Diagram:
    order = {home: index for index, home in enumerate(dict.fromkeys(filter(None, homes)))}
    sources: list[set[int]] = []  # of each operation: the blocks that its result comes from
    blocks: dict[int, Block] = {}
    arrows: set[tuple[int, int]] = set()
    for operation, home in zip(done, homes, strict=True):
        before = set().union(*({-1} if i < 0 else sources[i] for i in operation.inputs))
        if not home:
            sources.append(before)
            continue
        own = order[home]
        arrows |= {(source, own) for source in before if source < own}  # one used again is drawn once
        sources.append({own})
        blocks[own] = _block(home, operation, blocks.get(own), modules)
    levels = _filled(blocks, arrows)
    return Diagram(tuple(replace(blocks[i], level=levels[i]) for i in sorted(blocks)), tuple(sorted(arrows)))


def _block(home: str, operation: Operation, known: Block | None, modules: Mapping[str, Any]) -> Block:
    """The block as it looks after one more operation: its map is that of the last one that makes a map."""
    shape, level = operation.shape[1:], operation.level
    if known is not None and (len(shape) < 2 or (level is None and known.level >= 0)):
        return known
    if home in modules:
        module = modules[home]
        count = sum(p.numel() for p in module.parameters())
        return Block(
            name=home,
            kind=type(module).__name__,
            level=-1 if level is None else level,
            shape=shape,
            parameters=count,
        )
    return Block(name=home.partition(" ")[0], kind="", level=-1 if level is None else level, shape=shape)


def _filled(blocks: Mapping[int, Block], arrows: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Levels, those of tokens being the level of what they were made of."""
    before: dict[int, list[int]] = defaultdict(list)
    for source, target in arrows:
        before[target].append(source)
    levels: dict[int, int] = {-1: 0}
    for index in sorted(blocks):
        own = blocks[index].level
        known = [levels[i] for i in before[index] if i in levels]
        levels[index] = own if own >= 0 else max(known, default=0)
    return levels


def _merged(drawn: Diagram, modules: Mapping[str, Any]) -> Diagram:
    """Chains whose links belong together become one block."""
    blocks: list[Any] = list(drawn.blocks)
    arrows = set(drawn.arrows)
    for index in range(1, len(blocks)):
        feeding = [a for a, b in arrows if b == index]
        if len(feeding) != 1 or feeding[0] < 0 or sum(a == feeding[0] for a, _ in arrows) != 1:
            continue
        first, second = blocks[feeding[0]], blocks[index]
        if not _belong(first, second, modules):
            continue
        blocks[index], blocks[feeding[0]] = _joined(first, second), None
        arrows = {(a, index if b == feeding[0] else b) for a, b in arrows if (a, b) != (feeding[0], index)}
    return _compact(blocks, arrows)


def _belong(first: Block, second: Block, modules: Mapping[str, Any]) -> bool:
    """Whether ``second``, fed by ``first`` alone, continues it."""
    if not first.kind or not second.kind:
        return False
    if not second.parameters:
        return True
    if first.name.rpartition(".")[0] != second.name.rpartition(".")[0]:
        return False
    leaves = all(not list(modules[block.name].children()) for block in (first, second))
    return _alike(first, second) or (leaves and first.level == second.level)


def _alike(first: Block, second: Block) -> bool:
    return first.kind == second.kind and first.shape == second.shape


def _joined(first: Block, second: Block) -> Block:
    return replace(
        second,
        name=first.name,
        kind=first.kind,
        parameters=first.parameters + second.parameters,
        repeats=first.repeats + second.repeats if _alike(first, second) else first.repeats,
    )


def _sums_joined(drawn: Diagram) -> Diagram:
    """A sum that is only added to is part of the next."""
    blocks: list[Any] = list(drawn.blocks)
    arrows = set(drawn.arrows)
    for index, block in enumerate(blocks):
        users = [b for a, b in arrows if a == index]
        if block.name == "+" and len(users) == 1 and blocks[users[0]].name == "+":
            arrows = {(a, users[0] if b == index else b) for a, b in arrows if a != index}
            blocks[index] = None
    return _compact(blocks, arrows)


def _without_bridges(drawn: Diagram) -> Diagram:
    """Arrows in place of the blocks that bring one map to the size of a sum, nearest to the sum first."""
    blocks: list[Any] = list(drawn.blocks)
    arrows = set(drawn.arrows)
    for index in range(len(blocks) - 1, -1, -1):
        users = [b for a, b in arrows if a == index]
        feeding = [a for a, b in arrows if b == index]
        if len(users) != 1 or len(feeding) != 1 or feeding[0] < 0 or not blocks[index].kind:
            continue
        if blocks[users[0]].name == "+" and blocks[feeding[0]].level != blocks[users[0]].level:
            arrows = {(a, b) for a, b in arrows if index not in (a, b)} | {(feeding[0], users[0])}
            blocks[index] = None
    return _compact(blocks, arrows)


def _compact(blocks: list[Any], arrows: set[tuple[int, int]]) -> Diagram:
    kept = [i for i, block in enumerate(blocks) if block is not None]
    place = {-1: -1} | {old: new for new, old in enumerate(kept)}
    return Diagram(tuple(blocks[i] for i in kept), tuple(sorted((place[a], place[b]) for a, b in arrows)))
