"""Resize and argmax: ours against ``interpolate`` + ``argmax``, for smooth scores and for pure noise.

    python benchmarks/bench_argmax.py [--rounds 5]

Scores of trained networks are smooth; noise is the worst case for us, since nearly every class may win
everywhere.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from harness import Race
from segmentarium.post import argmax_resized

CASES = {
    "150 classes, 256x256 to 1024x1024": (150, (256, 256), (1024, 1024)),
    "19 classes, 256x512 to 1024x2048": (19, (256, 512), (1024, 2048)),
    "19 classes, 1024x1024, no resize": (19, (1024, 1024), (1024, 1024)),
    "19 classes, 1024x1024 to 400x400": (19, (1024, 1024), (400, 400)),
    "2 classes, 256x256 to 1024x1024": (2, (256, 256), (1024, 1024)),
}


def smooth_scores(classes: int, size: tuple[int, int]) -> Tensor:
    """Regions of one clear class each, some 40 of them, with blurred edges and a little noise."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(1, classes, *size, generator=generator) * 0.5
    winners = interpolate(
        torch.randn(1, classes, 6, 7, generator=generator), size=size, mode="bilinear"
    ).argmax(1)
    scores.scatter_add_(1, winners[:, None], torch.full((1, 1, *size), 6.0))
    return avg_pool2d(scores, 3, 1, 1)


def race(title: str, scores: Tensor, size: tuple[int, int], rounds: int) -> None:
    ours = torch.from_numpy(argmax_resized(scores, size).astype("int64"))
    agreed = (ours == interpolate(scores, size=size, mode="bilinear").argmax(1)).double().mean()
    Race(f"{title}; labels agree on {agreed:.6%}").run(
        {
            "interpolate + argmax": lambda: interpolate(scores, size=size, mode="bilinear").argmax(1),
            "argmax_resized": lambda: argmax_resized(scores, size),
        },
        rounds=rounds,
    ).show()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with torch.inference_mode():
        for title, (classes, small, size) in CASES.items():
            for kind, scores in (
                ("smooth", smooth_scores(classes, small)),
                ("noise", torch.randn(1, classes, *small)),
            ):
                for layout in (torch.contiguous_format, torch.channels_last):
                    name = str(layout).removeprefix("torch.")
                    race(f"{title}, {kind}, {name}", scores.contiguous(memory_format=layout), size, rounds)


if __name__ == "__main__":
    main()
