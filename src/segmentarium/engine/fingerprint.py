"""What a data set looks like in numbers: the facts that a plan is made from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segmentarium.data import DataSet, Pair
from segmentarium.errors import BadData
from segmentarium.values import VOID

SAMPLE = 200
"""At most so many training images are decoded: shares are then known to about a percent."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Facts about a data set.

    Attributes:
        images: number of images by split.
        looked_at: number of training images that the other figures come from.
        sizes: smallest, median and largest (height, width), in pixels; of volumes (depth, height, width).
        channels: of most images; ``other_channels`` tells how many images differ.
        class_share: share of labelled pixels by class name.
        class_images: share of images in which the class occurs, by class name.
        void_share: share of pixels that count for nothing.
        upright: true when classes have their own height in the picture (sky above road), so that turning
            images upside down would teach something false.
        spacing_mm: distances between pixels (row, column) where files tell them; of volumes the medians.
        decoded_mb: memory of all training images once decoded.
        content: sha256 of every training file and of what its numbers mean.
    """

    name: str
    layout: str
    images: dict[str, int]
    looked_at: int
    sizes: dict[str, tuple[int, ...]]
    channels: int
    other_channels: int
    dtype: str
    class_share: dict[str, float]
    class_images: dict[str, float]
    void_share: float
    upright: bool
    spacing_mm: tuple[float, ...] | None
    decoded_mb: float
    content: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)

    @property
    def rarest(self) -> tuple[str, float]:
        """The class with the fewest pixels among those that occur, and its share."""
        present = {name: share for name, share in self.class_share.items() if share > 0}
        return min(present.items(), key=lambda item: item[1])


@dataclass
class _Tally:
    """Sums over the images seen so far."""

    pixels: np.ndarray
    heights: np.ndarray  # sum over images of the class's mean height, 0 top to 1 bottom
    present: np.ndarray
    void: int = 0
    total: int = 0

    def add(self, labels: np.ndarray) -> None:
        """Count one truth map."""
        rows, classes = labels.shape[0], len(self.pixels)
        labels = labels.reshape(rows, -1)
        cells = np.arange(rows)[:, None] * classes + labels
        by_row = np.bincount(cells[labels != VOID], minlength=rows * classes).reshape(rows, classes)
        counts = by_row.sum(0)
        seen = counts > 0
        height = (np.arange(rows) + 0.5) @ by_row / rows
        self.pixels += counts
        self.heights[seen] += height[seen] / counts[seen]
        self.present += seen
        self.total += labels.size
        self.void += int(labels.size - counts.sum())

    @property
    def upright(self) -> bool:
        """Two common classes live at clearly different heights."""
        common = self.present >= 0.3 * max(1, self.present.max())
        means = self.heights[common] / self.present[common]
        return len(means) > 1 and float(means.max() - means.min()) > 0.25


def fingerprint(data: DataSet, *, progress: Callable[[int, int], None] | None = None) -> Fingerprint:
    """Measure the training split of ``data``.

    Args:
        progress: called with images done and images in all.

    Raises:
        BadData: there are no training images, or no labelled pixel in them.
        BadMask: a mask holds what it must not.
    """
    pairs = _sample(data.train)
    if not pairs:
        raise BadData(f"{data.root} has no training images", cure=f"see `seg check {data.root}`")
    count = len(data.classes)
    tally = _Tally(np.zeros(count, np.int64), np.zeros(count), np.zeros(count, np.int64))
    looks: list[_Look] = []
    for done, pair in enumerate(pairs, 1):
        looks.append(_look(data, pair))
        tally.add(data.labels(pair))
        if progress:
            progress(done, len(pairs))
    if not tally.pixels.sum():
        raise BadData(f"{data.root}: every training pixel is void", cure=f"see `seg check {data.root}`")
    return _summary(data, looks, tally)


def _sample(pairs: Sequence[Pair]) -> list[Pair]:
    pairs = [pair for pair in pairs if pair.mask is not None]
    if len(pairs) <= SAMPLE:
        return list(pairs)
    return [pairs[i] for i in np.linspace(0, len(pairs) - 1, SAMPLE).round().astype(int)]


@dataclass(frozen=True)
class _Look:
    """What is remembered of one image."""

    size: tuple[int, ...]
    channels: int
    dtype: str
    spacing_mm: tuple[float, ...] | None
    nbytes: int


def _look(data: DataSet, pair: Pair) -> _Look:
    if data.dimensions == 3:
        volume = data.volume(pair)
        facts = (volume.size, volume.channels, str(volume.voxels.dtype), volume.spacing_mm)
        return _Look(*facts, 4 * volume.voxels.size)  # normalised, hence in single precision
    image = data.image(pair)
    size = (int(image.pixels.shape[0]), int(image.pixels.shape[1]))
    return _Look(size, image.channels, str(image.pixels.dtype), image.spacing_mm, image.pixels.nbytes)


def _summary(data: DataSet, looks: Sequence[_Look], tally: _Tally) -> Fingerprint:
    sizes = sorted((look.size for look in looks), key=math.prod)
    channels = [look.channels for look in looks]
    usual = max(set(channels), key=channels.count)
    dtypes = [look.dtype for look in looks]
    names, labelled = data.classes.names, tally.pixels.sum()
    scale = len(data.train) / len(looks)
    return Fingerprint(
        name=data.name,
        layout=data.layout,
        images={split: len(pairs) for split, pairs in data.splits.items()},
        looked_at=len(looks),
        sizes={"smallest": sizes[0], "median": sizes[len(sizes) // 2], "largest": sizes[-1]},
        channels=usual,
        other_channels=sum(c != usual for c in channels),
        dtype=max(set(dtypes), key=dtypes.count),
        class_share={n: float(p / labelled) for n, p in zip(names, tally.pixels, strict=True)},
        class_images={n: float(p / len(looks)) for n, p in zip(names, tally.present, strict=True)},
        void_share=tally.void / tally.total,
        upright=tally.upright,
        spacing_mm=_usual_spacing(looks),
        decoded_mb=scale * sum(look.nbytes for look in looks) / 1e6,
        content=data.fingerprint("train"),
    )


def _usual_spacing(looks: Sequence[_Look]) -> tuple[float, ...] | None:
    known = [look.spacing_mm for look in looks if look.spacing_mm]
    return tuple(float(step) for step in np.median(np.array(known), axis=0)) if known else None
