"""Training samples of volumes: patches with a class for every voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64

from segmentarium.data.batch import Batch
from segmentarium.data.dataset import DataSet, Pair
from segmentarium.data.memory import Decoded, Memory
from segmentarium.data.volume_augment import Augment3d
from segmentarium.data.volume_normalise import NormaliseVolume
from segmentarium.data.volume_transforms import augmented_volume, find_anchors
from segmentarium.data.volumes import read_pair
from segmentarium.errors import BadData
from segmentarium.ops.resample_volume import resample, resample_labels
from segmentarium.values.grid import Size, Spacing


@dataclass(frozen=True, eq=False)
class _Canvas:
    """Where the samples of a batch are written."""

    images: Float32[np.ndarray, "b c d h w"]
    labels: Int64[np.ndarray, "b d h w"]


class Volumes:
    """Patches of volumes, all of them at one spacing.

    Args:
        crop: depth, height and width of what the network sees, in voxels.
        spacing_mm: that volumes are brought to before they are cut; None leaves each as it is.
        cache_mb: memory for decoded volumes; None takes a quarter of what is free.

    Raises:
        BadData: no volume with labels.
    """

    def __init__(
        self,
        dataset: DataSet,
        *,
        normalise: NormaliseVolume,
        augment: Augment3d,
        crop: Size,
        spacing_mm: Spacing | None = None,
        cache_mb: float | None = None,
    ) -> None:
        self.pairs = tuple(pair for pair in dataset.train if pair.mask is not None)
        if not self.pairs:
            cure = "put one label file beside each volume, see `seg check`"
            raise BadData(f"{dataset.root}: no training volume has labels", cure=cure)
        self.notes: tuple[str, ...] = ()
        self._dataset, self._normalise, self._augment = dataset, normalise, augment
        self._crop, self._spacing = crop, spacing_mm
        self._memory = Memory(self._decoded, budget_mb=cache_mb)

    def canvas(self, count: int) -> _Canvas:
        images = np.empty((count, self._normalise.channels, *self._crop), np.float32)
        return _Canvas(images, np.empty((count, *self._crop), np.int64))

    def paint(self, pair: Pair, canvas: _Canvas, slot: int, *, seed: Sequence[int]) -> None:
        decoded = self._memory.decoded(pair)
        spacing = decoded.spacing_mm or (1.0, 1.0, 1.0)
        canvas.images[slot], canvas.labels[slot] = augmented_volume(
            decoded.pixels,
            decoded.truth,
            augment=self._augment,
            crop=self._crop,
            seed=seed,
            spacing_mm=spacing,
            anchors=decoded.anchors,
        )

    def batch(self, canvas: _Canvas, stems: tuple[str, ...]) -> Batch:
        return Batch(torch.from_numpy(canvas.images), torch.from_numpy(canvas.labels), stems)

    def _decoded(self, pair: Pair) -> Decoded:
        """The normalised voxels and their labels at the spacing that is trained at."""
        volume, labels = read_pair(pair, self._dataset)
        voxels, spacing = volume.banded, volume.spacing_mm
        if self._spacing is not None and self._spacing != spacing:
            target = volume.grid.at_spacing(self._spacing)
            voxels = resample(voxels, volume.grid, target)
            labels = resample_labels(labels, volume.grid, target).astype(np.int32)
            spacing = target.spacing_mm
        voxels = self._normalise(voxels)
        limits = np.zeros((2, len(voxels)), np.float32)  # not needed any more
        anchors = find_anchors(labels) if self._augment.foreground_crop > 0 else ()
        return Decoded(voxels, labels.astype(np.int16), limits, anchors, spacing_mm=spacing)
