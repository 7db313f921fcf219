"""From the voxels of a scanner to what a network sees: by modality, measured on each volume or on all.

Magnetic resonance has no unit, so each volume is brought to zero mean and unit deviation by itself. Computed
tomography has one (Hounsfield), so all volumes are cut to the range of what is labelled and share one map.

Source: nnU-Net (Isensee et al. 2021), supplement, on intensity normalisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Integer, Shaped

from segmentarium.errors import BadData, BadImage
from segmentarium.values.volume import refuse_infinite

METHODS = ("zscore", "zscore_nonzero", "ct")
PERCENTILES = (0.5, 99.5)
AIR_HU = -300
"""Whole numbers that go below this are taken for Hounsfield units."""
CROPPED_SHARE = 0.25
"""Volumes of which at least this share is exactly 0 on average were cut out of their surroundings."""
_LEAST_STD = 1e-8
_SAMPLED = 1 << 16  # labelled voxels a volume gives to the percentiles

Labelled = tuple[Shaped[np.ndarray, "c d h w"], Integer[np.ndarray, "d h w"]]


class Scaling(NamedTuple):
    """The map of one volume: ``(clip(voxel, low, high) - mean) / std``, each by channel.

    ``keep_zero``: voxels that are 0 become 0, whatever the mean.
    """

    low: Float32[np.ndarray, " c"]
    high: Float32[np.ndarray, " c"]
    mean: Float32[np.ndarray, " c"]
    std: Float32[np.ndarray, " c"]
    keep_zero: bool = False

    def __call__(
        self, voxels: Shaped[np.ndarray, "c d h w"], *, out: Float32[np.ndarray, "c d h w"] | None = None
    ) -> Float32[np.ndarray, "c d h w"]:
        """Scale a part of the volume, into ``out`` if given, which may be the voxels themselves."""
        made = np.empty(voxels.shape, np.float32) if out is None else out
        for values, scaled, low, high, mean, std in zip(voxels, made, *self[:4], strict=True):
            zero = values == 0 if self.keep_zero else None
            np.copyto(scaled, values, casting="unsafe")
            if np.isfinite(high):
                scaled.clip(low, high, out=scaled)
            scaled -= mean
            scaled *= np.float32(1) / std
            if zero is not None:
                scaled[zero] = 0
        return made


@dataclass(frozen=True, kw_only=True)
class NormaliseVolume:
    """Brings volumes to about zero mean and unit deviation, channels first.

    Attributes:
        channels: of the network.
        method: ``zscore`` measures each volume; ``zscore_nonzero`` only where it is not 0, and leaves 0 as it
            is, for volumes cut out of their surroundings; ``ct`` cuts all volumes to ``low`` .. ``high`` and
            takes ``mean`` and ``std`` of the labelled voxels of the training set.
        low, high, mean, std: by channel, only for ``ct``.

    >>> NormaliseVolume(channels=1)(np.arange(8).reshape(1, 2, 2, 2)).std().round(3)
    np.float32(1.0)
    """

    channels: int
    method: Literal["zscore", "zscore_nonzero", "ct"] = "zscore"
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadData(f"normalise has method {self.method!r}", allowed=" or ".join(METHODS))
        wanted = self.channels if self.method == "ct" else 0
        figures = (self.low, self.high, self.mean, self.std)
        if self.channels < 1 or any(len(values) != wanted for values in figures):
            raise BadData(
                f"normalise has {[len(values) for values in figures]} figures for {self.channels} channels",
                allowed="low, high, mean and std for each channel of 'ct', none otherwise",
            )
        ordered = all(low < high for low, high in zip(self.low, self.high, strict=True))
        if not np.isfinite(np.array(figures)).all() or not ordered or not all(s > 0 for s in self.std):
            raise BadData(
                f"normalise has {asdict(self)}", allowed="finite numbers, low below high, std above 0"
            )

    @classmethod
    def fit(cls, volumes: Iterable[Labelled], *, modality: str = "") -> tuple[NormaliseVolume, str]:
        """Choose by modality (``CT``, ``MR`` or another; guessed if empty) and measure.

        Args:
            volumes: voxels with labels, which are class indices: 0 is ground, -1 void. Each is looked at
                once, and let go.

        Returns:
            The map and, in a sentence, why it is this one.

        Raises:
            BadData: no volume, or volumes of different channel counts.
        """
        facts = [_measure(voxels, labels) for voxels, labels in volumes]
        if not facts:
            raise BadData("there is no volume to measure", cure="give a folder that holds at least one")
        counts = {fact.channels for fact in facts}
        if len(counts) > 1:
            raise BadData(f"volumes have {sorted(counts)} channels", allowed="one number of channels")
        (channels,) = counts
        guessed = not modality and all(fact.whole and fact.lowest < AIR_HU for fact in facts)
        if guessed or modality.upper() == "CT":
            sample = np.concatenate([fact.labelled for fact in facts], axis=1)
            reason = (
                f"whole numbers below {AIR_HU} look like Hounsfield units" if guessed else "CT has one unit"
            )
            return cls._of_ct(sample), f"{reason}, so all volumes share one map"
        share = float(np.mean([fact.zero for fact in facts]))
        if share >= CROPPED_SHARE:
            return cls(channels=channels, method="zscore_nonzero"), (
                f"{share:.0%} of the voxels are 0, so the others are measured, each volume by itself"
            )
        return cls(channels=channels), "intensities have no unit, so each volume is measured by itself"

    @classmethod
    def _of_ct(cls, sample: Float32[np.ndarray, "c n"]) -> NormaliseVolume:
        low, high = np.percentile(sample, PERCENTILES, axis=1)
        high = np.where(high > low, high, low + 1)
        clipped = sample.clip(low[:, None], high[:, None])
        std = clipped.std(axis=1, dtype=np.float64)
        rows = (low, high, clipped.mean(axis=1, dtype=np.float64), np.where(std > _LEAST_STD, std, 1.0))
        lows, highs, means, stds = (tuple(round(float(v), 4) for v in row) for row in rows)
        return cls(channels=len(sample), method="ct", low=lows, high=highs, mean=means, std=stds)

    def scaling(self, voxels: Shaped[np.ndarray, "c d h w"]) -> Scaling:
        """The map of one volume. Measure it on the whole and use it for all of its parts.

        Raises:
            BadImage: another number of channels, or NaN or infinite voxels.
        """
        if len(voxels) != self.channels:
            raise BadImage(
                f"a volume of {len(voxels)} channels",
                allowed=f"{self.channels}, as the network was trained on",
                cure="choose the channels that the network knows",
            )
        refuse_infinite("the volume", voxels)
        if self.method == "ct":
            low, high, mean, std = (
                np.array(v, np.float32) for v in (self.low, self.high, self.mean, self.std)
            )
            return Scaling(low, high, mean, std)
        keep_zero = self.method == "zscore_nonzero"
        mean, std = np.array([_moments(band, skip_zero=keep_zero) for band in voxels], np.float32).T
        unlimited = np.full(self.channels, np.inf, np.float32)
        return Scaling(-unlimited, unlimited, mean, std, keep_zero)

    def __call__(
        self, voxels: Shaped[np.ndarray, "c d h w"], *, scaling: Scaling | None = None
    ) -> Float32[np.ndarray, "c d h w"]:
        """Normalise a volume, or a part of the one whose ``scaling`` is given."""
        return (scaling or self.scaling(voxels))(voxels)

    def to_json(self) -> dict[str, object]:
        """Plain values, to be stored beside the weights."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> NormaliseVolume:
        """Read what :meth:`to_json` wrote; raises ``BadData`` if it is something else."""
        try:
            figures = {
                key: tuple(float(v) for v in facts.get(key, ())) for key in ("low", "high", "mean", "std")
            }
            return cls(channels=int(facts["channels"]), method=facts["method"], **figures)
        except (KeyError, TypeError, ValueError) as error:
            raise BadData(
                f"{dict(facts)} describes no normalisation of volumes",
                allowed="channels, method, and for 'ct' low, high, mean and std",
                cure="take a weight file that Segmentarium wrote",
            ) from error


