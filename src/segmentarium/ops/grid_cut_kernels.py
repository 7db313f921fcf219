"""Compiled loops behind :mod:`segmentarium.ops.grid_cut`: two search trees on a padded grid.

Pixels are numbers in one padded array, so that a neighbour is a fixed step away and the border needs no
care: links into the padding have no capacity. Arc ``2 n`` leads along offset ``n`` and arc ``2 n + 1``
against it, so that ``arc ^ 1`` is the way back.

Source: Boykov and Kolmogorov, "An experimental comparison of min-cut/max-flow algorithms for energy
minimization in vision", PAMI 2004, section 3; time stamps and distances after Kolmogorov's thesis, 2004.
"""

from __future__ import annotations

from typing import no_type_check

from numba import njit

PLAIN = {"cache": True, "nogil": True, "error_model": "numpy"}
FREE, SOURCE, SINK = 0, 1, 2
ROOT, ORPHAN = 120, 121  # in the place of the arc to the parent
FAR = 1 << 30


@njit(**PLAIN)
@no_type_check
def load_terminals(source, sink, frame, terminal, limit):
    """Terminal capacities as one signed number a pixel: positive is left to come, negative to go.

    Returns:
        What flows straight through, and whether all capacities lie from 0 to ``limit``.
    """
    (depth, height, width), (start, plane, row) = source.shape, frame
    through, fine = 0.0, True
    for z in range(depth):
        for y in range(height):
            at = start + z * plane + y * row
            for x in range(width):
                come, go = source[z, y, x], sink[z, y, x]
                fine &= (come >= 0) & (go >= 0) & (come <= limit) & (go <= limit)
                through += min(come, go)
                terminal[at + x] = come - go
    return through, fine


@njit(**PLAIN)
@no_type_check
def load_links(forward, backward, frame, offset, arc, residual, limit):
    """Capacities of the links along one offset; those that leave the grid are not looked at.

    Returns:
        Whether all capacities lie from 0 to ``limit``.
    """
    (depth, height, width), (start, plane, row), (dz, dy, dx) = forward.shape, frame, offset
    step, fine = dz * plane + dy * row + dx, True
    for z in range(max(0, -dz), depth - max(0, dz)):
        for y in range(max(0, -dy), height - max(0, dy)):
            at = start + z * plane + y * row
            for x in range(max(0, -dx), width - max(0, dx)):
                there, back = forward[z, y, x], backward[z, y, x]
                fine &= (there >= 0) & (back >= 0) & (there <= limit) & (back <= limit)
                residual[at + x, arc] = there
                residual[at + x + step, arc + 1] = back
    return fine


@njit(**PLAIN)
@no_type_check
def read_side(tree, frame, inside):
    """Which pixels the source tree has reached."""
    (depth, height, width), (start, plane, row) = inside.shape, frame
    for z in range(depth):
        for y in range(height):
            at = start + z * plane + y * row
            for x in range(width):
                inside[z, y, x] = tree[at + x] == SOURCE


@njit(**PLAIN)
@no_type_check
def _plant(terminal, trees, queue, active):
    """Make a root of each pixel that has terminal capacity left; returns how many there are."""
    tree, parent, stamp, distance = trees
    count = 0
    for p in range(terminal.size):
        left = terminal[p]
        tree[p] = SOURCE if left > 0 else SINK if left < 0 else FREE
        active[p] = left != 0
        if left != 0:
            parent[p], stamp[p], distance[p] = ROOT, 0, 1
            queue[count] = p
            count += 1
    return count


@njit(**PLAIN)
@no_type_check
def _augment(p, arc, residual, terminal, steps, parent, orphans):
    """Push as much as it takes along the path through an arc from the source tree to the sink tree.

    Returns:
        How much, and how many pixels lost the way to their root.
    """
    q = p + steps[arc]
    push = residual[p, arc]
    i = p
    while parent[i] != ROOT:
        a = parent[i]
        i += steps[a]
        push = min(push, residual[i, a ^ 1])
    push = min(push, terminal[i])
    j = q
    while parent[j] != ROOT:
        a = parent[j]
        push = min(push, residual[j, a])
        j += steps[a]
    push = min(push, -terminal[j])
    residual[p, arc] -= push
    residual[q, arc ^ 1] += push
    count = 0
    i = p
    while parent[i] != ROOT:
        a = parent[i]
        up = i + steps[a]
        residual[i, a] += push
        residual[up, a ^ 1] -= push
        if residual[up, a ^ 1] == 0:
            parent[i] = ORPHAN
            orphans[count] = i
            count += 1
        i = up
    terminal[i] -= push
    if terminal[i] == 0:
        parent[i] = ORPHAN
        orphans[count] = i
        count += 1
    j = q
    while parent[j] != ROOT:
        a = parent[j]
        up = j + steps[a]
        residual[up, a ^ 1] += push
        residual[j, a] -= push
        if residual[j, a] == 0:
            parent[j] = ORPHAN
            orphans[count] = j
            count += 1
        j = up
    terminal[j] += push
    if terminal[j] == 0:
        parent[j] = ORPHAN
        orphans[count] = j
        count += 1
    return push, count


