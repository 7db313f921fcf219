"""Compiled loops behind :mod:`segmentarium.classical.crf.moves`, on the padded grid of ``ops.grid_cut``."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from segmentarium.ops.grid_cut_kernels import SOURCE

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**PLAIN)
@no_type_check
def load_unary(labels, unary, low, high, frame, terminal):
    """What each place gains by its high label, its neighbours aside."""
    (depth, height, width), (start, plane, row) = labels.shape, frame
    for z in range(depth):
        for y in range(height):
            at = start + z * plane + y * row
            for x in range(width):
                label = labels[z, y, x]
                terminal[at + x] = unary[z, y, x, low[label]] - unary[z, y, x, high[label]]


@njit(**PLAIN)
@no_type_check
def load_pairs(labels, links, terms, offset, arc, frame, terminal, residual):
    """Add the terms of the pairs along one offset."""
    (depth, height, width), (start, plane, row), (dz, dy, dx) = labels.shape, frame, offset
    step = dz * plane + dy * row + dx
    for z in range(max(0, -dz), depth - max(0, dz)):
        for y in range(max(0, -dy), height - max(0, dy)):
            at = start + z * plane + y * row
            for x in range(max(0, -dx), width - max(0, dx)):
                a, b, weight = labels[z, y, x], labels[z + dz, y + dy, x + dx], links[z, y, x]
                link = weight * terms[0, a, b]
                residual[at + x, arc] = link
                residual[at + x + step, arc + 1] = link
                terminal[at + x] -= weight * terms[1, a, b]
                terminal[at + x + step] -= weight * terms[2, a, b]


@njit(**PLAIN)
@no_type_check
def moved(labels, low, high, tree, frame):
    """The labels after a move."""
    (depth, height, width), (start, plane, row) = labels.shape, frame
    after = np.empty_like(labels)
    for z in range(depth):
        for y in range(height):
            at = start + z * plane + y * row
            for x in range(width):
                label = labels[z, y, x]
                after[z, y, x] = high[label] if tree[at + x] == SOURCE else low[label]
    return after


@njit(**PLAIN)
@no_type_check
def change(before, after, unary, links, pairwise, offsets):
    """By how much the energy rises from some labels to others."""
    (depth, height, width), rise = before.shape, 0.0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                a, b = before[z, y, x], after[z, y, x]
                if a != b:
                    rise += unary[z, y, x, b] - unary[z, y, x, a]
                for n, (dz, dy, dx) in enumerate(offsets):
                    if links[n, z, y, x] > 0:
                        c, d = before[z + dz, y + dy, x + dx], after[z + dz, y + dy, x + dx]
                        if a != b or c != d:
                            rise += links[n, z, y, x] * (pairwise[b, d] - pairwise[a, c])
    return rise
