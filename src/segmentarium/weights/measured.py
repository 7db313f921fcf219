"""What networks were measured to cost, once, on one machine: ``measured.json`` beside this file.

Times of another machine are other times; their ratios are of use. ``seg bench`` measures here and now.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).parent / "measured.json"


@dataclass(frozen=True)
class Measured:
    """The record.

    Attributes:
        where: machine, threads and size of the input, in words.
        networks: by ``architecture-variant``: ``gflop`` of a forward pass (a multiplication and an addition
            being two), ``memory_mb`` on top of the network, ``ms``.
    """

    where: str
    networks: Mapping[str, Mapping[str, float]]


@cache
def measured() -> Measured:
    """The record; empty if there is none."""
    if not FILE.is_file():
        return Measured("", {})
    table = json.loads(FILE.read_text(encoding="utf-8"))
    costs = {
        name: {key: float(value) for key, value in own.items()} for name, own in table["networks"].items()
    }
    return Measured(str(table["where"]), costs)
