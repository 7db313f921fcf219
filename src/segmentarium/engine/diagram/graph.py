"""The operations of one forward pass, each with the modules it is in and the shape that it makes."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import log2
from typing import Any

import torch
from torch import nn

SMALL = 8
"""Maps of fewer pixels a side, such as those of pooling pyramids, are not taken for a level of their own."""

PRODUCTS = ("matmul", "bmm", "mm")
"""Operations that make attention weights of tokens; these may look like a map, being square."""


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        inside: paths of the modules it is in, the outermost first; the network itself is left out.
        calls: names for the calls of these modules; one that is called twice has two.
        inputs: indices of the operations whose results it takes; -1 is the image.
        side: height and width of the image.
        axes: of its space: 2, or 3 for volumes.
        weighs: whether it makes weights of attention, which are no map.
    """

    name: str
    inside: tuple[str, ...]
    calls: tuple[str, ...]
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    side: int
    axes: int = 2
    weighs: bool = False

    @property
    def shown(self) -> tuple[int, ...]:
        """The shape without the batch; of maps the channels come first."""
        return self._map() or self.shape[1:]

    @property
    def level(self) -> int | None:
        """How often the image's side has been halved; None for what is no map of a size worth the name."""
        size = self._map()
        if self.weighs or not size or size[-1] < SMALL:
            return None
        level = round(log2(self.side / size[-1]))
        return level if level >= 0 else None

    def _map(self) -> tuple[int, ...]:
        """Channels and sides, or nothing. Figures are of square images: tokens in heads are no map."""
        if len(self.shape) < self.axes + 2:
            return ()
        parts = self.shape[-self.axes - 1 :]
        if len(set(parts[1:])) == 1:
            return parts
        return (parts[-1], *parts[:-1]) if len(set(parts[:-1])) == 1 else ()


def operations(network: nn.Module, *, side: int, channels: int) -> list[Operation]:
    """What ``network`` does with one image of ``side`` pixels; nothing is computed."""
    axes = int(getattr(network, "dimensions", 2))
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        image = torch.zeros(1, channels, *[side] * axes)
        program = torch.export.export(network.to("meta").eval(), (image,))
    images = set(program.graph_signature.user_inputs)
    owners = {
        name: path.rpartition(".")[0] for name, path in program.graph_signature.inputs_to_parameters.items()
    }
    found: list[Operation] = []
    places: dict[Any, int] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in images:
            places[node] = -1
        if node.op != "call_function":
            continue
        places[node] = len(found)
        inputs = tuple(places[one] for one in node.all_input_nodes if one in places)
        name, shape, calls = _name(node), _shape(node), _calls(node, owners)
        alike = [found[i] for i in inputs if i >= 0 and found[i].shape == shape]
        weighs = (name in PRODUCTS and len(shape) > 3) or any(one.weighs for one in alike)
        found.append(Operation(name, tuple(calls.values()), tuple(calls), inputs, shape, side, axes, weighs))
    return found


def firsts(done: list[Operation], heavy: Collection[str]) -> dict[str, str]:
    """Of each call of a module the one that it is drawn with: an earlier one, or itself.

    Looks at several sizes by the same weights are drawn once: a call of one of the ``heavy`` modules, those
    that have weights, goes with an earlier call whose results it does not use, and what it calls goes with
    what that one calls. Calls one after the other are two steps of the network and stay apart, as do those of
    modules without weights, which may stand anywhere.
    """
    before: list[int] = []  # of each operation those it comes from, as bits
    for operation in done:
        bits = 0
        for i in operation.inputs:
            bits |= (before[i] | 1 << i) if i >= 0 else 0
        before.append(bits)
    own: dict[str, list[int]] = defaultdict(list)
    paths: dict[str, tuple[str, str]] = {}  # of each call: the call around it and the path
    for place, operation in enumerate(done):
        for parent, call, path in zip(
            ("", *operation.calls), operation.calls, operation.inside, strict=False
        ):
            own[call].append(place)
            paths.setdefault(call, (parent, path))
    first: dict[str, str] = {"": ""}
    masks: dict[str, int] = defaultdict(int)  # of each call that is drawn: operations drawn with it
    taken: Counter[tuple[str, str]] = Counter()
    order: dict[tuple[str, str, int], str] = {}
    rivals: dict[str, list[str]] = defaultdict(list)
    for call, (parent, path) in paths.items():
        number = taken[parent, path]
        taken[parent, path] += 1
        used = 0
        for i in own[call]:
            used |= before[i]
        goes_with = order.get((first[parent], path, number)) if first[parent] != parent else None
        if goes_with is None and path in heavy:
            goes_with = next((one for one in rivals[path] if not used & masks[one]), None)
        first[call] = goes_with or call
        if goes_with is None:
            rivals[path].append(call)
        order[parent, path, number] = first[call]
        masks[first[call]] |= sum(1 << i for i in own[call])
    return first


def _calls(node: Any, owners: Mapping[str, str]) -> dict[str, str]:
    """Calls that the operation is in, and their paths.

    A convolution with the weights of a module that is not called itself counts as a call of it.
    """
    stack = node.meta.get("nn_module_stack") or {}
    calls = {call: path for call, (path, _) in stack.items() if path}
    owner = next((owners[one.name] for one in node.all_input_nodes if one.name in owners), "")
    around = next(reversed(calls.values()), "")
    outside = bool(owner) and owner.startswith(f"{around}." if around else "")
    return {**calls, f"{owner}@{node.name}": owner} if outside and _name(node).startswith("conv") else calls


def _name(node: Any) -> str:
    return str(getattr(node.target, "__name__", node.target)).partition(".")[0].rstrip("_")


def _shape(node: Any) -> tuple[int, ...]:
    value = node.meta.get("val")
    return tuple(int(n) for n in value.shape) if isinstance(value, torch.Tensor) else ()