class _Facts(NamedTuple):
    channels: int
    whole: bool
    lowest: float
    zero: float
    labelled: Float32[np.ndarray, "c n"]


def _measure(voxels: Shaped[np.ndarray, "c d h w"], labels: Integer[np.ndarray, "d h w"]) -> _Facts:
    """Evenly spaced voxels of everything but ground, or of everything where nothing else is labelled."""
    places = np.flatnonzero(labels > 0)
    if not len(places):
        places = np.flatnonzero(labels >= 0)
    places = places[:: max(1, len(places) // _SAMPLED)]
    flat = voxels.reshape(len(voxels), -1)
    thin = flat[:, :: max(1, flat.shape[1] // _SAMPLED)]
    return _Facts(
        channels=len(voxels),
        whole=bool((thin == np.rint(thin)).all()),
        lowest=float(thin.min()),
        zero=float((thin == 0).mean()),
        labelled=flat[:, places].astype(np.float32),
    )


def _moments(band: Shaped[np.ndarray, "d h w"], *, skip_zero: bool) -> Float64[np.ndarray, " 2"]:
    """Mean and deviation, slice by slice, so that no second volume in double precision is needed."""
    count, mean, square = 0, 0.0, 0.0
    for plane in band:
        values = (plane[plane != 0] if skip_zero else plane.ravel()).astype(np.float64)
        if not values.size:
            continue
        gap = values.mean() - mean
        square += float(np.square(values - values.mean()).sum()) + gap**2 * count * values.size / (
            count + values.size
        )
        mean += gap * values.size / (count + values.size)
        count += values.size
    std = (square / count) ** 0.5 if count else 0.0
    return np.array([mean, std if std > _LEAST_STD * max(1.0, abs(mean)) else 1.0])
