"""Weights: cards that describe them, files that hold them.

Cards are read without torch, so what touches tensors is handed on lazily.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from segmentarium.weights.cards import Card, WeightsCard, find, read_card

if TYPE_CHECKING:
    from segmentarium.weights.store import fit, load_weights, save_weights

__all__ = ["Card", "WeightsCard", "find", "fit", "load_weights", "read_card", "save_weights"]


def __getattr__(name: str) -> Any:
    if name not in {"fit", "load_weights", "save_weights"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from segmentarium.weights import store

    return getattr(store, name)
