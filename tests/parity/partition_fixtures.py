"""Pictures for the parity of partitions and boundaries, from whole-number formulas: the same everywhere."""

from __future__ import annotations

import numpy as np


def disc(shape: tuple[int, int], centre: tuple[int, int], radius: int) -> np.ndarray:
    y, x = np.ogrid[: shape[0], : shape[1]]
    return np.asarray((y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2)


def voronoi(shape: tuple[int, int], cells: int, step: tuple[int, int]) -> np.ndarray:
    """Regions nearest to points that walk through the image by ``step``, numbered from 1."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    k = np.arange(1, cells + 1)
    at = (k * step[0] % shape[0], k * step[1] % shape[1])
    distance = (y[..., None] - at[0]) ** 2 + (x[..., None] - at[1]) ** 2
    return np.asarray(distance.argmin(-1) + 1, np.int32)


def with_borders(labels: np.ndarray, *, wide: bool = False) -> np.ndarray:
    """The same regions with 0 where they meet."""
    meets = np.zeros(labels.shape, bool)
    meets[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    meets[:-1] |= labels[:-1] != labels[1:]
    if wide:
        meets[1:] |= meets[:-1].copy()
    return np.where(meets, 0, labels).astype(np.int32)


MASKS: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "discs apart": (disc((60, 80), (30, 38), 18), disc((60, 80), (28, 44), 17)),
    "cut by the border": (disc((97, 131), (10, 100), 40), disc((97, 131), (14, 96), 40)),
    "square and disc": (
        np.pad(np.ones((50, 50), bool), ((20, 30), (25, 45))),
        disc((100, 120), (45, 50), 28),
    ),
    "stripes": (
        np.broadcast_to(np.arange(90)[None] // 9 % 2 == 0, (64, 90)).copy(),
        np.broadcast_to(np.arange(90)[None] // 10 % 2 == 0, (64, 90)).copy(),
    ),
    "diagonal line": (np.eye(70, dtype=bool), np.roll(np.eye(70, dtype=bool), 1, axis=1)),
    "all and most": (np.ones((40, 50), bool), ~disc((40, 50), (20, 20), 6)),
    "one empty": (np.zeros((40, 50), bool), disc((40, 50), (20, 20), 6)),
}
"""Prediction and truth."""

PARTITIONS: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "borders in both": (
        with_borders(voronoi((64, 72), 14, (23, 31))),
        with_borders(voronoi((64, 72), 11, (27, 29)), wide=True),
    ),
    "borders in truth": (voronoi((64, 72), 30, (23, 31)), with_borders(voronoi((64, 72), 11, (27, 29)))),
    "merged": (
        with_borders(voronoi((50, 50), 16, (13, 37))) // 3,
        with_borders(voronoi((50, 50), 16, (13, 37))),
    ),
    "half unlabelled": (
        np.where(np.arange(72)[None] < 36, 0, voronoi((64, 72), 9, (27, 29))).astype(np.int32),
        with_borders(voronoi((64, 72), 11, (27, 29))),
    ),
}
"""Prediction and truth."""


def video(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Two objects that move, one of which the prediction loses and one of which leaves the image."""
    truth = np.zeros((frames, 72, 96), np.int32)
    found = np.zeros_like(truth)
    for t in range(frames):
        truth[t][disc((72, 96), (36, 20 + t), 14)] = 1
        truth[t][disc((72, 96), (60, 70 + 3 * t), 12)] = 2
        found[t][disc((72, 96), (36 + t // 3, 20 + t // 2), 13)] = 1
        found[t][disc((72, 96), (60, 72 + 3 * t), 11)] = 2
    return found, truth


def strength(number: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """A soft boundary map in steps of 1/8, and the boundary maps of two annotators."""
    shape, step = (80, 110), (17 + 2 * number, 41 - 4 * number)
    cut = [voronoi(shape, cells, step) for cells in (5, 9, 14)]
    maps = [with_borders(labels) == 0 for labels in cut]
    soft = sum(
        np.roll(one, (1, -1), axis=(0, 1)).astype(int) * weight
        for one, weight in zip(maps, (4, 2, 1), strict=True)
    )
    return np.asarray(soft) / 8, [maps[0], maps[1]]
