"""What a sliding window costs: window by window, as one dense pass, and beside a fully convolutional network.

    python benchmarks/bench_patches.py [--variant small] [--side 64] [--rounds 3]

Work is counted in operations of convolutions, two for a multiplication with its addition, on an image of
512x512; time is measured on a square image of ``--side`` pixels. Both ways give the same scores, which is
checked first.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness import Race
from segmentarium.models import build, config_of
from segmentarium.models.sliding_window_patch_classifier import SlidingWindowPatchClassifier

NAME = "sliding_window_patch_classifier"
SIDE = 512


def operations(network: nn.Module, *size: int) -> int:
    """Of one forward pass on zeros of ``size``, counted without memory."""
    network = network.to("meta")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(*size, device="meta"))
    return counter.get_total_flops()


def count(variant: str) -> None:
    """Print the work of both ways at several strides."""
    config = config_of(f"{NAME}-{variant}")
    channels = config.in_channels
    print(f"{NAME}-{variant} on {SIDE}x{SIDE}, thousand million operations")
    print(f"{'stride':>8}{'windows':>10}{'one by one':>14}{'one pass':>12}{'ratio':>8}")
    for stride in (1, 2, 4, 8, 16):
        made = SlidingWindowPatchClassifier(replace(config, stride=stride)).eval()
        side, windows = made.network.side, (-(-SIDE // stride)) ** 2
        apart = windows * operations(made.network, 1, channels, side, side)
        dense = operations(made, 1, channels, SIDE, SIDE)
        print(f"{stride:>8}{windows:>10}{apart / 1e9:>14.1f}{dense / 1e9:>12.2f}{apart / dense:>8.1f}")
    for name in ("fcn_8s", "fcn_8s-small"):
        with torch.device("meta"):
            fully = build(name, classes=config.classes).eval()
        print(f"{name + ', one pass':>32}{operations(fully, 1, 3, SIDE, SIDE) / 1e9:>12.2f}")


def race(variant: str, side: int, rounds: int) -> None:
    """Time both ways on one image."""
    torch.manual_seed(0)
    network = SlidingWindowPatchClassifier(config_of(f"{NAME}-{variant}")).eval()
    image = torch.rand(1, network.config.in_channels, side, side)
    with torch.inference_mode():
        apart, dense = network.patch_by_patch(image).logits, network(image).logits
        torch.testing.assert_close(dense, apart, rtol=1e-4, atol=1e-5)
        contenders = {
            "window by window": lambda: network.patch_by_patch(image),
            "one dense pass": lambda: network(image),
        }
        title = f"{NAME}-{variant}, {side}x{side}, {torch.get_num_threads()} threads"
        Race(title, work=side * side, unit="pixels").run(contenders, rounds=rounds).show()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variant", default="small")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    count(asked.variant)
    race(asked.variant, asked.side, asked.rounds)


if __name__ == "__main__":
    main()
