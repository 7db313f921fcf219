"""From operations to the blocks that a reader thinks in.

A module is one block if its maps are of one size, or if it only changes the size on its way; else its parts
are looked at. Neighbours of a kind, one after the other, become one block. Operations between modules are
shown where maps meet: sums, products and joins.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any, NamedTuple

from torch import nn

from segmentarium.engine.diagram.graph import PRODUCTS, Operation, firsts, operations

MEETINGS = {"cat": "join", "stack": "join", "add": "+", "mul": "x", **dict.fromkeys(PRODUCTS, "x")}
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
        looks: how many maps it is called with by itself, such as the image at several sizes; what is shown is
            the largest.
        level: halvings of the image's side.
        shape: of the map without the batch; channels first, or tokens and their width.
    """

    name: str
    kind: str
    level: int
    shape: tuple[int, ...]
    parameters: int = 0
    repeats: int = 1
    looks: int = 1


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
    modules = dict(network.named_modules())
    heavy = {path for path, module in modules.items() if any(True for _ in module.parameters())}
    first = firsts(done, heavy)
    homes = _homes(done, _chosen(done, first), first)
    drawn = _sums_joined(_merged(_looks_joined(_drawn(done, homes, modules)), modules, heavy))
    return _without_bridges(drawn) if len(drawn.blocks) > MANY else drawn


def _users(done: list[Operation]) -> Mapping[int, set[int]]:
    users: dict[int, set[int]] = defaultdict(set)
    for place, operation in enumerate(done):
        for source in operation.inputs:
            users[source].add(place)
    return users


def _chosen(done: list[Operation], first: Mapping[str, str]) -> set[str]:
    """Paths of the modules that become blocks; what is drawn with an earlier call has no say."""
    inside: dict[str, list[int]] = defaultdict(list)
    parts: dict[str, set[str]] = defaultdict(set)
    users = _users(done)
    shown = [all(first[call] == call for call in operation.calls) for operation in done]
    for place, operation in enumerate(done):
        for parent, path in zip(("", *operation.inside), operation.inside, strict=False):
            parts[parent].add(path)
            if shown[place]:
                inside[path].append(place)
    chosen: set[str] = set()
    ahead = sorted(parts[""])
    while ahead:
        path = ahead.pop()
        if parts[path] and not _is_one(inside[path], done, users, most=sum(shown) / 2):
            ahead += parts[path]
        else:
            chosen.add(path)
    return chosen


def _is_one(own: list[int], done: list[Operation], users: Mapping[int, set[int]], *, most: float) -> bool:
    """Whether what a module does, the operations ``own``, can be shown as one block."""
    levels = {done[i].level for i in own} - {None}
    handed = {done[i].level for i in own if users.get(i, set()) - set(own)} - {None}
    return len(levels) <= 2 and len(handed) <= 1 and len(own) < most


class _Home(NamedTuple):
    """The block that an operation belongs to.

    Attributes:
        key: what operations of one block have in common.
        call: of the module, one of those that are drawn together.
        name: what it is called.
    """

    key: str
    call: str
    name: str


def _homes(done: list[Operation], chosen: set[str], first: Mapping[str, str]) -> list[_Home | None]:
    """The block of each operation; none for what is not shown."""
    homes: list[_Home | None] = []
    counts: Counter[tuple[str, str]] = Counter()
    for operation in done:
        around = operation.calls[-1] if operation.calls else ""
        counts[around, operation.name] += 1
        depth = next((i for i, path in enumerate(operation.inside) if path in chosen), None)
        if depth is not None:
            call = operation.calls[depth]
            homes.append(_Home(first[call], call, operation.inside[depth]))
        elif _is_meeting(operation):
            key = f"{operation.name} {counts[around, operation.name]} of {first[around]}"
            homes.append(_Home(key, around, MEETINGS[operation.name]))
        else:
            homes.append(None)
    return homes


def _is_meeting(operation: Operation) -> bool:
    """Whether it is shown outside all modules; of tokens only products are, other steps being many."""
    seen = operation.level is not None or operation.name in PRODUCTS
    return seen and operation.name in MEETINGS and len(set(operation.inputs)) > 1


