"""Compiled loops behind :mod:`segmentarium.classical.felzenszwalb`.

An edge is one number of 64 bits: the bits of its weight, which sort as the weight does since no weight is
negative, then its pixel (28 bits), then its direction (4 bits).
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
DIGIT, DIGITS = 11, 3  # three passes over 11 bits each sort the 32 bits of a weight


@njit(**PLAIN)
@no_type_check
def weigh(planes, offset, weights):
    """The distance of the colours of each pixel and its neighbour at ``offset``; -1 beyond the border."""
    channels, depth, height, width = planes.shape
    dz, dy, dx = offset
    left, right = max(0, -dx), min(width, width - dx)
    for z in range(depth):
        for y in range(height):
            row = weights[z, y]
            if not (0 <= z + dz < depth and 0 <= y + dy < height):
                row[:] = -1
                continue
            row[:left] = -1
            row[right:] = -1
            row[left:right] = 0
            for c in range(channels):
                here, there = planes[c, z, y], planes[c, z + dz, y + dy]
                for x in range(left, right):
                    row[x] += (here[x] - there[x + dx]) * (here[x] - there[x + dx])
            for x in range(left, right):
                row[x] = np.sqrt(row[x])


@njit(**PLAIN)
@no_type_check
def pack(bits, direction, edges, count):
    """Append the edges of one direction; ``bits`` are those of the weights. Returns the new count."""
    border = np.uint32(1) << np.uint32(31)
    for pixel in range(bits.size):
        if bits[pixel] < border:  # the sign is not set
            place = np.uint64(pixel) << np.uint64(4) | np.uint64(direction)
            edges[count] = np.uint64(bits[pixel]) << np.uint64(32) | place
            count += 1
    return count


@njit(**PLAIN)
@no_type_check
def sort_by_weight(edges, spare):
    """Sort by counting, digit after digit, which is stable. Returns whichever array holds the result."""
    mask = np.uint64((1 << DIGIT) - 1)
    counts = np.zeros((DIGITS, 1 << DIGIT), np.int64)
    for edge in edges:
        for digit in range(DIGITS):
            counts[digit, edge >> np.uint64(32 + digit * DIGIT) & mask] += 1
    for digit in range(DIGITS):
        starts, total = counts[digit], 0
        for value in range(starts.size):
            count = starts[value]
            starts[value] = total
            total += count
        shift = np.uint64(32 + digit * DIGIT)
        for edge in edges:
            value = edge >> shift & mask
            spare[starts[value]] = edge
            starts[value] += 1
        edges, spare = spare, edges
    return edges


@njit(**PLAIN)
@no_type_check
def _root(parent, pixel):
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel


@njit(**PLAIN)
@no_type_check
def _join(parent, size, one, other):
    if size[one] < size[other]:
        one, other = other, one
    parent[other] = one
    size[one] += size[other]
    return one


@njit(**PLAIN)
@no_type_check
def merge(edges, weights, steps, scale, smallest, parent, size):
    """Join along the edges in their order, first by the rule of the paper, then what is too small.

    Args:
        weights: of ``edges``.
        steps: from a pixel to its neighbour in each direction, in the flat picture.
        parent, size: of each pixel's tree; at first itself and 1.
    """
    low = np.uint64(0xFFFFFFFF)
    bound = np.full(parent.size, np.float32(scale), np.float32)  # Int(C) + k / |C|
    for i in range(edges.size):
        place = np.int64(edges[i] & low)
        one = _root(parent, place >> 4)
        other = _root(parent, (place >> 4) + steps[place & 15])
        if one != other and weights[i] <= min(bound[one], bound[other]):
            whole = _join(parent, size, one, other)
            bound[whole] = weights[i] + np.float32(scale) / np.float32(size[whole])
    for i in range(edges.size):
        place = np.int64(edges[i] & low)
        one = _root(parent, place >> 4)
        other = _root(parent, (place >> 4) + steps[place & 15])
        if one != other and min(size[one], size[other]) < smallest:
            _join(parent, size, one, other)


@njit(**PLAIN)
@no_type_check
def number(parent, labels):
    """Number the trees in the order of a scan. Returns how many there are."""
    numbers, count = np.full(parent.size, -1, np.int32), 0
    for pixel in range(parent.size):
        root = _root(parent, pixel)
        if numbers[root] < 0:
            numbers[root] = count
            count += 1
        labels[pixel] = numbers[root]
    return count
