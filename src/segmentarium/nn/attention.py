"""Attention of several heads, each projection a layer of its own."""

from __future__ import annotations

from math import sqrt

from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument


class Attention(nn.Module):
    """Each query takes the mean of all values, weighted by how well their keys fit it, head by head.

    Args:
        width: channels of queries, keys, values and answers.
        dropout: of the weights, while training.

    Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.
    """

    def __init__(self, width: int, heads: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise BadArgument(
                f"{width} channels in {heads} heads", allowed="heads that divide the width", cure="change one"
            )
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)
        for part in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(part.weight, gain=sqrt(0.5))  # as if the three were one matrix
        for part in (self.query, self.key, self.value, self.out):
            nn.init.zeros_(part.bias)

    def forward(
        self,
        queries: Float[Tensor, "b n c"],
        keys: Float[Tensor, "b m c"],
        values: Float[Tensor, "b m c"],
        *,
        allowed: Bool[Tensor, "#b #g #n m"] | None = None,
    ) -> Float[Tensor, "b n c"]:
        """Answer ``queries``.

        Args:
            allowed: which keys (axis 4) a query (axis 3) may look at, by image and head; at least one each.
        """
        q, k, v = (
            self._split(self.query(queries)),
            self._split(self.key(keys)),
            self._split(self.value(values)),
        )
        chance = self.dropout if self.training else 0.0
        heads = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed, dropout_p=chance)
        return self.out(heads.transpose(1, 2).flatten(2))

    def _split(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b g n d"]:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)
