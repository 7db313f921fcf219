"""The dense field on a picture that does not fit the memory: 100 megapixels in tiles, and what they hold.

    python benchmarks/bench_crf_tiles.py [--side 10000] [--classes 5] [--iterations 5] [--memory-mb 1000]

Picture and energies are mirrored and repeated from small ones, window by window, as if read from a file; the
labels go to a file. At the end a window in the middle is inferred once more with margins of eight sigmas, and
the labels are compared: what tiles cannot see costs as much.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import torch
from skimage.data import astronaut
from tqdm import tqdm

from segmentarium.classical.crf.dense import DenseCRF
from segmentarium.classical.crf.dense_tiles import infer_in_tiles
from segmentarium.engine.memory import Peak
from segmentarium.ops.tiles import Window

CHECKED = 512


def mirrored(first: int, last: int, length: int) -> np.ndarray:
    """Where ``first .. last`` of an endless row lie in one of ``length`` that is mirrored again and again."""
    at = np.arange(first, last) % (2 * length)
    return np.minimum(at, 2 * length - 1 - at)


def cut(small: np.ndarray, window: Window) -> np.ndarray:
    """A window of the endless picture; the first two axes are those of places."""
    rows = mirrored(window.top, window.bottom, small.shape[0])
    columns = mirrored(window.left, window.right, small.shape[1])
    return small[rows[:, None], columns]


def energies(classes: int) -> np.ndarray:
    """(h, w, k) for the astronaut: weak ones, by brightness, under noise."""
    picture = astronaut()
    labels = picture.mean(axis=-1).astype(np.int64) * classes // 256
    noisy = np.random.default_rng(0).random((*labels.shape, classes), dtype=np.float32) * 2
    np.put_along_axis(noisy, labels[..., None], np.take_along_axis(noisy, labels[..., None], -1) - 1, -1)
    return noisy


def checked(crf: DenseCRF, small: np.ndarray, labels: np.ndarray) -> float:
    """The share of labels around the middle that wider margins leave as they are."""
    side, width = len(labels), min(CHECKED, len(labels))
    begin = (side - width) // 2
    inner = Window(begin, begin, begin + width, begin + width)
    reach = int(8 * max(kernel.sigma for kernel in crf.kernels if isinstance(kernel.sigma, float)))
    outer = Window(*(max(0, edge - reach) for edge in inner[:2]), *(min(side, e + reach) for e in inner[2:]))
    unary = np.moveaxis(cut(small, outer), -1, 0)
    probs = crf.mean_field(unary, crf.lattices(cut(astronaut(), outer), origin=outer[:2])).run(crf.iterations)
    wide = probs.argmax(0).reshape(outer.size)
    top, left = inner.top - outer.top, inner.left - outer.left
    told = labels[begin : begin + width, begin : begin + width]
    return float((wide[top : top + width, left : left + width] == told).mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--memory-mb", type=float, default=1000.0)
    words = parser.parse_args()
    crf, small, picture = DenseCRF(iterations=words.iterations), energies(words.classes), astronaut()
    crf.infer(np.moveaxis(small, -1, 0)[:, :64, :64], picture[:64, :64])  # loads and compiles
    with tempfile.TemporaryDirectory() as folder:
        size = (words.side, words.side)
        labels = np.memmap(Path(folder) / "labels.raw", np.uint8, "w+", shape=size)
        begin, worked = time.perf_counter(), time.process_time()
        with Peak(torch.device("cpu")) as peak, tqdm(total=labels.size, unit="px", unit_scale=True) as bar:
            tiles = infer_in_tiles(
                crf,
                lambda window: np.moveaxis(cut(small, window), -1, 0),
                partial(cut, picture),
                size=size,
                classes=words.classes,
                memory_mb=words.memory_mb,
            )
            count = 0
            for window, probs in tiles:
                rows, columns = slice(window.top, window.bottom), slice(window.left, window.right)
                labels[rows, columns] = probs.argmax(axis=0)
                bar.update(int(np.prod(window.size)))
                count += 1
        seconds, cpu = time.perf_counter() - begin, time.process_time() - worked
        print(
            f"{labels.size / 1e6:.0f} megapixels, {words.classes} classes, {words.iterations} iterations: "
            f"{count} tiles, {seconds:.0f} s ({cpu:.0f} s of processor time, {psutil.cpu_count()} cores), "
            f"at most {peak.above_mb:.0f} MB of {words.memory_mb:.0f} allowed"
        )
        kept = checked(crf, small, labels)
        print(f"{kept:.4%} of the labels in the middle are those of margins of eight sigmas")


if __name__ == "__main__":
    main()
