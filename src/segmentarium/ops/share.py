"""Sharing a loop among the cores.

Our compiled loops let go of the interpreter, so plain threads are enough. Numba's own parallel loops would
take several times as long to compile at first use, and their runtime forbids forking.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

PARTS_PER_CORE = 3
"""More parts than cores, so that a core that is disturbed does not keep the others waiting."""


def share(work: Callable[[int, int], object], count: int) -> None:
    """Call ``work(start, stop)`` for consecutive parts of ``range(count)``, on all cores at once.

    ``OMP_NUM_THREADS`` limits the cores, as for torch.
    """
    cores = min(_cores(), count)
    if cores <= 1:
        work(0, count)
        return
    parts = min(count, cores * PARTS_PER_CORE)
    edges = [part * count // parts for part in range(parts + 1)]
    list(_pool().map(work, edges[:-1], edges[1:]))


@cache
def _cores() -> int:
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_cores(), thread_name_prefix="share")


if hasattr(os, "register_at_fork"):  # threads do not survive a fork
    os.register_at_fork(after_in_child=_pool.cache_clear)
