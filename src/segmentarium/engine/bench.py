"""Networks side by side on this machine: how fast they answer, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from segmentarium.engine.device import choose_device
from segmentarium.engine.latency import Latency, flops_of, latencies
from segmentarium.engine.load import load
from segmentarium.errors import BadArgument
from segmentarium.models import ModelName, build
from segmentarium.nn import geometry_of
from segmentarium.nn.inference import prepared

_DTYPES = {"32": torch.float32, "bf16": torch.bfloat16, "16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network; ``ratio`` is its median time as a multiple of the first one's."""

    name: str
    cost: Latency
    ratio: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {"name": self.name, **self.cost.as_dict(), "ratio": self.ratio}


def bench(
    names: Sequence[str],
    *,
    side: int = 512,
    batch: int = 1,
    classes: int = 21,
    channels: int = 3,
    device: str = "auto",
    precision: str = "32",
    runs: int = 10,
    progress: Callable[[int, int], None] = lambda done, all_: None,
) -> tuple[Row, ...]:
    """Time forward passes of networks in turn, made ready as for prediction.

    Args:
        names: as ``seg models`` spells them, untrained or trained; run folders and weight files too.
        side: of the image in pixels; a volume has a quarter of it, and a network of valid convolutions is
            given what makes it answer so many.
        classes, channels: of untrained networks.
        precision: ``32``, ``bf16`` or ``16``.
        runs: passes of each network that count, after a fifth as many that do not.
        progress: told how many of all passes are done.

    Raises:
        UnknownName: no such network; the nearest is offered.
        BadArgument: an unknown precision, or no size or run.
    """
    if precision not in _DTYPES:
        raise BadArgument(f"precision {precision!r}", allowed=", ".join(_DTYPES))
    place = choose_device(device).name
    networks = {
        name: _network(name, classes=classes, channels=channels).to(place, _DTYPES[precision])
        for name in dict.fromkeys(names)
    }
    shapes = {name: _shape(network, batch, side) for name, network in networks.items()}
    found = latencies(
        {name: prepared(network) for name, network in networks.items()},
        shapes=shapes,
        device=place,
        dtype=_DTYPES[precision],
        runs=runs,
        warm_up=max(1, runs // 5),
        progress=progress,
    )
    first = next(iter(found.values())).median_ms if found else 1.0
    return tuple(
        Row(name=name, cost=_counted(cost, networks[name], shapes[name]), ratio=cost.median_ms / first)
        for name, cost in found.items()
    )


def _counted(cost: Latency, network: nn.Module, shape: tuple[int, ...]) -> Latency:
    """``cost`` with the counts of the network as the paper has it, not as it was made ready."""
    count = sum(p.numel() for p in network.parameters())
    return replace(cost, parameters=count, flops=flops_of(network.float(), shape))


def _network(name: str, *, classes: int, channels: int) -> nn.Module:
    """The network, trained or not."""
    if Path(name).exists() or ModelName.parse(name).weights:
        return load(name, device="cpu", quick=False).network
    return build(name, classes=classes, in_channels=channels).eval()


def _shape(network: nn.Module, batch: int, side: int) -> tuple[int, ...]:
    dimensions = getattr(network, "dimensions", 2)
    config: Any = network.config
    given = geometry_of(network).input_side(side if dimensions == 2 else max(1, side // 4))
    return (batch, int(config.in_channels), *[given] * dimensions)
