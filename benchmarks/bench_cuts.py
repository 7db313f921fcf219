"""Binary cuts, expansion and swap moves, and GrabCut, beside PyMaxflow, ortools, scipy and OpenCV.

    python benchmarks/bench_cuts.py [--only cuts moves grabcut] [--rounds 5] [--side 512]

One thread. Others take part where they are installed; PyMaxflow is GPL and no part of the library. Each race
checks that the answers are the same: flows, energies, or how much of two cut-outs overlaps.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import resource
from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage import data, transform

from harness import Race
from segmentarium.classical.crf.energy import GridCRF, potts
from segmentarium.classical.crf.moves import expansion, swap
from segmentarium.classical.grabcut import grab
from segmentarium.ops.grid_cut import grid_cut
from segmentarium.ops.max_flow import max_flow
from segmentarium.ops.neighbours import both_ends, neighbours

Problem = tuple[np.ndarray, np.ndarray, list[np.ndarray], tuple[tuple[int, ...], ...]]


def optional(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except ImportError:
        return None


def picture(side: int) -> np.ndarray:
    return np.asarray(transform.resize(data.astronaut(), (side, side), preserve_range=True), np.float32)


def binary(side: int, strength: float, kind: str) -> Problem:
    """A picture's cut by noisy evidence (easy), by seeds alone (hard), or a noisy volume."""
    draw = np.random.default_rng(0)
    if kind == "volume":
        size = (side // 8, side // 8, side // 8)
        field = gaussian_filter(draw.standard_normal(size), 3)
        grey = field / field.std() + draw.standard_normal(size)
        offsets, sigma = neighbours(3, 6), 1.0
    else:
        size = (side, side)
        grey, offsets, sigma = picture(side).mean(axis=2), neighbours(2, 4), 20.0
    links = []
    for offset in offsets:
        first, second = both_ends(offset)
        links.append(np.zeros(size))
        links[-1][first] = strength * np.exp(-np.abs(grey[first] - grey[second]) / sigma)
    if kind == "seeds":
        y, x = np.mgrid[:side, :side]
        reach = np.maximum(abs(y - side / 2), abs(x - side / 2))
        source, sink = np.where(reach < side / 16, 1e4, 0.0), np.where(reach > side / 2 - 5, 1e4, 0.0)
    else:
        truth = gaussian_filter(draw.standard_normal(size), side / 40 if kind == "evidence" else 3) > 0
        source = np.where(truth, 30, 10) + 20 * draw.random(size)
        sink = np.where(truth, 10, 30) + 20 * draw.random(size)
    return source, sink, links, offsets


def by_pymaxflow(maxflow: ModuleType, problem: Problem) -> float:
    source, sink, links, offsets = problem
    graph = maxflow.GraphFloat(source.size, source.size * len(offsets))
    nodes = graph.add_grid_nodes(source.shape)
    for link, offset in zip(links, offsets, strict=True):
        structure = np.zeros((3,) * source.ndim)
        structure[tuple(1 + step for step in offset)] = 1
        graph.add_grid_edges(nodes, link, structure=structure, symmetric=True)
    graph.add_grid_tedges(nodes, source, sink)
    flow = graph.maxflow()
    graph.get_grid_segments(nodes)
    return float(flow)


def edges_of(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """The same as a general graph; building it is not timed."""
    source, sink, links, offsets = problem
    count, number = source.size, np.arange(source.size).reshape(source.shape)
    ends = [(np.full(count, count), number.ravel()), (number.ravel(), np.full(count, count + 1))]
    capacities = [source.ravel(), sink.ravel()]
    for link, offset in zip(links, offsets, strict=True):
        first, second = both_ends(offset)
        pair = number[first].ravel(), number[second].ravel()
        ends += [pair, pair[::-1]]
        capacities += [link[first].ravel()] * 2
    return np.stack([np.concatenate(side) for side in zip(*ends, strict=True)], axis=1), np.concatenate(
        capacities
    )


def race_cuts(side: int, rounds: int) -> None:
    maxflow = optional("maxflow")
    for kind, strength in (("evidence", 20.0), ("evidence", 200.0), ("seeds", 100.0), ("volume", 10.0)):
        problem = binary(side, strength, kind)
        source, _, _, offsets = problem
        graph = edges_of(problem)
        calls: dict[str, Callable[[], float]] = {}
        if maxflow:
            calls["PyMaxflow"] = lambda problem=problem: by_pymaxflow(maxflow, problem)
        calls["grid_cut"] = lambda p=problem: float(grid_cut(p[0], p[1], p[2], p[2], p[3]).flow)
        for name in ("ortools", "scipy"):
            if kind == "evidence" and optional(name):
                calls[f"max_flow {name}"] = lambda graph=graph, name=name, count=source.size: float(
                    max_flow(*graph, count, count + 1, engine=name).value
                )
        flows = ", ".join(f"{name} {call():.6g}" for name, call in calls.items())
        size = "x".join(map(str, source.shape))
        Race(f"{kind}, links {strength:g}, {size}, {2 * len(offsets)} neighbours; {flows}").run(
            calls, rounds=rounds
        ).show()


def race_moves(side: int, rounds: int) -> None:
    """8 labels, Potts, noisy evidence for a Voronoi map."""
    draw = np.random.default_rng(0)
    centres, names = draw.integers(0, side, (30, 2)), draw.integers(0, 8, 30)
    places = np.stack(np.mgrid[:side, :side], axis=-1)
    truth = names[np.square(places[..., None, :] - centres).sum(axis=-1).argmin(axis=-1)]
    wrong = draw.random((side, side)) < 0.2
    truth[wrong] = draw.integers(0, 8, int(wrong.sum()))
    unary = np.where(np.arange(8) == truth[..., None], 50, 300) + draw.integers(0, 150, (side, side, 8))
    crf = GridCRF(unary, potts(8, 100), None, neighbours(2, 4))
    fast = optional("maxflow.fastmin")
    for ours, theirs in ((expansion, "aexpansion_grid"), (swap, "abswap_grid")):
        calls: dict[str, Callable[[], int | float]] = {}
        if fast:
            peer = getattr(fast, theirs)
            calls[f"PyMaxflow {theirs}"] = lambda peer=peer: crf.energy(
                peer(unary, crf.pairwise, None).astype(np.int32)
            )
        calls[ours.__name__] = lambda ours=ours: ours(crf).energy
        energies = ", ".join(f"{name} {call()}" for name, call in calls.items())
        Race(f"{ours.__name__}, {side}x{side}, 8 labels; energies {energies}").run(
            calls, rounds=rounds
        ).show()


def race_grabcut(rounds: int, steps: int = 5) -> None:
    cv2 = optional("cv2")
    boxes = {"astronaut": (70, 5, 370, 505), "coffee": (140, 50, 530, 390)}
    for name, (x0, y0, x1, y1) in boxes.items():
        image = getattr(data, name)()
        values = image.astype(np.float32)
        known = np.ones(image.shape[:2], np.int32)
        known[y0:y1, x0:x1] = 0

        def theirs(
            image: np.ndarray = image, box: tuple[int, ...] = (x0, y0, x1 - x0, y1 - y0)
        ) -> np.ndarray:
            assert cv2
            cv2.setRNGSeed(0)
            codes, blank = np.zeros(image.shape[:2], np.uint8), (np.zeros((1, 65)), np.zeros((1, 65)))
            cv2.grabCut(image[..., ::-1].copy(), codes, box, *blank, steps, cv2.GC_INIT_WITH_RECT)
            return codes % 2 == 1

        def ours(values: np.ndarray = values, known: np.ndarray = known) -> np.ndarray:
            return grab(values, known, iterations=steps).inside

        calls = {"OpenCV": theirs, "grab": ours} if cv2 else {"grab": ours}
        cut_outs = [call() for call in calls.values()]
        overlap = np.logical_and.reduce(cut_outs).sum() / np.logical_or.reduce(cut_outs).sum()
        title = f"GrabCut, {name}, {steps} iterations; overlap (IoU) {overlap:.3f}"
        Race(title).run(calls, rounds=rounds).show()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", default=["cuts", "moves", "grabcut"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", type=int, default=512)
    args = parser.parse_args()
    if "cuts" in args.only:
        race_cuts(args.side, args.rounds)
    if "moves" in args.only:
        race_moves(args.side, args.rounds)
    if "grabcut" in args.only:
        race_grabcut(args.rounds)
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
