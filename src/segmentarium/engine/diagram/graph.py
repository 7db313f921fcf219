"""The operations of one forward pass, each with the modules it is in and the shape that it makes."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from math import log2
from typing import Any

import torch
from torch import nn

SMALL = 8
"""Maps of fewer pixels a side, such as those of pooling pyramids, are not taken for a level of their own."""


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        inside: paths of the modules it is in, the outermost first; the network itself is left out.
        inputs: indices of the operations whose results it takes; -1 is the image.
        side: height and width of its map, or None where it makes none.
    """

    name: str
    inside: tuple[str, ...]
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    side: int

    @property
    def level(self) -> int | None:
        """How often the image's side has been halved; None for what is no map of a size worth the name."""
        if len(self.shape) < 4 or self.shape[-2] < SMALL:
            return None
        return round(log2(self.side / self.shape[-2]))


def operations(network: nn.Module, *, side: int, channels: int) -> list[Operation]:
    """What ``network`` does with one image of ``side`` pixels; nothing is computed."""
    shape = (1, channels, *[side] * getattr(network, "dimensions", 2))
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        program = torch.export.export(network.to("meta").eval(), (torch.zeros(shape),))
    images = set(program.graph_signature.user_inputs)
    found: list[Operation] = []
    places: dict[Any, int] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in images:
            places[node] = -1
        if node.op != "call_function":
            continue
        places[node] = len(found)
        inputs = tuple(places[one] for one in node.all_input_nodes if one in places)
        found.append(Operation(_name(node), _inside(node), inputs, _shape(node), side))
    return found


def _name(node: Any) -> str:
    return str(getattr(node.target, "__name__", node.target)).partition(".")[0].rstrip("_")


def _inside(node: Any) -> tuple[str, ...]:
    stack = node.meta.get("nn_module_stack") or {}
    return tuple(path for path, _ in stack.values() if path)


def _shape(node: Any) -> tuple[int, ...]:
    value = node.meta.get("val")
    return tuple(int(n) for n in value.shape) if isinstance(value, torch.Tensor) else ()
