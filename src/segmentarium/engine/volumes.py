"""From voxels to labels for a volume of any size: overlapping patches, blended in bounded memory.

The scores of all classes exist for one slab of the volume at a time, as thick as a patch; labels are one
array, which may be a file. Where the network wants voxels beyond the volume, the volume is mirrored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int64, Integer, Shaped
from torch import Tensor, nn
from torch.nn.functional import interpolate

from segmentarium.data.volume_normalise import NormaliseVolume, Scaling
from segmentarium.errors import BadImage, WeightsMismatch
from segmentarium.nn.geometry import Geometry, geometry_of
from segmentarium.ops.resample_volume import resample, resample_labels
from segmentarium.ops.slab import RollingSlab, rolling_axis
from segmentarium.ops.tiles import mirror_index, spread
from segmentarium.post.semantic import label_type
from segmentarium.values.classes import Classes
from segmentarium.values.grid import Size, Spacing
from segmentarium.values.results import LabelMap
from segmentarium.values.volume import Volume, refuse_infinite

OVERLAP = 0.5
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class VolumeEye:
    """A network with what it needs to look at voxels; without ``normalise`` it takes them as they are."""

    network: nn.Module
    normalise: NormaliseVolume | None = None
    device: str = "cpu"

    def scaling(self, voxels: Shaped[np.ndarray, "c d h w"]) -> Scaling | None:
        """The map of the whole volume, which all of its patches share; raises ``BadImage`` as it does."""
        if self.normalise is not None:
            return self.normalise.scaling(voxels)
        refuse_infinite("the volume", voxels)
        return None

    @torch.inference_mode()
    def scores(
        self, views: Sequence[Shaped[np.ndarray, "c d h w"]], scaling: Scaling | None, answered: Size
    ) -> Float32[np.ndarray, "b k d2 h2 w2"]:
        """Class scores of equally large views, resized to the ``answered`` voxels where they are fewer."""
        batch = np.empty((len(views), *views[0].shape), np.float32)
        for view, place in zip(views, batch, strict=True):
            np.copyto(place, view, casting="unsafe") if scaling is None else scaling(view, out=place)
        logits: Tensor = self.network(torch.from_numpy(batch).to(self.device)).logits.float()
        if tuple(logits.shape[2:]) != answered:
            logits = interpolate(logits, size=answered, mode="trilinear", align_corners=False)
        scores: Float32[np.ndarray, "b k d2 h2 w2"] = logits.cpu().contiguous().numpy()
        return scores


def label_volume(
    voxels: Shaped[np.ndarray, "*c d h w"],
    eye: VolumeEye | nn.Module,
    *,
    patch: Size,
    overlap: float = OVERLAP,
    classes: int | None = None,
    batch: int = 1,
    out: Integer[np.ndarray, "_ _ _"] | None = None,
    progress: Progress | None = None,
) -> Integer[np.ndarray, "d h w"]:
    """The best class of each voxel, by the Gaussian-weighted mean of the scores of all patches over it.

    Besides voxels and labels there are the scores of one slab in single precision: as thick as a patch along
    d or h, whichever is less; above 2 GiB they lie in a temporary file.

    Args:
        voxels: of any number type; an array or a memory map.
        patch: depth, height and width of what the network answers at a time.
        overlap: share of a patch that its neighbour covers again, at the least, along each axis.
        classes: what the network must answer with; not checked if not given.
        batch: patches the network sees at a time.
        out: where the labels are written, such as a memory map; made if not given, in the smallest of uint8,
            uint16 and int32.
        progress: called with the number of patches done and of all.

    Raises:
        BadImage: a channel count that does not fit, NaN or infinite voxels, or no voxel at all.
        WeightsMismatch: another number of classes than promised.

    Source: sliding window and weights as in nnU-Net (Isensee et al. 2021).
    """
    banded = voxels if voxels.ndim == 4 else voxels[None]
    if 0 in banded.shape:
        raise BadImage(f"a volume of shape {voxels.shape}", allowed="at least one voxel")
    seer = eye if isinstance(eye, VolumeEye) else VolumeEye(eye)
    size = (banded.shape[1], banded.shape[2], banded.shape[3])
    layers, stops = _layers(size, patch, overlap)
    looks = [[_look(corner, size, patch, geometry_of(seer.network)) for corner in layer] for layer in layers]
    scaling, slab = seer.scaling(banded), None
    done, count = 0, sum(map(len, looks))
    for layer, stop in zip(looks, stops, strict=True):
        for start in range(0, len(layer), batch):
            some = layer[start : start + batch]
            scores = seer.scores([look.view(banded) for look in some], scaling, some[0].answered)
            if slab is None:
                slab = _slab(scores.shape[1], size, patch, out, classes)
            for part, look in zip(scores, some, strict=True):
                slab.add(part[(slice(None), *look.shown)], look.at, look.first)
            done += len(some)
            if progress is not None:
                progress(done, count)
        assert slab is not None
        slab.close(stop)
    assert slab is not None
    return slab.labels


def segment_volume(
    volume: Volume,
    eye: VolumeEye,
    classes: Classes,
    *,
    patch: Size,
    spacing_mm: Spacing | None = None,
    overlap: float = OVERLAP,
    batch: int = 1,
    progress: Progress | None = None,
) -> LabelMap:
    """Label a volume as it lies: the result has its size, affine and order in the file.

    Args:
        spacing_mm: of the voxels that the network knows; the volume is resampled to it, and its labels back
            by a vote (see ``resample_labels``).

    Raises:
        BadImage, WeightsMismatch: as :func:`label_volume`.
    """
    label = partial(
        label_volume,
        patch=patch,
        overlap=overlap,
        classes=len(classes),
        batch=batch,
        progress=progress,
    )
    if spacing_mm is None:
        return LabelMap(label(volume.banded, eye), classes, grid=volume.grid)
    target = volume.grid.at_spacing(spacing_mm)
    scaling = eye.scaling(volume.banded)  # of the voxels as they came, as in training
    voxels = volume.banded if scaling is None else scaling(volume.banded)
    voxels = resample(voxels, volume.grid, target)
    labels = label(voxels, replace(eye, normalise=None))
    return LabelMap(resample_labels(labels, target, volume.grid), classes, grid=volume.grid)


class _Look(NamedTuple):
    """One patch: what the network sees of the volume, and where its answer goes.

    ``places`` are voxels along each axis, mirrored beyond the volume. ``answered`` is the size of the answer,
    ``shown`` the part of it that lies in the volume: from ``first`` in the patch, and ``at`` in the volume.
    """

    places: tuple[Int64[np.ndarray, " n"], ...]
    answered: Size
    shown: tuple[slice, ...]
    at: Size
    first: Size

    def view(self, voxels: Shaped[np.ndarray, "c d h w"]) -> Shaped[np.ndarray, "c d2 h2 w2"]:
        seen = voxels
        for axis, places in enumerate(self.places, 1):
            whole = len(places) == 1 or bool((np.diff(places) == 1).all())
            stretch = (slice(None),) * axis + (slice(int(places[0]), int(places[-1]) + 1),)
            seen = seen[stretch] if whole else seen.take(places, axis)
        return seen


def _layers(size: Size, patch: Size, overlap: float) -> tuple[list[list[Size]], list[int]]:
    """The corners of all patches by layer along the rolling axis, and where what each layer closes ends."""
    starts = [spread(length, side, overlap) for length, side in zip(size, patch, strict=True)]
    axis = rolling_axis(size, patch)
    layers = []
    for along in starts[axis]:
        others = product(starts[1 - axis], starts[2])
        layers.append([(along, b, w) if axis == 0 else (b, along, w) for b, w in others])
    return layers, [*starts[axis][1:], size[axis]]


def _look(corner: Size, size: Size, patch: Size, geometry: Geometry) -> _Look:
    places, answered, shown, first = [], [], [], []
    for start, length, side in zip(corner, size, patch, strict=True):
        before = max(0, side - length) // 2
        seen = geometry.input_side(side)
        begin = start - before - geometry.border
        places.append(mirror_index(begin, begin + seen, length))
        answered.append(seen - 2 * geometry.border)
        shown.append(slice(before, before + min(side, length)))
        first.append(before)
    (d, h, w), (i, j, k) = answered, first
    return _Look(tuple(places), (d, h, w), tuple(shown), corner, (i, j, k))


def _slab(
    answered: int, size: Size, patch: Size, out: Integer[np.ndarray, "_ _ _"] | None, wanted: int | None
) -> RollingSlab:
    if wanted is not None and answered != wanted:
        raise WeightsMismatch(f"the network answers with {answered} classes", allowed=f"{wanted}")
    labels = np.empty(size, label_type(answered)) if out is None else out
    if labels.shape != size:
        raise BadImage(f"room for labels of shape {labels.shape}", allowed=f"{size}, as the volume")
    return RollingSlab(labels, classes=answered, patch=patch)
