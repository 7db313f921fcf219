"""Dilated convolutions taken apart, and two ways to let their parts know of each other.

A convolution of rate r is r x r ordinary ones that never meet: one for each of the interleaved images that
:func:`decompose` finds. Neighbouring pixels of the answer come from different ones, and so a grid shows. Both
cures begin as the plain convolution: :class:`GroupInteraction` mixes the answers of the r x r images,
:class:`SeparableShared` blurs what they see. ``docs/figures/gridding.py`` draws the difference.

Source: Wang and Ji 2018, arXiv:1808.08931.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument, UnknownName

Smoothing = Literal["group_interaction", "separable_shared"]


def decompose(maps: Float[Tensor, "b c _ _"], rate: int) -> Float[Tensor, "g b c _ _"]:
    """The r x r interleaved images: number i r + j has every r-th pixel from row i and column j on.

    Zeros to the right and below complete the sides to multiples of ``rate``.
    """
    below, right = (-side % rate for side in maps.shape[-2:])
    whole = functional.pad(maps, (0, right, 0, below))
    blocks = whole.unflatten(3, (-1, rate)).unflatten(2, (-1, rate))  # b c h r w r
    return blocks.permute(3, 5, 0, 1, 2, 4).flatten(0, 1)


def interlace(groups: Float[Tensor, "g b c _ _"], size: Sequence[int]) -> Float[Tensor, "b c _ _"]:
    """Put interleaved images together again and cut to ``size``: what :func:`decompose` undoes."""
    rate = round(len(groups) ** 0.5)
    blocks = groups.unflatten(0, (rate, rate))  # r r b c h w
    maps = blocks.permute(2, 3, 4, 0, 5, 1).flatten(4, 5).flatten(2, 3)
    return maps[..., : size[0], : size[1]]


def decomposed_conv(
    maps: Float[Tensor, "b c h w"], weight: Float[Tensor, "k _ s s"], *, rate: int, groups: int = 1
) -> Float[Tensor, "g b k _ _"]:
    """An ordinary convolution of each interleaved image; interlaced they are the convolution of that rate.

    Args:
        weight: of odd side s; the convolution keeps sizes.
        groups: of channels, as torch means them.
    """
    images = decompose(maps, rate)
    answers = functional.conv2d(images.flatten(0, 1), weight, padding=weight.shape[-1] // 2, groups=groups)
    return answers.unflatten(0, images.shape[:2])


def blockwise(maps: Float[Tensor, "b c h w"], matrix: Float[Tensor, "g g"]) -> Float[Tensor, "b c h w"]:
    """One fully connected layer for every block of r x r pixels, the same in all blocks and channels.

    Group interaction is this on the answer of the plain convolution, where sides are multiples of r.
    """
    rate = round(len(matrix) ** 0.5)
    return interlace(mix(decompose(maps, rate), matrix), maps.shape[-2:])


def mix(groups: Float[Tensor, "g b c h w"], matrix: Float[Tensor, "g g"]) -> Float[Tensor, "g b c h w"]:
    """Group i becomes the sum over j of ``matrix[i, j]`` times group j."""
    return (matrix @ groups.flatten(1)).view_as(groups)


class _Smoothed(nn.Conv2d):
    """Takes over the weights of a dilated convolution, under their names.

    What smoothing learns is its ``offset`` from changing nothing, so that decay of weights draws it there.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        side, rate = _only(plain.kernel_size), _only(plain.dilation)
        padding = rate * (side // 2)
        if set(plain.stride) != {1} or plain.padding != (padding, padding):
            raise BadArgument(
                f"a convolution of stride {plain.stride} with padding {plain.padding}",
                allowed="stride 1, and padding that keeps sizes",
            )
        super().__init__(
            plain.in_channels,
            plain.out_channels,
            side,
            padding=padding,
            dilation=rate,
            groups=plain.groups,
            bias=plain.bias is not None,
        )
        self.rate = rate
        self.weight, self.bias = plain.weight, plain.bias


class GroupInteraction(_Smoothed):
    """``plain``, whose interleaved answers are mixed by a learned matrix that all channels share.

    r^4 parameters more: 16 for rate 2, 256 for rate 4.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__(plain)
        self.offset = nn.Parameter(plain.weight.new_zeros(self.rate**2, self.rate**2))

    @property
    def matrix(self) -> Float[Tensor, "g g"]:
        """How much group j, a column, counts in the new group i, a row."""
        return self.offset + torch.eye(len(self.offset), dtype=self.offset.dtype, device=self.offset.device)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        answers = decomposed_conv(maps, self.weight, rate=self.rate, groups=self.groups)
        mixed = interlace(mix(answers, self.matrix), maps.shape[-2:])
        return mixed if self.bias is None else mixed + self.bias[:, None, None]


class SeparableShared(_Smoothed):
    """``plain`` after one learned filter of 2 r - 1 pixels a side that all channels share.

    (2 r - 1)^2 parameters more: 9 for rate 2, 49 for rate 4.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__(plain)
        side = 2 * self.rate - 1
        self.offset = nn.Parameter(plain.weight.new_zeros(side, side))

    @property
    def filter(self) -> Float[Tensor, "s s"]:
        """What is seen of each channel around a pixel."""
        return self.offset + functional.pad(self.offset.new_ones(1, 1), (self.rate - 1,) * 4)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k h w"]:
        channels = maps.shape[1]
        shared = self.filter.expand(channels, 1, -1, -1)
        return super().forward(functional.conv2d(maps, shared, padding=self.rate - 1, groups=channels))


SMOOTHINGS: dict[str, type[_Smoothed]] = {
    "group_interaction": GroupInteraction,
    "separable_shared": SeparableShared,
}


def smooth(network: nn.Module, smoothing: str) -> None:
    """Smooth every dilated convolution of ``network``, in place; weights and, at first, answers stay.

    Raises:
        UnknownName: there is no such smoothing.
        BadArgument: a dilated convolution has a stride, or changes the size of its maps.
    """
    if smoothing not in SMOOTHINGS:
        raise UnknownName.among("smoothing", smoothing, SMOOTHINGS)
    for parent in list(network.modules()):
        for name, part in parent.named_children():
            if isinstance(part, nn.Conv2d) and max(part.dilation) > 1 and not isinstance(part, _Smoothed):
                setattr(parent, name, SMOOTHINGS[smoothing](part))


def _only(sides: Sequence[int]) -> int:
    """The one number that both ``sides`` are.

    Raises:
        BadArgument: they differ.
    """
    if len(set(sides)) > 1:
        raise BadArgument(f"kernel or dilation: {tuple(sides)}", allowed="the same along both axes")
    return sides[0]
