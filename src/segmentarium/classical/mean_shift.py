"""Mean shift: every pixel climbs to a mode of the density of places and colours, and modes name regions.

Places and colours are measured in their bandwidths, h_s and h_r, and the kernel falls with their joint
distance, so that each step climbs for certain. EDISON, the authors' program, bounds the two apart and works
in CIE Luv.

Source: Comaniciu and Meer, "Mean shift: a robust approach toward feature space analysis", 2002.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int32

from segmentarium.classical import mean_shift_kernels as kernels
from segmentarium.classical.levels import Levels, Picture, levels, within
from segmentarium.classical.merging import merge
from segmentarium.classical.partition import regions
from segmentarium.ops.share import share
from segmentarium.values import LabelMap

REACH = {"flat": 1.0, "gaussian": 3.0}
"""Bandwidths at which a kernel ends. What climbs is the density of its shadow, with u the squared distance:
1 - u of the flat kernel, exp(-u / 2) less its value at the end of the Gaussian one."""

FAR = 1e30
"""A level beyond every kernel."""


def mean_shift(
    picture: Picture,
    *,
    place: float = 8.0,
    color: float = 24.0,
    kernel: Literal["flat", "gaussian"] = "flat",
    smallest: int = 20,
    iterations: int = 100,
) -> LabelMap:
    """Group pixels that climb to the same mode of the density of places and colours (mean shift).

    Args:
        place: the bandwidth h_s, in pixels.
        color: the bandwidth h_r, in levels.
        kernel: flat takes seconds for a picture of 481 x 321, gaussian a minute or two.
        smallest: regions of fewer pixels go to the neighbour of nearest colour.
        iterations: of each pixel, at most.

    Raises:
        BadArgument: a number out of its range.
    """
    taken = levels(picture, volumes=False)
    modes = climb(taken, place=place, color=color, kernel=kernel, iterations=iterations)
    labels = link(modes, place=place, color=color)
    return regions(merge(labels, taken, threshold=0.0, smallest=smallest), taken)


def climb(
    picture: Levels,
    *,
    place: float,
    color: float,
    kernel: Literal["flat", "gaussian"] = "flat",
    iterations: int = 100,
    least: float = 1e-3,
) -> Float64[np.ndarray, "h w f"]:
    """Where each pixel comes to rest: y, x, levels.

    Args:
        least: a step of fewer bandwidths is rest.

    Raises:
        BadArgument: a number out of its range.
    """
    within("place", place, 0, 1e4, open_low=True)
    within("color", color, 0, 1e4, open_low=True)
    within("iterations", iterations, 0)
    within("least", least, 0)
    modes = np.empty((*picture.size, 2 + picture.channels))
    height, width = picture.size
    planes = np.full((picture.channels, height, width + kernels.LANES), FAR)
    planes[:, :, :width] = np.moveaxis(picture.values, -1, 0)
    how = float(place), float(color), kernel == "gaussian", REACH[kernel]
    share(partial(kernels.climb, planes, *how, float(least), iterations, modes), len(modes))
    return modes


def link(modes: Float64[np.ndarray, "h w f"], *, place: float, color: float) -> Int32[np.ndarray, "h w"]:
    """Regions of pixels joined by neighbours whose modes are nearer than both bandwidths."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    index = np.arange(modes[..., 0].size).reshape(modes.shape[:2])
    rows, columns = [], []
    for here, there in ((np.s_[:, :-1], np.s_[:, 1:]), (np.s_[:-1], np.s_[1:])):
        apart = np.square(modes[here] - modes[there])
        alike = (apart[..., :2].sum(-1) < place**2) & (apart[..., 2:].sum(-1) < color**2)
        rows.append(index[here][alike])
        columns.append(index[there][alike])
    ends = np.concatenate(rows), np.concatenate(columns)
    graph = coo_array((np.ones(len(ends[0]), bool), ends), shape=(index.size,) * 2)
    return np.asarray(connected_components(graph, directed=False)[1], np.int32).reshape(index.shape)
