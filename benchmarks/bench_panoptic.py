"""Panoptic quality of maps 1024 x 1024 with 60 segments: ours, panopticapi and torchmetrics.

    python benchmarks/bench_panoptic.py [--pairs 10] [--rounds 5] [--panopticapi FOLDER]

panopticapi is on no package index: give the folder of a clone. Its files are replaced by arrays in memory, so
that no PNG is decoded. torchmetrics takes seconds a pair: it gets one pair and one round, the others all.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from harness import Race
from segmentarium.metrics.panoptic import PanopticQuality, Segments
from segmentarium.values.classes import Class, Classes, distinct_color

SIDE, SEGMENTS, THINGS = 1024, 60, 40
CLASSES = Classes(
    Class(id=i, name=str(i), color=distinct_color(i), thing=i < THINGS) for i in range(SEGMENTS)
)


def draw(seed: int) -> tuple[Segments, Segments]:
    """Cells of 60 sites, shifted by 4 and 3 pixels, six of them merged, six classes wrong; a class each."""
    rng = np.random.default_rng(seed)
    pixels = np.stack(np.mgrid[:SIDE, :SIDE], -1).reshape(-1, 2)
    nearest = cKDTree(rng.random((SEGMENTS, 2)) * SIDE).query(pixels)[1]
    true = (nearest.reshape(SIDE, SIDE) + 1).astype(np.int32)
    found = np.roll(true, (4, -3), (0, 1))
    lost = rng.choice(SEGMENTS, 6, replace=False) + 1
    table = np.arange(SEGMENTS + 1)
    table[lost] = np.roll(lost, 1)
    found = table[found].astype(np.int32)
    of_true = rng.permutation(SEGMENTS)
    of_found = of_true.copy()
    swapped = rng.choice(SEGMENTS, 6, replace=False)
    of_found[swapped] = of_found[np.roll(swapped, 1)]
    return segments(found, of_found), segments(true, of_true)


def segments(ids: Any, of: Any) -> Segments:
    numbers = np.unique(ids).astype(np.int64)
    return Segments(
        ids=ids,
        numbers=numbers,
        classes_of=of[numbers - 1].astype(np.int64),
        crowd=np.zeros(len(numbers), bool),
    )


def ours(pairs: list[tuple[Segments, Segments]], protocol: str) -> float:
    metric = PanopticQuality(CLASSES, protocol=protocol)
    for found, true in pairs:
        metric.update(found, true)
    return metric.compute().all.pq


def with_torchmetrics(pairs: list[tuple[Segments, Segments]]) -> Callable[[], float]:
    import torch
    from torchmetrics.detection import PanopticQuality as Theirs

    def colored(side: Segments) -> Any:
        table = np.full(side.numbers.max() + 1, -1)
        table[side.numbers] = side.classes_of
        return torch.from_numpy(np.stack([table[side.ids], side.ids], -1).astype(np.int64))[None]

    tensors = [(colored(found), colored(true)) for found, true in pairs]

    def call() -> float:
        metric = Theirs(things=set(range(THINGS)), stuffs=set(range(THINGS, SEGMENTS)))
        for found, true in tensors:
            metric.update(found, true)
        return float(metric.compute())

    return call


def with_panopticapi(pairs: list[tuple[Segments, Segments]], folder: str) -> Callable[[], float]:
    sys.path.insert(0, folder)
    import panopticapi.evaluation as theirs

    arrays = {
        f"{kind}{i}": side.ids for i, pair in enumerate(pairs) for kind, side in zip("pt", pair, strict=True)
    }
    theirs.Image = types.SimpleNamespace(open=lambda path: arrays[path.rsplit("/", 1)[-1]])
    theirs.rgb2id = lambda array: array
    work = [(table(f"t{i}", true, i), table(f"p{i}", found, i)) for i, (found, true) in enumerate(pairs)]
    categories = {i: {"id": i, "isthing": int(i < THINGS)} for i in range(SEGMENTS)}

    def call() -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            state = theirs.pq_compute_single_core(0, copy.deepcopy(work), "", "", categories)
        return float(state.pq_average(categories, None)[0]["pq"])

    return call


def table(name: str, side: Segments, image: int) -> dict[str, Any]:
    areas = np.bincount(side.ids.reshape(-1))
    rows = [
        {"id": int(n), "category_id": int(k), "iscrowd": 0, "area": int(areas[n])}
        for n, k in zip(side.numbers, side.classes_of, strict=True)
    ]
    return {"image_id": image, "file_name": name, "segments_info": rows}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--panopticapi", default="")
    options = parser.parse_args()
    pairs = [draw(seed) for seed in range(options.pairs)]
    contenders: dict[str, Callable[[], float]] = {"ours": lambda: ours(pairs, "panopticapi")}
    if options.panopticapi:
        contenders["panopticapi, arrays"] = with_panopticapi(pairs, options.panopticapi)
    values = ", ".join(f"{name} {call():.9f}" for name, call in contenders.items())
    title = f"PQ of {options.pairs} pairs {SIDE} x {SIDE}, {SEGMENTS} segments; {values}"
    Race(title, work=options.pairs, unit="pairs").run(contenders, rounds=options.rounds).show()
    theirs = with_torchmetrics(pairs[:1])
    title = f"PQ of one pair; ours {ours(pairs[:1], 'torchmetrics'):.9f}, torchmetrics {theirs():.9f}"
    one = {"ours": lambda: ours(pairs[:1], "torchmetrics"), "torchmetrics": theirs}
    Race(title, unit="pairs").run(one, rounds=1).show()


if __name__ == "__main__":
    main()
