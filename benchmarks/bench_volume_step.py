"""A training step of each volume network's ``small`` on 40 x 56 x 40 voxels, in both layouts of memory.

    python benchmarks/bench_volume_step.py [--rounds 5] [--batch 2] [--threads 2]

Forward, loss, backward and AdamW. The peer of 3D U-Net is MONAI's BasicUNet at the same channels; it has no
further heads, so ours is also timed without.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from monai.networks.nets import BasicUNet
from torch import nn

from harness import Race
from segmentarium.losses import SemanticLoss
from segmentarium.models import build, config_of
from segmentarium.models.unet_3d import UNet3D
from segmentarium.nn import Semantic

SIZE = (40, 56, 40)


class Plain(nn.Module):
    """MONAI's network with an answer that our loss takes."""

    def __init__(self) -> None:
        super().__init__()
        self.network = BasicUNet(in_channels=1, out_channels=3, features=(16, 16, 32, 64, 128, 16))

    def forward(self, image: torch.Tensor) -> Semantic:
        return Semantic(self.network(image))


def step_of(network: nn.Module, batch: int, layout: torch.memory_format) -> Callable[[], None]:
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 1, *SIZE, generator=draw).to(memory_format=layout)
    labels = torch.randint(0, 3, (batch, *SIZE), generator=draw)
    network = network.to(memory_format=layout).train()
    optimizer, loss = torch.optim.AdamW(network.parameters(), lr=1e-3), SemanticLoss({"nnunet": 1.0})

    def step() -> None:
        optimizer.zero_grad()
        loss(network(image), labels)["loss"].backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    single_head = replace(config_of("unet_3d-small"), supervised=0)
    contenders = {
        "unet_3d-small": lambda: build("unet_3d-small", classes=3, in_channels=1),
        "unet_3d-small, one head": lambda: UNet3D(single_head),
        "MONAI BasicUNet": Plain,
        "unetr-small": lambda: build("unetr-small", classes=3, in_channels=1),
        "vnet-small": lambda: build("vnet-small", classes=3, in_channels=1),
    }
    layouts = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last_3d}
    Race(f"a training step, batch {options.batch}, {options.threads} threads", options.batch, "volumes").run(
        {
            f"{name}, {layout}": step_of(make(), options.batch, form)
            for name, make in contenders.items()
            for layout, form in layouts.items()
        },
        rounds=options.rounds,
    ).show()


if __name__ == "__main__":
    main()
