"""Superpixels and Felzenszwalb's regions: ours beside scikit-image, and SimpleITK and OpenCV where installed.

    OMP_NUM_THREADS=1 python benchmarks/bench_superpixels.py [--rounds 5] [--sizes 321x481 1080x1920]
    python benchmarks/bench_superpixels.py --bsds DIR    # DIR/images and DIR/masks: how good the regions are

The pictures are drawn scenes. Ours returns the map of labels, as the others do: no mean colours.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from skimage import segmentation
from skimage.metrics import adapted_rand_error

from harness import Race
from segmentarium.classical.compact_watershed import slope
from segmentarium.classical.felzenszwalb import graph_regions
from segmentarium.classical.levels import levels
from segmentarium.classical.slic import superpixels
from segmentarium.classical.watershed import flooded
from segmentarium.data.shapes import draw_scene
from segmentarium.metrics.superpixels import Superpixels
from segmentarium.values import read_image

Method = Callable[[], np.ndarray]
COUNTS = {"321x481": 250, "1080x1920": 2000}


def simple_itk(picture: np.ndarray, count: int) -> dict[str, Method]:
    try:
        import SimpleITK
    except ImportError:
        return {}
    image = SimpleITK.GetImageFromArray(picture, isVector=True)
    side = round((picture.shape[0] * picture.shape[1] / count) ** 0.5)
    return {
        "SimpleITK": lambda: SimpleITK.GetArrayFromImage(SimpleITK.SLIC(image, [side, side], 10.0, 10)),
    }


def opencv(picture: np.ndarray, count: int) -> dict[str, Method]:
    try:
        import cv2

        create = cv2.ximgproc.createSuperpixelSLIC
    except (ImportError, AttributeError):
        return {}
    side = round((picture.shape[0] * picture.shape[1] / count) ** 0.5)

    def run() -> np.ndarray:
        found = create(cv2.cvtColor(picture, cv2.COLOR_RGB2Lab), cv2.ximgproc.SLIC, side, 10.0)
        found.iterate(10)
        found.enforceLabelConnectivity()
        return found.getLabels()

    return {"OpenCV (contrib)": run}


def race(title: str, contenders: dict[str, Method], rounds: int) -> None:
    counts = ", ".join(f"{name} {len(np.unique(call()))}" for name, call in contenders.items())
    Race(f"{title}; regions: {counts}").run(contenders, rounds=rounds).show()


def compare(size: str, rounds: int) -> None:
    height, width = map(int, size.split("x"))
    picture, count = draw_scene(6, size=(height, width), objects=40).image.pixels, COUNTS.get(size, 1000)
    race(
        f"SLIC, {size}, {count} asked, 10 iterations",
        {
            "scikit-image": lambda: segmentation.slic(picture, count, start_label=0),
            "ours": lambda: superpixels(levels(picture), count).labels,
            **simple_itk(picture, count),
            **opencv(picture, count),
        },
        rounds,
    )
    scale, sigma, least = 300.0, 0.8, 20
    theirs = segmentation.felzenszwalb(picture, scale, sigma, least)
    ours = graph_regions(levels(picture), scale=scale, sigma=sigma, smallest=least)
    apart = adapted_rand_error(theirs + 1, ours + 1)[0]
    race(
        f"Felzenszwalb, {size}, scale 300; adapted Rand error {apart:.1e}",
        {
            "scikit-image": lambda: segmentation.felzenszwalb(picture, scale, sigma, least),
            "ours": lambda: graph_regions(levels(picture), scale=scale, sigma=sigma, smallest=least),
        },
        rounds,
    )
    flood(picture, size, count, rounds)


def flood(picture: np.ndarray, size: str, count: int, rounds: int) -> None:
    """The watershed from seeds, on eight bits; scikit-image's compact one is in our compact watershed."""
    relief = np.clip(slope(levels(picture)), 0, 255).astype(np.uint8)
    side = round((relief.size / count) ** 0.5)
    seeds = np.zeros(relief.shape, np.int32)
    place = np.s_[side // 2 :: side, side // 2 :: side]
    seeds[place] = np.arange(1, seeds[place].size + 1).reshape(seeds[place].shape)
    contenders: dict[str, Method] = {
        "scikit-image": lambda: segmentation.watershed(relief, seeds),
        "ours": lambda: flooded(relief, seeds),
        "scikit-image, compact": lambda: segmentation.watershed(relief, seeds, compactness=0.5),
    }
    try:
        import SimpleITK
    except ImportError:
        pass
    else:
        images = SimpleITK.GetImageFromArray(relief), SimpleITK.GetImageFromArray(seeds)
        contenders["SimpleITK"] = lambda: SimpleITK.GetArrayFromImage(
            SimpleITK.MorphologicalWatershedFromMarkers(*images, False)
        )
    race(f"watershed, {size}, {seeds.max()} seeds", contenders, rounds)


def quality(folder: Path, asked: int = 250) -> None:
    """SLIC on every eighth picture; the peer too with as many asked for that it returns as many as ours."""
    scores = {name: Superpixels(ignore=None) for name in ("ours", "scikit-image", "scikit-image, like count")}
    for path in sorted((folder / "images").iterdir())[::8]:
        picture = read_image(path).pixels
        with np.load(folder / "masks" / f"{path.stem}.npz") as stored:
            truths = list(stored["segs"].astype(np.int64))
        ours = superpixels(levels(picture), asked).labels
        tries = [segmentation.slic(picture, n, start_label=0) for n in range(asked, 2 * asked, asked // 10)]
        alike = min(tries, key=lambda labels: abs(int(labels.max()) - int(ours.max())))
        for name, labels in zip(scores, (ours, tries[0], alike), strict=True):
            scores[name].update(labels.astype(np.int64), truths)
    for name, score in scores.items():
        print(f"{name:<26}{score.compute()}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", default=list(COUNTS))
    parser.add_argument("--bsds", type=Path)
    args = parser.parse_args()
    if args.bsds:
        quality(args.bsds)
        return
    for size in args.sizes:
        compare(size, args.rounds)


if __name__ == "__main__":
    main()
