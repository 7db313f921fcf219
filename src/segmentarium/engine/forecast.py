"""What a training run will cost, measured: a few real steps of the planned network on this machine."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil
import torch
from torch.nn import functional

from segmentarium.engine.memory import Peak
from segmentarium.engine.recipe import Recipe
from segmentarium.models import build


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Times in seconds and memory in MB.

    ``step_s`` and ``pixel_s`` (one pixel through the network when predicting) are measured; ``seconds`` and
    ``memory_mb`` are for the whole run and 0 until it is known how long that is.
    """

    step_s: float
    pixel_s: float
    step_mb: float
    seconds: float = 0.0
    memory_mb: float = 0.0

    def as_dict(self) -> dict[str, float]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """For people: ``about 14 min, 1.2 GB``."""
        return f"about {spoken_time(self.seconds)}, {self.memory_mb / 1000:.1f} GB of memory"

    def for_run(
        self, recipe: Recipe, *, val_images: int, size: tuple[int, int], decoded_mb: float
    ) -> Forecast:
        """The cost of all steps and evaluations of ``recipe``; decoded images are kept in memory."""
        train = recipe.train
        evaluations = max(1, train.steps // train.evaluate_every if train.evaluate_every else 1)
        scoring = evaluations * val_images * size[0] * size[1] * self.pixel_s
        here_mb = psutil.Process().memory_info().rss / 1e6
        return replace(
            self, seconds=train.steps * self.step_s + scoring, memory_mb=here_mb + self.step_mb + decoded_mb
        )


def spoken_time(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``1.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def measure(recipe: Recipe, *, classes: int, in_channels: int, device: str, steps: int = 3) -> Forecast:
    """Time ``steps`` training steps after one to warm up, and one prediction, on noise."""
    train = recipe.train
    on = torch.device(device)
    network: Any = build(recipe.model, classes=classes, in_channels=in_channels)
    network = network.to(on, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-6, fused=True)
    noise = torch.randn(train.batch, in_channels, *train.crop, device=on).contiguous(
        memory_format=torch.channels_last
    )
    with Peak(on) as peak:
        times = [_one_step(network, optimizer, noise) for _ in range(steps + 1)][1:]
    with torch.inference_mode():
        network.eval()
        begin = time.perf_counter()
        network(noise[:1])
        pixel_s = (time.perf_counter() - begin) / (train.crop[0] * train.crop[1])
    return Forecast(step_s=sorted(times)[len(times) // 2], pixel_s=pixel_s, step_mb=peak.above_mb)


def _one_step(network: torch.nn.Module, optimizer: torch.optim.Optimizer, noise: torch.Tensor) -> float:
    begin = time.perf_counter()
    optimizer.zero_grad()
    logits = functional.interpolate(network(noise).logits, size=noise.shape[-2:], mode="bilinear")
    truth = torch.zeros(len(noise), *noise.shape[-2:], dtype=torch.int64, device=noise.device)
    torch.autograd.backward(functional.cross_entropy(logits, truth))
    optimizer.step()
    if noise.is_cuda:
        torch.cuda.synchronize(noise.device)
    return time.perf_counter() - begin
