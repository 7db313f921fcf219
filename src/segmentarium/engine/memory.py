"""How much memory is in use, and was at most; whether it ran out."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading

import psutil
import torch


def peak_memory_mb() -> float:
    """The most memory that this process ever held, in MB."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that memory ran out, on whatever device."""
    told = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in told for words in ("out of memory", "not enough memory", "defaultcpuallocator"))
    )


def give_back() -> None:
    """Hand memory that the process keeps but does not use back to the system, so that the next use shows."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class Peak:
    """The most memory in use while this context is open, above what was in use when it opened.

    On a GPU the allocator keeps the figure; on a CPU a thread looks at the process a hundred times a second.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.above_mb = device, 0.0
        self._process, self._done = psutil.Process(), threading.Event()

    def __enter__(self) -> Peak:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self._before = self._now()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._watcher.join()

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.above_mb = max(self.above_mb, self._now() - self._before)

    def _now(self) -> float:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 1e6
        return float(self._process.memory_info().rss) / 1e6
