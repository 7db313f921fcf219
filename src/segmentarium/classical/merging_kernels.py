"""Compiled loops behind :mod:`segmentarium.classical.merging`: a graph of regions that grow together.

A region bears the least of its numbers. Its neighbours are a chain of edges, so that two chains are joined by
tying one to the end of the other; edges that have become loops or doubles are cut out when next met.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**PLAIN)
@no_type_check
def _root(parent, region):
    while parent[region] != region:
        parent[region] = parent[parent[region]]
        region = parent[region]
    return region


@njit(**PLAIN)
@no_type_check
def _apart(sums, sizes, a, b):
    """The distance of the mean colours."""
    square = 0.0
    for c in range(sums.shape[1]):
        square += (sums[a, c] / sizes[a] - sums[b, c] / sizes[b]) ** 2
    return np.sqrt(square)


@njit(**PLAIN)
@no_type_check
def _join(graph, a, b):
    """Make two regions one, with the lesser number, and tidy its edges: none is a loop or a double."""
    parent, sums, sizes, grown, head, tail, after, ends, seen = graph
    a, b = min(a, b), max(a, b)
    parent[b] = a
    sums[a] += sums[b]
    sizes[a] += sizes[b]
    grown[a] += grown[b] + 1
    after[tail[a]] = head[b]
    edge, before = head[a], -1
    seen[a] = True
    while edge >= 0:
        ends[edge] = _root(parent, ends[edge])
        if not seen[ends[edge]]:
            seen[ends[edge]] = True
            before = edge
        elif before < 0:
            head[a] = after[edge]
        else:
            after[before] = after[edge]
        edge = after[edge]
    tail[a], edge = before, head[a]
    while edge >= 0:
        seen[ends[edge]] = False
        edge = after[edge]
    seen[a] = False
    return a


@njit(**PLAIN)
@no_type_check
def _merge_alike(graph, threshold):
    """Merge neighbours while the nearest two colours are nearer than the threshold."""
    parent, sums, sizes, grown, head, _, after, ends, _ = graph
    heap = [(0.0, 0, 0, 0) for _ in range(0)]
    for a in range(len(parent)):
        edge = head[a]
        while edge >= 0:
            weight = _apart(sums, sizes, a, ends[edge])
            if a < ends[edge] and weight < threshold:
                heap.append((weight, a, np.int64(ends[edge]), 0))
            edge = after[edge]
    heapify(heap)
    while heap:
        _, a, b, age = heappop(heap)
        if parent[a] != a or parent[b] != b or grown[a] + grown[b] != age:
            continue  # one of the two has grown since
        a = _join(graph, a, b)
        edge = head[a]
        while edge >= 0:
            b = np.int64(ends[edge])
            weight = _apart(sums, sizes, a, b)
            if weight < threshold:
                heappush(heap, (weight, min(a, b), max(a, b), grown[a] + grown[b]))
            edge = after[edge]


@njit(**PLAIN)
@no_type_check
def _merge_small(graph, smallest):
    """Give regions of fewer pixels to the neighbour of nearest colour, the smallest region first."""
    parent, sums, sizes, grown, head, _, after, ends, _ = graph
    heap = [(sizes[a], a, grown[a]) for a in range(len(parent)) if parent[a] == a and sizes[a] < smallest]
    heapify(heap)
    while heap:
        _, a, age = heappop(heap)
        if parent[a] != a or grown[a] != age:
            continue
        nearest, least, edge = -1, np.inf, head[a]
        while edge >= 0:
            b = _root(parent, ends[edge])
            weight = _apart(sums, sizes, a, b)
            if b != a and (weight < least or (weight == least and b < nearest)):
                nearest, least = b, weight
            edge = after[edge]
        if nearest >= 0:
            a = _join(graph, a, nearest)
            if sizes[a] < smallest:
                heappush(heap, (sizes[a], a, grown[a]))


@njit(**PLAIN)
@no_type_check
def merge(starts, ends, sums, sizes, threshold, smallest):
    """The region into which each region goes.

    Args:
        starts, ends: the graph in rows; ``ends`` is written over.
        sums: of the colours, ``(n, c)``; written over, as ``sizes``, the numbers of pixels.
        threshold: two regions whose colours are nearer than that become one, the nearest two first; of pairs
            equally near, those of the lesser numbers.
        smallest: then a region of fewer pixels goes to the neighbour whose colour is nearest, the smallest
            region first.
    """
    count = len(sizes)
    parent, grown, seen = np.arange(count), np.zeros(count, np.int64), np.zeros(count, np.bool_)
    head, tail, after = starts[:-1].copy(), starts[1:] - 1, np.arange(1, len(ends) + 1)
    for a in range(count):
        if head[a] > tail[a]:
            head[a] = -1
        else:
            after[tail[a]] = -1
    graph = parent, sums, sizes, grown, head, tail, after, ends, seen
    _merge_alike(graph, threshold)
    _merge_small(graph, smallest)
    for a in range(count):
        parent[a] = _root(parent, a)
    return parent
