"""What the numbers in one mask look like: in-between values, thin lines, pieces, palettes."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from scipy import ndimage

from segmentarium.engine.faults.survey import Place

MANY = 64  # odd values whose place is remembered


def count(values: np.ndarray) -> dict[int, int]:
    """Pixels by value."""
    if values.dtype in (np.uint8, np.uint16):
        counts = np.bincount(values.ravel())
        return {int(v): int(counts[v]) for v in counts.nonzero()[0]}
    found, numbers = np.unique(values, return_counts=True)
    return {int(v): int(n) for v, n in zip(found, numbers, strict=True)}


def places(values: np.ndarray, odd: Collection[int]) -> dict[int, Place]:
    """The first pixel of each odd value, in reading order."""
    return {value: place_of(values == value) for value in sorted(odd)[:MANY]}


def place_of(wrong: np.ndarray) -> Place:
    """The first true pixel as (x, y)."""
    row, column = divmod(int(wrong.argmax()), wrong.shape[1])
    return column, row


def ramps(values: np.ndarray) -> tuple[float, Place | None]:
    """Share of edges that climb in two steps over a value between, and the first such pixel.

    A label map jumps from class to class. One that was resized or smoothed like a picture climbs: between 0
    and 3 stand 1 and 2. Only jumps over more than one class can show it.
    """
    climbs = steep = 0
    where: Place | None = None
    for axis in (1, 0):
        before, here, after = _neighbours(values, axis)
        climb = ((before < here) & (here < after)) | ((before > here) & (here > after))
        climbs += int(climb.sum())
        low, high = np.minimum(here, after), np.maximum(here, after)
        steep += int((high - low > 1).sum())
        if where is None and climb.any():
            x, y = place_of(climb)
            where = (x + 1, y) if axis else (x, y + 1)
    return (climbs / (climbs + steep) if climbs else 0.0), where


def climbing(values: np.ndarray) -> np.ndarray:
    """True on pixels whose value lies strictly between those of two opposite neighbours."""
    climb = np.zeros(values.shape, bool)
    before, here, after = _neighbours(values, 1)
    climb[:, 1:-1] |= ((before < here) & (here < after)) | ((before > here) & (here > after))
    before, here, after = _neighbours(values, 0)
    climb[1:-1] |= ((before < here) & (here < after)) | ((before > here) & (here > after))
    return climb


def thin_share(wrong: np.ndarray) -> float:
    """Share of the true pixels that vanish when two pixels are peeled off: 1 for lines, near 0 for areas."""
    total = int(wrong.sum())
    kept = int(ndimage.binary_erosion(wrong, np.ones((5, 5), bool), border_value=1).sum())
    return 1 - kept / total if total else 0.0


def spare_pieces(numbers: np.ndarray) -> int:
    """Connected pieces of objects in excess of one for each number."""
    pieces = 0
    used = np.unique(numbers[numbers > 0])
    for value in used:
        pieces += int(ndimage.label(numbers == value)[1])
    return pieces - len(used)


def is_permuted(
    palette: np.ndarray, used: Collection[int], colors: Mapping[tuple[int, int, int], int]
) -> bool:
    """Whether palette entries show that other ids are meant than the positions at which they stand.

    So it is after tools that sort a palette by frequency: position 1 holds the colour of class 3.
    """
    entries = {v: palette[v].tolist() for v in used if v < len(palette)}
    meant = {v: colors.get((red, green, blue)) for v, (red, green, blue) in entries.items()}
    if any(identity is None for identity in meant.values()):
        return False
    return any(identity != value for value, identity in meant.items())


def _neighbours(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if axis:
        return values[:, :-2], values[:, 1:-1], values[:, 2:]
    return values[:-2], values[1:-1], values[2:]
