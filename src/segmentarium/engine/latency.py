"""How fast a network answers, and what it costs: latency, parameters, arithmetic, memory.

A figure is comparable only with figures of the same machine, input and number of threads; the result names
them.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from segmentarium.engine.memory import Peak, give_back
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
    return latencies(
        {"": network}, shapes={"": shape}, device=device, dtype=dtype, runs=runs, warm_up=warm_up, seed=seed
    )[""]


def latencies(
    networks: Mapping[str, nn.Module],
    *,
    shapes: Mapping[str, tuple[int, ...]],
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    runs: int = 50,
    warm_up: int = 10,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, all_: None,
) -> dict[str, Latency]:
    """:func:`latency` of several networks that take turns, so that a busy machine disturbs them alike.

    Args:
        shapes: of the input of each.
        progress: told how many of all passes are done.

    Raises:
        BadArgument: no run is asked for, or a shape has no batch and channels.
    """
    if runs < 1 or warm_up < 1:
        raise BadArgument(f"runs={runs}, warm_up={warm_up}", allowed="one or more of each")
    for shape in shapes.values():
        if len(shape) < 3 or min(shape) < 1:
            raise BadArgument(f"shape={shape}", allowed="batch, channels and space, such as (1, 3, 512, 512)")
    at = torch.device(device)
    modes = {name: network.training for name, network in networks.items()}
    draw = torch.Generator()
    images = {name: torch.randn(shapes[name], generator=draw.manual_seed(seed)) for name in networks}
    images = {name: image.to(at, dtype) for name, image in images.items()}
    passes = {name: partial(network.to(at, dtype).eval(), images[name]) for name, network in networks.items()}
    try:
        with torch.inference_mode():
            # memory first, while none is kept from other passes
            peaks = {name: _peak_mb(forward, at) for name, forward in passes.items()}
            times = _times(passes, at, runs=runs, warm_up=warm_up, progress=progress)
        flops = {name: flops_of(network, tuple(shapes[name])) for name, network in networks.items()}
    finally:
        for name, network in networks.items():
            network.train(modes[name])
    return {
        name: Latency(
            device=device,
            processor=torch.cuda.get_device_name(at) if at.type == "cuda" else platform.processor(),
            torch=torch.__version__,
            threads=torch.get_num_threads(),
            shape=tuple(shapes[name]),
            dtype=str(dtype).removeprefix("torch."),
            runs=runs,
            warm_up=warm_up,
            median_ms=1e3 * statistics.median(times[name]),
            p95_ms=1e3 * float(np.percentile(times[name], 95)),
            fastest_ms=1e3 * min(times[name]),
            images_per_s=shapes[name][0] / statistics.median(times[name]),
            parameters=sum(p.numel() for p in network.parameters()),
            flops=flops[name],
            peak_memory_mb=peaks[name],
        )
        for name, network in networks.items()
    }


def _times(
    passes: Mapping[str, Callable[[], object]],
    at: torch.device,
    *,
    runs: int,
    warm_up: int,
    progress: Callable[[int, int], None],
) -> dict[str, list[float]]:
    """Seconds of each run; the first passes choose kernels and fill caches, and are not counted."""
    times: dict[str, list[float]] = {name: [] for name in passes}
    for turn in range(warm_up + runs):
        for place, (name, forward) in enumerate(passes.items()):
            begun = time.perf_counter()
            _waited(forward, at)
            if turn >= warm_up:
                times[name].append(time.perf_counter() - begun)
            progress(turn * len(passes) + place + 1, (warm_up + runs) * len(passes))
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
    give_back()
    with Peak(at) as peak:
        begun = time.perf_counter()
        while time.perf_counter() - begun < _LOOKED_AT_S:
            _waited(forward, at)
    return peak.above_mb


_LOOKED_AT_S = 0.1
"""The resident set is looked at every hundredth of a second: short passes are repeated until it was."""


def flops_of(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Floating-point operations of one pass, counted without computing.

    Of a network that thins out what it finds they depend on the image: it is given noise.

    Raises:
        NotImplementedError: such a network without numbers (``meta``).
    """
    held = {name: tensor.detach() for name, tensor in (*network.named_parameters(), *network.named_buffers())}
    empty = {name: tensor.to("meta") for name, tensor in held.items()}
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    noise = noise.to(next(network.parameters()))
    try:
        return _counted(network, empty, noise.to("meta"))
    except NotImplementedError:
        return _counted(network, held, noise)


def _counted(network: nn.Module, held: dict[str, torch.Tensor], image: torch.Tensor) -> int:
    """Not in inference mode, in which the counter sees fused operations that it does not know."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        functional_call(network, held, (image,))
    return int(counter.get_total_flops())
