"""Elastic deformation of a 512x512x3 picture and its mask, beside torchvision v2.

python benchmarks/bench_elastic.py --rounds 9
"""

from __future__ import annotations

import argparse
from itertools import count

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from harness import Race
from segmentarium.data.elastic import deform, draw_field, draw_smooth_field

SIDE = 512


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    labels = rng.integers(0, 21, (SIDE, SIDE)).astype(np.int16)
    image = tv_tensors.Image(torch.from_numpy(pixels).permute(2, 0, 1).contiguous())
    mask = tv_tensors.Mask(torch.from_numpy(labels.astype(np.uint8)))
    theirs, seeds = v2.ElasticTransform(50.0, 5.0), count()
    contenders = {
        "torchvision v2, alpha 50 sigma 5": lambda: theirs(image, mask),
        "ours, alpha 50 sigma 5": lambda: deform(
            pixels, labels, draw_smooth_field(next(seeds), size=labels.shape, alpha=50.0, sigma_px=5.0)
        ),
        "ours, U-Net's 3x3 grid of 10 px": lambda: deform(pixels, labels, draw_field(next(seeds))),
    }
    Race(f"elastic, {SIDE}x{SIDE}x3 uint8 and mask", unit="pictures").run(
        contenders, rounds=options.rounds
    ).show()


if __name__ == "__main__":
    main()
