"""Warping error: what is left of a pixel error when truth may be bent, but not torn.

Truth is deformed towards the prediction by flipping simple points, pixels whose flip neither joins, cuts,
creates nor removes an object or a hole. Where the two still differ, the prediction has another topology.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, no_type_check

import numpy as np
from jaxtyping import Bool, Shaped
from numba import njit
from scipy import ndimage

from segmentarium.errors import BadArgument, BadMask
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.per_image import PerImage, ratio

_CROSS, _SQUARE = ndimage.generate_binary_structure(2, 1), ndimage.generate_binary_structure(2, 2)


@dataclass(frozen=True, kw_only=True)
class WarpingScore:
    """The warping error of one image and its kinds; all are best at 0.

    Each kind counts clusters of wrong pixels, by what accepting the whole cluster would do to warped truth.

    Attributes:
        error: wrong pixels after warping by all pixels; an upper bound, because the search is greedy.
        pixel_error: wrong pixels before warping by all pixels.
        splits: an object falls in parts.
        merges: objects grow together.
        additions: an object appears where truth has none.
        deletions: an object disappears.
        hole_changes: only holes are made or filled.
    """

    error: float
    pixel_error: float
    splits: float
    merges: float
    additions: float
    deletions: float
    hole_changes: float


class Warping(PerImage):
    """Scores masks image after image; the result is the mean over images.

    Args:
        connectivity: of objects, 4 or 8 neighbours; the rest has the other. Cells between membranes are 4.
    """

    def __init__(self, *, connectivity: int = 8) -> None:
        super().__init__(tuple(WarpingScore.__dataclass_fields__))
        self.connectivity = connectivity

    def update(
        self, prediction: Shaped[np.ndarray, "h w"], truth: Shaped[np.ndarray, "h w"], *, name: str = ""
    ) -> None:
        """Add one image; see :func:`warping_error`."""
        self.add(name, asdict(warping_error(prediction, truth, connectivity=self.connectivity)))

    def _setup(self) -> tuple[Any, ...]:
        return (*self.scores, self.connectivity)


def warping_error(
    prediction: Shaped[np.ndarray, "h w"],
    truth: Shaped[np.ndarray, "h w"],
    *,
    connectivity: int = 8,
    within: Bool[np.ndarray, "h w"] | None = None,
) -> WarpingScore:
    """Warp truth towards the prediction and count what no warping explains.

    Args:
        prediction: True on objects.
        truth: the same.
        connectivity: of objects; the rest has the other, and what lies beyond the image belongs to neither.
        within: truth may only be bent here, such as near its boundary.

    Raises:
        BadMask: a map is not of booleans or has other than two axes, or the shapes differ.

    Source: Jain et al. 2010, section 3. Its authors have since called the measure deprecated.
    """
    warped = warp(prediction, truth, connectivity=connectivity, within=within)
    kinds = _kinds(warped, prediction, connectivity)
    return WarpingScore(
        error=ratio(float((warped != prediction).sum()), prediction.size),
        pixel_error=ratio(float((truth != prediction).sum()), prediction.size),
        **{kind: float(kinds.count(kind)) for kind in _KINDS},
    )


def warp(
    prediction: Shaped[np.ndarray, "h w"],
    truth: Shaped[np.ndarray, "h w"],
    *,
    connectivity: int = 8,
    within: Bool[np.ndarray, "h w"] | None = None,
) -> Bool[np.ndarray, "h w"]:
    """Truth deformed towards the prediction, its objects and holes kept; see :func:`warping_error`."""
    _check(prediction, truth, connectivity)
    allowed = np.ones(truth.shape, bool) if within is None else within
    flipped = connectivity == 4  # 4-connected objects are what 8-connected ones leave over
    warped = (truth ^ flipped).astype(np.uint8)
    target = (prediction ^ flipped).astype(np.uint8)
    while _bend(warped, target, allowed):
        pass
    return np.asarray(warped.astype(bool) ^ flipped)


_KINDS = ("splits", "merges", "additions", "deletions", "hole_changes")


def _kinds(warped: Any, prediction: Any, connectivity: int) -> list[str]:
    """What each cluster of remaining wrong pixels does to the objects of warped truth."""
    neighbours = _SQUARE if connectivity == 8 else _CROSS
    objects = ndimage.label(warped, neighbours)[0]
    boxes = [(slice(0, 0),) * 2, *ndimage.find_objects(objects)]
    missing, lost = ndimage.label(warped & ~prediction, neighbours)
    extra, gained = ndimage.label(prediction & ~warped, neighbours)
    kinds = []
    for cluster, box in zip(range(1, gained + 1), ndimage.find_objects(extra), strict=True):
        wide = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        reach = ndimage.binary_dilation(extra[wide] == cluster, neighbours)
        touched = len(np.setdiff1d(objects[wide][reach], [0]))
        kinds.append("additions" if touched == 0 else "merges" if touched > 1 else "hole_changes")
    for cluster, box in zip(range(1, lost + 1), ndimage.find_objects(missing), strict=True):
        inside = missing[box] == cluster
        whole = boxes[objects[box][inside][0]]
        left = (objects[whole] == objects[box][inside][0]) & (missing[whole] != cluster)
        parts = ndimage.label(left, neighbours)[1]
        kinds.append("deletions" if parts == 0 else "splits" if parts > 1 else "hole_changes")
    return kinds


def _check(prediction: Any, truth: Any, connectivity: int) -> None:
    if connectivity not in (4, 8):
        raise BadArgument(f"connectivity: {connectivity}", allowed="4 or 8")
    for what, mask in (("prediction", prediction), ("truth", truth)):
        if mask.dtype != np.bool_ or mask.ndim != 2:
            raise BadMask(
                f"{what} of {mask.dtype} and shape {mask.shape}",
                allowed="booleans of an image of two axes, True on objects",
                cure="threshold scores first; go by slices",
            )
    if prediction.shape != truth.shape:
        raise BadMask(f"a prediction of shape {prediction.shape} for a truth of shape {truth.shape}")


@njit(cache=True, nogil=True)
@no_type_check
def is_simple(mask, y, x):  # pragma: no cover - compiled
    """Whether flipping a pixel keeps 8-connected objects and the 4-connected rest as they are.

    It does if, around the pixel, the objects form one piece and the rest that touches it by an edge forms
    one. Beyond the image is neither: a line that ends at the border keeps the two sides apart.
    """
    height, width = mask.shape
    ring = np.full(8, 2, np.uint8)  # from the east, anticlockwise; 2 is beyond the image
    for k in range(8):
        dy = -1 if k in (1, 2, 3) else 1 if k in (5, 6, 7) else 0
        dx = 1 if k in (0, 1, 7) else -1 if k in (3, 4, 5) else 0
        if 0 <= y + dy < height and 0 <= x + dx < width:
            ring[k] = mask[y + dy, x + dx]
    objects, rest, full, empty = 0, 0, 0, 0
    for k in range(0, 8, 2):
        side, corner, following = ring[k], ring[k + 1], ring[(k + 2) % 8]
        full += (side == 1) + (corner == 1)
        empty += side == 0
        rest += (side == 0) - (side == 0 and corner == 0 and following == 0)
        # each piece of the objects is counted where it ends, going round; sides reach over a corner
        objects += side == 1 and corner != 1 and following != 1
        objects += corner == 1 and following != 1
    objects, rest = max(objects, full > 0), max(rest, empty > 0)
    return objects == 1 and rest == 1


@njit(cache=True, nogil=True)
@no_type_check
def _bend(warped, target, allowed):  # pragma: no cover - compiled
    """Flip every simple pixel that differs, row by row. Returns if any was flipped."""
    bent = False
    for y in range(warped.shape[0]):
        for x in range(warped.shape[1]):
            if warped[y, x] != target[y, x] and allowed[y, x] and is_simple(warped, y, x):
                warped[y, x] = target[y, x]
                bent = True
    return bent


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="warping_error",
        title="Warping error",
        formula="1 / N min |L - P| over all masks L that truth becomes by flips of simple points, found"
        " greedily: an upper bound",
        best="low",
        edges={
            "equal topology": "near 0, but a thin line moved by more than its width stays wrong: only pixels"
            " that differ are flipped",
            "pixels beyond the image": "belong neither to objects nor to the rest",
        },
        protocols={
            "isbi2012": "The challenge took objects as cells (connectivity 4) and the order of flips by"
            " strength; its organisers list the measure as deprecated."
        },
        source="Jain et al. 2010, section 3",
        atlas=("M29",),
    ),
)
