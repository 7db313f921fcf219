"""What the doctor remembers of each file: a few numbers and a thumbnail, never the pixels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segmentarium.data.dataset import DataSet, MaskReading

Place = tuple[int, int]
"""A pixel as (x, y)."""

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image file. ``trouble`` is why it could not be read; the other facts are empty then."""

    file: str
    trouble: str = ""
    nan: bool = False
    size: Size = (0, 0)
    mode: str = ""
    channels: int = 0
    dtype: str = ""
    orientation: int = 1
    top: float = 0.0  # brightest value, the outermost 0.1 % left out
    digest: bytes = b""  # of the decoded pixels
    signature: np.ndarray | None = field(default=None, repr=False)  # see ``likeness``
    tints: Mapping[int, float] = field(
        default_factory=dict
    )  # red minus blue: by class id, and -1 for all pixels


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A mask file. ``counts`` are pixels by value; ``odd`` says where each undeclared value first stands."""

    file: str
    trouble: str = ""
    size: Size = (0, 0)
    mode: str = ""
    format: str = ""
    dtype: str = ""
    orientation: int = 1
    counts: Mapping[int, int] = field(default_factory=dict)
    classes: Mapping[int, int] = field(default_factory=dict)  # pixels by class id, void left out
    odd: Mapping[int, Place] = field(default_factory=dict)
    ramp: float = 0.0  # share of edges that climb over an in-between value, see ``labels.ramps``
    ramp_at: Place | None = None
    thin_odd: float = 0.0  # share of the undeclared pixels that lie on a thin line between others
    colors: int = 0  # distinct true colours; 0 for one number per pixel
    legend: bool = False  # all colours are those of classes
    permuted: bool = (
        False  # palette positions are not the ids, though the palette's colours say which are meant
    )
    scattered: int = 0  # pieces in excess of one per object number, counted only where 8 bits are full


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well the mask's edges lie on the image's, in standard deviations of chance.

    ``here`` is as they lie, ``best`` under the best shift, which is ``shift`` = (dx, dy) pixels that the
    mask would have to move; ``turned`` the same for mirrored and turned masks. ``surface`` is the scores by
    shift in cells.
    """

    here: float
    best: float
    shift: tuple[int, int]
    turned: Mapping[str, float]
    cell: int
    surface: np.ndarray = field(repr=False)


class Wrong(NamedTuple):
    """Something wrong with an annotation: the fault, where it is, what was seen.

    ``key`` tells the annotation: its row in a file of instances, its number in a panoptic map.
    """

    fault: str
    where: str
    note: str
    key: int = -1


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A pair of files and what was seen in them.

    ``annotated`` is the file under which the ``wrongs`` of its annotations are told; ``objects`` and
    ``crowds`` count them.
    """

    stem: str
    split: str
    image: Picture
    truth: Truth | None
    fit: Fit | None = None
    annotated: str = ""
    wrongs: tuple[Wrong, ...] = ()
    objects: int = 0
    crowds: int = 0


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The data set as declared, and every file as found."""

    data: DataSet
    samples: tuple[Sample, ...]

    @property
    def ids(self) -> frozenset[int]:
        """Declared class ids that are not void."""
        return frozenset(self.data.classes.ids) - frozenset(self.data.ignore_ids)

    @property
    def indexed(self) -> bool:
        """A mask value is a class id."""
        return self.data.reading is MaskReading.INDEX

    def pictures(self) -> Iterator[Picture]:
        """Images that could be decoded, each once."""
        return (sample.image for sample in self.samples if not sample.image.trouble)

    def truths(self) -> Iterator[Truth]:
        """Masks that could be decoded."""
        return (s.truth for s in self.samples if s.truth is not None and not s.truth.trouble)

    def class_pixels(self, split: str | None = None) -> Counter[int]:
        """Pixels by class id, in one split or in all."""
        total: Counter[int] = Counter()
        for sample in self.samples:
            if sample.truth is not None and split in (None, sample.split):
                total.update(sample.truth.classes)
        return total

    def name(self, path: Path) -> str:
        """A path as the report writes it: from the root of the data set, with forward slashes."""
        return relative(path, self.data.root)


def relative(path: Path, root: Path) -> str:
    """``path`` from ``root`` where it lies below, whole otherwise."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
