"""Time several contenders in turn, A B A B, so that a busy machine disturbs them alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Race:
    """Contenders that do the same work; the first one is what the others are compared with.

    Args:
        title: what is raced.
        work: how much one call does, in ``unit``; the table shows work per second if it is not 1.
    """

    title: str
    work: float = 1.0
    unit: str = "calls"
    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu_seconds: dict[str, list[float]] = field(default_factory=dict)

    def run(self, contenders: dict[str, Callable[[], object]], *, rounds: int = 7) -> Race:
        """Call each once to warm up, then all of them in turn, ``rounds`` times."""
        for call in contenders.values():
            call()
        for _ in range(rounds):
            for name, call in contenders.items():
                begun, worked = time.perf_counter(), time.process_time()
                call()
                self.seconds.setdefault(name, []).append(time.perf_counter() - begun)
                self.cpu_seconds.setdefault(name, []).append(time.process_time() - worked)
        return self

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def cpu(self, name: str) -> float:
        """Median of the processor time of all threads: what other jobs on the machine disturb least."""
        return statistics.median(self.cpu_seconds[name])

    def show(self) -> None:
        """Print medians, the spread, processor time, and speed as a multiple of the first contender's."""
        first = next(iter(self.seconds))
        machine = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}"
        heads = ("median", "fastest", "slowest", "cpu", "runs", f"{self.unit}/s", "ratio", "by cpu")
        print(f"\n{self.title}\n{machine}\n{'contender':<34}" + "".join(f"{head:>11}" for head in heads))
        for name, runs in self.seconds.items():
            spans = self.median(name), min(runs), max(runs), self.cpu(name)
            times = "".join(f"{1e3 * value:>8.1f} ms" for value in spans)
            speed, ratio = self.work / self.median(name), self.median(first) / self.median(name)
            by_cpu = self.cpu(first) / self.cpu(name)
            print(f"{name:<34}{times}{len(runs):>11}{speed:>11.1f}{ratio:>11.2f}{by_cpu:>11.2f}")
