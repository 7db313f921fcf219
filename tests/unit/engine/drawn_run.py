"""A run folder as training leaves one, made without training: drawn shapes and a careless model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image as Pil

from segmentarium.data import DataSet, open_data
from segmentarium.data.shapes import write_data_set
from segmentarium.engine.evaluate import evaluate
from segmentarium.engine.gallery import save_picture
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.files import atomic_json, atomic_text, ensure_folder
from segmentarium.values.image import Image
from segmentarium.values.results import LabelMap


class Careless:
    """Knows the truth of a data set, paints it some pixels off, and takes patches for others."""

    name, licence = "careless-tiny", "CC0-1.0"

    def __init__(self, data: DataSet, *, shift: int = 3, classes: Classes | None = None) -> None:
        self.data, self.shift = data, shift
        self.classes = classes or data.classes
        self.pairs = {pair.image: pair for pairs in data.splits.values() for pair in pairs}

    def __call__(self, image: Image) -> LabelMap:
        assert image.path is not None
        truth = self.data.labels(self.pairs[image.path])
        random = np.random.default_rng(int(truth.sum()) % 1000)
        painted = np.roll(np.where(truth == VOID, 0, truth), random.integers(0, 2 * self.shift + 1), axis=1)
        size = max(8, truth.shape[1] // 6)
        for row, column in random.integers(0, min(truth.shape) - size, (4, 2)):
            patch = painted[row : row + size, column : column + size]
            patch[:] = (patch + 1) % len(self.data.classes)
        return LabelMap(self._renamed(painted), self.classes)

    def _renamed(self, labels: np.ndarray) -> np.ndarray:
        return np.array([self.classes.index_of(name) for name in self.data.classes.names], np.int32)[labels]


def draw_run(folder: Path, *, images: int = 6, classes: int = 4, size: tuple[int, int] = (96, 128)) -> Path:
    """Write a data set and a run folder with every file that a report reads; returns the run folder."""
    data = open_data(
        write_data_set(
            folder / "data",
            train=6,
            val=images,
            size=size,
            classes=classes,
            objects=2 * classes,
            void_share=0.03,
        )
    )
    run = folder / "run"
    evaluate(Careless(data), data, out=run)
    atomic_text(run / "recipe.toml", _RECIPE)
    atomic_json(run / "env.json", _ENV)
    atomic_json(
        run / "dataset_fingerprint.json",
        {"name": data.name, "splitting": data.splitting, "splits": {"train": "ab" * 32, "val": "cd" * 32}},
    )
    atomic_json(run / "splits.json", {name: [p.stem for p in pairs] for name, pairs in data.splits.items()})
    atomic_json(run / "plan.json", _plan(data))
    atomic_json(run / "check.json", _CHECK)
    save_picture(Pil.new("RGB", (40, 30), (90, 20, 20)), ensure_folder(run / "check") / "01-off-by-one.png")
    atomic_text(
        run / "events.jsonl", "".join(json.dumps(event) + "\n" for event in _events(data.classes.names))
    )
    atomic_text(run / "results.csv", "step,mean_iou\n200,0.8\n")
    return run


def _plan(data: DataSet) -> dict[str, object]:
    shares = np.linspace(1, 0.1, len(data.classes))
    by_name = zip(data.classes.names, shares / shares.sum(), strict=True)
    facts = {
        "name": data.name,
        "layout": data.layout,
        "images": {name: len(pairs) for name, pairs in data.splits.items()},
        "sizes": {"smallest": [96, 128], "median": [96, 128], "largest": [96, 128]},
        "channels": 3,
        "dtype": "uint8",
        "class_share": dict(by_name),
        "class_images": dict.fromkeys(data.classes.names, 1.0),
        "void_share": 0.031,
    }
    reasons = {
        "model": "unet-small: 4 classes on a CPU; it keeps full resolution at 1.2 M parameters",
        "train.crop": "128 x 128: the median image is that large, so nothing is cut off",
        "train.steps": "200: as many as fit into two minutes at the measured speed",
    }
    return {
        "reasons": reasons,
        "forecast": {"seconds": 118.0, "memory_mb": 900.0},
        "fingerprint": facts,
        "notes": [],
    }


def _events(names: tuple[str, ...]) -> list[dict[str, object]]:
    random = np.random.default_rng(0)
    lines: list[dict[str, object]] = [
        {"kind": "started", "step": 0, "steps": 200, "model": "unet-small", "parameters": 1_234_567,
         "device": "cpu", "why": "no GPU was found", "train_images": 6, "val_images": 6,
         "classes": list(names), "out": "run"}
    ]  # fmt: skip
    for step in range(1, 201):
        loss = 1.6 * math.exp(-step / 45) + 0.2 + 0.08 * random.standard_normal() ** 2
        terms = {"cross_entropy": 0.6 * loss, "dice": 0.4 * loss + 0.05}
        rate = 1e-3 * min(1, step / 20) * (1 - step / 201) ** 0.9
        lines.append({"kind": "step", "step": step, "steps": 200, "loss": loss, "lr": rate, "terms": terms})
        if step % 25 == 0:
            mean = 0.85 * (1 - math.exp(-step / 60))
            iou = {
                name: max(0.0, mean - 0.06 * i + 0.02 * random.standard_normal())
                for i, name in enumerate(names)
            }
            lines.append(
                {"kind": "evaluated", "step": step, "mean_iou": mean, "mean_dice": 2 * mean / (1 + mean),
                 "pixel_accuracy": 0.9, "iou": iou, "best": True, "seconds": 1.0}
            )  # fmt: skip
    done = {
        "kind": "finished",
        "step": 200,
        "reason": "done",
        "best_mean_iou": 0.8,
        "weights": "best",
        "seconds": 112.0,
    }
    return [*lines, done]


_RECIPE = """\
model = "unet-small"
data = "shapes"
seed = 7

[train]
steps = 200
batch = 8
crop = [128, 128]
lr = 1e-3
loss = { cross_entropy = 1.0, dice = 1.0 }

[augment]
hflip = true
"""

_ENV = {
    "device": "cpu",
    "why": "no GPU was found",
    "python": "3.11.9",
    "system": "Linux-6.1-x86_64",
    "processor": "x86_64",
    "cores": 2,
    "memory_gb": 16.0,
    "torch_threads": 2,
    "versions": {"segmentarium": "0.1.0", "torch": "2.11.0", "numpy": "2.2.0"},
    "command": ["/opt/bin/seg", "train", "my shapes", "-o", "run", "--seed", "7"],
    "commit": "0123456789abcdef0123456789abcdef01234567",
}

_CHECK = {
    "findings": [
        {"fault": "near-duplicate-across-splits", "severity": "warning", "count": 1,
         "files": ["val/images/0001.png"],
         "message": "1 file: looks like an image of another split (val/images/0001.png)",
         "cure": "remove one of the two", "allowed": "an image in one split only", "fixable": False},
        {"fault": "off-by-one", "severity": "error", "count": 2, "files": ["train/masks/0003.png"],
         "message": "2 files: ids begin at 1 although the classes begin at 0 (<b>0003.png</b>)",
         "cure": "seg check DATA --fix writes a corrected copy", "allowed": "ids 0 to 3", "fixable": True,
         "picture": "elsewhere/run/check/01-off-by-one.png"},
    ]
}  # fmt: skip
