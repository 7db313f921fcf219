"""Quick shift: each pixel climbs to its nearest neighbour of higher density; short steps make a region.

Source: Vedaldi and Soatto 2008, "Quick shift and kernel methods for mode seeking". scikit-image does it.
"""

from __future__ import annotations

import numpy as np

from segmentarium.classical.levels import Picture, levels, within
from segmentarium.classical.partition import regions
from segmentarium.classical.slic import colour_planes
from segmentarium.values import LabelMap


def quickshift(
    picture: Picture,
    *,
    bandwidth: float = 3.0,
    max_distance: float = 6.0,
    color: float = 0.5,
    seed: int = 0,
) -> LabelMap:
    """Quick shift: regions that climb to the same peak of density, of colour and place together.

    Regions may lie in several pieces: what hangs together is a tree whose steps may jump over pixels.

    Args:
        bandwidth: of the Gaussian that measures density; more makes larger regions. Neither it nor a step
            reaches more than three bandwidths along a side, and the time grows with its square.
        max_distance: the longest step, of colour and place together; more makes larger regions.
        color: how much a distance in CIE Lab counts beside one in pixels, from 0 to 1. A picture of other
            than three channels is scaled to 0..100.
        seed: of the noise that decides between equal densities.
    """
    within("bandwidth", bandwidth, 1)
    within("max_distance", max_distance, 0, open_low=True)
    within("color", color, 0, 1)
    taken = levels(picture, volumes=False)
    from skimage.segmentation import quickshift as climb

    labels = climb(
        np.moveaxis(colour_planes(taken), 0, -1),
        kernel_size=bandwidth,
        max_dist=max_distance,
        ratio=color,
        convert2lab=False,
        rng=seed % 2**31,  # its loops take no more
    )
    return regions(labels, taken)
