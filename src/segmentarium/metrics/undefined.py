"""What is undefined stays undefined: quotients of nothing, means over what is defined, how both are shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float


def ratio(part: Any, whole: Any) -> Float[np.ndarray, "*s"]:
    """``part / whole`` with nan, not a warning, where there is nothing to divide by."""
    whole = np.asarray(whole, np.float64)
    quotient = np.full(whole.shape, np.nan)
    np.divide(part, whole, out=quotient, where=whole != 0)
    return quotient


def mean_defined(values: Any) -> Float[np.ndarray, "*n"]:
    """Mean along the last axis over what is not nan; nan where all is."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(-1), defined.sum(-1))


def plain(value: float | None) -> float | str | None:
    """A number for JSON, which knows neither nan (None here) nor infinity (a word)."""
    if value is None or np.isnan(value):
        return None
    return float(value) if np.isfinite(value) else str(float(value))
