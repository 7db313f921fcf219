"""Where a token stands, written into the token: sines and cosines of its place in the image."""

from __future__ import annotations

from math import pi

import torch
from jaxtyping import Float
from torch import Tensor

from segmentarium.errors import BadArgument

_EDGE = 1e-6


def sine_positions(
    maps: Float[Tensor, "b c h w"], width: int, *, temperature: float = 10000.0
) -> Float[Tensor, "h*w {width}"]:
    """A code for each place of ``maps``, row by row, in their dtype and on their device.

    The first half tells the row, the second the column. Places are counted from 1 and scaled so that the last
    one is at 2 pi; in each half, sine and cosine alternate, from the highest frequency to the lowest.

    Args:
        width: of a code, a multiple of 4.

    Source: Parmar et al. 2018, arXiv:1802.05751, as normalised by Carion et al. 2020, arXiv:2005.12872.
    """
    if width % 4 or width < 4:
        raise BadArgument(
            f"positions of width {width}", allowed="multiples of 4", cure="take the next multiple"
        )
    height, breadth = maps.shape[-2:]
    exact = torch.promote_types(maps.dtype, torch.float32)
    pairs = torch.arange(width // 4, dtype=exact, device=maps.device)
    waves = temperature ** (-4 * pairs / width)
    rows, columns = (_along(side, waves) for side in (height, breadth))
    shape = (height, breadth, width // 2)
    codes = torch.cat([rows[:, None].expand(shape), columns[None].expand(shape)], dim=-1)
    return codes.flatten(0, 1).to(maps.dtype)


def _along(side: int, waves: Float[Tensor, " f"]) -> Float[Tensor, "side 2*f"]:
    places = torch.arange(1, side + 1, dtype=waves.dtype, device=waves.device)
    angles = (places * (2 * pi / (side + _EDGE)))[:, None] * waves
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
