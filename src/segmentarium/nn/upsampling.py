"""Every way in which networks enlarge their maps, each by the name and the definition of the field.

Three copy or invent values: :func:`nearest`, :func:`bilinear`, :func:`bed_of_nails`. One remembers:
:func:`max_pool` and :func:`max_unpool`. Three learn: :class:`BilinearDeconvolution` and any other transposed
convolution, :class:`ResizeConvolution`, :class:`SubPixel`. :func:`checkerboard` tells which transposed
convolutions print one, :func:`align` brings maps of a skip connection to one size. Maps are ``b c *s``;
``docs/upsampling.md`` has the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.nn.blocks import crop_or_pad

RULES = {
    "half-pixel": "floor((i + 1/2) in / out), the nearest centre: torch nearest-exact, PIL, scikit-image",
    "floor": "floor(i in / out), up to half a pixel off: torch nearest, OpenCV INTER_NEAREST",
}
"""Which pixel of the input pixel ``i`` of the output copies; the same one if the factor is a whole number."""


def nearest(
    maps: Num[Tensor, "b c *s"], size: Sequence[int], *, rule: Literal["half-pixel", "floor"] = "half-pixel"
) -> Num[Tensor, "b c *t"]:
    """Copy one pixel each, of any type: the way to resize labels, whose values cannot be mixed.

    The arithmetic is that of whole numbers. Libraries round: where a centre falls exactly on the edge of two
    pixels, as at some pixel of 1 or 2 of a hundred pairs of sizes, torch takes the one before.

    Args:
        size: of the output, in pixels; smaller than the input is allowed.
        rule: see ``RULES``.

    Raises:
        BadArgument: ``size`` has not one positive number for each axis of space.
        UnknownName: there is no such rule.
    """
    if rule not in RULES:
        raise UnknownName.among("rule of nearest", rule, RULES)
    _require_size(maps, size)
    half = rule == "half-pixel"
    for axis, (have, want) in enumerate(zip(maps.shape[2:], size, strict=True), start=2):
        source = (2 * torch.arange(want, device=maps.device) + half) * have // (2 * want)
        maps = maps.index_select(axis, source)
    return maps


def bilinear(
    maps: Float[Tensor, "b c *s"],
    size: Sequence[int],
    *,
    align_corners: bool = False,
    antialias: bool = False,
) -> Float[Tensor, "b c *t"]:
    """Interpolate linearly along each axis: between 2 pixels of a line, 4 of an image, 8 of a volume.

    Args:
        size: of the output, in pixels.
        align_corners: False puts pixel centres at halves, (i + 1/2) in / out - 1/2, and repeats the edge:
            torch's default, OpenCV, PIL. True puts the first and last centres on each other,
            i (in - 1) / (out - 1): early FCN and DeepLab code, scipy's zoom.
        antialias: widen the kernel when an image shrinks, as PIL does; without it pixels are skipped.

    Raises:
        BadArgument: ``size`` does not fit, or antialiasing is asked for other than images or aligned corners.
    """
    _require_size(maps, size)
    if antialias and (maps.ndim != 4 or align_corners):
        raise BadArgument(
            f"antialias: for {maps.ndim - 2} axes of space, align_corners={align_corners}",
            allowed="images, with corners not aligned",
        )
    mode = {3: "linear", 4: "bilinear", 5: "trilinear"}[maps.ndim]
    return functional.interpolate(
        maps, size=tuple(size), mode=mode, align_corners=align_corners, antialias=antialias
    )


def bed_of_nails(maps: Num[Tensor, "b c *s"], factor: int) -> Num[Tensor, "b c *t"]:
    """Each value into the first corner of a block of ``factor`` pixels a side, zeros elsewhere.

    The sum is kept, and it is the adjoint of taking every ``factor``-th pixel.

    Raises:
        BadArgument: ``factor`` is below 1.
    """
    _require_factor(factor)
    nails = maps.new_zeros(*maps.shape[:2], *(factor * side for side in maps.shape[2:]))
    every = slice(None, None, factor)
    nails[(slice(None), slice(None)) + (every,) * (maps.ndim - 2)] = maps
    return nails


class Pooled(NamedTuple):
    """What :func:`max_pool` found, and all that is needed to put it back."""

    values: Float[Tensor, "b c *t"]
    indices: Int[Tensor, "b c *t"]
    """Where each value stood, counted along the rows of its own channel; the first of equal ones."""
    window: tuple[int, ...]
    size: tuple[int, ...]
    """Of the input in pixels: sides that the window does not divide cannot be told from the output."""


def max_pool(
    maps: Float[Tensor, "b c *s"], window: Sequence[int], *, stride: Sequence[int] | None = None
) -> Pooled:
    """The largest value of each window, with its place; rests at the far edges are left out.

    Args:
        window: sides in pixels, one for each of two or three axes.
        stride: from one window to the next; ``window`` if left out.

    Raises:
        BadArgument: windows overlap, so that two could claim the same place, or do not fit.
    """
    _require_size(maps, window, name="window", axes=(2, 3))
    stride = window if stride is None else stride
    _require_size(maps, stride, name="stride", axes=(2, 3))
    if any(step < side for step, side in zip(stride, window, strict=True)):
        raise BadArgument(
            f"stride: {tuple(stride)} for windows of {tuple(window)}",
            allowed="at least the window: where windows overlap, unpooling would write one place twice",
        )
    pool = functional.max_pool2d if maps.ndim == 4 else functional.max_pool3d
    values, indices = pool(maps, tuple(window), tuple(stride), return_indices=True)
    return Pooled(values, indices, tuple(window), tuple(maps.shape[2:]))


def max_unpool(maps: Float[Tensor, "b c *t"], pooled: Pooled) -> Float[Tensor, "b c *s"]:
    """Put ``maps`` where the maxima of ``pooled`` stood, zeros elsewhere, at the size it had.

    Raises:
        BadArgument: ``maps`` has another shape than what was pooled.

    Source: Zeiler and Fergus 2014, arXiv:1311.2901, section 2.1; SegNet, arXiv:1511.00561, section 3.
    """
    if maps.shape != pooled.values.shape:
        raise BadArgument(f"maps: shape {tuple(maps.shape)}", allowed=f"{tuple(pooled.values.shape)}")
    flat = maps.new_zeros(*maps.shape[:2], torch.Size(pooled.size).numel())
    return flat.scatter(2, pooled.indices.flatten(2), maps.flatten(2)).unflatten(2, pooled.size)


def transposed_size(
    side: int, *, kernel: int, stride: int = 1, padding: int = 0, output_padding: int = 0, dilation: int = 1
) -> int:
    """Pixels that a transposed convolution makes of ``side``: (side - 1) s - 2 p + d (k - 1) + op + 1."""
    return (side - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1


def bilinear_kernel(factor: int) -> Float[Tensor, "k k"]:
    """The weights with which a transposed convolution of stride ``factor`` interpolates bilinearly.

    2 f - f mod 2 pixels a side, the outer square of 1 - |i - centre| / f.

    Raises:
        BadArgument: ``factor`` is below 1.

    Source: Long, Shelhamer and Darrell 2015, arXiv:1411.4038, section 3.3 and the surgery of its code.
    """
    _require_factor(factor)
    side = 2 * factor - factor % 2
    line = 1 - (torch.arange(side) - (side - 1) / 2).abs() / factor
    return torch.outer(line, line)


class BilinearDeconvolution(nn.ConvTranspose2d):
    """A transposed convolution, each channel by itself, that begins as bilinear interpolation.

    Inside it equals :func:`bilinear`; within ``factor`` pixels of the edge it fades, as zeros lie beyond.

    Args:
        factor: how many times larger the output is; also the stride.
        learned: whether training changes the weights; FCN learns all but the last.
    """

    def __init__(self, channels: int, *, factor: int, learned: bool = True) -> None:
        kernel = bilinear_kernel(factor)
        super().__init__(
            channels,
            channels,
            len(kernel),
            stride=factor,
            padding=ceil((factor - 1) / 2),
            groups=channels,
            bias=False,
        )
        with torch.no_grad():
            self.weight.copy_(kernel)
        self.weight.requires_grad_(learned)


class ResizeConvolution(nn.Sequential):
    """Copy the nearest pixels, then convolve with stride 1: every pixel is reached by equally many weights.

    The edge is mirrored rather than filled with zeros, which would print a frame.

    Args:
        kernel: odd; the side of the convolution in pixels of the output.

    Source: Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill.
    """

    def __init__(self, inputs: int, outputs: int, *, factor: int, kernel: int = 3) -> None:
        _require_factor(factor)
        _require_odd(kernel)
        super().__init__(
            nn.Upsample(scale_factor=factor, mode="nearest"),
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, padding_mode="reflect"),
        )


class SubPixel(nn.Sequential):
    """Convolve to ``factor`` squared times the channels, then deal these out as the pixels of blocks.

    At the start all pixels of a block get the same weights (ICNR), so that it begins as the nearest pixel
    after a convolution, without a checkerboard.

    Args:
        kernel: odd; the side of the convolution in pixels of the input.

    Source: Shi et al. 2016, arXiv:1609.05158, section 3; start by Aitken et al. 2017, arXiv:1707.02937.
    """

    def __init__(self, inputs: int, outputs: int, *, factor: int, kernel: int = 3) -> None:
        _require_factor(factor)
        _require_odd(kernel)
        convolution = nn.Conv2d(inputs, outputs * factor**2, kernel, padding=kernel // 2)
        super().__init__(convolution, nn.PixelShuffle(factor))
        with torch.no_grad():
            for tensor in convolution.parameters():
                tensor.copy_(tensor[:: factor**2].repeat_interleave(factor**2, dim=0))


@dataclass(frozen=True, eq=False)
class Overlap:
    """How many weights of a transposed convolution end in each pixel; see :func:`checkerboard`.

    ``inner`` is the part of ``counts`` that all the weights around it reach: what is left is the edge.
    """

    counts: Int[Tensor, "*s"]
    inner: Int[Tensor, "*t"]

    @property
    def least(self) -> int:
        """Of the counts within: floor(kernel / stride) to the power of the axes."""
        return int(self.inner.min())

    @property
    def most(self) -> int:
        """Of the counts within: ceil(kernel / stride) to the power of the axes."""
        return int(self.inner.max())

    @property
    def even(self) -> bool:
        """Whether all pixels within are reached equally often."""
        return self.least == self.most


def checkerboard(kernel: int, stride: int, *, axes: int = 1, inputs: int | None = None) -> Overlap:
    """Count how often a transposed convolution writes each pixel of its output.

    The counts are even exactly if the stride divides the kernel; otherwise equal inputs give a pattern of
    period ``stride``, which training has to unlearn. Along several axes the pattern is the outer product.

    Args:
        kernel: its side in pixels; padding cuts the edge and changes nothing within.
        inputs: pixels of the input along each axis; enough for three periods within if left out.

    Raises:
        BadArgument: a number is below 1, or the inputs are too few to show one period within.

    Source: Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts", Distill.

    >>> checkerboard(3, 2, inputs=4).counts.tolist()
    [1, 1, 2, 1, 2, 1, 2, 1, 1]
    """
    least = ceil((kernel - 2) / stride) + 2 if min(kernel, stride, axes) >= 1 else 1
    inputs = least + 2 if inputs is None else inputs
    if min(kernel, stride, axes) < 1 or inputs < least:
        raise BadArgument(
            f"kernel, stride, axes, inputs: {kernel}, {stride}, {axes}, {inputs}",
            allowed=f"1 and above, and {least} inputs or more",
        )
    line = torch.zeros(transposed_size(inputs, kernel=kernel, stride=stride), dtype=torch.long)
    for start in range(0, inputs * stride, stride):
        line[start : start + kernel] += 1
    within = line[kernel - 1 : stride * (inputs - 1) + 1]
    return Overlap(_outer_power(line, axes), _outer_power(within, axes))


def align(
    deep: Num[Tensor, "b c *s"], skip: Num[Tensor, "b k *t"], *, by: Literal["pad", "crop"]
) -> tuple[Num[Tensor, "b c *u"], Num[Tensor, "b k *u"]]:
    """Give an enlarged map and the map that a skip connection hands across the same size.

    Args:
        by: ``pad`` surrounds ``deep`` with zeros, an odd pixel more at the end (the customary U-Net of padded
            convolutions); ``crop`` cuts ``skip`` to its middle (the paper's, of valid ones).

    Raises:
        UnknownName: there is no such way.
    """
    if by == "pad":
        return crop_or_pad(deep, skip.shape[2:]), skip
    if by == "crop":
        return deep, crop_or_pad(skip, deep.shape[2:])
    raise UnknownName.among("way to align", by, ("pad", "crop"))


def _outer_power(line: Int[Tensor, " n"], axes: int) -> Int[Tensor, "*s"]:
    power = line
    for _ in range(axes - 1):
        power = power[..., None] * line
    return power


def _require_size(
    maps: Num[Tensor, "b c *s"], size: Sequence[int], *, name: str = "size", axes: Sequence[int] = (1, 2, 3)
) -> None:
    space = maps.ndim - 2
    if space not in axes or len(size) != space or any(side < 1 for side in size):
        raise BadArgument(
            f"{name}: {tuple(size)} for maps of shape {tuple(maps.shape)}",
            allowed=f"a number above 0 for each of {' or '.join(map(str, axes))} axes of space",
        )


def _require_factor(factor: int) -> None:
    if factor < 1:
        raise BadArgument(f"factor: {factor}", allowed="1 and above")


def _require_odd(kernel: int) -> None:
    if kernel < 1 or kernel % 2 == 0:
        raise BadArgument(f"kernel: {kernel}", allowed="odd numbers", cure="an even one has no middle pixel")
