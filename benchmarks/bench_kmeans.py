"""k-means in x, y, r, g, b beside scikit-learn, OpenCV and faiss, from the same start, and the objectives.

    python benchmarks/bench_kmeans.py [--rounds 3] [--sizes 321x481 3000x4000] [--clusters 8]

All run ten iterations of Lloyd, the others on single precision, in which scikit-learn also adds up its means.
Mini batches are shown on small pictures for comparison: they end at another objective. OpenCV and faiss take
part where they are installed. Every objective is the sum of squared distances of all pixels to the nearest of
the centres found, taken in double precision.
"""

from __future__ import annotations

import argparse
import os
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from PIL import Image
from skimage.data import astronaut
from sklearn.cluster import KMeans, MiniBatchKMeans

from harness import Race
from segmentarium.classical.kmeans import features, lloyd
from segmentarium.classical.levels import Levels, levels

ITERATIONS = 10
SMALL = 10**6
"""Of more pixels mini batches take minutes, and OpenCV draws its own start."""


def photograph(height: int, width: int) -> Levels:
    """A photograph at that size, under the noise of a camera."""
    small = Image.fromarray(astronaut()).resize((width, height), Image.Resampling.BICUBIC)
    noise = 3 * np.random.default_rng(0).standard_normal((height, width, 3), dtype=np.float32)
    return levels(np.clip(np.asarray(small) + noise, 0, 255).astype(np.uint8))


def objective(points: np.ndarray, centers: np.ndarray) -> float:
    total = 0.0
    for part in np.array_split(points, -(-len(points) // 100_000)):
        squares = [np.square(part - center, dtype=np.float64).sum(axis=1) for center in centers]
        total += float(np.min(squares, axis=0).sum())
    return total


def peers(points: np.ndarray, start: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    k = len(start)
    calls: dict[str, Callable[[], np.ndarray]] = {
        "scikit-learn KMeans, lloyd": lambda: (
            KMeans(k, init=start, n_init=1, max_iter=ITERATIONS, tol=0, algorithm="lloyd")
            .fit(points)
            .cluster_centers_
        )
    }
    if len(points) < SMALL:
        calls["scikit-learn MiniBatchKMeans"] = lambda: (
            MiniBatchKMeans(k, init=start, n_init=1, max_iter=ITERATIONS, random_state=0)
            .fit(points)
            .cluster_centers_
        )
    if find_spec("cv2"):
        import cv2

        nearest = (
            np.square(points[:, None] - start).sum(axis=2).argmin(axis=1) if len(points) < SMALL else None
        )
        given = None if nearest is None else nearest.astype(np.int32)[:, None]
        stop = (cv2.TERM_CRITERIA_MAX_ITER, ITERATIONS, 0)
        how = cv2.KMEANS_RANDOM_CENTERS if given is None else cv2.KMEANS_USE_INITIAL_LABELS
        calls["OpenCV kmeans"] = lambda: cv2.kmeans(points, k, given, stop, 1, how)[2]
    if find_spec("faiss"):
        import faiss

        faiss.omp_set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))

        def with_faiss() -> np.ndarray:
            found = faiss.Kmeans(points.shape[1], k, niter=ITERATIONS, max_points_per_centroid=10**9)
            found.train(points, init_centroids=start)
            return found.centroids

        calls["faiss Kmeans"] = with_faiss
    return calls


def race(height: int, width: int, clusters: int, rounds: int) -> None:
    picture = photograph(height, width)
    weight = 100 / max(height, width)
    points = features(picture, np.arange(height * width), weight).astype(np.float32)
    drawn = np.random.default_rng(0).choice(len(points), clusters, replace=False)
    start = points[drawn]

    def ours() -> np.ndarray:
        return lloyd(picture, start, weight=weight, iterations=ITERATIONS).centers

    calls = peers(points, start)
    first = next(iter(calls))
    calls = {first: calls.pop(first), "kmeans (ours)": ours, **calls}
    found = {name: objective(points, call()) for name, call in calls.items()}
    title = f"k-means in x, y, r, g, b: {width}x{height}, k = {clusters}, {ITERATIONS} iterations"
    Race(title, height * width * ITERATIONS / 1e6, "Mpx").run(calls, rounds=rounds).show()
    for name, value in found.items():
        print(f"{name:<34} objective {value:.6e}, {value / found[first] - 1:+.1e}")
    tracemalloc.start()
    ours()
    print(f"ours at most {tracemalloc.get_traced_memory()[1] / height / width:.0f} bytes a pixel")
    tracemalloc.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", default=["321x481", "3000x4000"], help="height x width")
    parser.add_argument("--clusters", type=int, default=8)
    args = parser.parse_args()
    for size in args.sizes:
        height, width = map(int, size.split("x"))
        race(height, width, args.clusters, args.rounds)


if __name__ == "__main__":
    main()
