"""What a data set looks like in numbers: the facts that a plan is made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from segmentarium.data import DataSet, Pair
from segmentarium.errors import BadData
from segmentarium.values import VOID, Image

SAMPLE = 200
"""At most so many training images are decoded: shares are then known to about a percent."""


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Facts about a data set.

    Attributes:
        images: number of images by split.
        looked_at: number of training images that the other figures come from.
        sizes: smallest, median and largest (height, width), in pixels.
        channels: of most images; ``other_channels`` tells how many images differ.
        class_share: share of labelled pixels by class name.
        class_images: share of images in which the class occurs, by class name.
        void_share: share of pixels that count for nothing.
        upright: true when classes have their own height in the picture (sky above road), so that turning
            images upside down would teach something false.
        spacing_mm: pixel spacing (row, column) where files tell it.
        decoded_mb: memory of all training images once decoded.
        content: sha256 of every training file and of what its numbers mean.
    """

    name: str
    layout: str
    images: dict[str, int]
    looked_at: int
    sizes: dict[str, tuple[int, int]]
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
    images: list[Image] = []
    for done, pair in enumerate(pairs, 1):
        image = data.image(pair)
        images.append(_without_pixels(image))
        tally.add(data.labels(pair))
        if progress:
            progress(done, len(pairs))
    if not tally.pixels.sum():
        raise BadData(f"{data.root}: every training pixel is void", cure=f"see `seg check {data.root}`")
    return _summary(data, images, tally)


def _sample(pairs: Sequence[Pair]) -> list[Pair]:
    pairs = [pair for pair in pairs if pair.mask is not None]
    if len(pairs) <= SAMPLE:
        return list(pairs)
    return [pairs[i] for i in np.linspace(0, len(pairs) - 1, SAMPLE).round().astype(int)]


def _without_pixels(image: Image) -> Image:
    """The same facts in no memory: an array of one repeated value."""
    hollow = np.broadcast_to(np.zeros(1, image.pixels.dtype), image.pixels.shape)
    return Image(hollow, spacing_mm=image.spacing_mm, path=image.path, notes=image.notes)


def _summary(data: DataSet, images: Sequence[Image], tally: _Tally) -> Fingerprint:
    sizes = sorted((image.pixels.shape[:2] for image in images), key=lambda size: size[0] * size[1])
    small, median, large = ((h, w) for h, w in (sizes[0], sizes[len(sizes) // 2], sizes[-1]))
    channels = [image.channels for image in images]
    usual = max(set(channels), key=channels.count)
    dtypes = [str(image.pixels.dtype) for image in images]
    names, labelled = data.classes.names, tally.pixels.sum()
    scale = len(data.train) / len(images)
    return Fingerprint(
        name=data.name,
        layout=data.layout,
        images={split: len(pairs) for split, pairs in data.splits.items()},
        looked_at=len(images),
        sizes={"smallest": small, "median": median, "largest": large},
        channels=usual,
        other_channels=sum(c != usual for c in channels),
        dtype=max(set(dtypes), key=dtypes.count),
        class_share={n: float(p / labelled) for n, p in zip(names, tally.pixels, strict=True)},
        class_images={n: float(p / len(images)) for n, p in zip(names, tally.present, strict=True)},
        void_share=tally.void / tally.total,
        upright=tally.upright,
        spacing_mm=next((image.spacing_mm for image in images if image.spacing_mm), None),
        decoded_mb=scale * sum(image.pixels.size * image.pixels.itemsize for image in images) / 1e6,
        content=data.fingerprint("train"),
    )
