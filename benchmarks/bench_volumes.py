"""Volumes: bending, resampling, and labelling a large one in bounded memory, beside the usual tools.

python benchmarks/bench_volumes.py                     bending and resampling at 128^3
python benchmarks/bench_volumes.py --label             512x512x400 voxels, 14 classes: peak memory
python benchmarks/bench_volumes.py --label --depth 64  the same, thinner
"""

from __future__ import annotations

import argparse
import os
import time
from itertools import count

import numpy as np
import psutil
import torch
from scipy.ndimage import gaussian_filter, map_coordinates, zoom
from torch import Tensor, nn

from harness import Race
from segmentarium.data.elastic import draw_smooth_field
from segmentarium.data.volume_augment import Augment3d
from segmentarium.data.volume_transforms import augmented_volume
from segmentarium.engine.memory import Peak
from segmentarium.engine.volumes import label_volume
from segmentarium.nn.outputs import Semantic
from segmentarium.ops.resample_volume import resample, resample_labels
from segmentarium.ops.warp_volume import warp_volume
from segmentarium.values.grid import Grid

SIDE = 128
MAGNITUDE, SIGMA = (50.0, 150.0), (5.0, 7.0)
"""What MONAI's Rand3DElastic draws from; it is Simard's recipe, with these as alpha and sigma."""


def sample() -> tuple[np.ndarray, np.ndarray]:
    """A smooth volume and three classes in it."""
    rng = np.random.default_rng(0)
    voxels = gaussian_filter(rng.standard_normal((SIDE,) * 3).astype(np.float32), 1)
    smooth = gaussian_filter(voxels, 4)
    return voxels, np.digitize(smooth, np.quantile(smooth, (0.7, 0.9))).astype(np.int16)


def bend(rounds: int) -> None:
    from monai.transforms import Rand3DElasticd

    voxels, labels = sample()
    theirs = Rand3DElasticd(
        ["i", "l"], SIGMA, MAGNITUDE, prob=1.0, mode=("bilinear", "nearest"), padding_mode="border"
    )
    pair = {"i": torch.from_numpy(voxels)[None], "l": torch.from_numpy(labels.astype(np.float32))[None]}
    seeds = count()

    def scipy() -> None:
        rng = np.random.default_rng(next(seeds))
        noise = rng.random((3, SIDE, SIDE, SIDE), np.float32) * 2 - 1
        at = np.stack(
            [g + gaussian_filter(n, 6) * 100 for g, n in zip(np.indices((SIDE,) * 3), noise, strict=True)]
        )
        map_coordinates(voxels, at, order=1, mode="nearest")
        map_coordinates(labels, at, order=0, mode="nearest")

    def ours() -> None:
        rng = np.random.default_rng(next(seeds))
        field = draw_smooth_field(
            next(seeds), size=labels.shape, alpha=rng.uniform(*MAGNITUDE), sigma_px=rng.uniform(*SIGMA)
        )
        warp_volume(voxels[None], labels, size=labels.shape, field=field)

    every = Augment3d(rotate=1.0, scale=1.0, elastic=1.0)
    contenders = {
        "MONAI Rand3DElastic": lambda: theirs(pair),
        "scipy, order 1 and 0": scipy,
        "ours, the same recipe": ours,
        "ours, turned, scaled, bent, recoloured": lambda: augmented_volume(
            voxels[None], labels, augment=every, crop=labels.shape, seed=next(seeds)
        ),
    }
    Race(f"bending {SIDE}^3 float32 with labels", unit="volumes").run(contenders, rounds=rounds).show()


