"""What a training run will cost, measured: a few real steps of the planned network on this machine."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import psutil
import torch

from segmentarium.data.batch import Batch
from segmentarium.engine.doors import Door, door_of, placed
from segmentarium.engine.memory import Peak
from segmentarium.engine.networks import make
from segmentarium.engine.recipe import Recipe
from segmentarium.engine.subject import Subject
from segmentarium.nn import Truth
from segmentarium.nn.layout import training_layout

_SQUARES = 8
"""Objects a picture of the noise that a network learns masks from."""


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
        self, recipe: Recipe, *, val_images: int, size: tuple[int, ...], decoded_mb: float
    ) -> Forecast:
        """The cost of all steps and evaluations of ``recipe``; decoded images are kept in memory."""
        train = recipe.train
        evaluations = max(1, train.steps // train.evaluate_every if train.evaluate_every else 1)
        scoring = evaluations * val_images * math.prod(size) * self.pixel_s
        here_mb = psutil.Process().memory_info().rss / 1e6
        return replace(
            self, seconds=train.steps * self.step_s + scoring, memory_mb=here_mb + self.step_mb + decoded_mb
        )


def spoken_time(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``1.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def measure(recipe: Recipe, subject: Subject, *, in_channels: int, device: str, steps: int = 3) -> Forecast:
    """Time ``steps`` training steps after one to warm up, and one prediction, on noise."""
    train = recipe.train
    on = torch.device(device)
    network: Any = make(
        recipe.model,
        refine=recipe.refine,
        classes=len(subject.classes),
        in_channels=in_channels,
        things=subject.things,
    )
    layout = training_layout(network.to(on))
    network = network.to(memory_format=layout)
    door = door_of(network, train)
    door.to(on)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-6, fused=True)
    batch = placed(_noise(recipe, subject, in_channels), on, memory_format=layout)
    with Peak(on) as peak:
        times = [_one_step(network, door, optimizer, batch) for _ in range(steps + 1)][1:]
    with torch.inference_mode():
        network.eval()
        begin = time.perf_counter()
        network(batch.images[:1])
        pixel_s = (time.perf_counter() - begin) / math.prod(train.crop)
    return Forecast(step_s=sorted(times)[len(times) // 2], pixel_s=pixel_s, step_mb=peak.above_mb)


def _noise(recipe: Recipe, subject: Subject, in_channels: int) -> Batch:
    """A batch of noise with the simplest truth: one class everywhere, or a few squares."""
    train = recipe.train
    images = torch.randn(train.batch, in_channels, *train.crop)
    stems = ("noise",) * train.batch
    if not subject.by_masks:
        return Batch(images, torch.zeros(train.batch, *train.crop, dtype=torch.int64), stems)
    masks = torch.zeros(_SQUARES, *train.crop, dtype=torch.bool)
    side = max(1, min(train.crop) // _SQUARES)
    for index in range(_SQUARES):
        masks[index, index * side : (index + 1) * side, index * side : (index + 1) * side] = True
    truth = Truth(masks, torch.zeros(_SQUARES, dtype=torch.int64))
    return Batch(images, None, stems, truths=(truth,) * train.batch)


def _one_step(network: Any, door: Door, optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    begin = time.perf_counter()
    optimizer.zero_grad()
    draw = torch.Generator(batch.images.device).manual_seed(0)
    torch.autograd.backward(door(network, batch, draw=draw)["loss"])
    optimizer.step()
    if batch.images.is_cuda:
        torch.cuda.synchronize(batch.images.device)
    return time.perf_counter() - begin
