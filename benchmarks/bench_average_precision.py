"""COCO mask AP of 500 pictures with 20 objects each: ours, faster-coco-eval, pycocotools and torchmetrics.

    python benchmarks/bench_average_precision.py [--pictures 500] [--rounds 3] [--torchmetrics 20]

All are given run-length masks and answer with the twelve numbers; torchmetrics takes pixels, and gets a
few pictures only (as do we beside it). At the end: what the metric keeps of all pictures, in bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from harness import Race
from segmentarium.metrics.average_precision import AveragePrecision
from segmentarium.metrics.coco_precision import add_coco, coco_average_precision
from segmentarium.values.classes import Classes

SIZE, OBJECTS, CATEGORIES = (480, 640), 20, 20

Data = tuple[dict[str, Any], list[dict[str, Any]]]


def blob(rng: np.random.Generator, x: float, y: float, radius: float, waves: Any) -> dict[str, Any] | None:
    """A wavy disc as run-length code; None if it lies outside."""
    from pycocotools import mask as masks

    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    radii = radius * (1 + sum(a * np.cos(k * angles + phase) for k, (a, phase) in enumerate(waves, 2)))
    outline = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], 1)
    code = masks.frPyObjects([outline.ravel().tolist()], *SIZE)[0]
    text = {"size": list(SIZE), "counts": code["counts"].decode()}
    return text if masks.area(code) else None


def draw(pictures: int, seed: int = 0) -> Data:
    """Truth and detections: 85 % of the objects nearly found, a tenth of them misnamed, a third more."""
    from pycocotools import mask as masks

    rng = np.random.default_rng(seed)
    true: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image in range(1, pictures + 1):
        for _ in range(OBJECTS):
            x, y, radius = rng.random() * SIZE[1], rng.random() * SIZE[0], float(np.exp(rng.normal(3.4, 0.7)))
            waves = [(0.15 * rng.standard_normal(), rng.random() * 6) for _ in range(4)]
            label = int(rng.integers(1, CATEGORIES + 1))
            mask = blob(rng, x, y, radius, waves)
            moved = (x + 0.12 * radius * rng.standard_normal(), y + 0.12 * radius * rng.standard_normal())
            near = blob(rng, *moved, radius * float(np.exp(0.12 * rng.standard_normal())), waves)
            seen = label if rng.random() < 0.9 else int(rng.integers(1, CATEGORIES + 1))
            score, kept = float(rng.random() * 0.5 + 0.5), rng.random() < 0.85
            if mask:
                area, corners = float(masks.area(mask)), masks.toBbox(mask).tolist()
                row = {"image_id": image, "category_id": label, "segmentation": mask}
                true.append(row | {"id": len(true) + 1, "area": area, "bbox": corners, "iscrowd": 0})
            if near and kept:
                found.append({"image_id": image, "category_id": seen, "segmentation": near, "score": score})
        for _ in range(OBJECTS // 3):
            wrong = blob(rng, rng.random() * SIZE[1], rng.random() * SIZE[0], 30.0, [(0.1, 0.0)])
            row = {"image_id": image, "category_id": int(rng.integers(1, CATEGORIES + 1))}
            if wrong:
                found.append(row | {"segmentation": wrong, "score": float(rng.random() * 0.6)})
    sizes = [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(1, pictures + 1)]
    categories = [{"id": k, "name": str(k)} for k in range(1, CATEGORIES + 1)]
    return {"images": sizes, "annotations": true, "categories": categories, "info": {}}, found


def with_ours(data: Data, rounds: int = 0) -> float:
    return coco_average_precision(data[1], data[0], rounds=rounds).means["ap"]


def with_faster(data: Data) -> float:
    from faster_coco_eval import COCO, COCOeval_faster

    file = COCO(data[0])
    race = COCOeval_faster(file, file.loadRes(copy.deepcopy(data[1])), "segm", print_function=lambda *_: None)
    race.run()
    return float(race.stats[0])


def with_pycocotools(data: Data) -> float:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        file = COCO()
        file.dataset = data[0]
        file.createIndex()
        race = COCOeval(file, file.loadRes(copy.deepcopy(data[1])), "segm")
        race.evaluate()
        race.accumulate()
        race.summarize()
    return float(race.stats[0])


def with_torchmetrics(data: Data) -> Callable[[], float]:
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    from segmentarium.ops.rle import decode

    def side(rows: list[dict[str, Any]]) -> dict[str, Any]:
        painted = [decode(row["segmentation"]) for row in rows]
        pixels = torch.from_numpy(np.array(painted, bool).reshape(-1, *SIZE))
        scores = torch.tensor([row.get("score", 1.0) for row in rows])
        return {
            "masks": pixels,
            "scores": scores,
            "labels": torch.tensor([row["category_id"] for row in rows]),
        }

    images = [row["id"] for row in data[0]["images"]]
    pairs = [
        [side([row for row in rows if row["image_id"] == i]) for rows in (data[1], data[0]["annotations"])]
        for i in images
    ]

    def call() -> float:
        metric = MeanAveragePrecision(iou_type="segm", backend="faster_coco_eval")
        with contextlib.redirect_stdout(io.StringIO()):
            for found, true in pairs:
                metric.update([found], [true])
            return float(metric.compute()["map"])

    return call


def kept_bytes(data: Data) -> int:
    """Bytes of the arrays that the metric keeps."""
    classes = Classes.from_json([{"id": k, "name": str(k)} for k in range(1, CATEGORIES + 1)])
    metric = AveragePrecision(classes)
    add_coco(metric, data[1], data[0])
    pictures = metric._pictures.values()
    return sum(v.nbytes for p in pictures for v in vars(p).values() if isinstance(v, np.ndarray))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--torchmetrics", type=int, default=20, metavar="PICTURES")
    options = parser.parse_args()
    data = draw(options.pictures)
    contenders: dict[str, Callable[[], float]] = {
        "faster-coco-eval": lambda: with_faster(data),
        "ours": lambda: with_ours(data),
        "ours with 200 rounds of bootstrap": lambda: with_ours(data, 200),
        "pycocotools": lambda: with_pycocotools(data),
    }
    values = ", ".join(f"{name} {call():.12f}" for name, call in contenders.items())
    Race(f"mask AP of {options.pictures} pictures; {values}", work=options.pictures, unit="pictures").run(
        contenders, rounds=options.rounds
    ).show()
    if options.torchmetrics:
        few = draw(options.torchmetrics)
        theirs = with_torchmetrics(few)
        title = f"{options.torchmetrics} pictures; ours {with_ours(few):.6f}, torchmetrics {theirs():.6f}"
        pair = {"torchmetrics": theirs, "ours": lambda: with_ours(few)}
        Race(title, work=options.torchmetrics, unit="pictures").run(pair, rounds=1).show()
    detections, text = len(data[1]), sum(sys.getsizeof(row["segmentation"]["counts"]) for row in data[1])
    print(
        f"\nkept: {kept_bytes(data)} bytes of {detections} detections, whose run-length text is {text} bytes"
    )


if __name__ == "__main__":
    main()
