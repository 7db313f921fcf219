"""Everything that can go wrong, as one tree.

    SegError
    ├── UnknownName       a model, variant, weight, class, split or setting that does not exist
    ├── BadImage          a picture that cannot be read, or is not what was promised
    ├── BadMask           a truth map that cannot be read, or holds what it must not
    ├── BadArgument       an argument of a loss or a metric whose shape, type or range does not fit
    ├── BadData           a data set whose files or description do not fit together
    ├── BadRecipe         a recipe with an unknown key, a wrong type or an impossible value
    ├── BadRun            a run folder that is missing, foreign or damaged
    ├── WeightsMismatch   weights of another network, other classes or other channels
    ├── CoverageError     tiles that leave a pixel uncovered
    ├── CannotWrite       no permission, no space, or something of ours would be lost
    └── OutOfMemory       it did not fit, also after halving once

Each message is one sentence of what came, what is allowed, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class SegError(Exception):
    """The root: catch it to catch everything that Segmentarium says no to.

    Args:
        came: what was found, with the file or value it was found in.
        allowed: what would have been accepted.
        cure: what the reader can do now; a command where there is one.
    """

    def __init__(self, came: str, *, allowed: str = "", cure: str = "") -> None:
        self.came, self.allowed, self.cure = came, allowed, cure
        parts = [came, f"allowed: {allowed}" if allowed else "", cure]
        super().__init__("; ".join(part for part in parts if part))

    def as_dict(self) -> dict[str, str]:
        """The same for machines: kind, came, allowed, cure."""
        return {"error": type(self).__name__, "came": self.came, "allowed": self.allowed, "cure": self.cure}


class UnknownName(SegError):
    """A name that nothing answers to; the nearest one is offered."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str], *, cure: str = "") -> UnknownName:
        """Build the error for ``name``, offering the nearest of ``known``."""
        names = sorted(known)
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else cure
        shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
        return cls(f"unknown {kind} {name!r}", allowed=shown, cure=hint)


class BadImage(SegError):
    """A picture that cannot be read, or is not what was promised."""


class BadMask(SegError):
    """A truth map that cannot be read, or holds what it must not."""


class BadArgument(SegError):
    """An argument of a loss or a metric whose shape, type or range does not fit; the message names it."""


class BadData(SegError):
    """A data set whose files or description do not fit together."""


class BadRecipe(SegError):
    """A recipe with an unknown key, a wrong type or an impossible value."""


class BadRun(SegError):
    """A run folder that is missing, foreign or damaged."""


class WeightsMismatch(SegError):
    """Weights of another network, other classes or other channels."""


class CoverageError(SegError):
    """Tiles that leave a pixel uncovered."""


class CannotWrite(SegError):
    """No permission, no space, or something would be lost."""


class OutOfMemory(SegError):
    """It did not fit, also after halving once."""
