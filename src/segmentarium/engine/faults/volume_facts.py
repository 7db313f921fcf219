"""What the doctor remembers of each volume: where it lies, and a few numbers; never the voxels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Integer, Shaped

from segmentarium.data.dataset import DataSet, Pair
from segmentarium.engine.faults.survey import relative
from segmentarium.errors import BadImage
from segmentarium.values.grid import Grid
from segmentarium.values.nifti import NiftiFile
from segmentarium.values.volume import probe_volume, read_volume, refuse_infinite

Progress = Callable[[int, int], None]
_MANY = 1 << 16  # different values beyond this are not counted one by one


@dataclass(frozen=True, kw_only=True)
class VolumeFile:
    """An image or a label file. Where ``trouble`` is told, the facts that it hides are empty.

    ``lies``: the trouble is a head that cannot be true. ``infinite`` tells the first voxel that is no number.
    ``counts`` are voxels by value, of labels; ``odd`` the first place of each value that is no class.
    """

    file: str
    trouble: str = ""
    lies: bool = False
    grid: Grid | None = None
    channels: int = 1
    notes: tuple[str, ...] = ()
    infinite: str = ""
    fractional: bool = False
    counts: Mapping[int, int] = field(default_factory=dict)
    odd: Mapping[int, tuple[int, int, int]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VolumeSample:
    """A pair of files. ``mirrored_fit`` is how much better the labels' border lies on edges of the image when
    the labels are mirrored along the axes that the two files store in different directions; 0 if none."""

    stem: str
    split: str
    image: VolumeFile
    truth: VolumeFile | None
    mirrored_fit: float = 0.0


@dataclass(frozen=True, kw_only=True)
class VolumeSurvey:
    """The data set as declared, and every volume as found."""

    data: DataSet
    samples: tuple[VolumeSample, ...]

    def pairs(self) -> Iterator[tuple[VolumeFile, VolumeFile]]:
        """Images and labels of which both lie somewhere."""
        for sample in self.samples:
            if sample.truth is not None and sample.image.grid is not None and sample.truth.grid is not None:
                yield sample.image, sample.truth

    def files(self) -> Iterator[VolumeFile]:
        """Every image and every label file."""
        for sample in self.samples:
            yield sample.image
            if sample.truth is not None:
                yield sample.truth


def survey_volumes(data: DataSet, progress: Progress | None = None) -> VolumeSurvey:
    """Decode every volume of ``data`` once, a pair at a time; ``progress`` hears (done, total)."""
    pairs = [(split, pair) for split, pairs in data.splits.items() for pair in pairs]
    samples = []
    for split, pair in pairs:
        samples.append(_sample(data, split, pair))
        if progress is not None:
            progress(len(samples), len(pairs))
    return VolumeSurvey(data=data, samples=tuple(samples))


def _sample(data: DataSet, split: str, pair: Pair) -> VolumeSample:
    image, voxels = _image(data, pair.image)
    if pair.mask is None:
        return VolumeSample(stem=pair.stem, split=split, image=image, truth=None)
    truth, labels = _truth(data, pair.mask)
    gain = 0.0
    if voxels is not None and labels is not None and image.grid is not None and truth.grid is not None:
        gain = _mirrored_fit(voxels, labels, image.grid, truth.grid)
    return VolumeSample(stem=pair.stem, split=split, image=image, truth=truth, mirrored_fit=gain)


def _image(data: DataSet, path: Path) -> tuple[VolumeFile, Shaped[np.ndarray, "d h w"] | None]:
    name = relative(path, data.root)
    if path.is_dir():
        try:
            series = read_volume(path)
        except BadImage as error:
            return VolumeFile(file=name, trouble=_short(error, path)), None
        return VolumeFile(file=name, grid=series.grid), series.banded[0]
    head = _head(path, name)
    if isinstance(head, VolumeFile):
        return head, None
    try:
        voxels = head.grid.turned_in(head.voxels())
    except BadImage as error:
        return VolumeFile(file=name, trouble=_short(error, path)), None
    infinite = ""
    try:
        refuse_infinite(name, voxels)
    except BadImage as error:
        infinite = error.came.removeprefix(name).strip()
    facts = VolumeFile(file=name, grid=head.grid, channels=head.channels, notes=head.notes, infinite=infinite)
    first = voxels if voxels.ndim == 3 else voxels[0]
    return facts, None if infinite else first


def _truth(data: DataSet, path: Path) -> tuple[VolumeFile, Integer[np.ndarray, "d h w"] | None]:
    name = relative(path, data.root)
    head = _head(path, name)
    if isinstance(head, VolumeFile):
        return head, None
    facts = VolumeFile(file=name, grid=head.grid, channels=head.channels, notes=head.notes)
    if head.channels > 1:
        return facts, None
    try:
        values = head.voxels()
    except BadImage as error:
        return VolumeFile(file=name, trouble=_short(error, path)), None
    if values.dtype.kind == "f" and not np.array_equal(
        np.rint(values), values
    ):  # NaN is no whole number either
        return replace(facts, fractional=True), None
    labels = head.grid.turned_in(values.astype(np.int64))
    counts = _count(labels)
    known = {*data.classes.ids, *data.ignore_ids}
    odd = {value: _place(labels == value) for value in sorted(set(counts) - known)[:8]}
    return replace(facts, counts=counts, odd=odd), labels


def _head(path: Path, name: str) -> NiftiFile | VolumeFile:
    """The head, or why there is none; a head that lies is told apart from a damaged file."""
    try:
        return probe_volume(path)
    except BadImage as error:
        return VolumeFile(file=name, trouble=_short(error, path), lies=_decodes(path))


def _decodes(path: Path) -> bool:
    import nibabel as nib

    try:
        nib.load(path, mmap=False).dataobj.get_unscaled()
    except Exception:  # foreign files fail in many ways
        return False
    return True


def _count(labels: Integer[np.ndarray, "d h w"]) -> dict[int, int]:
    low, high = int(labels.min()), int(labels.max())
    if high - low >= _MANY:
        return dict(Counter(labels[:: max(1, len(labels) // 8)].ravel().tolist()).most_common(_MANY))
    counts = np.bincount((labels - low).ravel())
    return {int(place) + low: int(counts[place]) for place in counts.nonzero()[0]}


def _place(wrong: Shaped[np.ndarray, "d h w"]) -> tuple[int, int, int]:
    d, h, w = (int(place) for place in np.unravel_index(int(wrong.argmax()), wrong.shape))
    return d, h, w


def _mirrored_fit(
    voxels: Shaped[np.ndarray, "d h w"], labels: Integer[np.ndarray, "d2 h2 w2"], image: Grid, truth: Grid
) -> float:
    """Mean edge under the labels' border when mirrored, over that as they lie."""
    axes = tuple(
        axis for axis in range(3) if image.order == truth.order and image.flipped[axis] != truth.flipped[axis]
    )
    if not axes or voxels.shape != labels.shape:
        return 0.0
    edges = _edges(voxels)
    here, there = (_on_border(edges, placed) for placed in (labels, np.flip(labels, axes)))
    return there / here if here > 0 else 0.0


def _edges(voxels: Shaped[np.ndarray, "d h w"]) -> Float[np.ndarray, "d h w"]:
    """Differences to the next voxels, summed over the axes."""
    edges = np.zeros(voxels.shape, np.float32)
    for axis, length in enumerate(voxels.shape):
        if length > 1:
            ahead = np.abs(np.diff(voxels.astype(np.float32), axis=axis))
            edges[(slice(None),) * axis + (slice(None, -1),)] += ahead
    return edges


def _on_border(edges: Float[np.ndarray, "d h w"], labels: Integer[np.ndarray, "d h w"]) -> float:
    border = np.zeros(labels.shape, bool)
    for axis in range(3):
        before = (slice(None),) * axis + (slice(None, -1),)
        border[before] |= np.diff(labels, axis=axis) != 0
    return float(edges[border].mean()) if border.any() else 0.0


def _short(error: BadImage, path: Path) -> str:
    """The sentence without the path, which the report tells already."""
    return error.came.removeprefix(str(path)).strip()
