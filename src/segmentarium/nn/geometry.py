"""How the size of a network's output follows from the size of its input."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn


class Geometry(NamedTuple):
    """``border``: input pixels on each side for which there is no output (0 for padded networks).

    ``input_side(output)``: the smallest side in pixels that the network takes and that yields that many.
    """

    border: int
    input_side: Callable[[int], int]


def geometry_of(network: nn.Module) -> Geometry:
    """Read ``border`` and ``input_side`` off ``network``; without either it answers at its input's size."""
    border = int(getattr(network, "border", 0))

    def plain(output: int) -> int:
        return output + 2 * border

    return Geometry(border, getattr(network, "input_side", plain))
