"""A perceptron of several layers."""

from __future__ import annotations

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn


class MLP(nn.Module):
    """Linear layers through ``widths``, the width of the input first, with ReLU between them.

    Args:
        dropout: after each ReLU, while training.
    """

    def __init__(self, *widths: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "*b c"]) -> Float[Tensor, "*b d"]:
        for layer in self.layers[:-1]:
            tokens = self.dropout(layer(tokens).relu())
        return self.layers[-1](tokens)
