"""The transformer's block as vision transformers have it: normalise, look or think, add."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument


class Block(nn.Module):
    """Each token looks at all tokens, then thinks for itself; each time added to what came in.

    Args:
        width: channels of a token.
        dropout: of attention weights and of what is added, while training.
        drop_path: the chance of an image to skip what is added, while training.
        eps: of the two LayerNorms; libraries differ.

    Source: Dosovitskiy et al. 2021, arXiv:2010.11929, equations 2 and 3.
    """

    def __init__(
        self, width: int, heads: int, *, dropout: float = 0.0, drop_path: float = 0.0, eps: float = 1e-6
    ) -> None:
        super().__init__()
        if width % heads:
            raise BadArgument(f"{width} channels in {heads} heads", allowed="heads that divide the width")
        self.heads, self.dropout = heads, dropout
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = perceptron(width, dropout=dropout)
        self.drop = nn.Sequential(nn.Dropout(dropout), DropPath(drop_path))
        self.apply(initialise)

    def forward(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        tokens = tokens + self.drop(self.out(self._look(self.norm1(tokens))))
        return tokens + self.drop(self.mlp(self.norm2(tokens)))

    def _look(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # b g n d
        chance = self.dropout if self.training else 0.0
        return functional.scaled_dot_product_attention(q, k, v, dropout_p=chance).transpose(1, 2).flatten(2)


class DropPath(nn.Module):
    """While training, what a residual branch gives is 0 for some images and larger for the others.

    Args:
        chance: of an image to lose it.

    Source: Huang et al. 2016, arXiv:1603.09382.
    """

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.chance = chance

    def forward(self, branch: Float[Tensor, " b *s"]) -> Float[Tensor, " b *s"]:
        if not self.training or self.chance == 0:
            return branch
        kept = torch.rand(len(branch), *[1] * (branch.ndim - 1), device=branch.device) >= self.chance
        return branch * kept.to(branch.dtype) / (1 - self.chance)


def drop_path_rates(last: float, depth: int) -> list[float]:
    """The chance of each of ``depth`` blocks, rising evenly from 0 to ``last``."""
    return [last * block / max(1, depth - 1) for block in range(depth)]


def perceptron(width: int, *, dropout: float = 0.0) -> nn.Sequential:
    """Four times as wide within, GELU, back again."""
    return nn.Sequential(
        nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
    )


def initialise(module: nn.Module) -> None:
    """First weights of linear layers as vision transformers have them: of deviation 0.02; biases 0."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
