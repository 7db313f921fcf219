"""The same bits again: random numbers without a state, deterministic arithmetic, a stop between steps."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import numpy as np
import torch


@contextmanager
def seeded(device: torch.device, *stream: int) -> Iterator[None]:
    """Inside, torch's random numbers are drawn from ``stream`` (seed, purpose, step ...); outside none is."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(int(np.random.SeedSequence(stream).generate_state(1, np.uint64)[0] >> 1))
        yield


@contextmanager
def deterministic(wanted: bool, *, threads: int | None = None) -> Iterator[None]:
    """Inside, equal input gives equal bits on the same machine; a no-op unless ``wanted``.

    Args:
        threads: how many torch computes with; sums are split by threads, so a resumed run takes as many as
            before.

    An operation that knows no deterministic way raises, rather than being different in silence.
    """
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read by cuBLAS when it starts
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.get_num_threads(),
    )
    try:
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        torch.set_num_threads(threads or before[2])
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]
        torch.set_num_threads(before[2])


class Interruption:
    """Whether somebody pressed Ctrl-C, or the system asks to end (SIGTERM).

    Inside the ``with``, the first signal is only noted, so that a step is finished and saved; a second Ctrl-C
    interrupts at once. Signals belong to the main thread: elsewhere nothing is noted.
    """

    def __init__(self) -> None:
        self.asked = ""
        self._before: dict[int, object] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
