"""Segmentarium: semantic, instance, panoptic, volumetric and classical image segmentation in one house.

    import segmentarium as seg
    model = seg.load("unet@nuclei")
    model("cells.png").overlay("cells.png").save("overlay.png")

Names are handed on lazily, so ``import segmentarium`` loads neither torch nor a model.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from segmentarium import waiting as waiting  # before torch is loaded

__version__ = "0.1.0"

_HOMES = {
    "Class": "values",
    "Classes": "values",
    "Image": "values",
    "Instances": "values",
    "LabelMap": "values",
    "Panoptic": "values",
    "Recipe": "engine.recipe",
    "SegError": "errors",
    "Volume": "values",
    "catalogue": "engine.catalogue",
    "check": "engine.check",
    "create": "models",
    "evaluate": "engine.evaluate",
    "load": "engine.load",
    "open_data": "data",
    "plan": "engine.plan",
    "predict": "engine.predict",
    "read": "values",
    "report": "engine.report",
    "train": "engine.train",
}

_CALLED = {"catalogue": "models"}
"""Names that differ from those at home: ``models`` is a room here, so its list is called ``catalogue``."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name == "classical":
        return import_module("segmentarium.classical")
    if name not in _HOMES:
        raise AttributeError(f"module 'segmentarium' has no attribute {name!r}")
    return getattr(import_module(f"segmentarium.{_HOMES[name]}"), _CALLED.get(name, name))


def __dir__() -> list[str]:
    return [*__all__, "__version__", "classical"]
