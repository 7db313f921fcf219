"""The true segments of a pair, from whatever its data set tells them by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Int32

from segmentarium.data import coco_instances, coco_panoptic, translate
from segmentarium.data.dataset import DataSet, MaskReading, Pair, Segmenting, hide, require_size
from segmentarium.data.segments import Segments
from segmentarium.errors import BadData, BadMask
from segmentarium.values.classes import VOID
from segmentarium.values.image import probe_image
from segmentarium.values.mask import read_mask


def segments_of(pair: Pair, data: DataSet) -> Segments:
    """See :meth:`DataSet.segments`."""
    if data.segmented_by is None:
        raise BadData(
            f"{data.root} tells the classes of pixels, not which objects they belong to",
            allowed="masks that number objects, instances.json or panoptic.json",
            cure="add one of them, or train a semantic network",
        )
    path, size = data.segment_file(pair), probe_image(pair.image).size
    if path is None:
        raise BadMask(f"{pair.image} has no annotations", cure="add them, or take the image out")
    match data.segmented_by:
        case Segmenting.COCO:
            segments = coco_instances.segments_of(path, pair.image, size=size, classes=data.classes)
        case Segmenting.PANOPTIC:
            told = pair.annotations or path.parent.parent / translate.PANOPTIC
            segments = coco_panoptic.segments_of(path, told, size=size, classes=data.classes)
        case Segmenting.NUMBERS:
            segments = _numbered(pair, path, data, size)
    hide(segments.atoms, pair)
    return segments


def _numbered(pair: Pair, path: Path, data: DataSet, size: tuple[int, int]) -> Segments:
    """Objects by number; their class is that of the mask below them, or the one foreground class."""
    raw = read_mask(path)
    require_size(path, raw.size, pair.image, size)
    numbers = translate.objects(raw.values, path, data.legend)
    if data.reading is MaskReading.INSTANCES:
        return Segments.from_numbers(numbers, 1)
    labels = data.labels(pair)
    return _by_majority(numbers, labels, len(data.classes))


def _by_majority(
    numbers: Int32[np.ndarray, "h w"], labels: Int32[np.ndarray, "h w"], classes: int
) -> Segments:
    """Each object has the class of most of its pixels; one on void pixels alone is void."""
    used, inverse = np.unique(numbers, return_inverse=True)
    known = (labels != VOID).ravel()
    cells = inverse.ravel() * classes + labels.ravel()
    votes = np.bincount(cells[known], minlength=len(used) * classes).reshape(-1, classes)
    sure = votes.any(1)
    lost = np.isin(numbers, used[~sure & (used > 0)])
    numbers = np.where(lost, np.int32(VOID), numbers)
    chosen = used[sure & (used > 0)].tolist()
    return Segments.from_numbers(
        numbers, dict(zip(chosen, votes[sure & (used > 0)].argmax(1).tolist(), strict=True))
    )
