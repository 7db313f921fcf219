"""Joint random transforms of an image and its labels: each a pure function of the sample and a seed.

The crop is drawn first, in coordinates of the source, so only the pixels that are needed are touched, and
scale, rotation, elastic bending and crop are one resampling together. Labels are picked, never mixed. Colour
changes the crop alone. 8-bit images stay 8-bit to the end. Resizing and colour are torchvision v2
functionals; the random numbers are drawn here, because torchvision would take them from one global state.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import no_type_check

import numpy as np
import torch
from jaxtyping import Float32, Integer
from numba import njit
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as vision

from segmentarium.data.elastic import Labels, Pixels, Warped, draw_field, warp
from segmentarium.data.normalise import thinned, unit, unit_limits
from segmentarium.errors import BadRecipe
from segmentarium.values.classes import VOID

Seed = int | Sequence[int]
Anchors = tuple[Integer[np.ndarray, "_ 2"], ...]

ANCHORS = 256
"""So many pixels of each class are remembered as possible places for a crop."""

_SHARES = ("hflip", "vflip", "elastic", "blur", "foreground_crop")
_FACTORS = ("brightness", "contrast", "saturation")


@dataclass(frozen=True, kw_only=True)
class Augment:
    """What may happen to a training image, and how often.

    Attributes:
        scale: smallest and largest magnification, drawn evenly in the logarithm; both 1 for none.
        rotate_deg: largest angle to either side.
        hflip: share of samples that are mirrored left to right.
        vflip: share that are mirrored top to bottom.
        rot90: turn by a random multiple of 90 degrees, for pictures without an up.
        elastic: share that are bent.
        elastic_px: standard deviation of the bending at its control points, in pixels of the crop.
        elastic_grid: control points along each side of the crop.
        brightness: factors are drawn from 1 minus this to 1 plus this; likewise ``contrast`` and
            ``saturation``.
        hue: largest turn of the colour circle either way, 0.5 being half of it.
        gamma: exponents are drawn from 1 / (1 + gamma) to 1 + gamma.
        blur: share that are blurred.
        blur_px: largest sigma of the blur.
        noise: largest standard deviation of Gaussian noise, as a part of the full range.
        foreground_crop: share of crops that hold a random pixel of a random class other than the picture's
            commonest, so that rare classes are seen often (as nnU-Net does).
        mirror_pad: where a crop reaches beyond its picture, show the picture mirrored instead of its mean
            colour; the labels there are void in both cases.
    """

    scale: tuple[float, float] = (0.5, 2.0)
    rotate_deg: float = 0.0
    hflip: float = 0.5
    vflip: float = 0.0
    rot90: bool = False
    elastic: float = 0.0
    elastic_px: float = 10.0
    elastic_grid: int = 3
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.0
    gamma: float = 0.0
    blur: float = 0.0
    blur_px: float = 1.0
    noise: float = 0.0
    foreground_crop: float = 0.0
    mirror_pad: bool = True

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not all(math.isfinite(number) and number >= 0 for number in numbers):
                raise _refusal(field.name, value, "0 or above")
        for name in (*_SHARES, *_FACTORS):
            if getattr(self, name) > 1:
                raise _refusal(name, getattr(self, name), "0 to 1")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise _refusal("scale", self.scale, "smallest and largest factor, above 0")
        if self.hue > 0.5:
            raise _refusal("hue", self.hue, "0 to 0.5")
        if self.elastic_grid < 2:
            raise _refusal("elastic_grid", self.elastic_grid, "2 or more")

    @classmethod
    def off(cls) -> Augment:
        """Crop alone."""
        return cls(scale=(1.0, 1.0), hflip=0.0, brightness=0.0, contrast=0.0, saturation=0.0)


@dataclass(frozen=True, kw_only=True)
class View:
    """What a crop shows: which part of the source, and how it is turned and bent.

    ``top``, ``left``, ``height`` and ``width`` are source pixels and may reach beyond the source. ``size`` is
    the output before the quarter ``turns``.
    """

    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]
    turns: int = 0
    hflip: bool = False
    vflip: bool = False
    angle_deg: float = 0.0
    field: Float32[np.ndarray, "2 gh gw"] | None = None


def augmented(
    pixels: Pixels,
    labels: Labels,
    *,
    augment: Augment,
    crop: tuple[int, int],
    seed: Seed,
    anchors: Anchors = (),
    limits: Float32[np.ndarray, "2 c"] | None = None,
) -> Warped:
    """One random crop of an image and its labels.

    Args:
        pixels: uint8 stays uint8; other types leave as float32 within 0..1.
        labels: class indices of a signed type; pixels outside the source become ``VOID``.
        crop: height and width of the result.
        anchors: from :func:`find_anchors`, for ``foreground_crop``.
        limits: the numbers that mean 0 and 1, a column a channel; not needed for uint8 or for floats in 0..1.
    """
    rng = np.random.default_rng(seed)
    view = draw_view(labels.shape, augment, crop=crop, rng=rng, anchors=anchors)
    if limits is None:
        limits = unit_limits(pixels.shape[2])
    pixels, labels = look(pixels, labels, view, limits=limits, mirror=augment.mirror_pad)
    return recolour(pixels, augment, rng=rng), labels


def draw_view(
    source: tuple[int, ...],
    augment: Augment,
    *,
    crop: tuple[int, int],
    rng: np.random.Generator,
    anchors: Anchors = (),
) -> View:
    """Decide what a crop of a source of that height and width shows."""
    turns = int(rng.integers(4)) if augment.rot90 else 0
    size = crop if turns % 2 == 0 else (crop[1], crop[0])
    scale = math.exp(rng.uniform(*np.log(augment.scale)))
    height, width = (max(1, round(side / scale)) for side in size)
    anchor: Sequence[int | None] = (None, None)
    if anchors and rng.random() < augment.foreground_crop:
        places = anchors[rng.integers(len(anchors))]
        anchor = places[rng.integers(len(places))].tolist()
    bend = rng.random() < augment.elastic
    grid = (augment.elastic_grid, augment.elastic_grid)
    return View(
        top=_start(source[0], height, anchor[0], rng),
        left=_start(source[1], width, anchor[1], rng),
        height=height,
        width=width,
        size=size,
        turns=turns,
        hflip=bool(rng.random() < augment.hflip),
        vflip=bool(rng.random() < augment.vflip),
        angle_deg=rng.uniform(-augment.rotate_deg, augment.rotate_deg),
        field=draw_field(int(rng.integers(1 << 62)), grid=grid, std_px=augment.elastic_px) if bend else None,
    )


def look(
    pixels: Pixels, labels: Labels, view: View, *, limits: Float32[np.ndarray, "2 c"], mirror: bool = True
) -> Warped:
    """What ``view`` shows of image and labels."""
    if view.angle_deg or view.field is not None:
        fill = None if mirror else _mean_color(pixels)
        matrix = _to_source(view)
        pixels, labels = warp(pixels, labels, size=view.size, matrix=matrix, field=view.field, fill=fill)
        pixels = _workable(pixels, limits)
    else:
        pixels, labels = _resized(pixels, labels, view, limits, mirror)
    return _turned(pixels, view), _turned(labels, view)


def recolour(pixels: Pixels, augment: Augment, *, rng: np.random.Generator) -> Pixels:
    """Change brightness, contrast, gamma, saturation, hue, sharpness and noise; the type is kept."""
    pixels = _retone(pixels, augment, rng)
    if pixels.shape[2] == 3 and augment.saturation:
        factor = rng.uniform(1 - augment.saturation, 1 + augment.saturation)
        pixels = _array(vision.adjust_saturation(_tensor(pixels), factor))
    if pixels.shape[2] == 3 and augment.hue:
        pixels = _array(vision.adjust_hue(_tensor(pixels), rng.uniform(-augment.hue, augment.hue)))
    if augment.blur and rng.random() < augment.blur:
        pixels = _blurred(pixels, rng.uniform(0, augment.blur_px))
    if augment.noise:
        pixels = _noisy(pixels, rng.uniform(0, augment.noise), rng)
    return pixels


def find_anchors(labels: Labels) -> Anchors:
    """Up to 256 evenly spread (row, column) places of each class in the picture but its commonest."""
    counts = np.bincount(labels[labels != VOID], minlength=1)
    wanted = np.where(np.arange(len(counts)) == counts.argmax(), 0, np.minimum(counts, ANCHORS))
    ends = np.cumsum(wanted)
    places = np.empty((ends[-1], 2), np.int32)
    _spread(np.ascontiguousarray(labels), counts, wanted, ends - wanted, places)
    return tuple(chosen for chosen in np.split(places, ends[:-1]) if len(chosen))


@njit(cache=True, nogil=True)
@no_type_check
def _spread(labels, counts, wanted, starts, places):  # pragma: no cover (compiled)
    """Keep every (count / wanted)-th pixel of each class."""
    seen, kept = np.zeros_like(counts), np.zeros_like(counts)
    for y in range(labels.shape[0]):
        for x in range(labels.shape[1]):
            label = labels[y, x]
            if label < 0 or wanted[label] == 0:
                continue
            if seen[label] * wanted[label] >= kept[label] * counts[label]:
                place = starts[label] + kept[label]
                places[place, 0], places[place, 1] = y, x
                kept[label] += 1
            seen[label] += 1


def _refusal(name: str, value: object, allowed: str) -> BadRecipe:
    return BadRecipe(f"recipe.augment.{name}: got {value}", allowed=allowed)


def _start(length: int, extent: int, anchor: int | None, rng: np.random.Generator) -> int:
    """First row or column of a stretch within the picture, or around the picture if that is smaller."""
    low, high = min(0, length - extent), max(0, length - extent)
    if anchor is None:
        return int(rng.integers(low, high + 1))
    return int(np.clip(anchor - rng.integers(extent), low, high))


def _to_source(view: View) -> Float32[np.ndarray, "2 3"]:
    """The affine map from output to source pixels, about the centre of the view."""
    angle = math.radians(view.angle_deg)
    zoom = np.diag([view.height / view.size[0], view.width / view.size[1]])
    turn = zoom @ np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    middle = np.array([view.top + (view.height - 1) / 2, view.left + (view.width - 1) / 2])
    out_middle = (np.array(view.size) - 1) / 2
    return np.column_stack([turn, middle - turn @ out_middle]).astype(np.float32)


def _resized(
    pixels: Pixels, labels: Labels, view: View, limits: Float32[np.ndarray, "2 c"], mirror: bool
) -> Warped:
    """Cut, resize what there is, and pad what there is not."""
    rows = _visible(view.top, view.height, labels.shape[0], view.size[0])
    columns = _visible(view.left, view.width, labels.shape[1], view.size[1])
    part = _workable(pixels[rows.source, columns.source], limits)
    picked = labels[rows.source, columns.source]
    size = [rows.shown, columns.shown]
    if list(picked.shape) != size:
        part = _array(vision.resize(_tensor(part), size, InterpolationMode.BILINEAR, antialias=True))
        # As an image, not as a tv_tensors.Mask: that picks by NEAREST, which is off by half a pixel.
        mask = torch.from_numpy(np.ascontiguousarray(picked))[None]
        picked = vision.resize(mask, size, InterpolationMode.NEAREST_EXACT)[0].numpy()
    if size == list(view.size):
        return part, picked
    padding = (rows.padding, columns.padding)
    picked = np.pad(picked, padding, constant_values=VOID)
    if mirror:
        return np.pad(part, (*padding, (0, 0)), mode="symmetric"), picked
    framed = np.empty((*view.size, part.shape[2]), part.dtype)
    framed[:] = _mean_color(part)
    framed[rows.padding[0] :, columns.padding[0] :][: rows.shown, : columns.shown] = part
    return framed, picked


@dataclass(frozen=True)
class _Visible:
    """The part of a view along one axis that lies within the source, and what is missing beside it."""

    source: slice
    shown: int
    padding: tuple[int, int]


def _visible(start: int, extent: int, length: int, size: int) -> _Visible:
    first, last = max(start, 0), min(start + extent, length)
    before = min(round((first - start) * size / extent), size - 1)
    after = min(round((start + extent - last) * size / extent), size - 1 - before)
    return _Visible(slice(first, last), size - before - after, (before, after))


def _turned(array: np.ndarray, view: View) -> np.ndarray:
    array = array[:: -1 if view.vflip else 1, :: -1 if view.hflip else 1]
    return np.ascontiguousarray(np.rot90(array, view.turns))


def _workable(pixels: Pixels, limits: Float32[np.ndarray, "2 c"]) -> Pixels:
    return pixels if pixels.dtype == np.uint8 else unit(pixels, limits)


def _mean_color(pixels: Pixels) -> Float32[np.ndarray, " c"]:
    color: Float32[np.ndarray, " c"] = thinned(pixels).mean(axis=(0, 1), dtype=np.float32)
    return color


def _tensor(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)


def _array(image: torch.Tensor) -> Pixels:
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def _retone(pixels: Pixels, augment: Augment, rng: np.random.Generator) -> Pixels:
    """Brightness, contrast and gamma are one curve; 8-bit images look it up in a table."""
    if not (augment.brightness or augment.contrast or augment.gamma):
        return pixels
    brightness = rng.uniform(1 - augment.brightness, 1 + augment.brightness)
    contrast = rng.uniform(1 - augment.contrast, 1 + augment.contrast)
    gamma = (1 + augment.gamma) ** rng.uniform(-1, 1)
    top = 255 if pixels.dtype == np.uint8 else 1
    middle = np.float32(pixels.mean() / top * brightness)
    tones = np.arange(256, dtype=np.float32) / 255 if pixels.dtype == np.uint8 else pixels
    tones = np.clip((tones * np.float32(brightness) - middle) * np.float32(contrast) + middle, 0, 1)
    if gamma != 1:
        tones = tones ** np.float32(gamma)
    return np.take((tones * 255).round().astype(np.uint8), pixels) if pixels.dtype == np.uint8 else tones


def _blurred(pixels: Pixels, sigma_px: float) -> Pixels:
    largest = 2 * min(pixels.shape[:2]) - 1  # torchvision mirrors the border once at most
    side = min(2 * math.ceil(3 * sigma_px) + 1, largest)
    return _array(vision.gaussian_blur(_tensor(pixels), [side, side], [max(sigma_px, 1e-3)] * 2))


def _noisy(pixels: Pixels, std: float, rng: np.random.Generator) -> Pixels:
    top = 255 if pixels.dtype == np.uint8 else 1
    noisy = pixels + rng.standard_normal(pixels.shape, np.float32) * np.float32(std * top)
    noisy = (noisy.round() if top == 255 else noisy).clip(0, top)
    return np.asarray(noisy, pixels.dtype)
