"""Dual attention: every position asks all positions, every channel asks all channels."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument


class PositionAttention(nn.Module):
    """Each pixel adds to itself the mean of all values, weighted by how well their keys fit its query.

    The weights are the softmax of unscaled products. Values are cut into heads as wide as the keys, all with
    the same queries and keys: the numbers stay the same, and a table of pixels by pixels is never held.

    Args:
        width: channels of the maps.
        keys: channels of queries and keys, a divisor of ``width``; an eighth of it in the paper.

    Raises:
        BadArgument: ``keys`` does not divide ``width``.

    Source: Fu et al. 2019, arXiv:1809.02983, section 3.2 and figure 3 A.
    """

    def __init__(self, width: int, keys: int) -> None:
        super().__init__()
        if width % keys:
            raise BadArgument(f"{keys} channels of keys for {width}", allowed="a divisor", cure="change one")
        self.query, self.key = (nn.Conv2d(width, keys, 1) for _ in range(2))
        self.value = nn.Conv2d(width, width, 1)
        self.gamma = nn.Parameter(torch.zeros(1))  # "alpha" in the paper: the block begins as the identity

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        query, key, value = (
            heads(p(maps), self.key.out_channels) for p in (self.query, self.key, self.value)
        )
        shared = (-1, value.shape[1], -1, -1)
        found = functional.scaled_dot_product_attention(
            query.expand(shared), key.expand(shared), value, scale=1.0
        )
        return self.gamma * found.transpose(2, 3).flatten(1, 2).unflatten(2, maps.shape[2:]) + maps


def heads(maps: Float[Tensor, "b c h w"], width: int) -> Float[Tensor, "b g n _"]:
    """Pixels by channels, ``width`` of them a head."""
    return maps.flatten(2).unflatten(1, (-1, width)).transpose(2, 3).contiguous()


class ChannelAttention(nn.Module):
    """Each channel adds to itself the mean of all channels, weighted by how *little* they are like it.

    The paper's formula weighs by the softmax of the products of channels. Its authors' code, and all weights,
    subtract the products from the largest of their row first, which turns the order round: so it is here.
    Half-precision maps are compared in single precision, for the products are sums over all pixels.

    Source: Fu et al. 2019, arXiv:1809.02983, section 3.3 and figure 3 B.
    """

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))  # "beta" in the paper

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        channels = maps.flatten(2)
        precise = channels.to(torch.promote_types(maps.dtype, torch.float32))
        weights = (
            (-(precise @ precise.transpose(1, 2))).softmax(2).to(maps.dtype)
        )  # the same as of max - product
        return self.gamma * (weights @ channels).unflatten(2, maps.shape[2:]) + maps
