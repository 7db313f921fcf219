"""Compact watershed: superpixels flooded from a grid of seeds, where distance from the seed costs height.

Source: Neubert and Protzel 2014, "Compact watershed and preemptive SLIC"; scikit-image does the flooding.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64
from scipy import ndimage

from segmentarium.classical.levels import Levels, Picture, levels, within
from segmentarium.classical.partition import regions
from segmentarium.classical.slic import grid
from segmentarium.errors import BadArgument
from segmentarium.values import LabelMap


def compact_watershed(picture: Picture, *, segments: int = 250, compactness: float = 0.5) -> LabelMap:
    """Superpixels by a watershed from a grid of seeds: connected, and exactly one a seed.

    Args:
        segments: about how many seeds; as many as an even grid has.
        compactness: height of slope, in levels a pixel, that each pixel of distance from the seed adds. 0 is
            the plain watershed; more makes rounder regions.
    """
    taken = levels(picture)
    within("segments", segments, 1)
    within("compactness", compactness, 0)
    if not np.isfinite(compactness):
        raise BadArgument(f"compactness = {compactness}", allowed="a finite number")
    from skimage.segmentation import watershed

    cells = grid(taken.size, taken.spacing, segments)
    axes = [
        ((np.arange(count) + 0.5) * length / count).astype(np.intp)
        for count, length in zip(cells, taken.size, strict=True)
    ]
    seeds = np.zeros(taken.size, np.int32)
    seeds[np.ix_(*axes)] = np.arange(1, seeds[np.ix_(*axes)].size + 1).reshape(cells)
    return regions(watershed(slope(taken), seeds, compactness=compactness) - 1, taken)


def slope(picture: Levels) -> Float64[np.ndarray, "*s"]:
    """How steep levels are, all channels together, in levels a pixel (Sobel)."""
    ndim = len(picture.size)
    steep = np.zeros(picture.size)
    for channel in range(picture.channels):
        for axis in range(ndim):
            steep += np.square(ndimage.sobel(picture.values[..., channel], axis) / (2 * 4 ** (ndim - 1)))
    return np.sqrt(steep)