def _drawn(done: list[Operation], homes: list[_Home | None], modules: Mapping[str, Any]) -> Diagram:
    """Operations of one home as one block, and arrows between these."""
    sources: list[set[str]] = []  # of each operation: the blocks that its result comes from
    feeding: dict[str, set[str]] = {}
    calls: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    names: dict[str, str] = {}
    for place, (operation, home) in enumerate(zip(done, homes, strict=True)):
        before = set().union(*({""} if i < 0 else sources[i] for i in operation.inputs))
        sources.append({home.key} if home else before)
        if home:
            feeding.setdefault(home.key, set()).update(before - {home.key})
            calls[home.key][home.call].append(place)
            names[home.key] = home.name
    order = {"": -1} | {key: index for index, key in enumerate(_in_time(feeding))}
    arrows = {(order[a], order[key]) for key, before in feeding.items() for a in before}
    arrows = {(a, b) for a, b in arrows if a < b}
    users, counted = _users(done), set[str]()
    fed = set().union(*feeding.values())
    blocks: dict[int, Block] = {}
    for key in feeding:
        made = [_made(own, done, users) for own in calls[key].values()]
        if key not in fed and all(one.level is None for one in made):
            # scores of tokens, which are put in their places afterwards
            after = (one for one, before in zip(done, sources, strict=True) if before == {key})
            made += [one for one in after if one.level is not None][:1]
        largest = max(made, key=lambda one: (one.level is not None, prod(one.shown[1:])))
        block = _block(names[key], largest, modules.get(names[key]), looks=len(calls[key]))
        # the parameters of what is used again in a later step are counted with the first
        blocks[order[key]] = replace(block, parameters=0) if names[key] in counted else block
        counted.add(names[key])
    levels = _filled(blocks, arrows)
    return Diagram(tuple(replace(blocks[i], level=levels[i]) for i in sorted(blocks)), tuple(sorted(arrows)))


def _in_time(feeding: Mapping[str, set[str]]) -> list[str]:
    """Blocks such that each stands behind those that feed it, as far as they do not feed each other."""
    order: list[str] = []
    ahead = dict.fromkeys(feeding)
    while ahead:
        ready = next(
            (key for key in ahead if not any(one in ahead for one in feeding[key])), next(iter(ahead))
        )
        del ahead[ready]
        order.append(ready)
    return order


def _made(own: list[int], done: list[Operation], users: Mapping[int, set[int]]) -> Operation:
    """Of the operations of one call the one whose result is handed on: the last map, or the last."""
    handed = [done[i] for i in own if not users.get(i) or users[i] - set(own)]
    return next((one for one in reversed(handed) if one.level is not None), handed[-1])


def _block(name: str, made: Operation, module: Any, *, looks: int) -> Block:
    kind, count = "", 0
    if module is not None:
        kind, count = type(module).__name__, sum(p.numel() for p in module.parameters())
    level = -1 if made.level is None else made.level
    return Block(name=name, kind=kind, level=level, shape=made.shown, parameters=count, looks=looks)


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


def _merged(drawn: Diagram, modules: Mapping[str, Any], heavy: Collection[str]) -> Diagram:
    """Chains whose links belong together become one block."""
    blocks: list[Any] = list(drawn.blocks)
    arrows = set(drawn.arrows)
    for index in range(1, len(blocks)):
        feeding = [a for a, b in arrows if b == index]
        if len(feeding) != 1 or feeding[0] < 0 or sum(a == feeding[0] for a, _ in arrows) != 1:
            continue
        first, second = blocks[feeding[0]], blocks[index]
        if not _belong(first, second, modules, heavy):
            continue
        blocks[index], blocks[feeding[0]] = _joined(first, second), None
        arrows = {(a, index if b == feeding[0] else b) for a, b in arrows if (a, b) != (feeding[0], index)}
    return _compact(blocks, arrows)


def _belong(first: Block, second: Block, modules: Mapping[str, Any], heavy: Collection[str]) -> bool:
    """Whether ``second``, fed by ``first`` alone, continues it."""
    if not first.kind or not second.kind:
        return False
    if second.name not in heavy:
        return True
    if first.name.rpartition(".")[0] != second.name.rpartition(".")[0]:
        return False
    one, other = modules[first.name], modules[second.name]
    if _alike(first, second):  # convolutions of other kernels are other steps
        return bool(getattr(one, "kernel_size", None) == getattr(other, "kernel_size", None))
    leaves = not list(one.children()) and not list(other.children())
    return leaves and first.level == second.level and first.kind != second.kind


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


def _looks_joined(drawn: Diagram) -> Diagram:
    """Joins of the same blocks, each for the same, belong to looks at several sizes: the largest stays."""
    blocks: list[Any] = list(drawn.blocks)
    known: dict[tuple[Any, ...], int] = {}
    for index, block in enumerate(drawn.blocks):
        feeding = frozenset(a for a, b in drawn.arrows if b == index)
        users = frozenset(b for a, b in drawn.arrows if a == index)
        first = known.setdefault((block.name, block.shape[0], feeding, users), index)
        if block.name == MEETINGS["cat"] and first != index:
            larger = max(blocks[first], block, key=lambda one: prod(one.shape))
            blocks[first], blocks[index] = replace(larger, looks=blocks[first].looks + block.looks), None
    arrows = {(a, b) for a, b in drawn.arrows if b >= 0 and blocks[b] and (a < 0 or blocks[a])}
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
