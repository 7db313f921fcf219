"""Versions of what we stand on, for the doctor and for the record of a run."""

from __future__ import annotations

from contextlib import suppress
from importlib import metadata

PACKAGES = (
    "segmentarium",
    "torch",
    "torchvision",
    "timm",
    "lightning-fabric",
    "numba",
    "numpy",
    "pillow",
    "tifffile",
    "safetensors",
)


def installed(*names: str) -> dict[str, str]:
    """The version of each package of ``names`` that is there."""
    versions = {}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions
