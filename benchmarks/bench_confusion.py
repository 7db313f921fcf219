"""Mean IoU of 500 pairs of 1024x2048 labels, 19 classes and void: ours, torchmetrics, NumPy's bincount.

    python benchmarks/bench_confusion.py [--rounds 5] [--noise]

Four distinct pairs a call; the time for 500 is 125 times as much. Label maps are made of regions, of which
our kernel takes advantage; ``--noise`` shows maps without any.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from torchmetrics.classification import MulticlassJaccardIndex

from harness import Race
from segmentarium.metrics import ConfusionMatrix

CLASSES, IGNORE, SIZE, PAIRS = 19, 255, (1024, 2048), 4


def street(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A prediction and a truth: 80 cells with wavy borders; the prediction is shifted, with wrong blocks."""
    chance = np.random.default_rng(seed)
    half = tuple(side // 2 for side in SIZE)
    waves = [240 * gaussian_filter(chance.standard_normal(half), 8) for _ in half]
    places = np.stack([at + wave for at, wave in zip(np.indices(half), waves, strict=True)], -1)
    cells = cKDTree(chance.random((80, 2)) * half).query(places.reshape(-1, 2))[1].reshape(half)
    labels = chance.integers(0, CLASSES, 80).astype(np.uint8)[cells]
    truth = labels.repeat(2, 0).repeat(2, 1)
    found = np.roll(truth, chance.integers(-3, 4, 2), (0, 1)).copy()
    for _ in range(10):
        y, x = chance.integers(0, SIZE[0]), chance.integers(0, SIZE[1])
        h, w = chance.integers(SIZE[0] // 40, SIZE[0] // 10), chance.integers(SIZE[1] // 40, SIZE[1] // 10)
        found[y : y + h, x : x + w] = chance.integers(0, CLASSES)
    truth[:40] = IGNORE
    return found, truth


def noise(seed: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    found, truth = chance.integers(0, CLASSES, (2, *SIZE)).astype(np.uint8)
    truth[:40] = IGNORE
    return found, truth


def ours(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    counts = ConfusionMatrix(CLASSES, ignore=IGNORE)
    for found, truth in pairs:
        counts.update(found, truth)
    return counts.compute().mean_iou


def torchmetrics(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    metric = MulticlassJaccardIndex(CLASSES, ignore_index=IGNORE)
    for found, truth in pairs:
        metric.update(found.long()[None], truth.long()[None])
    return float(metric.compute())


def bincount(pairs: list[tuple[np.ndarray, np.ndarray]]) -> float:
    total = np.zeros((CLASSES, CLASSES), np.int64)
    for found, truth in pairs:
        valid = truth < CLASSES
        joint = CLASSES * truth[valid].astype(int) + found[valid]
        total += np.bincount(joint, minlength=CLASSES**2).reshape(CLASSES, CLASSES)
    right = np.diag(total)
    return float((right / (total.sum(0) + total.sum(1) - right)).mean())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--noise", action="store_true")
    asked = parser.parse_args()
    pairs = [(noise if asked.noise else street)(seed) for seed in range(PAIRS)]
    tensors = [(torch.from_numpy(found), torch.from_numpy(truth)) for found, truth in pairs]
    values = ours(pairs), torchmetrics(tensors), bincount(pairs)
    race = Race(
        f"mean IoU of {PAIRS} pairs {SIZE}; ours, torchmetrics, bincount: "
        + ", ".join(f"{value:.6f}" for value in values),
        work=PAIRS,
        unit="pairs",
    ).run(
        {
            "torchmetrics JaccardIndex": lambda: torchmetrics(tensors),
            "numpy bincount": lambda: bincount(pairs),
            "ConfusionMatrix": lambda: ours(pairs),
        },
        rounds=asked.rounds,
    )
    race.show()
    times = race.median("numpy bincount") / race.median("ConfusionMatrix")
    by_cpu = race.cpu("numpy bincount") / race.cpu("ConfusionMatrix")
    print(f"of numpy bincount: {times:.1f} times as fast, {by_cpu:.1f} by processor time")


if __name__ == "__main__":
    main()
