"""One network, one image, several sizes of it: what the networks before feature pyramids did about scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from segmentarium.errors import BadArgument
from segmentarium.nn.blocks import resize

Answer = TypeVar("Answer")


def at_scales(
    network: Callable[[Tensor], Answer], image: Float[Tensor, "b c h w"], scales: Sequence[float]
) -> list[Answer]:
    """What ``network`` makes of ``image`` at each of ``scales``, in their order.

    Images are resized bilinearly, as the papers do, without widening the kernel where they shrink; sides are
    rounded down and have one pixel at least.

    Raises:
        BadArgument: there is no scale, or one is not above 0.
    """
    if not scales or min(scales) <= 0:
        raise BadArgument(f"scales: {tuple(scales)}", allowed="one or more, each above 0")
    sizes = [[max(1, int(scale * side)) for side in image.shape[-2:]] for scale in scales]
    return [network(resize(image, size)) for size in sizes]


def alike(maps: Sequence[Float[Tensor, "b c _ _"]]) -> Float[Tensor, "s b c h w"]:
    """``maps`` of one image at several scales, each brought to the size of the first."""
    return torch.stack([resize(one, maps[0].shape[-2:]) for one in maps])


def largest(maps: Sequence[Float[Tensor, "b c _ _"]]) -> Float[Tensor, "b c h w"]:
    """Pixel by pixel the largest of ``maps``, at the size of the first.

    Source: Chen et al. 2016, arXiv:1606.00915, section 4.1.
    """
    return alike(maps).amax(0)
