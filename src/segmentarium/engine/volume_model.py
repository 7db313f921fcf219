"""A trained network of volumes, ready to label volumes of any size, spacing and orientation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
from torch import nn

from segmentarium.data.volume_normalise import NormaliseVolume
from segmentarium.engine.device import Device
from segmentarium.engine.volumes import OVERLAP, VolumeEye, segment_volume
from segmentarium.errors import BadImage
from segmentarium.values.classes import Classes
from segmentarium.values.grid import Size, Spacing
from segmentarium.values.results import LabelMap
from segmentarium.values.volume import Volume, read_volume

Body: TypeAlias = str | Path | Volume | np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class VolumeModel:
    """A network with its weights, its classes and what it expects of volumes.

    Attributes:
        name: ``architecture-variant``, or ``architecture@weights``.
        network: in evaluation mode, on the device.
        patch: depth, height and width of what the network answers at a time.
        spacing_mm: of the voxels that it knows; None takes every volume as it is.
        facts: what else the weight file says: data, licence, score, step.
        path: the weight file.
    """

    dimensions: ClassVar[int] = 3
    task: ClassVar[str] = "semantic"

    name: str
    network: nn.Module
    classes: Classes
    normalise: NormaliseVolume
    patch: Size
    device: Device
    spacing_mm: Spacing | None = None
    ignore_id: int = 255
    facts: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def eye(self) -> VolumeEye:
        """The network with its normalisation."""
        return VolumeEye(self.network, self.normalise, self.device.name)

    def __call__(self, volume: Body, *, overlap: float | None = None) -> LabelMap:
        """Label one volume as it lies: the result has its size, affine and order in the file.

        Args:
            volume: a NIfTI file, a folder of a DICOM series, a ``Volume``, or an array (d, h, w) or
                (c, d, h, w) of which nothing but the voxels is known.
            overlap: share of a patch that its neighbour covers again, along each axis; a half if not given.

        Raises:
            BadImage: it cannot be read, or does not have the network's channels.
        """
        return segment_volume(
            as_volume(volume, channels=self.normalise.channels),
            self.eye,
            self.classes,
            patch=self.patch,
            spacing_mm=self.spacing_mm,
            overlap=OVERLAP if overlap is None else overlap,
        )

    def stream(self, volumes: Iterable[Body]) -> Iterator[LabelMap]:
        """Label volumes one after another, in order, as they are asked for."""
        yield from map(self, volumes)


def as_volume(body: Body, *, channels: int = 1) -> Volume:
    """Anything that holds voxels, as a ``Volume``; raises ``BadImage``."""
    if isinstance(body, Volume):
        return body
    if isinstance(body, str | Path):
        return read_volume(body, channels=channels > 1)
    if body.ndim not in (3, 4):
        raise BadImage(f"an array of shape {body.shape}", allowed="(d, h, w) or (c, d, h, w)")
    return Volume.plain(body if body.dtype in (np.uint8, np.int16, np.uint16) else body.astype(np.float32))
