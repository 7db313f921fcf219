"""The fully connected random field: every pixel is a neighbour of every other, weighed by Gaussians.

Inference is parallel mean field. A step filters the probabilities by the lattice, mixes the labels of what
comes back, adds the unary energies and normalises: time and memory grow with the number of pixels only.

Source: Krähenbühl and Koltun, "Efficient inference in fully connected CRFs with Gaussian edge potentials",
2011. The conventions (normalisation, the pixel itself among its neighbours, energies that are added) are
those of the authors' code, whose numbers come out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Float32, Real

from segmentarium.classical.crf import dense_kernels as compiled
from segmentarium.classical.levels import within
from segmentarium.errors import BadArgument
from segmentarium.ops.lanes import padded
from segmentarium.ops.permutohedral import Lattice, Sums, blocks, common_bands
from segmentarium.ops.share import share

Normalise: TypeAlias = Literal["before", "after", "symmetric", "none"]
LEAST = np.float32(1e-20)
MOST_ENERGY = 1e20  # beyond it sums of messages leave single precision


@dataclass(frozen=True, eq=False)
class Kernel:
    """A Gaussian of the distance of two pixels, and of the difference of their channels if asked.

    Args:
        sigma: of the distance, in the unit of the spacing (pixels, if none is given); one number, or one for
            each axis in the order of the array.
        contrast: sigma of the channels, whose levels run from 0 to 255; one number or one each. Left out,
            the kernel looks at positions only.
        compatibility: a number w punishes different labels (Potts: equal ones cost -w). A vector holds what
            equal labels cost, a matrix what any two cost: attraction is negative there, and what is not
            symmetric is made so.
        normalise: K Q is divided by n = K 1: ``before`` the filter, ``after`` it, by the root of n on both
            sides (``symmetric``), or not at all (``none``).
    """

    sigma: float | tuple[float, ...]
    contrast: float | tuple[float, ...] | None = None
    compatibility: float | Float[np.ndarray, " k"] | Float[np.ndarray, "k k"] = 1.0
    normalise: Normalise = "symmetric"

    def features(
        self,
        picture: Real[np.ndarray, "*s c"],
        *,
        spacing: Sequence[float] | None = None,
        origin: Sequence[int] | None = None,
    ) -> Float32[np.ndarray, "n d"]:
        """What the lattice needs: x, y (and z) of each pixel, then its channels, in standard deviations.

        Args:
            origin: index of the first pixel, where the picture is a part of a larger one.
        """
        *size, channels = picture.shape
        first = (0,) * len(size) if origin is None else origin
        steps = (1.0,) * len(size) if spacing is None else spacing
        sigmas = _each("sigma", self.sigma, len(size))
        ranges = () if self.contrast is None else _each("contrast", self.contrast, channels)
        out = np.empty((*size, len(size) + len(ranges)), np.float32)
        for axis, (length, start, step, sigma) in enumerate(zip(size, first, steps, sigmas, strict=True)):
            place = (np.arange(start, start + length) * step).astype(np.float32) / np.float32(sigma)
            out[..., len(size) - 1 - axis] = place.reshape(-1, *(1,) * (len(size) - 1 - axis))
        for channel, sigma in enumerate(ranges):
            np.divide(picture[..., channel], np.float32(sigma), out=out[..., len(size) + channel])
        return out.reshape(-1, out.shape[-1])

    def costs(self, classes: int) -> Float32[np.ndarray, "k k"]:
        """The energy of each pair of labels at a distance of 0."""
        given = np.asarray(self.compatibility, np.float32)
        if given.shape not in ((), (classes,), (classes, classes)) or not np.isfinite(given).all():
            raise BadArgument(
                f"compatibility of shape {given.shape} for {classes} classes",
                allowed="finite: a number, one for each class, or a matrix of them",
            )
        if given.ndim == 2:
            return (given + given.T) / 2
        return np.diag(given) if given.ndim == 1 else -given * np.eye(classes, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Trace:
    """Probabilities, and the divergence before the first step and after each: it may rise or swing.

    The divergence is ``sum Q log Q + sum U Q + sum Q mu(K Q)``: ordered pairs are counted, as in the authors'
    code, and the field's logarithm of Z is left out.
    """

    probs: Float32[np.ndarray, " k *s"]
    divergences: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class DenseCRF:
    """Which kernels, and how often.

    Args:
        include_self: each pixel is among its own neighbours, as in the authors' code; the paper's sum leaves
            it out. Without it a step takes twice as long.
    """

    kernels: tuple[Kernel, ...] = field(
        default_factory=lambda: (Kernel(3.0, compatibility=3.0), Kernel(80.0, 13.0, compatibility=10.0))
    )
    iterations: int = 10
    include_self: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        kernels = [
            asdict(kernel) | {"compatibility": np.asarray(kernel.compatibility).tolist()}
            for kernel in self.kernels
        ]
        return {"kernels": kernels, "iterations": self.iterations, "include_self": self.include_self}

    def infer(
        self,
        unary: Float[np.ndarray, " k *s"],
        picture: Real[np.ndarray, "*t c"],
        *,
        spacing: Sequence[float] | None = None,
    ) -> Float32[np.ndarray, " k *s"]:
        """Probabilities of all labels.

        Args:
            unary: energies, that is negative logarithms.
            picture: levels from 0 to 255, any number of channels.
            spacing: from one pixel to the next along each axis; 1 if left out.

        Raises:
            BadArgument: shapes or parameters do not fit, or something is not finite.
        """
        field_ = self.mean_field(unary, self.lattices(picture, spacing=spacing))
        return field_.run(self.iterations).reshape(unary.shape)

    def trace(
        self,
        unary: Float[np.ndarray, " k *s"],
        picture: Real[np.ndarray, "*t c"],
        *,
        spacing: Sequence[float] | None = None,
    ) -> Trace:
        """As :meth:`infer`, and how far each step came."""
        field_ = self.mean_field(unary, self.lattices(picture, spacing=spacing))
        divergences = []
        for step in range(self.iterations + 1):
            field_.sweep(hear=step > 0, keep=True, tell=True)
            divergences.append(field_.divergence())
        return Trace(field_.probs.reshape(unary.shape), tuple(divergences))

    def lattices(
        self,
        picture: Real[np.ndarray, "*s c"],
        *,
        spacing: Sequence[float] | None = None,
        origin: Sequence[int] | None = None,
    ) -> list[Lattice]:
        """One for each kernel; see :meth:`Kernel.features`."""
        if picture.size == 0:
            raise BadArgument(f"a picture of shape {picture.shape}", allowed="at least one pixel")
        return [Lattice(one.features(picture, spacing=spacing, origin=origin)) for one in self.kernels]

    def mean_field(self, unary: Float[np.ndarray, " k *s"], lattices: list[Lattice]) -> MeanField:
        """The inference before its first step."""
        within("iterations", self.iterations, 0)
        flat = np.ascontiguousarray(unary, np.float32).reshape(len(unary), -1)
        if any(len(lattice.offsets) != flat.shape[1] for lattice in lattices) or flat.size == 0:
            raise BadArgument(
                f"unary energies of shape {unary.shape} for a picture of another size",
                allowed="a map as large as the picture for each label",
            )
        if not max(abs(flat.min()), abs(flat.max())) < MOST_ENERGY:  # so that NaN is refused too
            raise BadArgument(
                f"unary energies from {flat.min():g} to {flat.max():g}",
                allowed=f"finite numbers below {MOST_ENERGY:g}",
            )
        edges = common_bands(lattices) if lattices else [0, flat.shape[1]]
        pairs = [
            Pairwise(lattice, kernel, edges, classes=len(flat), include_self=self.include_self)
            for lattice, kernel in zip(lattices, self.kernels, strict=True)
        ]
        return MeanField(flat, pairs, edges)


class Pairwise:
    """One kernel on one picture: what a pixel tells the others of its labels, and what it hears of theirs."""

    def __init__(
        self,
        lattice: Lattice,
        kernel: Kernel,
        edges: list[int],
        *,
        classes: int,
        include_self: bool,
    ) -> None:
        norm, own = lattice.norm(), None if include_self else lattice.diagonal()
        if own is not None:
            norm = np.maximum(norm - own, 0)
        self.before, after = scales(norm, kernel.normalise)
        costs = kernel.costs(classes)
        self.mixture = -costs if np.ndim(kernel.compatibility) else None
        weight = 1.0 if self.mixture is not None else -float(costs[0, 0])
        self.after = after * np.float32(lattice.alpha * weight)
        self.own = None if own is None else (costs, own * self.before * after)
        self.sums = Sums(lattice, classes, edges)

    def settle(self) -> None:
        self.sums.settle()
        if self.mixture is not None:
            self.sums.mix(self.mixture)


class MeanField:
    """The state of the inference: what the points of all lattices hold, and ``probs`` (k, n) where kept.

    The labels of a pixel are heard, normalised and told again while they lie in the cache: between two steps
    nothing but the points remains.
    """

    def __init__(self, unary: Float32[np.ndarray, "k n"], pairs: list[Pairwise], edges: list[int]) -> None:
        self.unary, self.pairs, self.edges = unary, pairs, edges
        self.probs = np.empty_like(unary)
        self._scores = np.empty((unary.shape[1], padded(len(unary))), np.float32)
        self._turn(unary)
        self.exclusive = any(pair.own is not None for pair in pairs)

    def run(self, iterations: int) -> Float32[np.ndarray, "k n"]:
        for step in range(iterations + 1):
            last = step == iterations
            self.sweep(hear=step > 0, keep=last or self.exclusive, tell=not last)
        return self.probs

    def sweep(self, *, hear: bool, keep: bool, tell: bool) -> None:
        """One step over all pixels.

        Args:
            hear: the others' messages, told in the step before.
            keep: the probabilities in ``probs``.
            tell: the others.
        """
        if hear and self.exclusive:
            self._turn(self._energies())
        classes = len(self.unary)

        def work(first: int, last: int) -> None:
            for band in range(first, last):
                for start, stop, block in blocks(self.edges[band], self.edges[band + 1], classes):
                    block[:] = self._scores[start:stop]
                    if hear:
                        for pair in self.pairs:
                            pair.sums.take(block, pair.after, start, stop)
                    compiled.softmax(block, classes)
                    if keep:
                        compiled.store(block, self.probs, start)
                    if tell:
                        for pair in self.pairs:
                            pair.sums.give(block, pair.before, band, start, stop)

        share(work, len(self.edges) - 1)
        if tell:
            for pair in self.pairs:
                pair.settle()

    def _turn(self, energies: Float32[np.ndarray, "k n"]) -> None:
        """Lay the scores of a pixel side by side, so that a step reads one run of memory."""
        share(partial(compiled.turn_negative, energies, self._scores), len(self._scores))

    def _energies(self) -> Float32[np.ndarray, "k n"]:
        """The unary energies, less what each pixel would hear of itself."""
        energies = self.unary
        for pair in self.pairs:
            if pair.own is not None:
                costs, own = pair.own
                energies = energies - costs @ (own * self.probs)
        return energies

    def divergence(self) -> float:
        """Of ``probs``, which were kept and told last; see :class:`Trace`."""
        energies, (classes, n) = self._energies(), self.unary.shape
        total = 0.0
        for start, stop, heard in blocks(0, n, classes):
            heard[:] = 0
            for pair in self.pairs:
                pair.sums.take(heard, pair.after, start, stop)
            q = self.probs[:, start:stop]
            cost = np.log(np.maximum(q, LEAST)) + energies[:, start:stop] - heard[:, :classes].T
            total += float(np.sum(q * cost, dtype=np.float64))
        return total


def scales(
    norm: Float[np.ndarray, " n"], normalise: Normalise
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """What each pixel's labels are multiplied by before the filter and after it, by its sum of weights."""
    ones = np.ones_like(norm)
    if normalise == "none":
        return ones, ones
    if normalise == "symmetric":
        root = 1 / np.sqrt(norm + LEAST)
        return root, root
    inverse = 1 / (norm + LEAST)
    if normalise not in ("before", "after"):
        raise BadArgument(f"normalise = {normalise!r}", allowed="before, after, symmetric, none")
    return (inverse, ones) if normalise == "before" else (ones, inverse)


def _each(name: str, value: float | tuple[float, ...], count: int) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, tuple) else (value,) * count
    if len(values) != count:
        raise BadArgument(f"{name} of {len(values)} numbers", allowed=f"one number, or {count}")
    for one in values:
        within(name, one, 0, open_low=True)
    return values
