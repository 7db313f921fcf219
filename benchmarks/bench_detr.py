"""DETR with masks on one image, beside transformers: ``python benchmarks/bench_detr.py [HEIGHT WIDTH]``.

Both on ResNet-50 with 100 queries, one thread, in float32. Ours convolves what all queries share once, and
makes the masks of ten queries at a time.
"""

from __future__ import annotations

import sys
import warnings

import torch
from transformers import DetrConfig, DetrForSegmentation

from harness import Race
from segmentarium.models.detr import DETR, VARIANTS


def main(height: int, width: int) -> None:
    torch.set_num_threads(1)
    ours, theirs = (
        DETR(VARIANTS["r50_panoptic"]).eval(),
        DetrForSegmentation(DetrConfig(num_labels=250)).eval(),
    )
    image = torch.rand(1, 3, height, width)
    race = Race(f"detr-r50_panoptic, one image of {height}x{width}", unit="images")
    with torch.inference_mode():
        race.run({"transformers": lambda: theirs(image), "ours": lambda: ours(image)}, rounds=3).show()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(*(map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (480, 640)))
