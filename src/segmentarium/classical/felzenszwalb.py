"""Efficient graph-based segmentation: join pixels along a spanning tree while the tie is not the odd one out.

Source: Felzenszwalb and Huttenlocher 2004, "Efficient graph-based image segmentation", algorithm 1.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32
from scipy import ndimage

from segmentarium.classical import felzenszwalb_kernels as kernels
from segmentarium.classical.levels import Levels, Picture, levels, within
from segmentarium.classical.partition import regions
from segmentarium.errors import BadImage
from segmentarium.ops.neighbours import neighbours
from segmentarium.values import LabelMap

MOST_PIXELS = 1 << 28
"""What the numbers of an edge have room for."""


def felzenszwalb(
    picture: Picture, *, scale: float = 300.0, sigma: float = 0.8, smallest: int = 20
) -> LabelMap:
    """Felzenszwalb's regions: as fine as the picture is lively, of any shape.

    Two regions are joined if the least difference between them is at most that within each, plus
    ``scale`` / size. Colours make one graph, whose differences are Euclidean; a pixel has 8
    neighbours, a voxel 26. Memory at work: 64 bytes a pixel, 208 a voxel.

    Args:
        scale: the paper's k, for levels up to 255: more makes larger regions. scikit-image's ``scale`` is
            this one, whatever its levels.
        sigma: of the Gaussian that smooths the picture first; 0 for none.
        smallest: of a region, in pixels; smaller ones are joined to that which differs least.
    """
    taken = levels(picture)
    return regions(graph_regions(taken, scale=scale, sigma=sigma, smallest=smallest), taken)


def graph_regions(
    picture: Levels, *, scale: float = 300.0, sigma: float = 0.8, smallest: int = 20
) -> Int32[np.ndarray, "*s"]:
    """Regions numbered from 0 in the order of a scan.

    Edges of equal weight are taken in the order of their pixels. A larger ``smallest`` only joins regions
    of a smaller one.

    Raises:
        BadArgument: a number is negative.
        BadImage: more than 2^28 pixels.
    """
    within("scale", scale, 0)
    within("sigma", sigma, 0)
    within("smallest", smallest, 0)
    count = int(np.prod(picture.size))
    if count > MOST_PIXELS:
        raise BadImage(f"{count} pixels", allowed=f"up to {MOST_PIXELS}", cure="cut it into parts")
    widths = [sigma / step for step in picture.spacing]
    planes = np.stack(
        [ndimage.gaussian_filter(picture.values[..., c], widths) for c in range(picture.channels)]
    )
    full = planes if planes.ndim == 4 else planes[:, None]
    edges, steps = _edges(full)
    weights = edges.view(np.float32)[1::2]  # the upper half of each number; Numba knows no other machines
    parent, size = np.arange(count, dtype=np.int32), np.ones(count, np.int32)
    kernels.merge(edges, weights, steps, float(scale), smallest, parent, size)
    labels = np.empty(count, np.int32)
    kernels.number(parent, labels)
    return labels.reshape(picture.size)


def _edges(planes: Float32[np.ndarray, "c d h w"]) -> tuple[np.ndarray, np.ndarray]:
    """All edges, sorted by weight, and the step to the neighbour in each direction."""
    size = planes.shape[1:]
    offsets = [(0, *step) for step in neighbours(2, 8)] if size[0] == 1 else list(neighbours(3, 26))
    weights = np.empty(size, np.float32)
    edges = np.empty(len(offsets) * weights.size, np.uint64)
    count = 0
    for direction, offset in enumerate(offsets):
        kernels.weigh(planes, offset, weights)
        count = kernels.pack(weights.view(np.uint32).ravel(), direction, edges, count)
    steps = np.array([(dz * size[1] + dy) * size[2] + dx for dz, dy, dx in offsets])
    return kernels.sort_by_weight(edges[:count], np.empty(count, np.uint64)), steps
