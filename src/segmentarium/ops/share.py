"""Sharing a loop among the cores.

Our compiled loops let go of the interpreter, so plain threads are enough. Numba's own parallel loops would
take several times as long to compile at first use, and their runtime forbids forking.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from itertools import pairwise

PARTS_PER_CORE = 3
"""More parts than cores, so that a core that is disturbed does not keep the others waiting."""


def share(work: Callable[[int, int], object], count: int, *, least: int = 1) -> None:
    """Call ``work(start, stop)`` for consecutive parts of ``range(count)``, on all cores at once.

    ``OMP_NUM_THREADS`` limits the cores, as for torch.

    Args:
        least: a smaller part is not worth a thread, which takes a tenth of a millisecond to begin.
    """
    most = count // least
    cores = min(_cores(), most)
    if cores <= 1:
        work(0, count)
        return
    parts = min(most, cores * PARTS_PER_CORE)
    left = deque(pairwise(part * count // parts for part in range(parts + 1)))

    def take_turns() -> None:
        while True:
            try:
                turn = left.popleft()
            except IndexError:
                return
            work(*turn)

    others = [_pool().submit(take_turns) for _ in range(cores - 1)]
    try:
        take_turns()  # the caller works too: a thread less to wake and to wait for
    finally:
        left.clear()
        wait([other for other in others if not other.cancel()])
    for other in others:
        if not other.cancelled():
            other.result()


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
