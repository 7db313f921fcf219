"""How fast a network answers, and what it costs: latency, parameters, arithmetic, memory.

A figure is comparable only with figures of the same machine, input and number of threads; the result names
them.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segmentarium.engine.memory import Peak
from segmentarium.errors import BadArgument


@dataclass(frozen=True, kw_only=True)
class Latency:
    """What one forward pass takes, at batch 1 unless the shape says otherwise.

    Attributes:
        shape: of the input, batch first.
        median_ms, p95_ms, fastest_ms: of ``runs`` passes after ``warm_up`` more; the device is waited for.
        images_per_s: batch / median.
        flops: floating-point operations of one pass, a multiplication and an addition being two, by torch's
            counter, which sees matrix products and convolutions only.
        peak_memory_mb: above what was in use before the pass; by the allocator on a GPU, by the resident set
            of the process on a CPU, where memory that is kept from an earlier pass does not show.
        threads: that torch uses on a CPU.
    """

    device: str
    processor: str
    torch: str
    threads: int
    shape: tuple[int, ...]
    dtype: str
    runs: int
    warm_up: int
    median_ms: float
    p95_ms: float
    fastest_ms: float
    images_per_s: float
    parameters: int
    flops: int
    peak_memory_mb: float

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers and names."""
        return asdict(self) | {"shape": list(self.shape)}


def latency(
    network: nn.Module,
    *,
    shape: tuple[int, ...] = (1, 3, 512, 512),
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    runs: int = 50,
    warm_up: int = 10,
    seed: int = 0,
) -> Latency:
    """Time forward passes of ``network`` on noise, in evaluation mode and without gradients.

    The network is moved to ``device`` and ``dtype``, and left there; its mode is given back.

    Args:
        shape: of the input, batch first.
        device: by torch's name.
        seed: of the noise.

    Raises:
        BadArgument: no run is asked for, or the shape has no batch and channels.
    """
    if runs < 1 or warm_up < 1:
        raise BadArgument(f"runs={runs}, warm_up={warm_up}", allowed="one or more of each")
    if len(shape) < 3 or min(shape) < 1:
        raise BadArgument(f"shape={shape}", allowed="batch, channels and space, such as (1, 3, 512, 512)")
    at, was_training = torch.device(device), network.training
    network.to(at, dtype).eval()
    image = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(at, dtype)
    try:
        with torch.inference_mode():
            peak_mb = _peak_mb(lambda: network(image), at)  # first, while no memory is kept from other passes
            times = _times(lambda: network(image), at, runs=runs, warm_up=warm_up)
        flops = _flops(network, image)
    finally:
        network.train(was_training)
    median = statistics.median(times)
    return Latency(
        device=device,
        processor=torch.cuda.get_device_name(at) if at.type == "cuda" else platform.processor(),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        shape=tuple(shape),
        dtype=str(dtype).removeprefix("torch."),
        runs=runs,
        warm_up=warm_up,
        median_ms=1e3 * median,
        p95_ms=1e3 * float(np.percentile(times, 95)),
        fastest_ms=1e3 * min(times),
        images_per_s=shape[0] / median,
        parameters=sum(p.numel() for p in network.parameters()),
        flops=flops,
        peak_memory_mb=peak_mb,
    )


def _times(forward: Callable[[], object], at: torch.device, *, runs: int, warm_up: int) -> list[float]:
    """Seconds of each run; the first passes choose kernels and fill caches, and are not counted."""
    for _ in range(warm_up):
        _waited(forward, at)
    times = []
    for _ in range(runs):
        begun = time.perf_counter()
        _waited(forward, at)
        times.append(time.perf_counter() - begun)
    return times


def _waited(forward: Callable[[], object], at: torch.device) -> None:
    """Run, and wait until the device is done: a GPU only takes orders."""
    forward()
    if at.type == "cuda":
        torch.cuda.synchronize(at)
    elif at.type == "mps":
        torch.mps.synchronize()


def _peak_mb(forward: Callable[[], object], at: torch.device) -> float:
    if at.type == "cuda":
        torch.cuda.reset_peak_memory_stats(at)
        before = torch.cuda.memory_allocated(at)
        _waited(forward, at)
        return (torch.cuda.max_memory_allocated(at) - before) / 1e6
    with Peak(at) as peak:
        begun = time.perf_counter()
        while time.perf_counter() - begun < _LOOKED_AT_S:
            _waited(forward, at)
    return peak.above_mb


_LOOKED_AT_S = 0.1
"""The resident set is looked at every hundredth of a second: short passes are repeated until it was."""


def _flops(network: nn.Module, image: torch.Tensor) -> int:
    """Counted without inference mode, under which the counter sees fused operations that it does not know."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(image)
    return int(counter.get_total_flops())
