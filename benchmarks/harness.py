"""Time several contenders in turn, A B A B, so that a busy machine disturbs them alike."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


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
        FINISHED.append(self)
        for _ in range(rounds):
            for name, call in contenders.items():
                clock = getattr(call, "processor_time", time.process_time)
                begun, worked = time.perf_counter(), clock()
                call()
                self.seconds.setdefault(name, []).append(time.perf_counter() - begun)
                self.cpu_seconds.setdefault(name, []).append(clock() - worked)
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


FINISHED: list[Race] = []
"""All races of this program, in order."""


class Apart:
    """A contender in an interpreter of its own, whose threads wait for work as torch has it by default.

    Args:
        program: Python that ends by calling :func:`serve`.
    """

    def __init__(self, program: str) -> None:
        ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
        usual = {name: value for name, value in os.environ.items() if name not in ours}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", f"import torch\n{program}"],
            cwd=Path(__file__).parent,
            env=usual,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._seconds = 0.0

    def __call__(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        print(file=self._process.stdin, flush=True)
        self._seconds = float(self._process.stdout.readline())

    def processor_time(self) -> float:
        return self._seconds

    def close(self) -> None:
        self._process.communicate()


def serve(work: Callable[[], object]) -> None:
    """Do ``work`` for each line that comes, and answer with the processor time of this process."""
    for _ in sys.stdin:
        work()
        print(time.process_time(), flush=True)
