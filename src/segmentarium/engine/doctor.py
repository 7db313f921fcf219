"""Which device is used and why, what is installed, and how fast this machine is, measured in ten seconds."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil
import torch

from segmentarium.engine.device import choose_device
from segmentarium.engine.forecast import measure
from segmentarium.engine.packages import PACKAGES, installed
from segmentarium.engine.recipe import Recipe, Train
from segmentarium.engine.subject import Subject

OPTIONAL = {"tensorboard": "curves in TensorBoard: pip install 'segmentarium[track]'"}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the doctor found; ``speeds`` are measured, by what was measured with its unit."""

    device: str
    why: str
    python: str
    system: str
    cores: int
    threads: int
    memory_gb: float
    free_memory_gb: float
    packages: dict[str, str]
    missing: dict[str, str]
    speeds: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    def rows(self) -> list[tuple[str, str]]:
        """The same for a table."""
        return [
            ("device", f"{self.device}: {self.why}"),
            ("system", f"{self.system}, Python {self.python}"),
            ("processor", f"{self.cores} cores, {self.threads} threads used"),
            ("memory", f"{self.memory_gb:.1f} GB, {self.free_memory_gb:.1f} GB free"),
            ("packages", ", ".join(f"{name} {v}" for name, v in self.packages.items())),
            *((f"missing: {name}", cure) for name, cure in self.missing.items()),
            *((name, f"{value:.3g}") for name, value in self.speeds.items()),
        ]


def doctor(*, device: str = "auto", seconds: float = 10.0) -> Facts:
    """Examine this machine.

    Args:
        seconds: about how long the speed test may take.
    """
    chosen = choose_device(device)
    memory = psutil.virtual_memory()
    return Facts(
        device=chosen.name,
        why=chosen.why,
        python=platform.python_version(),
        system=platform.platform(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        memory_gb=memory.total / 1e9,
        free_memory_gb=memory.available / 1e9,
        packages=installed(*PACKAGES),
        missing={name: cure for name, cure in OPTIONAL.items() if not installed(name)},
        speeds=_speeds(chosen.name, seconds),
    )


def _speeds(device: str, seconds: float) -> dict[str, float]:
    """Convolution rate, and a training and predicting U-Net; medians."""
    recipe = Recipe(model="unet-small", train=Train(batch=4, crop=(128, 128)))
    cost = measure(recipe, Subject.plain("ground", "thing"), in_channels=1, device=device)
    return {
        "3x3 convolution, GFLOP/s": _convolution_rate(torch.device(device), seconds / 3),
        "unet-small training, 128x128 images/s": 4 / cost.step_s,
        "unet-small predicting, megapixels/s": 1e-6 / cost.pixel_s,
    }


def _convolution_rate(device: torch.device, seconds: float) -> float:
    x = torch.randn(4, 64, 128, 128, device=device).contiguous(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(64, 64, 3, padding=1, device=device).to(memory_format=torch.channels_last)
    work, times, end = 2 * 9 * 64 * 64 * x[:, 0].numel(), [], time.perf_counter() + seconds
    with torch.inference_mode():
        while time.perf_counter() < end:
            begin = time.perf_counter()
            layer(x)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - begin)
    return work / sorted(times)[len(times) // 2] / 1e9
