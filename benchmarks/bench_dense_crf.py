"""The dense field with 21 classes and ten iterations: ours against pydensecrf2, answers compared.

    python benchmarks/bench_dense_crf.py [--rounds 5] [--sizes 333x500 1024x1024] [--memory]

Both get the same energies and picture, and build all they need anew each time. pydensecrf2 works on one core;
``OMP_NUM_THREADS=1`` holds ours to one too. ``--memory`` runs each in an interpreter of its own and tells how
much the largest memory grows over what the input takes.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial

import numpy as np

from harness import Race

CLASSES = 21
Contender = Callable[[np.ndarray, np.ndarray], np.ndarray]


def scene(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Weak energies, and a picture of smooth things with the noise of a camera."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    fields = [gaussian_filter(rng.standard_normal((height, width)), s) for s in (40, 25, 12)]
    smooth = np.stack([field / field.std() for field in fields], -1)
    picture = np.clip(128 + 60 * np.tanh(3 * smooth) + rng.normal(0, 5, smooth.shape), 0, 255).astype(
        np.uint8
    )
    labels = (picture[..., 0].astype(int) * CLASSES) // 256
    unary = 2 * rng.random((CLASSES, height, width), dtype=np.float32)
    np.put_along_axis(unary, labels[None], np.take_along_axis(unary, labels[None], 0) - 1, 0)
    return unary, picture


def ours(unary: np.ndarray, picture: np.ndarray) -> np.ndarray:
    from segmentarium.classical.crf.dense import DenseCRF

    return DenseCRF().infer(unary, picture)


def pydensecrf2(unary: np.ndarray, picture: np.ndarray) -> np.ndarray:
    from pydensecrf.densecrf import DenseCRF2D

    height, width = picture.shape[:2]
    field = DenseCRF2D(width, height, len(unary))
    field.setUnaryEnergy(unary.reshape(len(unary), -1))
    field.addPairwiseGaussian(sxy=3, compat=3)
    field.addPairwiseBilateral(sxy=80, srgb=13, rgbim=picture, compat=10)
    return np.array(field.inference(10), copy=False).reshape(unary.shape)


CONTENDERS: dict[str, Contender] = {"pydensecrf2": pydensecrf2, "ours": ours}


def grown_mb(name: str, size: tuple[int, int]) -> float:
    """What one contender's largest memory grows by, in MB, in a fresh interpreter."""
    command = [sys.executable, __file__, "--alone", name, "--sizes", f"{size[0]}x{size[1]}"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def alone(name: str, size: tuple[int, int]) -> None:
    CONTENDERS[name](*scene(40, 50))  # loads and compiles
    unary, picture = scene(*size)
    held = current_kb()
    CONTENDERS[name](unary, picture)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - held) / 1e3)


def current_kb() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss // 1024)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", default=["333x500", "1024x1024"])
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--alone", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    sizes = [(int(height), int(width)) for height, width in (text.split("x") for text in args.sizes)]
    if args.alone:
        alone(args.alone, sizes[0])
        return
    for size in sizes if args.memory else ():  # first: a child starts with its parent's largest memory
        for name in CONTENDERS:
            print(f"{size[0]}x{size[1]}: {name} grows by {grown_mb(name, size):.0f} MB")
    for size in sizes:
        race(size, args.rounds)


def race(size: tuple[int, int], rounds: int) -> None:
    unary, picture = scene(*size)
    apart = np.abs(ours(unary, picture) - pydensecrf2(unary, picture)).max()
    contenders = {name: partial(call, unary, picture) for name, call in CONTENDERS.items()}
    title = (
        f"dense field, {size[0]}x{size[1]}, {CLASSES} classes, 10 iterations; answers differ by {apart:.1e}"
    )
    Race(title, unit="pictures").run(contenders, rounds=rounds).show()


if __name__ == "__main__":
    main()
