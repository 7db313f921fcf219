"""From pixels to what a network sees: one linear map a channel, the same in training and in prediction.

Two steps, fused into one pass over the pixels: the *range* brings an image to 0..1 (by the type of its
numbers, or by the darkest and brightest pixels it holds), then mean and standard deviation centre it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, no_type_check

import numpy as np
from jaxtyping import Float32, Shaped
from numba import njit

from segmentarium.errors import BadData, BadImage

RANGES = ("dtype", "percentile")
PERCENTILES = (0.5, 99.5)
LUMA = (0.299, 0.587, 0.114)
"""Rec. 601 weights of red, green and blue in brightness."""

_MEASURED_PIXELS = 1 << 18
"""Percentiles, means and deviations are taken from about so many evenly spaced pixels an image."""
_LEAST_STD = 1e-3
"""Below this deviation a channel counts as constant and is only centred."""


@dataclass(frozen=True, kw_only=True)
class Normalise:
    """Brings images to zero mean and unit deviation, channels first.

    Attributes:
        channels: of the network; grey images are repeated into three, RGB becomes one by its brightness.
        mean: per channel, in units of the 0..1 range.
        std: per channel, in the same units.
        range: ``dtype`` divides by the largest number of the type (float images must be within 0..1);
            ``percentile`` stretches each channel of each image from its 0.5 to its 99.5 percentile, as fits
            microscopes and 16-bit cameras, which use a part of their range.

    >>> Normalise.plain(1)(np.full((2, 2, 1), 255, np.uint8)).tolist()
    [[[1.0, 1.0], [1.0, 1.0]]]
    """

    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    range: Literal["dtype", "percentile"] = "dtype"

    def __post_init__(self) -> None:
        if not len(self.mean) == len(self.std) == self.channels:
            raise BadData(
                f"normalise has {len(self.mean)} means and {len(self.std)} stds for {self.channels} channels",
                allowed="one of each for a channel",
            )
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(s) and s > 0 for s in self.std):
            raise BadData(
                f"normalise has mean {self.mean} and std {self.std}", allowed="finite, and std above 0"
            )
        if self.range not in RANGES:
            raise BadData(f"normalise has range {self.range!r}", allowed=" or ".join(RANGES))

    @classmethod
    def plain(cls, channels: int) -> Normalise:
        """The range alone: mean 0 and deviation 1."""
        return cls(channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels)

    @classmethod
    def fit(cls, images: Iterable[Shaped[np.ndarray, "_ _ _"]]) -> tuple[Normalise, str]:
        """Measure a sample of images; returns the map and, in a sentence, why it has this range.

        Images count equally whatever their size. The channel count is the commonest, but three where grey and
        RGB are mixed, since colour cannot be brought back; images that have another one are converted where
        that is possible, and left out of the measurement where not.

        Raises:
            BadData: no image at all.
        """
        sample = [thinned(pixels) for pixels in images]
        if not sample:
            raise BadData("there is no image to measure", cure="give a folder that holds at least one")
        counts = Counter(pixels.shape[2] for pixels in sample)
        channels = 3 if {1, 3} <= counts.keys() else counts.most_common(1)[0][0]
        kind, reason = _choose_range(sample)
        plain = cls(channels=channels, mean=(0.0,) * channels, std=(1.0,) * channels, range=kind)
        moments = [_moments(plain(pixels)) for pixels in sample if plain.accepts(pixels.shape[2])]
        mean, square = np.mean(moments, axis=0)
        std = np.sqrt(np.maximum(square - mean**2, 0))
        std = np.where(std < _LEAST_STD, 1.0, std)
        return cls(channels=channels, mean=_rounded(mean), std=_rounded(std), range=kind), reason

    def accepts(self, channels: int) -> bool:
        """Whether images of so many channels can be given to the network."""
        return channels == self.channels or {channels, self.channels} == {1, 3}

    def note(self, channels: int) -> str:
        """What is done to images of so many channels, in words; empty if nothing."""
        if channels == self.channels or not self.accepts(channels):
            return ""
        if channels == 1:
            return "grey images are repeated into the three channels of the network"
        return "RGB images are reduced to the one channel of the network by their brightness"

    def limits(self, pixels: Shaped[np.ndarray, "h w c"]) -> Float32[np.ndarray, "2 c"]:
        """The numbers that become 0 and 1, a column a channel.

        Measure them on a whole image and hand them to the calls for its tiles or crops, so that all agree.

        Raises:
            BadImage: a float image holds NaN, infinity, or (range ``dtype``) a value outside 0..1.
        """
        if pixels.dtype.kind == "f":
            _refuse_unusable(pixels, unit=self.range == "dtype")
        if self.range == "dtype":
            top = 1.0 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max
            return unit_limits(pixels.shape[2]) * np.float32(top)
        flat = thinned(pixels).reshape(-1, pixels.shape[2])
        low, high = np.percentile(flat, PERCENTILES, axis=0)
        return np.stack([low, np.where(high > low, high, low + 1)]).astype(np.float32)

    def __call__(
        self,
        pixels: Shaped[np.ndarray, "h w c"],
        *,
        limits: Float32[np.ndarray, "2 c"] | None = None,
        out: Float32[np.ndarray, "k h w"] | None = None,
    ) -> Float32[np.ndarray, "k h w"]:
        """Normalise one image.

        Args:
            pixels: uint8, uint16 or float32.
            limits: from :meth:`limits` of the whole image, if ``pixels`` is a part of it.
            out: where to write; any strides.

        Raises:
            BadImage: a channel count that cannot be converted, or numbers as in :meth:`limits`.
        """
        if not self.accepts(pixels.shape[2]):
            raise BadImage(
                f"an image of {_channels(pixels.shape[2])} came for a network of {_channels(self.channels)}",
                allowed=_channels(self.channels) + (", or grey, or RGB" if self.channels in (1, 3) else ""),
                cure="give images like those the network was trained on, or train one on these",
            )
        if limits is None:
            limits = self.limits(pixels)
        if out is None:
            out = np.empty((self.channels, *pixels.shape[:2]), np.float32)
        mean, std = np.array(self.mean, np.float64)[:, None], np.array(self.std, np.float64)[:, None]
        if self.channels < pixels.shape[2]:
            pixels, limits = _brightness(pixels, limits), unit_limits(1)
        source = np.zeros(3, np.intp) if self.channels > pixels.shape[2] else np.arange(self.channels)
        low, high = limits[:, source].astype(np.float64)
        gain = 1 / ((high - low) * std[:, 0])
        offset = -(low / (high - low) + mean[:, 0]) / std[:, 0]
        table = np.stack([low, high, gain, offset], axis=1).astype(np.float32)
        _standardise(np.ascontiguousarray(pixels), source, table, out)
        return out

    def to_json(self) -> dict[str, Any]:
        return {
            "channels": self.channels,
            "mean": list(self.mean),
            "std": list(self.std),
            "range": self.range,
        }

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> Normalise:
        """Read what :meth:`to_json` wrote; raises ``BadData`` if it is something else."""
        try:
            mean, std = (tuple(float(v) for v in facts[key]) for key in ("mean", "std"))
            return cls(channels=int(facts["channels"]), mean=mean, std=std, range=facts["range"])
        except (KeyError, TypeError, ValueError) as error:
            raise BadData(
                f"{dict(facts)} describes no normalisation",
                allowed="channels, mean, std and range",
                cure="take a weight file that Segmentarium wrote",
            ) from error


def unit_limits(channels: int) -> Float32[np.ndarray, "2 c"]:
    """The limits of an image that lies within 0..1 already."""
    return np.array([[0], [1]], np.float32).repeat(channels, axis=1)


def unit(
    pixels: Shaped[np.ndarray, "h w c"], limits: Float32[np.ndarray, "2 c"]
) -> Float32[np.ndarray, "h w c"]:
    """The same image with its limits at 0 and 1; what lies beyond them is cut off."""
    low, high = limits
    stretched = (pixels.astype(np.float32) - low) / (high - low)
    return np.asarray(stretched.clip(0, 1))


def thinned(pixels: Shaped[np.ndarray, "h w c"]) -> Shaped[np.ndarray, "y x c"]:
    """Evenly spaced pixels of a large image: enough for statistics, always the same ones."""
    step = max(1, round((pixels.shape[0] * pixels.shape[1] / _MEASURED_PIXELS) ** 0.5))
    return pixels[::step, ::step]


def _choose_range(sample: list[np.ndarray]) -> tuple[Literal["dtype", "percentile"], str]:
    kinds = {pixels.dtype.name for pixels in sample}
    if kinds == {"uint8"}:
        return "dtype", "8-bit images share one scale, so 0..255 becomes 0..1"
    if "uint16" in kinds:
        top = max(int(pixels.max()) for pixels in sample if pixels.dtype == np.uint16)
        return (
            "percentile",
            f"16-bit cameras use a part of the range (here up to {top}), so each image is stretched",
        )
    low, high = min(float(p.min()) for p in sample), max(float(p.max()) for p in sample)
    if low >= 0 and high <= 1:
        return "dtype", f"float images lie within 0..1 already (here {low:.3g}..{high:.3g})"
    return "percentile", f"float images lie beyond 0..1 (here {low:.3g}..{high:.3g}), so each is stretched"


def _moments(planes: Float32[np.ndarray, "k h w"]) -> Float32[np.ndarray, "2 k"]:
    return np.stack([planes.mean(axis=(1, 2)), np.square(planes).mean(axis=(1, 2))])


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    return tuple(round(float(v), 5) for v in values)


def _channels(count: int) -> str:
    return f"{count} channel" + ("s" if count != 1 else "")


def _brightness(pixels: np.ndarray, limits: np.ndarray) -> Float32[np.ndarray, "h w 1"]:
    return (unit(pixels, limits) @ np.array(LUMA, np.float32))[..., None]


def _refuse_unusable(pixels: np.ndarray, *, unit: bool) -> None:
    low, high = float(pixels.min()), float(pixels.max())  # NaN wins in both
    if not np.isfinite(low + high):
        row, column, _ = np.argwhere(~np.isfinite(pixels))[0]
        raise BadImage(
            f"a float image holds NaN or infinity, first at row {row}, column {column}",
            allowed="finite numbers",
            cure="replace those pixels before giving the image",
        )
    if unit and (low < 0 or high > 1):
        raise BadImage(
            f"a float image holds values from {low:.4g} to {high:.4g}",
            allowed="0..1 for a network that was trained on plain ranges",
            cure="divide the image by its largest possible value, or train with range 'percentile'",
        )


@njit(cache=True, nogil=True)
@no_type_check
def _standardise(pixels, source, table, out):  # pragma: no cover (compiled)
    """``out[k] = clip(pixels[..., source[k]]) * gain + offset``; measured as fast as a lookup table."""
    height, width, _ = pixels.shape
    for y in range(height):
        for k in range(len(source)):
            channel = source[k]
            low, high, gain, offset = table[k]
            for x in range(width):
                value = np.float32(pixels[y, x, channel])
                value = low if value < low else value
                value = high if value > high else value
                out[k, y, x] = value * gain + offset
