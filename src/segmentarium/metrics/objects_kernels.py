"""Loops over runs of pixels and over matches, compiled."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
@no_type_check  # a wrapper that checks arguments could not be compiled
def unpack(text, ends, sides, corners, height):  # pragma: no cover - compiled
    """COCO's run-length code of crops → runs of pixels of a picture of ``height``, end exclusive.

    Returns the runs of all masks one after another, where each mask's runs stop, and the first mask whose
    code is broken (-1: none). A run that crosses the border of a crop's columns is cut there.
    """
    spans, stops = np.empty((2 * text.size + 16, 2), np.int64), np.zeros(ends.size, np.int64)
    count, i = 0, 0
    for k in range(ends.size):
        inner, pixels = sides[k, 0], sides[k, 0] * sides[k, 1]
        shift = corners[k, 0] * height + corners[k, 1]
        at, runs, last, before = 0, 0, 0, 0
        while i < ends[k]:
            value, bits, more = np.int64(0), 0, True
            while more and i < ends[k] and bits < 60:
                code = np.int64(text[i]) - 48
                if code < 0 or code > 63:
                    return spans[:0], stops, k
                value |= (code & 31) << bits
                more = (code & 32) != 0
                bits += 5
                i += 1
            if more:
                return spans[:0], stops, k
            if code & 16:
                value -= np.int64(1) << bits
            if runs > 2:
                value += before  # stored less the run two before
            if value < 0 or at + value > pixels:
                return spans[:0], stops, k
            end = at + value
            if runs % 2 == 1:
                start = at
                while start < end:
                    column = start // inner
                    stop = end if inner == height else min(end, (column + 1) * inner)
                    if count == len(spans):
                        spans = np.concatenate((spans, np.empty_like(spans)))
                    move = shift + column * (height - inner)
                    spans[count, 0], spans[count, 1] = start + move, stop + move
                    count += 1
                    start = stop
            at, before, last, runs = end, last, value, runs + 1
        if at != pixels:
            return spans[:0], stops, k
        stops[k] = count
    return spans[:count], stops, -1


@njit(cache=True, nogil=True)
@no_type_check
def shared(found, found_stops, true, true_stops, found_class, true_class):  # pragma: no cover - compiled
    """Pixels that masks of one class share: both lists of runs are walked along at once."""
    pixels = np.zeros((found_stops.size, true_stops.size), np.int64)
    for p in range(found_stops.size):
        first, last = (found_stops[p - 1] if p else 0), found_stops[p]
        if first == last:
            continue
        for t in range(true_stops.size):
            i, j, end = first, (true_stops[t - 1] if t else 0), true_stops[t]
            if found_class[p] != true_class[t] or j == end:
                continue
            if found[last - 1, 1] <= true[j, 0] or true[end - 1, 1] <= found[first, 0]:
                continue
            total = 0
            while i < last and j < end:
                low, high = max(found[i, 0], true[j, 0]), min(found[i, 1], true[j, 1])
                total += max(high - low, 0)
                if found[i, 1] < true[j, 1]:
                    i += 1
                else:
                    j += 1
            pixels[p, t] = total
    return pixels


@njit(cache=True, nogil=True)
@no_type_check
def paint(spans, height):  # pragma: no cover - compiled
    """The smallest crop around a mask as pixels of 0 and 1, and its upper left corner (x, y)."""
    if not len(spans):
        return np.zeros((0, 0), np.uint8), (0, 0)
    left, right = spans[0, 0] // height, (spans[-1, 1] - 1) // height
    top, bottom = height, 0
    for k in range(len(spans)):
        start, last = spans[k, 0], spans[k, 1] - 1
        if start // height != last // height:  # over the end of a column: bottom and top are met
            top, bottom = 0, height
        top, bottom = min(top, start % height), max(bottom, last % height + 1)
    crop = np.zeros((bottom - top, right - left + 1), np.uint8)
    for k in range(len(spans)):
        for pixel in range(spans[k, 0], spans[k, 1]):
            crop[pixel % height - top, pixel // height - left] = 1
    return crop, (left, top)


@njit(cache=True, nogil=True)
@no_type_check
def match(
    iou, found_class, found_out, true_class, true_out, crowd, thresholds
):  # pragma: no cover - compiled
    """Match detections to truth greedily, as COCO does: by score, each to the best true object still free.

    Detections come by class and descending score, truth by class. ``found_out`` and ``true_out`` tell, for
    each range of areas, who is outside it. A true object that is crowd or outside is matched only if no other
    fits, and makes the detection count for nothing; crowd may be matched any number of times.

    Returns for each range, threshold and detection: 0 false, 1 right, 2 counts for nothing.
    """
    ranges, detections, truths = len(found_out), len(found_class), len(true_class)
    outcome = np.zeros((ranges, thresholds.size, detections), np.uint8)
    begin, first = 0, 0
    while begin < detections:
        label, end = found_class[begin], begin
        while end < detections and found_class[end] == label:
            end += 1
        while first < truths and true_class[first] < label:
            first += 1
        last = first
        while last < truths and true_class[last] == label:
            last += 1
        for a in range(ranges):
            for n in range(thresholds.size):
                taken = np.zeros(last - first, np.bool_)
                for d in range(begin, end):
                    best, chosen = min(thresholds[n], 1 - 1e-10), -1
                    for spare in (False, True):  # whoever counts comes first
                        if chosen >= 0:
                            break
                        for t in range(first, last):
                            if (crowd[t] or true_out[a, t]) != spare or (taken[t - first] and not crowd[t]):
                                continue
                            if iou[d, t] >= best:
                                best, chosen = iou[d, t], t
                    if chosen < 0:
                        outcome[a, n, d] = 2 if found_out[a, d] else 0
                    else:
                        taken[chosen - first] = True
                        outcome[a, n, d] = 2 if crowd[chosen] or true_out[a, chosen] else 1
        begin = end
    return outcome


@njit(cache=True, nogil=True)
@no_type_check
def curves(outcome, ranks, starts, positives, limits, recalls, weights):  # pragma: no cover - compiled
    """Precision at given recalls, and the greatest recall, of each range, threshold, class and limit.

    Detections come by class, then by descending score; ``starts`` says where classes begin. ``weights`` count
    each detection so many times. Precision is that of the largest limit; nan without positives.
    """
    ranges, thresholds, _ = outcome.shape
    classes, top = starts.size - 1, limits.size - 1
    precision = np.full((ranges, thresholds, classes, recalls.size), np.nan)
    greatest = np.full((ranges, thresholds, classes, limits.size), np.nan)
    tiny = np.spacing(1.0)
    longest = np.diff(starts).max() if classes else 0
    reached, exact = np.empty(longest), np.empty(longest)
    for a in range(ranges):
        for k in range(classes):
            if positives[a, k] <= 0:
                continue
            for n in range(thresholds):
                for m in range(limits.size):
                    right, wrong, count = 0.0, 0.0, 0
                    for d in range(starts[k], starts[k + 1]):
                        if ranks[d] >= limits[m]:
                            continue
                        right += weights[d] * (outcome[a, n, d] == 1)
                        wrong += weights[d] * (outcome[a, n, d] == 0)
                        if m == top:
                            reached[count] = right / positives[a, k]
                            exact[count] = right / (wrong + right + tiny)
                        count += 1
                    greatest[a, n, k, m] = right / positives[a, k]
                highest, r = 0.0, recalls.size - 1
                while r >= 0 and (count == 0 or reached[count - 1] < recalls[r]):
                    precision[a, n, k, r] = 0.0
                    r -= 1
                for i in range(
                    count - 1, -1, -1
                ):  # the envelope: the best precision at this recall or beyond
                    highest = max(highest, exact[i])
                    while r >= 0 and (i == 0 or reached[i - 1] < recalls[r]):
                        precision[a, n, k, r] = highest
                        r -= 1
    return precision, greatest
