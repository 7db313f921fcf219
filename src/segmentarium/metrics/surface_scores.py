"""Surface measures of many cases: per case, per class, and together with what was undefined or missed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from segmentarium.errors import BadArgument, BadData
from segmentarium.metrics.aggregate import Aggregate, aggregate
from segmentarium.metrics.surface import (
    SurfaceMeasures,
    class_tolerances,
    measure_classes,
    protocol_named,
)
from segmentarium.metrics.undefined import plain
from segmentarium.values.classes import VOID

MEASURES = tuple(field.name for field in fields(SurfaceMeasures))


@dataclass(frozen=True, eq=False, kw_only=True)
class SurfaceScores:
    """Surface measures of a data set.

    Attributes:
        names: the classes that were measured.
        per_case: measure → one row a case in the order they came, one column a class; nan and infinity kept.
        per_class: class → measure → aggregate over cases.
        overall: measure → aggregate over all pairs of a case and a class, each counted once.
        undefined: the classes that no case has, in truth or in prediction.
        tolerances: of ``nsd``, one a class.
    """

    names: tuple[str, ...]
    per_case: dict[str, Float64[np.ndarray, "n k"]]
    per_class: dict[str, dict[str, Aggregate]]
    overall: dict[str, Aggregate]
    undefined: tuple[str, ...]
    protocol: str
    tolerances: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """For machines: plain numbers, None where undefined, "inf" where infinite."""
        return {
            "protocol": self.protocol,
            "tolerances": dict(zip(self.names, self.tolerances, strict=True)),
            "overall": {measure: found.as_dict() for measure, found in self.overall.items()},
            "per_class": {
                name: {measure: found.as_dict() for measure, found in measures.items()}
                for name, measures in self.per_class.items()
            },
            "per_case": {
                measure: [[plain(value) for value in row] for row in rows.tolist()]
                for measure, rows in self.per_case.items()
            },
            "undefined": list(self.undefined),
        }


class SurfaceDistances:
    """Measures the surfaces of every class in any number of cases, and keeps a few numbers a case.

    Args:
        classes: how many there are; labels run from 0 to ``classes - 1``.
        names: one a class, for results; numbers if left out.
        tolerance: of ``nsd``, in the unit of the spacing: one for all classes, or one a class.
        protocol: one of :data:`segmentarium.metrics.surface.PROTOCOLS`.
        background: the class that is no structure and left out; None measures all.
        ignore: the truth value whose voxels are taken out of both maps.

    >>> surfaces = SurfaceDistances(2, names=["ground", "cell"])
    >>> surfaces.update(np.array([[0, 1, 1, 0, 0]]), np.array([[0, 1, 1, 1, 0]]))
    >>> print(surfaces.compute().per_class["cell"]["hd"])
    1 over 1 of 1 cases
    """

    def __init__(
        self,
        classes: int,
        *,
        names: Sequence[str] = (),
        tolerance: float | Sequence[float] = 1.0,
        protocol: str = "segmentarium",
        background: int | None = 0,
        ignore: int = VOID,
    ) -> None:
        chosen = tuple(names) or tuple(str(index) for index in range(classes))
        if classes < 1 or len(chosen) != classes:
            raise BadArgument(
                f"names: {len(chosen)} for {classes} classes", allowed="one class or more, named"
            )
        protocol_named(protocol)
        self.classes, self.protocol, self.background, self.ignore = classes, protocol, background, ignore
        self.names, self.tolerances = chosen, class_tolerances(tolerance, classes=classes)
        self._cases: list[Float64[np.ndarray, "k m"]] = []

    def update(
        self,
        prediction: Shaped[np.ndarray, "*p"],
        truth: Shaped[np.ndarray, "*t"],
        *,
        spacing: float | Sequence[float] = 1.0,
    ) -> None:
        """Add one image or volume; see :func:`~segmentarium.metrics.surface.measure_classes`."""
        found = measure_classes(
            prediction,
            truth,
            classes=self.classes,
            spacing=spacing,
            tolerance=self.tolerances,
            protocol=self.protocol,
            background=self.background,
            ignore=self.ignore,
        )
        self._cases.append(np.array([list(asdict(measures).values()) for measures in found.values()]))

    def merge(self, other: SurfaceDistances) -> None:
        """Add the cases of another part of the data; only ``per_case`` depends on the order of the parts.

        Raises:
            BadData: the other part was measured in another way.
        """
        if other._setup != self._setup:
            raise BadData(f"surface distances of {other._setup}", allowed=f"the same setup, {self._setup}")
        self._cases += other._cases

    def reset(self) -> None:
        """Forget all cases."""
        self._cases = []

    def compute(self) -> SurfaceScores:
        """The scores of all cases so far; later updates do not change them."""
        measured = [index for index in range(self.classes) if index != self.background]
        names = tuple(self.names[index] for index in measured)
        values = np.array(self._cases, np.float64).reshape(len(self._cases), len(names), len(MEASURES))
        per_case = {measure: values[..., i].copy() for i, measure in enumerate(MEASURES)}
        return SurfaceScores(
            names=names,
            per_case=per_case,
            per_class={
                name: {measure: aggregate(rows[:, k]) for measure, rows in per_case.items()}
                for k, name in enumerate(names)
            },
            overall={measure: aggregate(rows) for measure, rows in per_case.items()},
            undefined=tuple(name for k, name in enumerate(names) if np.isnan(per_case["nsd"][:, k]).all()),
            protocol=self.protocol,
            tolerances=tuple(self.tolerances[index] for index in measured),
        )

    @property
    def _setup(self) -> tuple[object, ...]:
        return self.names, self.tolerances, self.protocol, self.background, self.ignore
