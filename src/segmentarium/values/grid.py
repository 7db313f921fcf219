"""Where the voxels of a volume lie in the patient, and in which order their file holds them.

Inside, a volume is indexed (d, h, w): slices run to the head (S), rows to the back (P), columns to the
patient's left (L), or as nearly so as whole axes can. Slices then stand as radiologists look at them, and the
order is SimpleITK's LPS read backwards. Files hold any of the 48 orders; reading turns axes without
resampling, and writing turns them back. Millimetres are NIfTI's: x to the right, y to the front, z to the
head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np
from jaxtyping import Float64, Shaped

from segmentarium.errors import BadImage

Size = tuple[int, int, int]
Spacing = tuple[float, float, float]
Affine = Float64[np.ndarray, "4 4"]

INNER_AXES = "SPL"
"""To where d, h and w run: head (superior), back (posterior), left."""

TOLERANCE = 0.1
"""Grids are one if no corners lie farther apart than this part of a voxel: headers hold rounded numbers."""

_TOWARDS = np.array([[0, 0, 1], [0, -1, 0], [-1, 0, 0]], np.float64)
_LETTERS = ("LR", "PA", "IS")


@dataclass(frozen=True, eq=False)
class Grid:
    """The size of a volume, its place in the patient, and its order in the file.

    Attributes:
        size: voxels along d, h and w.
        affine: takes (d, h, w, 1) to (x, y, z, 1) in mm; voxel centres are whole numbers.
        order: the axis of the file that became d, h and w.
        flipped: whether d, h and w run against that axis.
        header: the NIfTI header of the file, byte by byte; empty if there is none or it no longer holds.
    """

    size: Size
    affine: Affine
    order: Size = (2, 1, 0)
    flipped: tuple[bool, bool, bool] = (False, True, True)
    header: bytes = b""

    @classmethod
    def plain(cls, size: Size, spacing_mm: Spacing = (1.0, 1.0, 1.0)) -> Grid:
        """A grid of which nothing but the spacing is known: upright, its first voxel at 0 mm.

        Raises:
            BadImage: a spacing that is not above 0.
        """
        affine = np.eye(4)
        affine[:3, :3] = _TOWARDS.T * np.array(spacing_mm)
        _refuse_lies(affine, "a volume")
        return cls(size, affine)

    @classmethod
    def of_file(cls, affine: Affine, size: Size, *, header: bytes = b"", where: str = "a volume") -> Grid:
        """Turn the axes of a file to the nearest of ours.

        Args:
            affine: takes indices in the order of the file to mm.
            size: in the order of the file.
            where: what an error calls the volume.

        Raises:
            BadImage: an affine that is not finite, or by which voxels have no volume.
        """
        _refuse_lies(affine, where)
        order, flipped = _nearest_axes(affine)
        turned = affine.copy()
        turned[:, :3] = affine[:, list(order)]
        inner = (size[order[0]], size[order[1]], size[order[2]])
        return cls(inner, _flip(turned, inner, flipped), order, flipped, header)

    @property
    def spacing_mm(self) -> Spacing:
        """Distances between the centres of neighbours along d, h and w."""
        d, h, w = np.linalg.norm(self.affine[:3, :3], axis=0).round(6).tolist()
        return d, h, w

    @property
    def file_affine(self) -> Affine:
        """Takes indices in the order of the file to mm."""
        affine = _flip(self.affine, self.size, self.flipped)
        turned: Affine = affine.copy()
        turned[:, list(self.order)] = affine[:, :3]
        return turned

    @property
    def file_axes(self) -> str:
        """To where the axes of the file run, as in ``RAS``."""
        directions = self.file_affine[:3, :3]
        nearest = np.abs(directions / np.linalg.norm(directions, axis=0)).argmax(axis=0)
        return "".join(_LETTERS[x][int(directions[x, axis] > 0)] for axis, x in enumerate(nearest))

    def turned_in(self, values: Shaped[np.ndarray, "*c i j k"]) -> Shaped[np.ndarray, "*c d h w"]:
        """From the order of the file to (d, h, w); channels stay first."""
        lead = values.ndim - 3
        turned = values.transpose(*range(lead), *(lead + axis for axis in self.order))
        return np.ascontiguousarray(np.flip(turned, self._against(lead)))

    def turned_out(self, values: Shaped[np.ndarray, "*c d h w"]) -> Shaped[np.ndarray, "*c i j k"]:
        """From (d, h, w) back to the order of the file."""
        lead = values.ndim - 3
        flipped = np.flip(values, self._against(lead))
        return flipped.transpose(*range(lead), *(lead + int(axis) for axis in np.argsort(self.order)))

    def _against(self, lead: int) -> tuple[int, ...]:
        return tuple(lead + axis for axis in range(3) if self.flipped[axis])

    def at_spacing(self, spacing_mm: Spacing) -> Grid:
        """A grid of this spacing over the same part of the patient, to half a new voxel along each axis.

        Both share their centre, so nothing drifts when labels go there and back.

        Raises:
            BadImage: a spacing that is not above 0.
        """
        if not all(np.isfinite(step) and step > 0 for step in spacing_mm):
            raise BadImage(f"a spacing of {spacing_mm} mm", allowed="three lengths above 0")
        ratio = np.array(self.spacing_mm) / np.array(spacing_mm)
        d, h, w = (max(1, round(float(length))) for length in np.array(self.size) * ratio)
        affine = self.affine.copy()
        affine[:3, :3] /= ratio
        middles = [(np.array(size) - 1) / 2 for size in (self.size, (d, h, w))]
        affine[:3, 3] += self.affine[:3, :3] @ middles[0] - affine[:3, :3] @ middles[1]
        return replace(self, size=(d, h, w), affine=affine, header=b"")

    def to_index_of(self, other: Grid) -> Float64[np.ndarray, "3 4"]:
        """Takes indices (d, h, w, 1) of this grid to indices of ``other`` at the same place."""
        matrix: Float64[np.ndarray, "3 4"] = (np.linalg.inv(other.affine) @ self.affine)[:3]
        return matrix

    def slab(self, axis: int, place: int) -> Grid:
        """The one slice ``place`` along ``axis``."""
        affine = self.affine.copy()
        affine[:, 3] += affine[:, axis] * place
        d, h, w = (1 if at == axis else length for at, length in enumerate(self.size))
        return replace(self, size=(d, h, w), affine=affine, header=b"")

    def difference(self, other: Grid) -> str:
        """How two grids differ, in words; empty if they are one, to a tenth of a voxel."""
        if self.size != other.size:
            return f"{_times(self.size)} voxels (d, h, w) beside {_times(other.size)}"
        ours, theirs = (np.array(grid.spacing_mm) for grid in (self, other))
        if np.abs(ours - theirs).max() * max(self.size) > TOLERANCE * ours.min():
            return f"voxels of {_times(self.spacing_mm)} mm beside {_times(other.spacing_mm)} mm"
        apart = float(np.linalg.norm(self._corners() - other._corners(), axis=1).max())
        if apart <= TOLERANCE * ours.min():
            return ""
        return f"the same size and spacing, but corners up to {apart:.3g} mm apart"

    def _corners(self) -> Float64[np.ndarray, "8 3"]:
        ends = np.array(list(product(*((0, length - 1) for length in self.size))), np.float64)
        corners: Float64[np.ndarray, "8 3"] = ends @ self.affine[:3, :3].T + self.affine[:3, 3]
        return corners


def _nearest_axes(affine: Affine) -> tuple[Size, tuple[bool, bool, bool]]:
    """Which axis of a file runs nearest to each of ours, one for each, and whether it runs against it."""
    along = _TOWARDS @ (affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    a, b, c = max(permutations(range(3)), key=lambda order: abs(along[range(3), order]).sum())
    return (a, b, c), (bool(along[0, a] < 0), bool(along[1, b] < 0), bool(along[2, c] < 0))


def _flip(affine: Affine, size: Size, flipped: tuple[bool, bool, bool]) -> Affine:
    turned = affine.copy()
    for axis in np.flatnonzero(flipped):
        turned[:, 3] += turned[:, axis] * (size[axis] - 1)
        turned[:, axis] *= -1
    return turned


def _refuse_lies(affine: Affine, where: str) -> None:
    if not np.isfinite(affine).all():
        raise BadImage(
            f"{where} has NaN or infinity in its affine",
            allowed="a finite affine",
            cure="export it again from the scanner's files, or write the true affine into its header",
        )
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    if not steps.all() or abs(np.linalg.det(affine[:3, :3] / np.where(steps, steps, 1))) < 1e-3:
        raise BadImage(
            f"{where} has voxels of {_times(tuple(steps.tolist()))} mm along axes that span no space",
            allowed="three lengths above 0, along three directions",
            cure="export it again from the scanner's files, or write the true spacing into its header",
        )


def _times(numbers: tuple[int | float, ...]) -> str:
    return "x".join(f"{number:.4g}" if isinstance(number, float) else str(number) for number in numbers)
