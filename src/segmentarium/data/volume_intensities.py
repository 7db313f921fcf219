"""Random changes of the intensities of a crop: noise, blur, brightness, contrast, low resolution, gamma."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter1d

from segmentarium.data.volume_augment import Augment3d
from segmentarium.ops.resample_volume import resize
from segmentarium.values.grid import Spacing

Band = Float32[np.ndarray, "d h w"]


def changed(
    voxels: Float32[np.ndarray, "c d h w"],
    augment: Augment3d,
    *,
    rng: np.random.Generator,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    coarse: int | None = None,
) -> Float32[np.ndarray, "c d h w"]:
    """The same crop as another scanner might have shown it; each channel is changed by itself.

    Args:
        voxels: normalised ones, so that a deviation of 1 is that of a volume.
        coarse: an axis along which resolution is low already.
    """
    bands = [_changed(band, augment, rng, spacing_mm, coarse) for band in voxels]
    return np.stack(bands) if len(bands) > 1 else np.asarray(bands[0])[None]


def _changed(
    band: Band, augment: Augment3d, rng: np.random.Generator, spacing_mm: Spacing, coarse: int | None
) -> Band:
    if rng.random() < augment.noise:
        std = np.float32(rng.uniform(0, augment.noise_std))
        band = band + std * rng.standard_normal(band.shape, np.float32)
    if rng.random() < augment.blur:
        band = blurred(band, rng.uniform(0.5, 1) * augment.blur_mm, spacing_mm)
    if rng.random() < augment.brightness:
        band = band * np.float32(rng.uniform(*augment.brightness_range))
    if rng.random() < augment.contrast:
        band = contrasted(band, rng.uniform(*augment.contrast_range))
    if rng.random() < augment.low_resolution:
        band = coarsened(band, rng.uniform(*augment.low_resolution_range), coarse)
    if rng.random() < augment.gamma_inverted:
        band = -bent_by_gamma(-band, _drawn(augment.gamma_range, rng))
    if rng.random() < augment.gamma:
        band = bent_by_gamma(band, _drawn(augment.gamma_range, rng))
    return band


def _drawn(ends: tuple[float, float], rng: np.random.Generator) -> float:
    """Evenly in the logarithm, so that 1/2 and 2 come equally often."""
    return math.exp(rng.uniform(math.log(ends[0]), math.log(ends[1])))


def blurred(band: Band, sigma_mm: float, spacing_mm: Spacing) -> Band:
    """A Gaussian blur that is round in the body, whatever the voxels are."""
    for axis, step in enumerate(spacing_mm):
        if sigma_mm / step > 0.2:  # narrower ones change nothing
            band = gaussian_filter1d(band, sigma_mm / step, axis, mode="nearest", truncate=3.0)
    return band


def contrasted(band: Band, factor: float) -> Band:
    """Distances from the mean times ``factor``, within the old range."""
    mean = band.mean(dtype=np.float64).astype(np.float32)
    stretched: Band = (band - mean) * np.float32(factor) + mean
    np.clip(stretched, band.min(), band.max(), out=stretched)
    return stretched


def coarsened(band: Band, factor: float, coarse: int | None = None) -> Band:
    """As if taken with ``factor`` times as many voxels along each axis but the coarse one."""
    d, h, w = (
        length if axis == coarse else max(1, round(length * factor)) for axis, length in enumerate(band.shape)
    )
    depth, height, width = band.shape
    few = resize(band[None], (d, h, w), antialias=False)
    band, *_ = resize(few, (depth, height, width), antialias=False)
    return band


def bent_by_gamma(band: Band, gamma: float) -> Band:
    """Intensities between the least and the greatest to the power of ``gamma``; mean and deviation stay."""
    low, high = band.min(), band.max()
    if not high > low:
        return band
    before = band.mean(dtype=np.float64), band.std(dtype=np.float64)
    bent: Band = ((band - low) / (high - low)) ** np.float32(gamma)
    after = bent.mean(dtype=np.float64), bent.std(dtype=np.float64)
    gain = before[1] / after[1] if after[1] > 0 else 0.0
    bent *= np.float32(gain)
    bent += np.float32(before[0] - after[0] * gain)
    return bent
