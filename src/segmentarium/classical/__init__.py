"""Segmentation without learning: one file a method, whose function has the name of the file.

    import segmentarium as seg
    seg.classical.slic("photo.jpg", segments=400).save("superpixels.png")

Every method takes a picture (a path, an array, a picture of ours) and keywords, and returns one of the
library's results. Intensities are those of 8-bit pictures, 0 to 255 (``levels.py``); ``seed`` decides all
that is random. Methods for volumes measure distances in mm where the spacing is known.

``METHODS`` lists them by family. ``crf/`` holds the fields: one energy and every inference over it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from segmentarium.classical.settings import checked

METHODS: dict[str, tuple[str, ...]] = {
    "clustering": ("kmeans", "merging", "mean_shift", "dirichlet_mixture", "dp_means", "ddcrp"),
    "superpixels": ("slic", "quickshift", "compact_watershed"),
    "graphs": ("felzenszwalb", "normalized_cut", "graph_cut", "grabcut", "random_walker"),
    "contours": ("snake", "geodesic_active_contour", "chan_vese", "mumford_shah"),
    "thresholds and growth": ("threshold", "region_growing", "watershed"),
    "fields": ("field", "dense_crf"),
}
"""Names by family, in the order in which help and gallery show them."""

_NAMES = frozenset(name for names in METHODS.values() for name in names)


class _Room(ModuleType):
    """This module: where Python would bind a file that was imported, it binds the method in it.

    Both have one name; without this ``classical.slic`` would be the function before its file is imported and
    the file from then on.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        is_file = isinstance(value, ModuleType) and name in _NAMES
        super().__setattr__(name, checked(getattr(value, name)) if is_file else value)


sys.modules[__name__].__class__ = _Room


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'segmentarium.classical' has no attribute {name!r}")
    import_module(f"segmentarium.classical.{name}")
    return globals()[name]


def __dir__() -> list[str]:
    return sorted([*_NAMES, "METHODS"])
