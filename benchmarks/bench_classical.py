"""Classical methods and random fields beside their peers, in one run.

    python benchmarks/bench_classical.py [--rounds 3] [--small]

k-means beside scikit-learn, OpenCV, faiss; SLIC, Felzenszwalb, watershed beside scikit-image and SimpleITK;
cuts and moves beside PyMaxflow; GrabCut beside OpenCV; the fully connected field beside pydensecrf2. Peers
that are not installed are left out. The programs that are called here can also be run alone, and say more.

At the end a line a race: how many times as fast as the first peer ours was, and the least that we ask of it.
``--small`` leaves out the large pictures.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec

import bench_cuts
import bench_dense_crf
import bench_kmeans
import bench_superpixels
from harness import FINISHED, Race

OURS = ("ours", "kmeans (ours)", "grid_cut", "expansion", "swap", "grab")
BARS = {
    "k-means": 1.6,
    "SLIC": 1.0,
    "Felzenszwalb": 1.0,
    "evidence": 1 / 1.5,
    "seeds": 1 / 1.5,
    "volume": 1 / 1.5,
    "expansion": 0.5,
    "swap": 0.5,
    "dense field": 1.5,
}
"""How many times as fast as the peer, by the clock, for races whose title begins so."""


def run(rounds: int, *, small: bool) -> None:
    for height, width in ((321, 481), (3000, 4000))[: 1 if small else 2]:
        bench_kmeans.race(height, width, clusters=8, rounds=rounds)
    for size in list(bench_superpixels.COUNTS)[: 1 if small else 2]:
        bench_superpixels.compare(size, rounds)
    bench_cuts.race_cuts(512, rounds)
    bench_cuts.race_moves(512, rounds)
    bench_cuts.race_grabcut(rounds)
    if find_spec("pydensecrf"):
        for size in ((333, 500), (1024, 1024))[: 1 if small else 2]:
            bench_dense_crf.race(size, rounds)


def line(race: Race) -> str:
    """A race in a line; empty where nobody ran beside ours."""
    theirs = next(iter(race.seconds))
    ours = next((name for name in race.seconds if name in OURS), theirs)
    if ours == theirs:
        return ""
    by_clock, by_cpu = race.median(theirs) / race.median(ours), race.cpu(theirs) / race.cpu(ours)
    bar = next((least for title, least in BARS.items() if race.title.startswith(title)), None)
    asked = "" if bar is None else f"{bar:>8.2f}  {'met' if by_clock >= bar else 'missed'}"
    return f"{race.title.split(';')[0]:<62}{theirs:<28}{by_clock:>8.2f}{by_cpu:>8.2f}{asked}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true")
    words = parser.parse_args()
    run(words.rounds, small=words.small)
    print(f"\n{'race':<62}{'beside':<28}{'clock':>8}{'cpu':>8}{'asked':>8}")
    print("\n".join(filter(None, map(line, FINISHED))))


if __name__ == "__main__":
    main()
