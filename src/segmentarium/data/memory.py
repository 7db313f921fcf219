"""Decoded training pictures and volumes, kept in memory under a budget, and never older than their files."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import psutil
from jaxtyping import Float32, Integer, Shaped

from segmentarium.data.dataset import Pair
from segmentarium.data.segments import Segments

_SHARE = 0.25
"""Of the free memory, if no budget is given."""
_SETTLED_S = 2.0
"""A file that changed less than this before it was read may change again within one tick of its clock."""

Stamp = tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Decoded:
    """A picture or volume as training needs it: with the numbers that mean 0 and 1, and places worth a crop.

    ``truth`` is class indices, numbers of objects, or the parts that ``segments`` are made of.
    """

    pixels: Shaped[np.ndarray, "..."]
    truth: Integer[np.ndarray, "*s"]
    limits: Float32[np.ndarray, "2 c"]
    anchors: tuple[Integer[np.ndarray, "_ _"], ...]
    segments: Segments | None = None
    spacing_mm: tuple[float, float, float] | None = None

    @property
    def nbytes(self) -> int:
        parts = sum(places.nbytes for places in self.anchors)
        if self.segments is not None:
            parts += self.segments.pairs.nbytes + self.segments.classes.nbytes
        return self.pixels.nbytes + self.truth.nbytes + parts


class Memory:
    """Decodes pairs, once each while the budget lasts.

    An entry is used only while inode, size, time of writing and time of change of its files are what they
    were when it was read, and files are looked at before every use. The time of change moves with every write
    and cannot be set by programs, so an edited mask is never ignored, not even within an epoch. Nothing is
    kept on disk.

    When the budget is spent, what is there stays and the rest is decoded each time: epochs visit every
    picture once, so throwing out the oldest would throw out the next one needed.

    Args:
        decode: reads a pair from its files.
        budget_mb: None takes a quarter of the memory that is free now; 0 keeps nothing.
    """

    def __init__(self, decode: Callable[[Pair], Decoded], *, budget_mb: float | None = None) -> None:
        self._decode = decode
        self._budget = psutil.virtual_memory().available * _SHARE if budget_mb is None else budget_mb * 2**20
        self._kept: dict[Pair, tuple[Stamp, Decoded]] = {}
        self._used = 0
        self._lock = Lock()

    @property
    def used_mb(self) -> float:
        return self._used / 2**20

    def __len__(self) -> int:
        return len(self._kept)

    def decoded(self, pair: Pair) -> Decoded:
        """The decoded pair; raises what the readers raise."""
        stamp = _stamp(pair)
        entry = self._kept.get(pair)
        if entry is not None and entry[0] == stamp:
            return entry[1]
        read_at = time.time()
        fresh = self._decode(pair)
        settled = all(read_at - changed / 1e9 > _SETTLED_S for *_, changed in stamp)
        self._replace(pair, (stamp, fresh) if settled else None)
        return fresh

    def _replace(self, pair: Pair, entry: tuple[Stamp, Decoded] | None) -> None:
        with self._lock:
            stale = self._kept.pop(pair, None)
            self._used -= stale[1].nbytes if stale else 0
            if entry is not None and self._used + entry[1].nbytes <= self._budget:
                self._kept[pair] = entry
                self._used += entry[1].nbytes


def _stamp(pair: Pair) -> Stamp:
    return tuple(map(_file_stamp, pair.files))


def _file_stamp(path: Path) -> tuple[int, int, int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (0, 0, 0, 0)  # the reader says it better
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)