def change_spacing(rounds: int) -> None:
    import SimpleITK as sitk

    voxels, labels = sample()
    grid = Grid.plain((SIDE,) * 3, (3.0, 0.8, 0.8))
    target = grid.at_spacing((1.0, 1.0, 1.0))
    factors = np.array(target.size) / SIDE
    wanted = sitk.Image(*target.size[::-1], sitk.sitkFloat32)
    wanted.SetSpacing(target.spacing_mm[::-1])
    wanted.SetOrigin((target.affine[:3, 3] * [-1, -1, 1]).tolist())
    image, truth = sitk.GetImageFromArray(voxels), sitk.GetImageFromArray(labels)
    for one in (image, truth):
        one.SetSpacing(grid.spacing_mm[::-1])
    tensor = torch.from_numpy(voxels)[None, None]

    def one_hot() -> np.ndarray:
        """As nnU-Net: each class is resampled by itself."""
        masks = [
            zoom((labels == k).astype(np.float32), factors, order=1, grid_mode=True, mode="nearest")
            for k in range(3)
        ]
        return np.argmax(masks, axis=0)

    size = "x".join(map(str, target.size))
    contenders = {
        "scipy zoom, order 1": lambda: zoom(voxels, factors, order=1, grid_mode=True, mode="nearest"),
        "SimpleITK, linear": lambda: sitk.Resample(image, wanted, sitk.Transform(), sitk.sitkLinear, 0.0),
        "torch interpolate": lambda: torch.nn.functional.interpolate(tensor, target.size, mode="trilinear"),
        "ours, linear": lambda: resample(voxels, grid, target, antialias=False),
        "ours, antialiased": lambda: resample(voxels, grid, target),
    }
    Race(f"{SIDE}^3 float32 to {size}", unit="volumes").run(contenders, rounds=rounds).show()
    contenders = {
        "scipy zoom of three masks, best": one_hot,
        "SimpleITK, nearest": lambda: sitk.Resample(
            truth, wanted, sitk.Transform(), sitk.sitkNearestNeighbor
        ),
        "ours, vote": lambda: resample_labels(labels, grid, target),
        "ours, nearest": lambda: resample_labels(labels, grid, target, method="nearest"),
    }
    Race(f"{SIDE}^3 labels of 3 classes to {size}", unit="volumes").run(contenders, rounds=rounds).show()


class Cheap(nn.Module):
    """One convolution: what is measured is everything but the network."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.look = nn.Conv3d(1, classes, 1)

    def forward(self, image: Tensor) -> Semantic:
        return Semantic(self.look(image))


def label(depth: int, patch: int, overlap: float, classes: int) -> None:
    """The most memory above what the process held with the network, the voxels included."""
    network = Cheap(classes).eval()
    label_volume(np.zeros((8, 8, 8), np.int16), network, patch=(8, 8, 8))  # what is compiled once is not ours
    begun = time.perf_counter()
    with Peak(torch.device("cpu")) as peak:
        voxels = np.random.default_rng(0).integers(-1000, 1000, (depth, 512, 512), np.int16)
        labels = label_volume(voxels, network, patch=(patch,) * 3, overlap=overlap)
    seconds, free = time.perf_counter() - begun, psutil.virtual_memory().available
    voxels_gib, labels_gib = voxels.nbytes / 2**30, labels.nbytes / 2**30
    print(f"\nlabels of {depth}x512x512 voxels, {classes} classes, patches of {patch}^3, overlap {overlap}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {free / 2**30:.1f} GiB free")
    print(f"peak {peak.above_mb * 1e6 / 2**30:.2f} GiB above the model, in {seconds:.0f} s")
    print(f"of it voxels {voxels_gib:.2f} and labels {labels_gib:.2f} GiB", end="; ")
    print(f"the scores of all classes would be {4 * classes * labels.size / 2**30:.2f} GiB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--label", action="store_true", help="label a large volume instead")
    parser.add_argument("--depth", type=int, default=400)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--overlap", type=float, default=0.5)
    parser.add_argument("--classes", type=int, default=14)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.label:
        label(options.depth, options.patch, options.overlap, options.classes)
        return
    bend(options.rounds)
    change_spacing(options.rounds)


if __name__ == "__main__":
    main()
