"""Connected components: the parts of a mask that hold together, numbered as a scan meets them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int32, Integer
from scipy import ndimage

from segmentarium.ops.neighbours import AXES, neighbours


def components(
    mask: Bool[np.ndarray, "*s"], *, connectivity: int | None = None
) -> tuple[Int32[np.ndarray, "*s"], int]:
    """Numbers from 1 in the order of their first pixel, 0 outside the mask; and how many there are.

    Args:
        connectivity: how many neighbours a pixel has: 4 or 8, in a volume 6, 18 or 26; the fewest if left
            out.

    Raises:
        BadArgument: the grid has no such neighbourhood.

    >>> components(np.array([[True, False], [False, True]]), connectivity=8)[1]
    1
    """
    structure = ndimage.generate_binary_structure(mask.ndim, reach(mask.ndim, connectivity))
    numbers, count = ndimage.label(mask, structure, output=np.int32)
    return numbers, int(count)


def pieces(labels: Integer[np.ndarray, "*s"]) -> Int32[np.ndarray, "*s"]:
    """The connected pieces of every label, numbered from 0 in the order in which a scan meets them.

    >>> pieces(np.array([[5, 5, 7, 5]]))
    array([[0, 0, 1, 2]], dtype=int32)
    """
    from skimage.measure import label

    return np.asarray(label(labels, background=-1, connectivity=1) - 1, np.int32)


def reach(axes: int, connectivity: int | None) -> int:
    """Along how many axes at once a neighbour may lie: how scipy and scikit-image name a neighbourhood.

    Raises:
        BadArgument: the grid has no such neighbourhood.
    """
    if connectivity is None:
        return 1
    neighbours(axes, connectivity)
    return AXES[axes, connectivity]
