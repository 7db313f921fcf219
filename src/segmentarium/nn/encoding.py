"""Context encoding: what a picture is made of, told by how far its pixels lie from learnt words."""

from __future__ import annotations

from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.nn.blocks import ConvNormAct


class Encoding(nn.Module):
    """The residuals of all pixels to each codeword, summed; each pixel shares itself out among the near ones.

    With r_ik = x_i - d_k the answer is e_k = sum_i a_ik r_ik, a_ik the softmax over k of -s_k |r_ik|^2.
    Neither it nor the distances need the residuals themselves: memory is pixels times codewords, not times
    channels too. Half-precision maps are encoded in single precision: squares of long vectors need it.

    Args:
        width: channels of pixels and codewords.
        codewords: how many ("K").

    Source: Zhang et al. 2018, arXiv:1803.08904, section 3.1; begun as in Zhang et al. 2017, arXiv:1612.02844.
    """

    def __init__(self, width: int, codewords: int) -> None:
        super().__init__()
        bound = 1 / sqrt(codewords * width)
        self.codewords = nn.Parameter(torch.empty(codewords, width).uniform_(-bound, bound))
        self.scale = nn.Parameter(torch.empty(codewords).uniform_(-1, 0))  # "-s", below zero at the start

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k c"]:
        precise = torch.promote_types(maps.dtype, torch.float32)
        pixels, words = maps.flatten(2).transpose(1, 2).to(precise), self.codewords.to(precise)
        squares = pixels.square().sum(2, keepdim=True) + words.square().sum(1)
        shares = (self.scale.to(precise) * (squares - 2 * pixels @ words.T)).softmax(2)
        residuals = shares.transpose(1, 2) @ pixels - shares.sum(1).unsqueeze(2) * words
        return residuals.to(maps.dtype)


class ContextEncoding(nn.Module):
    """Strengthen the channels that fit the picture: each by a share of itself that the encoding decides.

    Args:
        width: channels of the maps.
        codewords: of the encoding.

    Source: Zhang et al. 2018, arXiv:1803.08904, section 3.1 and figure 2. The paper sums the residuals over
        codewords; here they are averaged, as in its authors' code and in their weights.
    """

    def __init__(self, width: int, codewords: int = 32) -> None:
        super().__init__()
        self.project = ConvNormAct(width, width, kernel=1)
        self.encode = Encoding(width, codewords)
        self.norm = nn.BatchNorm1d(codewords)
        self.gate = nn.Linear(width, width)

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        context = self.norm(self.encode(self.project(maps))).relu().mean(1)
        strength = self.gate(context).sigmoid()[..., None, None]
        return functional.relu(maps + maps * strength)
