"""The weight map that makes U-Net keep touching cells apart."""

from __future__ import annotations

from math import ceil, log, sqrt

import numpy as np
from jaxtyping import Float32, Integer
from scipy import ndimage

_NEGLIGIBLE = 1e-6
"""The part of ``w0`` below which a border no longer counts; it bounds how far one has to look."""


def border_weights(
    instances: Integer[np.ndarray, "h w"],
    *,
    w0: float = 10.0,
    sigma: float = 5.0,
    class_weights: tuple[float, float] = (1.0, 1.0),
) -> Float32[np.ndarray, "h w"]:
    """How much each pixel counts: the weight of its class, and more the narrower the gap it lies in.

    The gap is counted on the ground only: within a cell there is nothing to keep apart.

    Args:
        instances: 0 (or below) for ground, another number for each cell.
        w0: what a pixel between two touching cells counts on top.
        sigma: width in pixels over which that fades.
        class_weights: for ground and for cells, "w_c" in the paper.

    Returns:
        w_c + w0 exp(-(d1 + d2)^2 / (2 sigma^2)) with d1, d2 the distances in pixels to the two nearest cells.

    Source: Ronneberger et al. 2015, arXiv:1505.04597, equation 2.

    >>> border_weights(np.array([[1, 0, 2]]), sigma=1.0).round(2)
    array([[1.  , 2.35, 1.  ]], dtype=float32)
    """
    ground = instances <= 0
    nearest, second = _two_nearest(instances, reach=ceil(sigma * sqrt(2 * log(1 / _NEGLIGIBLE))))
    gap = w0 * np.exp(-((nearest + second) ** 2) / (2 * sigma**2))
    return np.where(ground, class_weights[0] + gap, class_weights[1]).astype(np.float32)


def _two_nearest(
    instances: Integer[np.ndarray, "h w"], *, reach: int
) -> tuple[Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Distances to the nearest and to the second nearest cell; infinite beyond ``reach`` pixels."""
    nearest = np.full(instances.shape, np.inf, np.float32)
    second = nearest.copy()
    numbers, dense = np.unique(np.maximum(instances, 0), return_inverse=True)
    dense = dense.reshape(instances.shape) + int(numbers[0] > 0)  # 0 stays ground also where there is none
    for number, box in enumerate(ndimage.find_objects(dense), start=1):
        around = tuple(slice(max(0, s.start - reach), s.stop + reach) for s in box)
        distance = ndimage.distance_transform_edt(dense[around] != number).astype(np.float32)
        second[around] = np.minimum(second[around], np.maximum(nearest[around], distance))
        nearest[around] = np.minimum(nearest[around], distance)
    return nearest, second
