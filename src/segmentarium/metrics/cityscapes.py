"""Cityscapes' companion of mIoU: the IoU in which small instances weigh as much as large ones (iIoU)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int64, Integer

from segmentarium.errors import BadArgument
from segmentarium.metrics.confusion import count_pairs
from segmentarium.metrics.definition import Definition
from segmentarium.metrics.intervals import bootstrap_sums
from segmentarium.metrics.panoptic_kernels import shared_pixels
from segmentarium.metrics.undefined import mean_defined, plain
from segmentarium.values.classes import VOID, Classes

MEAN_SIZES: dict[str, float] = {
    "person": 3462.4756337644,
    "rider": 3930.4788056518,
    "car": 12794.0202738185,
    "truck": 27855.1264367816,
    "bus": 35732.1511111111,
    "train": 67583.7075812274,
    "motorcycle": 6298.7200839748,
    "bicycle": 4672.3249222261,
}
"""Mean pixels of an instance in Cityscapes' training data, as its evaluation fixes them."""


@dataclass(frozen=True, eq=False, kw_only=True)
class InstanceIouScores:
    """iIoU by class; nan for those without instances or absent (``undefined``); ``mean`` of the others."""

    names: tuple[str, ...]
    iiou: Float[np.ndarray, " k"]
    mean: float
    per_image: Float[np.ndarray, " n"]
    interval: tuple[float, float]
    undefined: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where a score is undefined."""
        return {
            "iiou": plain(self.mean),
            "per_class": {n: plain(v) for n, v in zip(self.names, self.iiou, strict=True)},
            "per_image": [plain(v) for v in self.per_image],
            "interval": [plain(v) for v in self.interval],
            "undefined": list(self.undefined),
        }


class InstanceIou:
    """Instance-weighted IoU: small instances count as much as large ones.

    Args:
        mean_sizes: mean pixels of an instance by class name; other classes have no iIoU.
        ignore: the truth value whose pixels are left out.
    """

    def __init__(
        self, classes: Classes, *, mean_sizes: Mapping[str, float] = MEAN_SIZES, ignore: int = VOID
    ) -> None:
        self.classes, self.ignore = classes, ignore
        self.mean_sizes = np.array([mean_sizes.get(name, np.nan) for name in classes.names])
        self._rows: list[Float[np.ndarray, "k 3"]] = []

    def update(
        self,
        prediction: Integer[np.ndarray, "h w"],
        truth: Integer[np.ndarray, "h w"],
        instances: Integer[np.ndarray, "h w"],
    ) -> None:
        """Add one picture.

        Args:
            prediction: class indices; ``truth`` likewise, with void.
            instances: a number for each instance of truth; 0 where there is none, or a group of many, whose
                pixels then weigh nothing in TP and FN.

        Raises:
            BadMask: other shapes, or a pixel outside void that holds no class.
            BadArgument: an instance whose pixels are of several classes.
        """
        matrix = count_pairs(prediction, truth, classes=len(self.classes), ignore=self.ignore)
        wrong = matrix.sum(0) - np.diagonal(matrix)
        of_class, sizes = _sizes(truth, instances)
        pairs, pixels = shared_pixels(prediction.astype(np.int32), instances)
        rows = np.searchsorted(sizes[0], pairs[:, 0])
        inside = pairs[:, 0] > 0
        hits = np.zeros(len(of_class))
        correct = inside & (pairs[:, 1] == np.r_[of_class, VOID - 1][rows * inside])
        hits[rows[correct]] = pixels[correct]
        counted = (of_class >= 0) & (of_class < len(self.classes)) & (of_class != self.ignore)
        labels, hits, whole = of_class[counted], hits[counted], sizes[1][counted]
        weights = self.mean_sizes[labels] / whole
        columns = [np.bincount(labels, weights * v, len(self.classes)) for v in (hits, whole - hits)]
        self._rows.append(np.stack([columns[0], wrong.astype(np.float64), columns[1]], axis=1))

    def merge(self, other: InstanceIou) -> None:
        """Add another part of the data; only the order of ``per_image`` depends on the order of parts."""
        same = (
            np.array_equal(other.mean_sizes, self.mean_sizes, equal_nan=True) and other.ignore == self.ignore
        )
        if other.classes.names != self.classes.names or not same:
            raise BadArgument("other: iIoU of another setup", allowed="equal classes, sizes and ignore value")
        self._rows += other._rows

    def reset(self) -> None:
        """Forget all pictures."""
        self._rows = []

    def compute(self, *, rounds: int = 1000, seed: int = 0) -> InstanceIouScores:
        """The scores so far; ``rounds`` and ``seed`` are those of the bootstrap."""
        sums = np.array(self._rows, np.float64).reshape(-1, len(self.classes), 3)
        iiou = self._iiou(sums.sum(0))
        images = sums if len(sums) else sums.sum(0)[None]
        low, high = bootstrap_sums(images, lambda s: mean_defined(self._iiou(s)), rounds=rounds, seed=seed)
        return InstanceIouScores(
            names=self.classes.names,
            iiou=iiou,
            mean=float(mean_defined(iiou)),
            per_image=mean_defined(self._iiou(sums)),
            interval=(float(low), float(high)),
            undefined=tuple(n for n, v in zip(self.classes.names, iiou, strict=True) if np.isnan(v)),
        )

    def _iiou(self, sums: Any) -> Any:
        """iTP / (iTP + FP + iFN) by class."""
        total = np.where(np.isnan(self.mean_sizes), 0, sums.sum(-1))
        return np.divide(sums[..., 0], total, out=np.full(total.shape, np.nan), where=total > 0)


def _sizes(truth: Any, instances: Any) -> tuple[Int64[np.ndarray, " n"], Any]:
    """The class of each instance, and (numbers ascending, pixels)."""
    pairs, pixels = shared_pixels(truth.astype(np.int32), instances)
    pairs, pixels = pairs[pairs[:, 0] > 0], pixels[pairs[:, 0] > 0]
    numbers, counts = np.unique(pairs[:, 0], return_counts=True)
    if (counts > 1).any():
        raise BadArgument(
            f"instances: number {numbers[counts > 1][0]} lies on several classes of truth",
            allowed="one class an instance",
        )
    return pairs[:, 1], (numbers, pixels)


DEFINED: tuple[Definition, ...] = (
    Definition(
        name="iiou",
        title="Instance-level intersection over union (iIoU)",
        formula="iTP / (iTP + FP + iFN): each pixel of an instance in iTP and iFN weighs (mean pixels of an"
        " instance of the class / pixels of this instance); FP are plain pixels",
        edges={
            "class without instances": "undefined (nan)",
            "group of instances": "its pixels are in neither iTP nor iFN",
            "void": "left out",
        },
        protocols={"cityscapes": "cityscapesscripts, with its fixed mean sizes of an instance."},
        source="Cordts et al. 2016, The Cityscapes Dataset, section 4.1",
        atlas=("M38",),
    ),
)
