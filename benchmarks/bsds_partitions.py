"""How well classical methods cut pictures as people do: covering, PRI and VOI on BSDS500.

    python benchmarks/bsds_partitions.py DATA [-o OUT] [--methods slic ...] [--train 30] [--val 40] [--jobs 2]

``DATA/train`` and ``DATA/val`` hold ``images`` and ``masks``; a mask is an .npz with the partitions ``segs``
of several people. Each method runs with each value of its scale. ``train`` chooses the other settings, and
the one scale for all pictures; ``val`` is reported with it ("data set"), and with the best scale for each
picture ("image"), which needs the truth and tells what one scale loses. The test split is never read.

Published figures, of the test split and the authors' own scales (Arbelaez et al. 2011, table 3: data set and
image): Felzenszwalb covering 0.52 and 0.57, mean shift 0.54 and 0.58, normalised cuts 0.45 and 0.53.

``OUT/scores.json`` grows by a line for every method and picture, so that a run may be stopped and taken up.
``OUT/pictures`` holds, for each method, the pictures it did best, middling and worst.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from segmentarium import classical
from segmentarium.metrics.contingency import joint_histogram
from segmentarium.metrics.partitions import PartitionScore
from segmentarium.values import contact_sheet, read_image
from segmentarium.values.draw_regions import draw_regions
from segmentarium.values.files import atomic_json

Ladder = dict[str, tuple[Any, ...]]

LADDERS: dict[str, tuple[str, Ladder]] = {
    "felzenszwalb": ("scale", {"scale": (150.0, 300.0, 600.0, 1000.0, 1600.0), "smallest": (100, 400, 1200)}),
    "merging": ("threshold", {"threshold": (20.0, 30.0, 42.0, 60.0, 80.0), "smallest": (100, 400, 1200)}),
    "kmeans": ("clusters", {"clusters": (2, 3, 5, 8, 14), "weight": (0.2, 0.6)}),
    "normalized_cut": ("segments", {"segments": (2, 3, 4, 6, 9, 14, 22)}),
    "ddcrp": ("spread", {"spread": (12.0, 18.0, 27.0, 40.0, 60.0, 90.0)}),
    "slic": ("segments", {"segments": (6, 12, 25, 50), "compactness": (10.0, 20.0)}),
    "watershed": ("depth", {"depth": (5.0, 10.0, 20.0, 40.0), "sigma": (1.0, 3.0)}),
    "mean_shift": ("color", {"color": (32.0, 48.0, 70.0, 100.0), "smallest": (400, 1200)}),
    "dp_means": ("penalty", {"penalty": (1e4, 3e4, 1e5, 3e5), "weight": (0.4,)}),
    "dirichlet_mixture": ("components", {"components": (4, 8, 16), "weight": (0.4,)}),
    "mumford_shah": ("rho", {"rho": (1000.0, 2500.0, 6000.0), "smallest": (100,)}),
    "quickshift": ("bandwidth", {"bandwidth": (5.0, 10.0, 15.0), "max_distance": (40.0,)}),
    "compact_watershed": ("segments", {"segments": (6, 12, 25, 50), "compactness": (0.0, 0.3)}),
    "field": ("classes", {"classes": (2, 3, 5, 8), "smoothness": (10.0, 30.0)}),
    "chan_vese": ("functions", {"functions": (1, 2)}),
}
"""For each method which setting is its scale, and the values tried."""

PUBLISHED = {"felzenszwalb": (0.52, 0.57), "mean_shift": (0.54, 0.58), "normalized_cut": (0.45, 0.53)}
SCORES = ("covering", "pri", "voi")
HIGHER = {"covering": True, "pri": True, "voi": False}


def choices(method: str) -> list[dict[str, Any]]:
    """Every combination of the settings of a ladder."""
    _, ladder = LADDERS[method]
    return [dict(zip(ladder, values, strict=True)) for values in itertools.product(*ladder.values())]


def score(labels: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """Means over the people."""
    rows = [PartitionScore.of(joint_histogram(labels, one.astype(np.int32))) for one in people]
    return {
        "covering": float(np.mean([row.covering_of_truth for row in rows])),
        "pri": float(np.mean([row.rand_index for row in rows])),
        "voi": float(np.mean([row.voi for row in rows])),
    }


def run(method: str, picture: Path) -> dict[str, Any]:
    """All settings of a method on one picture."""
    image = read_image(picture)
    with np.load(picture.parents[1] / "masks" / f"{picture.stem}.npz", allow_pickle=False) as file:
        people = file["segs"]
    rows, begin = [], time.process_time()
    for settings in choices(method):
        found = getattr(classical, method)(image, **settings)
        rows.append({"settings": settings, "regions": len(found.classes), **score(found.labels, people)})
    return {"rows": rows, "seconds": (time.process_time() - begin) / len(rows)}


def key(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings.items())


def summary(method: str, train: list[dict[str, Any]], val: list[dict[str, Any]]) -> dict[str, Any]:
    """Scores of ``val`` with the settings that ``train`` likes best, and with the best scale a picture."""
    scale, _ = LADDERS[method]
    told: dict[str, Any] = {"seconds": float(np.median([picture["seconds"] for picture in val]))}
    for name in SCORES:
        sign = 1 if HIGHER[name] else -1
        on_train, on_val = (
            np.array([[row[name] for row in p["rows"]] for p in part]) for part in (train, val)
        )
        best = int((sign * on_train.mean(axis=0)).argmax())
        chosen = train[0]["rows"][best]["settings"]
        sisters = [
            i for i, row in enumerate(train[0]["rows"])
            if all(value == chosen[k] for k, value in row["settings"].items() if k != scale)
        ]  # fmt: skip
        each = sign * (sign * on_val[:, sisters]).max(axis=1)
        told[name] = {
            "settings": key(chosen),
            "data set": float(on_val[:, best].mean()),
            "image": float(each.mean()),
        }
    return told


def show(method: str, told: dict[str, Any]) -> None:
    cells = "".join(f"{told[n]['data set']:>9.3f}{told[n]['image']:>7.3f}" for n in SCORES)
    known = "  published {:.2f} {:.2f}".format(*PUBLISHED[method]) if method in PUBLISHED else ""
    seconds = f"{told['seconds']:>7.2f} s"
    print(f"{method:<16}{cells}{seconds}   {told['covering']['settings']}{known}", flush=True)


def pictures(
    method: str, told: dict[str, Any], val: dict[str, dict[str, Any]], folder: Path, out: Path
) -> None:
    """The best, the middle and the worst picture of ``val`` by covering, with the chosen settings."""
    settings = next(s for s in choices(method) if key(s) == told["covering"]["settings"])
    at = choices(method).index(settings)
    order = sorted(val, key=lambda stem: val[stem]["rows"][at]["covering"])
    drawn = []
    for stem in (order[-1], order[-2], order[len(order) // 2], order[1], order[0]):
        image = read_image(next((folder / "images").glob(f"{stem}.*")))
        found = getattr(classical, method)(image, **settings)
        drawn.append((draw_regions(image, found.labels, found.classes),
                      f"{stem}: covering {val[stem]['rows'][at]['covering']:.2f}"))  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    contact_sheet(drawn, columns=1, cell=640).save(out / f"{method}.jpg", quality=88)


def evenly(paths: list[Path], count: int) -> list[Path]:
    """``count`` of them, evenly spaced."""
    count = min(count, len(paths))
    return [paths[i * len(paths) // count] for i in range(count)]


def missing(
    known: dict[str, Any], methods: Iterable[str], parts: dict[str, list[Path]]
) -> list[tuple[str, str, Path]]:
    """What no line tells of, or a line of other settings."""
    return [
        (method, part, path)
        for method in methods
        for part, paths in parts.items()
        for path in paths
        if [row["settings"] for row in known.get(f"{method}/{part}/{path.stem}", {"rows": []})["rows"]]
        != choices(method)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/bsds"))
    parser.add_argument("--methods", nargs="+", choices=LADDERS, default=list(LADDERS))
    parser.add_argument("--train", type=int, default=30, help="pictures to choose by")
    parser.add_argument("--val", type=int, default=40, help="pictures to report")
    parser.add_argument("--jobs", type=int, default=1)
    words = parser.parse_args()
    words.output.mkdir(parents=True, exist_ok=True)
    counts = {"train": words.train, "val": words.val}
    parts = {p: evenly(sorted((words.data / p / "images").iterdir()), n) for p, n in counts.items()}
    file = words.output / "scores.json"
    known: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    print(
        f"{'':<16}" + "".join(f"{name:>16}" for name in SCORES) + f"\n{'method':<16}" + "  dataset  image" * 3
    )
    for method in words.methods:
        with ProcessPoolExecutor(words.jobs) as pool:
            work = {
                pool.submit(run, m, path): (m, part, path)
                for m, part, path in missing(known, [method], parts)
            }
            for done in as_completed(work):
                _, part, path = work[done]
                known[f"{method}/{part}/{path.stem}"] = done.result()
                atomic_json(file, known)
        train, val = (
            {p.stem: known[f"{method}/{part}/{p.stem}"] for p in paths} for part, paths in parts.items()
        )
        told = summary(method, list(train.values()), list(val.values()))
        show(method, told)
        pictures(method, told, val, words.data / "val", words.output / "pictures")


if __name__ == "__main__":
    main()
