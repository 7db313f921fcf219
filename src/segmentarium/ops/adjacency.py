"""Which regions of a label map touch, and along how many pixels."""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32, Int64, Integer

from segmentarium.errors import BadArgument


class Adjacency(NamedTuple):
    """The edges of the graph of regions: each pair once, its lower number first, in lexical order."""

    pairs: Int32[np.ndarray, "m 2"]
    lengths: Int64[np.ndarray, " m"]


def adjacency(labels: Integer[np.ndarray, "*s"], connectivity: int = 1) -> Adjacency:
    """The pairs of regions that touch, and the number of pairs of neighbouring pixels across their border.

    Args:
        labels: of regions from 0; pixels below 0 belong to none.
        connectivity: along how many axes neighbours may differ: 1 for 4 of them in 2-D and 6 in 3-D, 2 for 8
            and 18, 3 for 26.

    Raises:
        BadArgument: a connectivity that the dimensions do not have, or labels above those of int32.

    >>> adjacency(np.array([[0, 0, 1], [2, 2, 1]]))
    Adjacency(pairs=array([[0, 1],
           [0, 2],
           [1, 2]], dtype=int32), lengths=array([1, 2, 1]))
    """
    count = int(labels.max()) + 1 if labels.size else 0
    if not 1 <= connectivity <= labels.ndim:
        raise BadArgument(f"connectivity = {connectivity}", allowed=f"1 to {labels.ndim}")
    if count > np.iinfo(np.int32).max:
        raise BadArgument(f"the label {count - 1}", allowed="labels of int32", cure="renumber the regions")
    borders = [_across(labels, offset, count) for offset in half_neighbourhood(labels.ndim, connectivity)]
    keys, lengths = np.unique(np.concatenate(borders), return_counts=True)
    pairs = np.stack(np.divmod(keys, max(count, 1)), axis=-1).astype(np.int32)
    return Adjacency(pairs, lengths.astype(np.int64))


def half_neighbourhood(ndim: int, connectivity: int) -> list[tuple[int, ...]]:
    """Steps to half of a pixel's neighbours, one of each opposite two."""
    around = product((-1, 0, 1), repeat=ndim)
    return [step for step in around if step > (0,) * ndim and sum(map(abs, step)) <= connectivity]


def _across(
    labels: Integer[np.ndarray, "*s"], offset: tuple[int, ...], count: int
) -> Int64[np.ndarray, " n"]:
    """One number for each pair of pixels ``offset`` apart that lie in two regions."""
    here = labels[tuple(slice(max(0, -o), n - max(0, o)) for o, n in zip(offset, labels.shape, strict=True))]
    there = labels[tuple(slice(max(0, o), n - max(0, -o)) for o, n in zip(offset, labels.shape, strict=True))]
    differ = (here != there) & (here >= 0) & (there >= 0)
    a, b = here[differ].astype(np.int64), there[differ].astype(np.int64)
    return np.asarray(np.minimum(a, b) * count + np.maximum(a, b))


def neighbour_lists(
    pairs: Int32[np.ndarray, "m 2"], count: int
) -> tuple[Int64[np.ndarray, " n"], Int32[np.ndarray, " k"]]:
    """The graph in rows: the neighbours of region ``i``, in order, are ``found[starts[i] : starts[i + 1]]``.

    Args:
        count: of the regions, with or without neighbours.

    Returns:
        starts and found.
    """
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.lexsort((both[:, 1], both[:, 0]))]
    degrees = np.bincount(both[:, 0], minlength=count)
    return np.concatenate([[0], np.cumsum(degrees)]).astype(np.int64), np.ascontiguousarray(both[:, 1])
