"""The brush of drawn shapes: ground, light, shadow, texture and grain on a canvas from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32

from segmentarium.data import shapes_forms as forms
from segmentarium.values.image import Pixels

GROUNDS = (
    ((0.13, 0.18, 0.25), (0.33, 0.41, 0.47)),
    ((0.20, 0.26, 0.20), (0.42, 0.47, 0.33)),
    ((0.34, 0.27, 0.22), (0.56, 0.47, 0.38)),
    ((0.19, 0.17, 0.29), (0.40, 0.36, 0.50)),
)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
OCTAVES = ((1, 0.5), (4, 0.3), (14, 0.3))
GRAIN = 0.018
SHADOW = 0.5

Window = tuple[slice, ...]
Canvas = Float32[np.ndarray, "*s 3"]


def smooth_noise(rng: np.random.Generator, size: Sequence[int], cell: float) -> Float32[np.ndarray, "*s"]:
    """Random heights between 0 and 1 on a grid of ``cell`` pixels, smoothly interpolated."""
    field = rng.random([int(np.ceil(length / cell)) + 2 for length in size], dtype=np.float32)
    for axis, length in enumerate(size):
        at = (np.arange(length) / cell).astype(np.float32)
        low = at.astype(np.int64)
        weight = at - low.astype(np.float32)
        weight = (weight * weight * (3 - 2 * weight)).reshape(
            [-1 if a == axis else 1 for a in range(len(size))]
        )
        field = np.take(field, low, axis) * (1 - weight) + np.take(field, low + 1, axis) * weight
    return field


def lay_ground(rng: np.random.Generator, size: Sequence[int]) -> Canvas:
    """A mottled ground between two related colours, a little brighter towards the upper left."""
    low, high = (np.array(color, np.float32) for color in GROUNDS[rng.integers(len(GROUNDS))])
    reach = max(2.0, max(size) / 3)
    blend = np.zeros(size, np.float32)
    for scale, share in OCTAVES:
        blend += share * smooth_noise(rng, size, max(1.5, reach / scale))
    for ramp in np.ix_(*(np.linspace(0.5, -0.5, length, dtype=np.float32) for length in size)):
        blend += 0.25 * ramp
    canvas: Canvas = low + (high - low) * blend.clip(0, 1)[..., None]
    return canvas


def paint(
    rng: np.random.Generator, canvas: Canvas, index: int, centre: Float[np.ndarray, " n"], radius: float
) -> tuple[Window, Bool[np.ndarray, "*w"]]:
    """Paint one shape of class ``index`` over the canvas; returns a window and the pixels it covers there."""
    window = _window(canvas.shape[:-1], centre, 1.25 * radius + 3)
    offset = _offset(window, centre)
    place = np.tensordot(_rotation(rng, len(centre)), offset, axes=1) / np.float32(radius)
    distance = forms.form_of(index)(place) * np.float32(radius)
    part = canvas[window]
    if len(centre) == 2:
        part *= 1 - _shadow(distance, radius)[..., None]
    cover = np.clip(np.float32(0.5) - distance, 0, 1)[..., None]
    part += cover * (_surface(rng, index, place, offset, distance, radius) - part)
    inside = distance < 0
    if not inside.any():  # smaller than a pixel: it takes the one under its centre
        inside.flat[int(np.abs(offset).max(axis=0).argmin())] = True
    return window, inside


def _window(size: Sequence[int], centre: Float[np.ndarray, " n"], reach: float) -> Window:
    return tuple(
        slice(max(0, int(c - reach)), min(length, int(c + reach) + 2))
        for c, length in zip(centre, size, strict=True)
    )


def _offset(window: Window, centre: Float[np.ndarray, " n"]) -> Float32[np.ndarray, "n ..."]:
    """From the centre to the middle of each pixel of the window, in pixels."""
    axes = [np.arange(s.start, s.stop) + 0.5 - c for s, c in zip(window, centre, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32)


def _rotation(rng: np.random.Generator, dimensions: int) -> Float32[np.ndarray, "n n"]:
    """Any orientation in space; in the plane, one that is seldom quite upright."""
    orthogonal, triangular = np.linalg.qr(rng.normal(size=(dimensions, dimensions)))
    return (orthogonal * np.sign(np.diag(triangular))).astype(np.float32)


def _shadow(distance: Float32[np.ndarray, "h w"], radius: float) -> Float32[np.ndarray, "h w"]:
    """Darkness cast to the lower right, soft at its edge."""
    shift = max(1, round(0.12 * radius))
    cast = np.pad(distance, ((shift, 0), (shift, 0)), mode="edge")[:-shift, :-shift]
    return np.float32(SHADOW) * np.clip(np.float32(0.6) - cast / np.float32(max(2.0, 0.22 * radius)), 0, 1)


def _surface(
    rng: np.random.Generator,
    index: int,
    place: Float32[np.ndarray, "n ..."],
    offset: Float32[np.ndarray, "n ..."],
    distance: Float32[np.ndarray, "*s"],
    radius: float,
) -> Canvas:
    """The colour of the shape: its class's texture, lit from the upper left, darker along the rim."""
    base = np.array(forms.color_of(index), np.float32) / 255 * rng.uniform(0.86, 1.14, 3).astype(np.float32)
    period = max(3.0, 0.42 * radius) * rng.uniform(0.85, 1.15)
    pattern = forms.texture_of(index)(place * np.float32(radius / period))[..., None]
    dark, light = np.float32(0.62) * base, np.float32(0.84) * base + np.float32(0.16)
    lit = 1 - np.float32(0.18 / radius) * offset.sum(axis=0)
    rim = np.float32(0.72) + np.float32(0.28) * np.clip(-distance / np.float32(max(1.0, 0.1 * radius)), 0, 1)
    surface: Canvas = (dark + (light - dark) * pattern) * (lit * rim)[..., None]
    return surface


def in_bands(
    rng: np.random.Generator, canvas: Canvas, labels: Int32[np.ndarray, "*s"], channels: int
) -> Float32[np.ndarray, "*s c"]:
    """Grey, RGB or more bands, with grain; in further bands each class has a brightness of its own."""
    grey = canvas @ LUMA
    bands = canvas[..., :channels] if channels >= 3 else np.repeat(grey[..., None], channels, axis=-1)
    if channels > 3:
        count = int(labels.max(initial=0)) + 1
        level = (np.outer(np.arange(count), [0.618, 0.382]) + 0.1) % 1
        further = [
            level[:, band % 2].astype(np.float32)[labels] * (0.6 + 0.4 * grey) for band in range(channels - 3)
        ]
        bands = np.concatenate([bands, np.stack(further, axis=-1)], axis=-1)
    noise = rng.standard_normal(bands.shape, dtype=np.float32)
    return np.clip(bands + np.float32(GRAIN) * noise, 0, 1)


def quantise(bands: Float32[np.ndarray, "*s c"], dtype: str) -> Pixels:
    """The canvas in the number type of the picture: integers over their full range, or floats from 0 to 1."""
    if dtype == "float32":
        return np.ascontiguousarray(bands)
    top = np.float32(np.iinfo(dtype).max)
    return (bands * top + np.float32(0.5)).astype(dtype)


def blots(rng: np.random.Generator, size: Sequence[int], share: float) -> Bool[np.ndarray, "*s"]:
    """Smooth blots that cover ``share`` of all pixels, to the pixel."""
    covered = np.zeros(size, bool)
    count = round(share * covered.size)
    if count:
        height = smooth_noise(rng, size, max(2.0, max(size) / 6))
        covered.flat[np.argsort(height, axis=None, kind="stable")[:count]] = True
    return covered
