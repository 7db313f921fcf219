"""HD + HD95 + ASSD of two classes in volumes: ours against MONAI, in one run, and the answers compared.

    python benchmarks/bench_surface.py [--rounds 3] [--sides 128 256]

The volumes hold an organ with blobs of a second class in it; the prediction is the truth shifted by a voxel
or two, with a cube of the organ's class where there is none. ``--far`` shifts it by a quarter of the volume:
then hardly any surface lies near the other one, our worst case.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.ndimage import gaussian_filter, zoom

from harness import Race
from segmentarium.metrics.surface import measure_classes


def volumes(side: int, *, far: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a truth of 3 classes, uint8."""
    rng = np.random.default_rng(0)
    coarse = min(side, 64)
    axis = np.linspace(-1, 1, coarse, dtype=np.float32)
    radius = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    rough, blobs = (
        gaussian_filter(rng.standard_normal((coarse,) * 3, dtype=np.float32), s) for s in (3.0, 2.5)
    )
    fields = 0.75 - radius + 0.1 * rough / rough.std(), blobs / blobs.std()
    organ, blobs = (zoom(field, side / coarse, order=1) for field in fields)
    truth = np.zeros((side,) * 3, np.uint8)
    truth[organ > 0] = 1
    truth[(organ > 0.1) & (blobs > 1.5)] = 2
    shift = (side // 4,) * 3 if far else (2, -1, 1)
    prediction = np.roll(truth, shift, (0, 1, 2))
    prediction[(slice(side // 4, side // 3),) * 3] = 1
    return prediction, truth


def ours(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    found = measure_classes(prediction, truth, classes=3).values()
    return np.array([[measures.hd, measures.hd95, measures.assd] for measures in found])


def monai(prediction: torch.Tensor, truth: torch.Tensor) -> np.ndarray:
    return np.stack(
        [
            compute_hausdorff_distance(prediction, truth)[0].numpy(),
            compute_hausdorff_distance(prediction, truth, percentile=95)[0].numpy(),
            compute_average_surface_distance(prediction, truth, symmetric=True)[0].numpy(),
        ],
        axis=1,
    )


def race(side: int, rounds: int, *, far: bool) -> None:
    prediction, truth = volumes(side, far=far)
    one_hot = [
        torch.stack([torch.from_numpy(labels == index) for index in range(3)])[None].float()
        for labels in (prediction, truth)
    ]
    apart = np.abs(ours(prediction, truth) - monai(*one_hot)).max()
    title = f"HD + HD95 + ASSD, {side}^3, classes 1 and 2{', far apart' * far}; answers differ by {apart:.1e}"
    Race(title, unit="volumes").run(
        {"MONAI": lambda: monai(*one_hot), "measure_classes": lambda: ours(prediction, truth)},
        rounds=rounds,
    ).show()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--far", action="store_true")
    args = parser.parse_args()
    for side in args.sides:
        race(side, args.rounds, far=args.far)


if __name__ == "__main__":
    main()
