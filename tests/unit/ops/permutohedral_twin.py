"""The permutohedral lattice in plain NumPy, as slow as it is obvious: what every lattice of ours must equal.

Conventions. A feature of dimension d has unit variance. A point of the lattice has d + 1 whole coordinates of
sum 0, all with the same remainder r of division by d + 1. The corners of a simplex are numbered by r. Ties of
the nearest point of remainder 0 go to the even multiple. The blur runs along directions 0 .. d, over points
that some feature touched, and makes no new ones. ``reverse`` runs it along d .. 0: the adjoint.

Source: Adams, Baek and Davis, "Fast high-dimensional filtering using the permutohedral lattice", 2010.
"""

from __future__ import annotations

import numpy as np


class TwinLattice:
    """``keys``: the points (m, d + 1); ``offsets``, ``weights``: (n, d + 1), corner r of each feature."""

    def __init__(self, features: np.ndarray, *, kind: type = np.float32) -> None:
        n, d = features.shape
        steps = np.arange(d)
        scale = (np.sqrt(2 / 3) * (d + 1) / np.sqrt((steps + 1) * (steps + 2))).astype(kind)
        elevated = np.zeros((n, d + 1), kind)
        tail = np.zeros(n, kind)
        for j in range(d, 0, -1):
            turned = features[:, j - 1].astype(kind) * scale[j - 1]
            elevated[:, j] = tail - kind(j) * turned
            tail = tail + turned
        elevated[:, 0] = tail
        multiples = np.rint(elevated * kind(1 / (d + 1)))
        excess = multiples.sum(1).astype(int)
        residual = elevated - multiples * kind(d + 1)
        rank = np.zeros((n, d + 1), int)  # how many residuals are larger; of equal ones the later ranks lower
        for i in range(d + 1):
            for j in range(i + 1, d + 1):
                less = residual[:, i] < residual[:, j]
                rank[:, i] += less
                rank[:, j] += ~less
        rank += excess[:, None]
        turn = (rank < 0).astype(int) - (rank > d)
        rank += turn * (d + 1)
        multiples = multiples.astype(int) + turn
        residual = (elevated - (multiples * (d + 1)).astype(kind)) * kind(1 / (d + 1))
        ordered = np.take_along_axis(residual, np.argsort(rank, axis=1), axis=1)  # descending
        self.weights = np.zeros((n, d + 1), kind)
        self.weights[:, 0] = 1 + ordered[:, d] - ordered[:, 0]
        self.weights[:, 1:] = (ordered[:, :-1] - ordered[:, 1:])[:, ::-1]
        corners = np.arange(d + 1)
        below = rank[:, None, :] > d - corners[None, :, None]
        keys = (multiples[:, None] - below) * (d + 1) + corners[None, :, None]
        self.keys, offsets = np.unique(keys.reshape(-1, d + 1), axis=0, return_inverse=True)
        self.offsets = offsets.reshape(n, d + 1)
        known = {tuple(key): index for index, key in enumerate(self.keys.tolist())}
        nowhere = len(self.keys)
        self.neighbours = []  # of each direction: the points one step ahead and one step behind
        for j in range(d + 1):
            step = np.ones(d + 1, int)
            step[j] = -d
            self.neighbours.append(
                [
                    np.array([known.get(tuple(k), nowhere) for k in (self.keys + way * step).tolist()])
                    for way in (1, -1)
                ]
            )

    def splat(self, values: np.ndarray) -> np.ndarray:
        points = np.zeros((len(self.keys) + 1, values.shape[1]), values.dtype)  # the last stays 0
        for corner in range(self.offsets.shape[1]):
            np.add.at(points, self.offsets[:, corner], self.weights[:, corner, None] * values)
        return points

    def blur(self, points: np.ndarray, *, reverse: bool = False) -> np.ndarray:
        for ahead, behind in reversed(self.neighbours) if reverse else self.neighbours:
            points = points.copy()
            points[:-1] += (points[ahead] + points[behind]) / 2
        return points

    def slice(self, points: np.ndarray) -> np.ndarray:
        alpha = 1 / (1 + 2.0 ** (1 - self.offsets.shape[1]))
        gathered = points[self.offsets] * self.weights[..., None]
        return (gathered.sum(1) * alpha).astype(points.dtype)

    def filter(self, values: np.ndarray, *, reverse: bool = False) -> np.ndarray:
        """(n, c) to (n, c): sums over all features, weighed by about ``exp(-|f - f'|^2 / 2)``."""
        return self.slice(self.blur(self.splat(values), reverse=reverse))
