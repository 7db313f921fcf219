"""Region growing: from seeds outwards, over pixels of like colour.

Source: Adams, Bischof 1994, "Seeded region growing", IEEE TPAMI, for ``smallest``, without their pixels of
borders; the flood fills of what is like the seeds, or like the mean of the region so far, are folklore.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float32, Int32, Integer

from segmentarium.classical import region_growing_kernels as kernels
from segmentarium.classical.levels import Picture, levels, within
from segmentarium.classical.partition import cut_out, named
from segmentarium.classical.seeds import FOREGROUND, Points, seed_map
from segmentarium.errors import BadArgument
from segmentarium.ops.neighbours import strides_of
from segmentarium.values import LabelMap

Rule = Literal["seed", "mean", "smallest"]
NEAR = 30.0
"""Grey levels within which a pixel is alike, if nothing else is said."""


def region_growing(
    picture: Picture,
    *,
    seeds: Integer[np.ndarray, "*s"] | None = None,
    foreground: Points = (),
    background: Points = (),
    rule: Rule = "seed",
    tolerance: float | None = None,
    connectivity: int | None = None,
) -> LabelMap:
    """What hangs together with the seeds and is like them.

    Pixels that no region takes are background. With labels up to 2, 1 is background too and 2 is foreground.

    Args:
        seeds: labels 1, 2, ..., 0 where unknown; points are added to them.
        rule: seed takes what is like the mean of the region's seeds; mean, what is like the mean of the
            region when it is met; both go outwards at the same speed. smallest takes the pixel that is most
            like its region first, so that seeds share out the whole picture.
        tolerance: how far a pixel may be from the mean, in grey levels (of colours the length of the
            difference); 30 if left out, and without bound by the rule smallest.
        connectivity: 4 or 8 neighbours, in a volume 6, 18 or 26; the fewest if left out.

    Raises:
        BadArgument: no seed, or one outside the picture, or a pixel with two.
    """
    taken = levels(picture)
    known = seed_map(taken.size, seeds=seeds, foreground=foreground, background=background)
    if not known.any():
        raise BadArgument("no seed", allowed="a label or a point at least")
    labels = grown(taken.values, known, rule=rule, tolerance=tolerance, connectivity=connectivity)
    highest = int(known.max())
    if highest == FOREGROUND:
        return cut_out(labels == FOREGROUND, taken)
    return named(labels, ("background", *(f"label {i}" for i in range(1, highest + 1))), taken)


def grown(
    values: Float32[np.ndarray, "*s c"],
    known: Int32[np.ndarray, "*s"],
    *,
    rule: Rule = "seed",
    tolerance: float | None = None,
    connectivity: int | None = None,
) -> Int32[np.ndarray, "*s"]:
    """The label of each pixel, 0 where no region reaches; of equals the one that is met first wins.

    Args:
        known: labels of the seeds from 1, 0 elsewhere.
    """
    if tolerance is not None:
        within("tolerance", tolerance, 0)
    reach = tolerance if tolerance is not None else np.inf if rule == "smallest" else NEAR
    size, channels = known.shape, values.shape[-1]
    core = (slice(1, -1),) * known.ndim
    labels = np.full([n + 2 for n in size], -1, np.int32)
    labels[core] = known
    framed = np.zeros((*labels.shape, channels), np.float32)
    framed[core] = values
    sizes = np.bincount(known.ravel()).astype(np.float64)
    sums = np.stack([np.bincount(known.ravel(), values[..., c].ravel()) for c in range(channels)], axis=1)
    steps = strides_of(labels.shape, connectivity)
    flat = labels.ravel()
    kernels.grow(
        framed.reshape(-1, channels), flat, sums, sizes, steps, reach**2, rule != "seed", rule == "smallest"
    )
    return labels[core].copy()
