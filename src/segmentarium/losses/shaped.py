"""The losses that look at shapes, as terms that can be added to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from segmentarium.errors import BadArgument
from segmentarium.losses import boundary, cldice, hausdorff
from segmentarium.losses.evidence import Evidence, Scalar
from segmentarium.losses.term import Loss


@dataclass(frozen=True, kw_only=True)
class Shaped(Loss):
    """A loss of whole maps of probabilities; pixels that are void for one class must be void for all.

    Attributes:
        classes: the channels that count; by default all but the first, where there are several.
    """

    classes: Sequence[int] | None = None

    def maps(self, evidence: Evidence) -> dict[str, Any]:
        """What all these losses take."""
        worth = evidence.worth_map
        if worth.shape[1] > 1:
            if not bool((worth == worth[:, :1]).all()):
                raise BadArgument(
                    f"{type(self).__name__}: labels that are void for some classes only",
                    allowed="void for all classes of a pixel, or for none",
                )
            worth = worth[:, :1]
        count = evidence.probs.shape[1]
        behind_first = list(range(1, count)) if evidence.exclusive else list(range(count))
        return {
            "probs": evidence.probs,
            "truth": evidence.truth,
            "worth": worth,
            "classes": behind_first if self.classes is None else self.classes,
            "total": evidence.total,
        }

    def settings(self) -> dict[str, Any]:
        """The fields that a subclass adds."""
        return {key: value for key, value in asdict(self).items() if key != "classes"}


@dataclass(frozen=True, kw_only=True)
class Boundary(Shaped):
    """See :func:`segmentarium.losses.boundary.boundary`; add it to an overlap loss."""

    spacing: Sequence[float] | None = None
    shift: float = 1.0

    def of(self, evidence: Evidence) -> Scalar:
        return boundary.boundary(**self.maps(evidence), **self.settings())


@dataclass(frozen=True, kw_only=True)
class Hausdorff(Shaped):
    """See :func:`segmentarium.losses.hausdorff.hausdorff`."""

    alpha: float = 2.0
    spacing: Sequence[float] | None = None

    def of(self, evidence: Evidence) -> Scalar:
        return hausdorff.hausdorff(**self.maps(evidence), **self.settings())


@dataclass(frozen=True, kw_only=True)
class LogHausdorff(Hausdorff):
    """See :func:`segmentarium.losses.hausdorff.log_hausdorff`."""

    def of(self, evidence: Evidence) -> Scalar:
        return hausdorff.log_hausdorff(**self.maps(evidence), **self.settings())


@dataclass(frozen=True, kw_only=True)
class CentrelineDice(Shaped):
    """clDice, see :func:`segmentarium.losses.cldice.cl_dice`."""

    protocol: cldice.Protocol = "published"
    iterations: int = 10
    smooth: float = 1.0

    def of(self, evidence: Evidence) -> Scalar:
        return cldice.cl_dice(**self.maps(evidence), **self.settings())


@dataclass(frozen=True, kw_only=True)
class DiceCentrelineDice(CentrelineDice):
    """Dice and clDice, see :func:`segmentarium.losses.cldice.dice_cl_dice`."""

    alpha: float = 0.5

    def of(self, evidence: Evidence) -> Scalar:
        return cldice.dice_cl_dice(**self.maps(evidence), **self.settings())