@njit(**PLAIN)
@no_type_check
def _distance_to_root(p, time, steps, parent, stamp, distance):
    """How many arcs lead from a pixel to its root, FAR if the way is broken; the way is marked as checked."""
    length, i = 0, p
    while stamp[i] != time:
        a = parent[i]
        if a == ORPHAN:
            return FAR
        length += 1
        if a == ROOT:
            stamp[i], distance[i] = time, 1
            break
        i += steps[a]
    else:
        length += distance[i]
    left, i = length, p
    while stamp[i] != time:
        stamp[i], distance[i] = time, left
        left -= 1
        i += steps[parent[i]]
    return length


@njit(**PLAIN)
@no_type_check
def _adopt(count, time, residual, steps, trees, orphans, queue, active, first, waiting):
    """Find new parents for orphans, the nearest to a root; who finds none is free, and its children orphans.

    Returns:
        How many pixels wait in the queue now.
    """
    tree, parent, stamp, distance = trees
    orphans[:count] = orphans[:count][::-1]  # those next to the roots first
    done = 0
    while done < count:
        p = orphans[done]
        done += 1
        side, best, least = tree[p], ORPHAN, FAR
        for a in range(steps.size):
            q = p + steps[a]
            if tree[q] == side and (residual[q, a ^ 1] if side == SOURCE else residual[p, a]) > 0:
                length = _distance_to_root(q, time, steps, parent, stamp, distance)
                if length < least:
                    best, least = a, length
        if best != ORPHAN:
            parent[p], stamp[p], distance[p] = best, time, least + 1
            continue
        tree[p] = FREE
        for a in range(steps.size):
            q = p + steps[a]
            if tree[q] != side:
                continue
            if parent[q] == a ^ 1:
                parent[q] = ORPHAN
                orphans[count] = q
                count += 1
            if not active[q] and (residual[q, a ^ 1] if side == SOURCE else residual[p, a]) > 0:
                last = first + waiting
                queue[last if last < queue.size else last - queue.size] = q
                active[q] = True
                waiting += 1
    return waiting


@njit(**PLAIN)
@no_type_check
def maximise(residual, terminal, steps, trees, queue, active, orphans):
    """Turn capacities into residuals of a maximal flow; the source tree is then the minimal source set.

    Returns:
        What flowed, besides what had gone straight through.
    """
    tree, parent, stamp, distance = trees
    flow, time, first = 0.0, 0, 0
    waiting = _plant(terminal, trees, queue, active)
    while waiting > 0:
        p = queue[first]
        first = first + 1 if first + 1 < queue.size else 0
        waiting -= 1
        active[p] = False
        side, a = tree[p], 0
        if side == FREE:
            continue
        while a < steps.size:
            q = p + steps[a]
            if (residual[p, a] if side == SOURCE else residual[q, a ^ 1]) <= 0:
                a += 1
                continue
            if tree[q] == FREE:
                tree[q], parent[q], stamp[q], distance[q] = side, a ^ 1, stamp[p], distance[p] + 1
                if not active[q]:
                    last = first + waiting
                    queue[last if last < queue.size else last - queue.size] = q
                    active[q] = True
                    waiting += 1
            elif tree[q] != side:
                time += 1
                begin, arc = (p, a) if side == SOURCE else (q, a ^ 1)
                push, count = _augment(begin, arc, residual, terminal, steps, parent, orphans)
                flow += push
                waiting = _adopt(count, time, residual, steps, trees, orphans, queue, active, first, waiting)
                if tree[p] != side:
                    break
                continue
            elif stamp[q] <= stamp[p] and distance[q] > distance[p]:
                parent[q], stamp[q], distance[q] = a ^ 1, stamp[p], distance[p] + 1
            a += 1
    return flow
