"""Training samples of pictures: crops with a class for every pixel, or with masks that may overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from segmentarium.data.batch import Batch
from segmentarium.data.borders import Borders
from segmentarium.data.dataset import DataSet, Pair
from segmentarium.data.elastic import Labels, Pixels
from segmentarium.data.memory import Decoded, Memory
from segmentarium.data.normalise import Normalise, unit_limits
from segmentarium.data.segments import Segments
from segmentarium.data.transforms import Augment, augmented, find_anchors
from segmentarium.data.translate import classes_of
from segmentarium.errors import BadData
from segmentarium.nn.truth import Truth
from segmentarium.values.classes import VOID


@dataclass(frozen=True, eq=False)
class _Canvas:
    """Where the samples of a batch are written."""

    images: Float32[np.ndarray, "b c h w"]
    labels: Int64[np.ndarray, "b h w"] | None = None
    weights: Float32[np.ndarray, "b h w"] | None = None
    truths: list[Truth | None] = field(default_factory=list)


class Pictures:
    """Crops of pictures with a class for every pixel.

    Args:
        crop: height and width of what the network sees, in pixels.
        borders: weigh pixels by these; objects then go through the transforms with their numbers, so that two
            that touch stay two, and the map is that of the crop as the network sees it.
        memory_format: of the images, ``torch.channels_last`` being the faster one for convolutions.
        cache_mb: memory for decoded pictures; None takes a quarter of what is free.

    Raises:
        BadData: no picture with a mask, or borders are wanted and the masks do not number objects.
    """

    def __init__(
        self,
        dataset: DataSet,
        *,
        normalise: Normalise,
        augment: Augment,
        crop: tuple[int, int],
        borders: Borders | None = None,
        memory_format: torch.memory_format = torch.contiguous_format,
        cache_mb: float | None = None,
    ) -> None:
        self.pairs = self._chosen(dataset)
        if not self.pairs:
            cure = "put one mask beside each image, see `seg check`"
            raise BadData(f"{dataset.root}: no training image has a mask", cure=cure)
        self.notes: tuple[str, ...] = ()
        self._dataset, self._normalise, self._augment = dataset, normalise, augment
        self._crop, self._format, self._borders = crop, memory_format, borders
        if borders is not None:
            dataset.require_objects()
        self._memory = Memory(self._decoded, budget_mb=cache_mb)

    def canvas(self, count: int) -> _Canvas:
        labels = np.empty((count, *self._crop), np.int64)
        weights = None if self._borders is None else np.empty(labels.shape, np.float32)
        return _Canvas(self._blank(count), labels, weights)

    def paint(self, pair: Pair, canvas: _Canvas, slot: int, *, seed: Sequence[int]) -> None:
        truth = self._look(self._memory.decoded(pair), canvas.images[slot], seed)
        assert canvas.labels is not None
        canvas.labels[slot] = truth if self._borders is None else classes_of(truth)
        if self._borders is not None and canvas.weights is not None:
            canvas.weights[slot] = self._borders.weigh(truth)

    def batch(self, canvas: _Canvas, stems: tuple[str, ...]) -> Batch:
        assert canvas.labels is not None
        weights = None if canvas.weights is None else torch.from_numpy(canvas.weights)
        return Batch(torch.from_numpy(canvas.images), torch.from_numpy(canvas.labels), stems, weights)

    def _chosen(self, dataset: DataSet) -> tuple[Pair, ...]:
        return tuple(pair for pair in dataset.train if pair.mask is not None)

    def _blank(self, count: int) -> Float32[np.ndarray, "b c h w"]:
        channels, (height, width) = self._normalise.channels, self._crop
        if self._format is torch.channels_last:
            return np.empty((count, height, width, channels), np.float32).transpose(0, 3, 1, 2)
        return np.empty((count, channels, height, width), np.float32)

    def _look(self, decoded: Decoded, image: Float32[np.ndarray, "c h w"], seed: Sequence[int]) -> Labels:
        """Write a random crop into ``image``; the truth below it."""
        pixels, truth = augmented(
            decoded.pixels,
            decoded.truth,
            augment=self._augment,
            crop=self._crop,
            seed=seed,
            anchors=decoded.anchors,
            limits=decoded.limits,
        )
        limits = decoded.limits if pixels.dtype == np.uint8 else unit_limits(pixels.shape[2])
        self._normalise(pixels, limits=limits, out=image)
        note = self._normalise.note(decoded.pixels.shape[2])
        if note and note not in self.notes:
            self.notes += (note,)
        return truth

    def _decoded(self, pair: Pair) -> Decoded:
        pixels = self._dataset.image(pair).pixels
        truth = self._dataset.labels(pair) if self._borders is None else self._dataset.objects(pair)
        return self._entry(pixels, truth, truth if self._borders is None else classes_of(truth))

    def _entry(
        self, pixels: Pixels, truth: Labels, labels: Labels, *, segments: Segments | None = None
    ) -> Decoded:
        """What memory keeps; ``labels`` tell where a crop is worth placing."""
        if truth.max(initial=0) <= np.iinfo(np.int16).max:
            truth = truth.astype(np.int16)
        anchors = find_anchors(labels) if self._augment.foreground_crop > 0 else ()
        return Decoded(pixels, truth, self._normalise.limits(pixels), anchors, segments)


class SegmentedPictures(Pictures):
    """Crops of pictures with the masks of their segments, which may overlap.

    Args:
        index: the class that a network learns for each class of the data set, -1 for those it does not.
    """

    def __init__(
        self,
        dataset: DataSet,
        *,
        index: Int64[np.ndarray, " k"],
        normalise: Normalise,
        augment: Augment,
        crop: tuple[int, int],
        memory_format: torch.memory_format = torch.contiguous_format,
        cache_mb: float | None = None,
    ) -> None:
        super().__init__(
            dataset,
            normalise=normalise,
            augment=augment,
            crop=crop,
            memory_format=memory_format,
            cache_mb=cache_mb,
        )
        self._index = index

    def _chosen(self, dataset: DataSet) -> tuple[Pair, ...]:
        return dataset.segmented("train")

    def canvas(self, count: int) -> _Canvas:
        return _Canvas(self._blank(count), truths=[None] * count)

    def paint(self, pair: Pair, canvas: _Canvas, slot: int, *, seed: Sequence[int]) -> None:
        decoded = self._memory.decoded(pair)
        atoms = self._look(decoded, canvas.images[slot], seed)
        assert decoded.segments is not None
        masks, which = decoded.segments.masks_in(atoms)
        classes = self._index[decoded.segments.classes[which]]
        learned = classes >= 0
        canvas.truths[slot] = Truth(
            torch.from_numpy(masks[learned]), torch.from_numpy(classes[learned]), _void(atoms)
        )

    def batch(self, canvas: _Canvas, stems: tuple[str, ...]) -> Batch:
        truths = tuple(truth for truth in canvas.truths if truth is not None)
        return Batch(torch.from_numpy(canvas.images), None, stems, truths=truths)

    def _decoded(self, pair: Pair) -> Decoded:
        segments = self._dataset.segments(pair)
        placed = np.where(segments.atoms > 0, 1, segments.atoms)
        return self._entry(self._dataset.image(pair).pixels, segments.atoms, placed, segments=segments)


def _void(atoms: Labels) -> Tensor | None:
    """Pixels of which nobody knows what they are, if there are any."""
    unknown = atoms == VOID
    return torch.from_numpy(unknown) if unknown.any() else None
