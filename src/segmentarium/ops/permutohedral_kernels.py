"""Compiled loops behind :mod:`segmentarium.ops.permutohedral`.

Channels lie innermost, so that a corner of a simplex is one run of memory. Annotations would be checked by a
wrapper that the compiler cannot see through, hence ``no_type_check``.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from segmentarium.ops.lanes import LANES, add_scaled

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
FUSED = {**PLAIN, "fastmath": {"contract"}}  # a product and a sum may be one instruction
ONE, HALF = np.float32(1), np.float32(0.5)
SPREAD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: neighbouring keys land far apart
EMPTY = -1


@njit(**PLAIN)
@no_type_check
def find(table, key):
    """The slot that holds ``key``, or the empty one where it belongs."""
    mask = len(table) - 1
    slot = np.int64((np.uint64(key) * SPREAD) >> np.uint64(20)) & mask
    while table[slot] != key and table[slot] != EMPTY:
        slot = (slot + 1) & mask
    return slot


@njit(**PLAIN)
@no_type_check
def _empty_table(slots):
    table = np.empty(slots, np.int64)
    for slot in range(slots):  # NumPy's shorter words take the compiler seconds, here and below
        table[slot] = EMPTY
    return table, np.empty(slots, np.int32)


@njit(**PLAIN)
@no_type_check
def _grown(table, ids):
    larger, moved = _empty_table(2 * len(table))
    for slot in range(len(table)):
        if table[slot] != EMPTY:
            place = find(larger, table[slot])
            larger[place], moved[place] = table[slot], ids[slot]
    return larger, moved


@njit(**PLAIN)
@no_type_check
def _elevate(feature, scale, elevated):
    """The point of the hyperplane of sum 0 that stands for a feature."""
    d = len(scale)
    tail = np.float32(0)
    for j in range(d, 0, -1):
        turned = feature[j - 1] * scale[j - 1]
        elevated[j] = tail - np.float32(j) * turned
        tail += turned
    elevated[0] = tail


@njit(**PLAIN)
@no_type_check
def _enclose(elevated, multiples, ranks, weights):
    """The simplex around a point: its corner of remainder 0, the ranks of the residuals, and the weights."""
    corners = len(elevated)
    d, inverse = corners - 1, ONE / np.float32(corners)
    excess = 0
    for i in range(corners):
        nearest = np.rint(elevated[i] * inverse)
        multiples[i] = np.int32(nearest)
        excess += multiples[i]
        elevated[i] -= nearest * np.float32(corners)
    for i in range(corners):
        ranks[i] = excess
    for i in range(d):
        for j in range(i + 1, corners):
            less = elevated[i] < elevated[j]
            ranks[i] += less
            ranks[j] += not less
    for i in range(corners):
        weights[i] = 0
    for i in range(corners):
        turn = np.int32(ranks[i] < 0) - np.int32(ranks[i] > d)
        ranks[i] += turn * corners
        multiples[i] += turn
        residual = (elevated[i] - np.float32(turn * corners)) * inverse
        corner = d - ranks[i]
        weights[corner] += residual
        if corner == d:
            weights[0] += ONE - residual
        else:
            weights[corner + 1] -= residual


@njit(**PLAIN)
@no_type_check
def embed(features, scale, low, strides, weights, offsets, start, stop):
    """Corners and weights of the features ``start .. stop``; the keys of the corners in order of appearance.

    ``offsets`` count these keys. A key is ``sum((multiple - low) * stride) + remainder``, so that a corner
    differs from the one before it by one stride. Most features share the simplex of the one before.
    """
    d = features.shape[1]
    elevated = np.empty(d + 1, np.float32)
    multiples, ranks = np.empty(d + 1, np.int32), np.empty(d + 1, np.int32)
    order = np.empty(d + 1, np.int32)
    table, ids = _empty_table(1024)
    keys = np.empty(512, np.int64)
    count, base, shape = 0, np.int64(EMPTY), np.int64(EMPTY)
    for i in range(start, stop):
        _elevate(features[i], scale, elevated)
        _enclose(elevated, multiples, ranks, weights[i])
        key, ranking = np.int64(0), np.int64(0)
        for j in range(d + 1):
            key += (multiples[j] - low[j]) * strides[j]
            ranking = ranking * 16 + ranks[j]
            order[ranks[j]] = j
        if key == base and ranking == shape:
            for corner in range(d + 1):
                offsets[i, corner] = offsets[i - 1, corner]
            continue
        base, shape = key, ranking
        for corner in range(d + 1):
            if corner > 0:
                key += 1 - strides[order[d + 1 - corner]]
            slot = find(table, key)
            if table[slot] == EMPTY:
                if count == len(keys):
                    table, ids = _grown(table, ids)
                    slot = find(table, key)
                    longer = np.empty(2 * count, np.int64)
                    for known in range(count):
                        longer[known] = keys[known]
                    keys = longer
                table[slot], ids[slot], keys[count] = key, count, key
                count += 1
            offsets[i, corner] = ids[slot]
    return keys[:count]


@njit(**PLAIN)
@no_type_check
def merge(table, ids, keys, known, band, renamed):
    """Number the keys of a band behind the ``known`` ones; how many are known then.

    ``renamed`` tells the number in the whole of each number in the band.
    """
    for index in range(len(band)):
        slot = find(table, band[index])
        if table[slot] == EMPTY:
            table[slot], ids[slot], keys[known] = band[index], known, band[index]
            known += 1
        renamed[index] = ids[slot]
    return known


@njit(**PLAIN)
@no_type_check
def rename(offsets, renamed, start, stop):
    """Replace the numbers of points in a band by those in the whole."""
    for i in range(start, stop):
        for corner in range(offsets.shape[1]):
            offsets[i, corner] = renamed[offsets[i, corner]]


@njit(**PLAIN)
@no_type_check
def connect(table, ids, keys, strides, ahead, behind, start, stop):
    """For the points ``start .. stop`` the next one along each direction; ``behind`` is its inverse.

    A step adds 1 to all coordinates but one, from which it takes d: the remainder grows by 1, and where it
    starts again from 0 all multiples grow.
    """
    corners = len(strides)
    total = 0
    for stride in strides:
        total += stride
    for index in range(start, stop):
        key = keys[index]
        step = total - corners + 1 if key % corners == corners - 1 else 1
        for j in range(corners):
            slot = find(table, key + step - strides[j])
            if table[slot] != EMPTY:
                ahead[j, index] = ids[slot]
                behind[j, ids[slot]] = index


@njit(**PLAIN)
@no_type_check
def give(values, scale, offsets, weights, sums, shift, start, stop):
    """Spread the values of the features ``start .. stop``, times ``scale``, among the corners around them.

    ``values`` begin with feature ``start``; point p is row ``p + shift`` of the sums. Rows hold whole blocks
    of ``LANES``.
    """
    width, source, target = sums.shape[1], values.reshape(-1), sums.reshape(-1)
    for i in range(start, stop):
        own = (i - start) * width
        for corner in range(offsets.shape[1]):
            row, weight = (offsets[i, corner] + shift) * width, scale[i] * weights[i, corner]
            for block in range(0, width, LANES):
                add_scaled(target, row + block, source, own + block, weight)


@njit(**PLAIN)
@no_type_check
def take(points, scale, offsets, weights, values, start, stop):
    """Add what the corners around the features ``start .. stop`` hold, times ``scale``, to their values."""
    width, source, target = points.shape[1], points.reshape(-1), values.reshape(-1)
    for i in range(start, stop):
        own = (i - start) * width
        for corner in range(offsets.shape[1]):
            row, weight = np.int64(offsets[i, corner]) * width, scale[i] * weights[i, corner]
            for block in range(0, width, LANES):
                add_scaled(target, own + block, source, row + block, weight)


@njit(**PLAIN)
@no_type_check
def join(parts, shifts, firsts, lasts, points, start, stop):
    """The sum of what the bands gave to the points ``start .. stop``; the bands are zero afterwards."""
    for row in range(start, stop):
        point = points[row]
        for c in range(len(point)):
            point[c] = 0
    for band in range(len(shifts)):
        for row in range(max(start, firsts[band]), min(stop, lasts[band])):
            part, point = parts[row + shifts[band]], points[row]
            for c in range(len(point)):
                point[c] += part[c]
                part[c] = 0


@njit(**FUSED)
@no_type_check
def blur(source, ahead, behind, target, start, stop):
    """Half of both neighbours along one direction is added; a missing one is the last row, which is 0."""
    for row in range(start, stop):
        here, after, before, out = source[row], source[ahead[row]], source[behind[row]], target[row]
        for c in range(len(out)):
            out[c] = here[c] + HALF * (after[c] + before[c])


@njit(**PLAIN)
@no_type_check
def _walk(table, point, chosen, which, nowhere):
    """What arrives after a step along each chosen direction in index order: half is lost at each."""
    weight = ONE
    for j in range(len(table)):
        if chosen[j] == which:
            point = table[j, point]
            weight *= HALF
            if point == nowhere:
                return np.float32(0)
    return weight


@njit(**PLAIN)
@no_type_check
def _among_corners(ahead, behind, corners, share):
    """How much of what one corner of a simplex gets reaches each other one by the blur.

    From one corner to a later one lead the steps ahead between them, and the steps back along all other
    directions, since a step along each direction leads nowhere.
    """
    count, nowhere = len(corners), ahead.shape[1]
    along = np.empty(count, np.int64)  # the direction of the step from each corner to the next
    along[count - 1] = count * (count - 1) // 2
    for r in range(count - 1):
        for j in range(count):
            if ahead[j, corners[r]] == corners[r + 1]:
                along[r] = j
        along[count - 1] -= along[r]
    between = np.zeros(count, np.bool_)
    for a in range(count):
        for j in range(count):
            between[j] = False
        share[a, a] = ONE + _walk(ahead, corners[a], between, False, nowhere)
        share[a, a] += _walk(behind, corners[a], between, False, nowhere)
        for b in range(a + 1, count):
            between[along[b - 1]] = True
            share[a, b] = _walk(ahead, corners[a], between, True, nowhere)
            share[a, b] += _walk(behind, corners[a], between, False, nowhere)
            share[b, a] = _walk(behind, corners[b], between, True, nowhere)
            share[b, a] += _walk(ahead, corners[b], between, False, nowhere)


@njit(**PLAIN)
@no_type_check
def own_share(ahead, behind, offsets, weights, own, start, stop):
    """What each of the features ``start .. stop`` gets back of a value of 1, before the factor alpha."""
    corners = offsets.shape[1]
    share = np.empty((corners, corners), np.float32)
    for i in range(start, stop):
        known = i > start
        for a in range(corners):
            known = known and offsets[i, a] == offsets[i - 1, a]
        if not known:
            _among_corners(ahead, behind, offsets[i], share)
        total = np.float32(0)
        for a in range(corners):
            for b in range(corners):
                total += weights[i, a] * share[a, b] * weights[i, b]
        own[i] = total
