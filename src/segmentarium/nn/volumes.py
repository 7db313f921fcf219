"""Blocks of networks for volumes; maps are ``b c d h w``."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Norm = Literal["none", "batch", "instance"]
Convolution = nn.Conv3d | nn.ConvTranspose3d


class InstanceNorm(nn.Module):
    """Each channel of each volume brought to mean 0 and deviation 1, then scaled and shifted if ``affine``.

    A map of one voxel becomes 0 ahead of the shift; torch's own norm refuses it.

    Source: Ulyanov et al. 2016, arXiv:1607.08022.
    """

    def __init__(self, channels: int, *, affine: bool = True) -> None:
        super().__init__()
        self.channels = channels
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, maps: Float[Tensor, "b c *s"]) -> Float[Tensor, "b c *s"]:
        return torch.group_norm(maps, self.channels, self.weight, self.bias)


class Unit(nn.Sequential):
    """``conv``, a norm and an activation, by these names; absent ones are left out."""

    def __init__(self, conv: Convolution, norm: Norm = "none", act: nn.Module | None = None) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict(conv=conv)
        if norm != "none":
            parts["norm"] = {"batch": nn.BatchNorm3d, "instance": InstanceNorm}[norm](conv.out_channels)
        if act is not None:
            parts["act"] = act
        super().__init__(parts)


def pad_to_multiple(volume: Float[Tensor, "b c *s"], unit: int) -> Float[Tensor, "b c *t"]:
    """Zeros behind the end of each axis, to the next multiple of ``unit`` voxels; :func:`cut` undoes it."""
    short = [-side % unit for side in volume.shape[2:]]
    edges = [edge for missing in reversed(short) for edge in (0, missing)]
    return functional.pad(volume, edges) if any(edges) else volume


def cut(maps: Float[Tensor, "b c *t"], size: Sequence[int]) -> Float[Tensor, "b c *s"]:
    """The first ``size`` voxels of ``maps``."""
    for axis, side in enumerate(size, start=2):
        maps = maps.narrow(axis, 0, side)
    return maps
