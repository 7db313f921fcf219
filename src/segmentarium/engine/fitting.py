"""What does not fit into memory is done in smaller pieces, and that is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import torch

from segmentarium.engine.memory import out_of_memory
from segmentarium.engine.tiled import Tiling
from segmentarium.errors import OutOfMemory

Result = TypeVar("Result")


def fitted(work: Callable[[Tiling], Result], tiling: Tiling, *, what: str) -> tuple[Result, str]:
    """The result of ``work`` by the first of ever smaller tilings that fits into memory.

    Args:
        work: is begun anew by each tiling, so it must not go on from where it failed.
        what: whose tiles, and where; for the error.

    Returns:
        The result, and a sentence on what had to be made smaller; empty if nothing.

    Raises:
        OutOfMemory: it does not fit even so.
    """
    for smaller in _ever_smaller(tiling):
        try:
            told = f"out of memory: done by {_described(smaller)} instead of {_described(tiling)}"
            return work(smaller), "" if smaller is tiling else told
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    raise OutOfMemory(
        f"{what} do not fit into memory",
        allowed=f"tiles smaller than {_described(smaller)}",
        cure="give a smaller tile (`--tile`), or use another device",
    )


def _ever_smaller(tiling: Tiling) -> Iterator[Tiling]:
    """As it is; with half the tiles at a time, if there are several; with tiles of half the side, too."""
    yield tiling
    if tiling.batch > 1:
        tiling = replace(tiling, batch=tiling.batch // 2)
        yield tiling
    tall, wide = tiling.tile
    yield replace(tiling, tile=(max(1, tall // 2), max(1, wide // 2)), always=True)


def _described(tiling: Tiling) -> str:
    return f"{tiling.batch} of {tiling.tile[0]}x{tiling.tile[1]} pixels at a time"
