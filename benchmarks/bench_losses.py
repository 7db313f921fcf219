"""Losses, forward and backward: ours beside MONAI, segmentation-models-pytorch, kornia and torch.

    python benchmarks/bench_losses.py [--classes 21 150] [--only dice lovasz] [--rounds 5]

Logits (4, C, 512, 512) in single precision, labels in regions. The first contender of each race is ours; the
ratio is the peer's time over ours. Memory is the most that one call holds above what was there before,
the gradient of the logits included (Linux only).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path

import kornia.losses
import monai.losses
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from harness import Race
from segmentarium import losses as ours

Loss = Callable[[Tensor, Tensor], Tensor]
BATCH, SIDE = 4, 512


def batch(classes: int) -> tuple[Tensor, Tensor]:
    """Noise that is 3 higher at the true class, and labels in about 40 regions an image."""
    draw = torch.Generator().manual_seed(0)
    coarse = torch.randn(BATCH, classes, 6, 7, generator=draw)
    labels = interpolate(coarse, size=(SIDE, SIDE), mode="bilinear").argmax(1)
    logits = torch.randn(BATCH, classes, SIDE, SIDE, generator=draw)
    logits.scatter_add_(1, labels[:, None], torch.full((BATCH, 1, SIDE, SIDE), 3.0))
    return logits.requires_grad_(), labels


def _monai(kind: type[nn.Module]) -> Loss:
    softmax = "use_softmax" if kind is monai.losses.FocalLoss else "softmax"
    loss = kind(to_onehot_y=True, **{softmax: True})
    return lambda logits, labels: loss(logits, labels[:, None])


def races() -> dict[str, dict[str, Loss]]:
    dice = smp.losses.DiceLoss("multiclass")
    entropy = nn.CrossEntropyLoss()
    return {
        "cross-entropy": {"ours": ours.CrossEntropy(), "torch": entropy},
        "dice + cross-entropy": {
            "ours": ours.Dice() + ours.CrossEntropy(),
            "MONAI DiceCE": _monai(monai.losses.DiceCELoss),
            "SMP Dice + torch CE": lambda logits, labels: dice(logits, labels) + entropy(logits, labels),
        },
        "dice": {"ours": ours.Dice(), "MONAI": _monai(monai.losses.DiceLoss), "SMP": dice},
        "generalised dice": {
            "ours": ours.GeneralizedDice(),
            "MONAI": _monai(monai.losses.GeneralizedDiceLoss),
        },
        "focal": {
            "ours": ours.Focal(),
            "MONAI": _monai(monai.losses.FocalLoss),
            "SMP": smp.losses.FocalLoss("multiclass"),
        },
        "tversky": {
            "ours": ours.Tversky(),
            "MONAI": _monai(monai.losses.TverskyLoss),
            "SMP": smp.losses.TverskyLoss("multiclass"),
        },
        "jaccard": {"ours": ours.Jaccard(), "SMP": smp.losses.JaccardLoss("multiclass")},
        "lovasz": {
            "ours": ours.Lovasz(),
            "kornia": kornia.losses.lovasz_softmax_loss,
            "SMP": smp.losses.LovaszLoss("multiclass"),
        },
    }


def step(loss: Loss, logits: Tensor, labels: Tensor) -> None:
    logits.grad = None
    loss(logits, labels).backward()


def peak_mb(call: Callable[[], None]) -> float:
    """What resident memory rises to above its start, sampled every two milliseconds."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    page, least = 4096 / 1e6, []
    running = threading.Event()

    def watch() -> None:
        while not running.is_set():
            least.append(int(Path("/proc/self/statm").read_text().split()[1]) * page)
            time.sleep(0.002)

    start = int(Path("/proc/self/statm").read_text().split()[1]) * page
    watcher = threading.Thread(target=watch)
    watcher.start()
    call()
    running.set()
    watcher.join()
    return max(least) - start


def race(title: str, contenders: dict[str, Loss], logits: Tensor, labels: Tensor, rounds: int) -> None:
    calls = {
        name: lambda loss=loss: step(loss, logits, labels)  # type: ignore[misc]
        for name, loss in contenders.items()
    }
    result = Race(f"{title}, {tuple(logits.shape)}, {torch.get_num_threads()} threads").run(
        calls, rounds=rounds
    )
    result.show()
    peaks = {}
    for name, call in calls.items():
        logits.grad = None
        peaks[name] = peak_mb(call)
    first = next(iter(calls))
    for name, peak in peaks.items():
        share = result.median(first) / result.median(name)
        print(f"{name:<34}{peak:>8.0f} MB; ours takes {share:.2f} of its time", end="")
        print(f" and {peaks[first] / max(peak, 1e-9):.2f} of its memory")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, nargs="*", default=[21])
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    for classes in asked.classes:
        logits, labels = batch(classes)
        for title, contenders in races().items():
            if not asked.only or any(word in title for word in asked.only):
                race(title, contenders, logits, labels, asked.rounds)


if __name__ == "__main__":
    main()
