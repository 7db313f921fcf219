"""Record the public U-Nets' numbers: ``python record_unet.py MILESIAL_CHECKOUT PTSEMSEG_CHECKOUT``.

Needs no file of theirs in this tree; writes unet.safetensors beside itself. The weights follow ``rule.py``
in the order of *our* tensors, given to the reference by position (ptsemseg lists a step's up-convolution
last, we list it first).
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

import torch
from rule import fill, image_by_rule, taps
from safetensors.torch import save_file
from test_unet import CASES, SEED, network_of

FOLDER = Path(__file__).parent
LEVELS = [f"encoder.levels.{i}" for i in range(5)]
STEPS = [f"decoder.{i}" for i in range(4)]


def milesial(case: str) -> tuple[torch.nn.Module, dict[str, str]]:
    network = import_module("unet").UNet(3, 2, bilinear=case == "bilinear")
    paths = ["inc", "down1", "down2", "down3", "down4", "up1", "up2", "up3", "up4", "outc"]
    return network, dict(zip(paths, [*LEVELS, *STEPS, "classify"], strict=True))


def ptsemseg() -> tuple[torch.nn.Module, dict[str, str]]:
    module = import_module("ptsemseg.models.unet")
    network = module.unet(feature_scale=1, n_classes=2, is_deconv=True, in_channels=1, is_batchnorm=False)
    paths = ["conv1", "conv2", "conv3", "conv4", "center"]
    paths += ["up_concat4", "up_concat3", "up_concat2", "up_concat1", "final"]
    return network, dict(zip(paths, [*LEVELS, *STEPS, "classify"], strict=True))


def up_first(names: list[str]) -> list[str]:
    """The order of ``names`` with each step's ``up`` ahead of its ``conv``."""
    return sorted(names, key=lambda n: (n.startswith(("up_", "final")), _rank(n), ".up." not in n))


def _rank(name: str) -> int:
    return 9 if name.startswith("final") else 4 - int(name[9]) if name.startswith("up_") else 0


def record(case: str) -> dict[str, torch.Tensor]:
    reference, names = ptsemseg() if case == "paper" else milesial(case)
    ours = network_of(case).double()
    fill(ours, SEED)
    theirs = {n: t for n, t in reference.double().state_dict().items() if t.ndim}
    values = [t for t in ours.state_dict().values() if t.ndim]
    for name, value in zip(up_first(list(theirs)) if case == "paper" else theirs, values, strict=True):
        theirs[name].copy_(value)
    seen = taps(reference.eval(), image_by_rule(CASES[case].shape, SEED), names)
    return {f"{case}.{name}": tensor for name, tensor in seen.items()}


if __name__ == "__main__":
    sys.path[:0] = sys.argv[1:]
    held = {name: tensor for case in CASES for name, tensor in record(case).items()}
    save_file(held, FOLDER / "unet.safetensors")
    print(f"{len(held)} taps, {(FOLDER / 'unet.safetensors').stat().st_size:,} bytes")
