"""What may happen to a training volume, and how often.

Source: the kinds, shares and ranges are those of nnU-Net (Isensee et al. 2021), supplement; bending comes
from 3D U-Net (Cicek et al. 2016), section 3.1, there on a grid of 32 voxels with a deviation of 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

from segmentarium.errors import BadRecipe

_SHARES = (
    "foreground_crop", "rotate", "scale", "elastic", "noise", "blur", "brightness", "contrast",
    "low_resolution", "gamma", "gamma_inverted",
)  # fmt: skip
_RANGES = ("scale_range", "brightness_range", "contrast_range", "low_resolution_range", "gamma_range")


@dataclass(frozen=True, kw_only=True)
class Augment3d:
    """What may happen to a training volume: the share of samples to which it does, and how strongly.

    Attributes:
        foreground_crop: share of crops around a random voxel of a random class other than the commonest.
        flip: shares of samples mirrored along d, h and w.
        rot90: turn by random quarters in every plane whose two spacings are equal.
        rotate_deg: largest angle about each axis; about the coarse one alone, where there is one.
        scale_range: smallest and largest magnification.
        elastic_mm: standard deviation of the bending at its control points, less where these are nearer to
            one another, so that it does not fold.
        elastic_grid_mm: distance of the control points.
        noise_std: largest deviation of Gaussian noise.
        blur_mm: largest sigma of the blur.
        brightness_range: of the factor on all intensities.
        contrast_range: of the factor on their distance from the mean.
        low_resolution_range: of the factor on the number of voxels along each axis that is not coarse.
        gamma_range: of the exponent on intensities between the least and the greatest of the crop, whose mean
            and deviation are restored; likewise for ``gamma_inverted``, which does it to the negative.
        mirror_pad: where a crop reaches beyond its volume, show the volume mirrored instead of 0, the mean;
            the labels there are void in both cases.
    """

    foreground_crop: float = 0.33
    flip: tuple[float, float, float] = (0.5, 0.5, 0.5)
    rot90: bool = False
    rotate: float = 0.2
    rotate_deg: float = 30.0
    scale: float = 0.2
    scale_range: tuple[float, float] = (0.7, 1.4)
    elastic: float = 0.0
    elastic_mm: float = 4.0
    elastic_grid_mm: float = 24.0
    noise: float = 0.1
    noise_std: float = 0.3
    blur: float = 0.2
    blur_mm: float = 1.0
    brightness: float = 0.15
    brightness_range: tuple[float, float] = (0.75, 1.25)
    contrast: float = 0.15
    contrast_range: tuple[float, float] = (0.75, 1.25)
    low_resolution: float = 0.25
    low_resolution_range: tuple[float, float] = (0.5, 1.0)
    gamma: float = 0.3
    gamma_inverted: float = 0.1
    gamma_range: tuple[float, float] = (0.7, 1.5)
    mirror_pad: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(math.isfinite(number) and number >= 0 for number in numbers):
                raise _refusal(field.name, value, "0 or above")
        for name in _SHARES:
            if getattr(self, name) > 1:
                raise _refusal(name, getattr(self, name), "0 to 1")
        if max(self.flip) > 1:
            raise _refusal("flip", self.flip, "three shares of 0 to 1")
        for name in _RANGES:
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise _refusal(name, (low, high), "smallest and largest, above 0")
        if self.low_resolution_range[1] > 1:
            raise _refusal("low_resolution_range", self.low_resolution_range, "at most 1")
        if self.elastic_grid_mm == 0:
            raise _refusal("elastic_grid_mm", 0, "above 0")

    @classmethod
    def off(cls) -> Augment3d:
        """Crop alone."""
        none: dict[str, Any] = dict.fromkeys(_SHARES, 0.0)
        return cls(**none, flip=(0.0, 0.0, 0.0))


def _refusal(name: str, value: object, allowed: str) -> BadRecipe:
    return BadRecipe(f"recipe.augment.{name}: got {value}", allowed=allowed)
