"""The three results: a class for every pixel, countable objects, or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float, Integer, Shaped, UInt8, UInt16
from PIL import Image as Pil

from segmentarium.errors import BadMask, CannotWrite
from segmentarium.values.classes import VOID, Classes
from segmentarium.values.draw import Picture, overlay
from segmentarium.values.draw_volume import draw_montage, draw_planes
from segmentarium.values.files import atomic_write
from segmentarium.values.grid import Affine, Grid
from segmentarium.values.image import Image
from segmentarium.values.instances import Instances, annotation
from segmentarium.values.nifti import ENDINGS as NIFTI
from segmentarium.values.nifti import is_nifti, write_nifti
from segmentarium.values.panoptic import Panoptic, Segment
from segmentarium.values.png import IndexPngWriter
from segmentarium.values.runs import encode
from segmentarium.values.volume import Volume, read_volume

__all__ = ["Instances", "LabelMap", "Panoptic", "Segment"]

_BAND = 512
"""Rows turned into file values at a time."""

VOID_COLOR = (224, 224, 224)
"""What void looks like in a saved map: light grey, so that a black background stays apart."""


@dataclass(frozen=True, eq=False)
class LabelMap:
    """A class for every pixel of a picture (h, w), or of a volume (d, h, w).

    ``labels`` are indices into ``classes``, -1 is void; ``probs`` go by class first. Files hold class *ids*,
    and ``ignore_id`` for void. ``grid`` tells where the voxels of a volume lie.
    """

    labels: Integer[np.ndarray, "*s"]
    classes: Classes
    probs: Float[np.ndarray, " k *s"] | None = None
    spacing_mm: tuple[float, ...] | None = None
    ignore_id: int = 255
    grid: Grid | None = None

    def __post_init__(self) -> None:
        if self.grid is not None and self.spacing_mm is None:
            object.__setattr__(self, "spacing_mm", self.grid.spacing_mm)

    @property
    def affine(self) -> Affine | None:
        """Takes (d, h, w, 1) to mm, as :class:`Grid` says; None where it is not known."""
        return None if self.grid is None else self.grid.affine

    def save(self, path: str | Path) -> Path:
        """Write class ids: an index PNG in the classes' colours; in 3-D a NIfTI file or a TIFF of slices.

        Ids above 255 make it a 16-bit grey PNG, which has no colours. A NIfTI file has the shape, the affine
        and the order of the image that the grid comes from, so that they lie on each other voxel by voxel.

        Raises:
            CannotWrite: no permission, no space, a folder of that name, or a name of another format.
            BadMask: an index without class, or ids that a file cannot hold or tell apart.
        """
        path = Path(path)
        flat = self.labels.ndim == 2
        endings = (".png",) if flat else (*NIFTI, ".tif", ".tiff")
        if not path.name.lower().endswith(endings):
            raise CannotWrite(
                f"a label map cannot be saved as {path}", allowed=f"a name in {' or '.join(endings)}"
            )
        table = self.id_table()
        if not flat:
            return self._save_nifti(path, table) if is_nifti(path) else self._save_slices(path, table)
        height, width = self.labels.shape
        bits = 8 * table.dtype.itemsize
        with IndexPngWriter(path, width=width, height=height, palette=self.file_palette(), bits=bits) as png:
            for top in range(0, height, _BAND):
                png.write(table[self.labels[top : top + _BAND]])
        return path

    def _save_nifti(self, path: Path, table: UInt8[np.ndarray, " n"] | UInt16[np.ndarray, " n"]) -> Path:
        d, h, w = self.labels.shape
        spacing = self.spacing_mm or (1.0, 1.0, 1.0)
        grid = self.grid or Grid.plain((d, h, w), (spacing[0], spacing[1], spacing[2]))
        return write_nifti(path, table[self.labels], grid)

    def _save_slices(self, path: Path, table: UInt8[np.ndarray, " n"] | UInt16[np.ndarray, " n"]) -> Path:
        from tifffile import imwrite

        def write(file: BinaryIO) -> None:
            slices = (table[labels] for labels in self.labels)
            axes = {"axes": "ZYX"}
            shape = self.labels.shape
            imwrite(
                file,
                slices,
                shape=shape,
                dtype=table.dtype,
                compression="zlib",
                photometric="minisblack",
                metadata=axes,
            )

        return atomic_write(path, write)

    def id_table(self) -> UInt8[np.ndarray, " n"] | UInt16[np.ndarray, " n"]:
        """File values by index; the last one is void's, where index -1 finds it.

        Raises:
            BadMask: an index without class, an id above 65535, or a class present whose id means void.
        """
        # An unsigned type cannot hold VOID, so it cannot be the initial value of min and max.
        low, high = (int(self.labels.min()), int(self.labels.max())) if self.labels.size else (VOID, VOID)
        if low < VOID or high >= len(self.classes):
            came = f"class index {low if low < VOID else high} in a label map of {len(self.classes)} classes"
            raise BadMask(
                came,
                allowed=f"-1 (void) to {len(self.classes) - 1}",
                cure="give the classes it was made with",
            )
        values = [*self.classes.ids, self.ignore_id]
        if min(values) < 0 or max(values) > 65535:
            raise BadMask(
                f"class ids {min(values)}..{max(values)}", allowed="0..65535", cure="give other ids"
            )
        if (
            self.ignore_id in self.classes.ids
            and (self.labels == self.classes.ids.index(self.ignore_id)).any()
        ):
            came = f"class id {self.ignore_id} also means void, so its pixels would be lost"
            raise BadMask(came, allowed="an ignore_id that is no class", cure="choose another ignore_id")
        return np.array(values, np.uint8 if max(values) <= 255 else np.uint16)

    def file_palette(self) -> UInt8[np.ndarray, "256 3"]:
        """Colours by file value: the classes' at their ids, light grey for void, black elsewhere."""
        palette = np.zeros((256, 3), np.uint8)
        shown = {self.ignore_id: VOID_COLOR, **{c.id: c.color for c in self.classes}}
        for value, color in shown.items():
            if 0 <= value <= 255:
                palette[value] = color
        return palette

    def overlay(self, image: Picture | Volume, *, alpha: float = 0.5) -> Pil.Image:
        """The labels over the picture they belong to, with a legend.

        Of a volume: three orthogonal slices through the middle of what is labelled, in true proportions; see
        :meth:`montage` for more. A volume may be given as such, as a path, or as an array.
        """
        if self.labels.ndim == 2:
            assert not isinstance(image, Volume)
            return overlay(image, self.labels, self.classes, alpha=alpha)
        return draw_planes(self._under(image), self.labels, self.classes, self._spacing, alpha=alpha)

    def montage(self, image: Picture | Volume, *, slices: int = 12, alpha: float = 0.5) -> Pil.Image:
        """Evenly spaced slices of a volume from the first to the last that is labelled, with a legend."""
        below = self._under(image)
        return draw_montage(below, self.labels, self.classes, self._spacing, slices=slices, alpha=alpha)

    @property
    def _spacing(self) -> tuple[float, ...]:
        return self.spacing_mm or (1.0,) * self.labels.ndim

    def _under(self, image: Picture | Volume) -> Shaped[np.ndarray, "d h w c"]:
        """Voxels with their channels last."""
        if isinstance(image, str | Path):
            image = read_volume(image, channels=True)
        if isinstance(image, Volume):
            return np.moveaxis(image.banded, 0, -1)
        voxels = image.pixels if isinstance(image, Image) else np.asarray(image)
        return voxels if voxels.ndim == 4 else voxels[..., None]

    def to_coco(self) -> list[dict[str, Any]]:
        """An annotation for each class that is present: run-length mask, area and box.

        Raises:
            BadMask: labels of a volume; COCO knows pictures only.
        """
        if self.labels.ndim != 2:
            raise BadMask("labels of a volume", allowed="labels of a picture", cure="convert slice by slice")
        present = [int(i) for i in np.unique(self.labels) if i != VOID]
        return [annotation(encode(self.labels == i), self.classes[i].id) for i in present]

    def area_share(self) -> dict[str, float]:
        """The share of each class among the pixels that are not void, by name; all 0 if there are none."""
        counts = np.zeros(len(self.classes), np.int64)
        for part in self.labels:  # part by part: counting makes a wide copy
            counts += np.bincount(part[part != VOID].ravel(), minlength=len(counts))
        total = max(1, int(counts.sum()))
        return {c.name: int(n) / total for c, n in zip(self.classes, counts, strict=True)}
