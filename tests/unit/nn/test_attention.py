"""Positions, attention and perceptrons against their definitions."""

from __future__ import annotations

from math import pi

import pytest
import torch
from torch import nn

from segmentarium.errors import BadArgument
from segmentarium.nn.attention import Attention
from segmentarium.nn.mlp import MLP
from segmentarium.nn.position import sine_positions


def test_positions_by_hand() -> None:
    codes = sine_positions(torch.zeros(1, 1, 2, 3, dtype=torch.float64), 8).view(2, 3, 8)
    y, x = 2 * pi * 1 / 2, 2 * pi * 2 / 3  # first row, second column
    angles = torch.tensor([y, y / 100, x, x / 100], dtype=torch.float64)
    expected = torch.stack([angles.sin(), angles.cos()], dim=1).flatten()
    torch.testing.assert_close(codes[0, 1], expected, rtol=0, atol=1e-5)


def test_positions_follow_dtype_and_refuse_odd_widths() -> None:
    assert sine_positions(torch.zeros(1, 1, 2, 3, dtype=torch.bfloat16), 8).dtype == torch.bfloat16
    with pytest.raises(BadArgument, match="width 6"):
        sine_positions(torch.zeros(1, 1, 2, 3), 6)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_torchs(masked: bool) -> None:
    torch.manual_seed(0)
    reference, own = nn.MultiheadAttention(16, 4, batch_first=True).double(), Attention(16, 4).double()
    nn.init.normal_(reference.in_proj_bias)
    weights, biases = reference.in_proj_weight.chunk(3), reference.in_proj_bias.chunk(3)
    with torch.no_grad():
        for part, weight, bias in zip((own.query, own.key, own.value), weights, biases, strict=True):
            part.weight.copy_(weight)
            part.bias.copy_(bias)
    own.out.load_state_dict(reference.out_proj.state_dict())
    queries, keys, values = (torch.randn(2, n, 16, dtype=torch.float64) for n in (5, 7, 7))
    allowed = torch.rand(2, 1, 5, 7) < 0.6 if masked else None
    if allowed is not None:
        allowed[..., 0] = True
    theirs = None if allowed is None else ~allowed.expand(2, 4, 5, 7).flatten(0, 1)
    expected, _ = reference(queries, keys, values, attn_mask=theirs)
    torch.testing.assert_close(own(queries, keys, values, allowed=allowed), expected)


def test_attention_refuses_uneven_heads() -> None:
    with pytest.raises(BadArgument, match="3 heads"):
        Attention(16, 3)


def test_perceptron_is_linear_at_its_end() -> None:
    network = MLP(3, 5, 2)
    tokens = torch.randn(4, 6, 3)
    inner = network.layers[0](tokens).relu()
    torch.testing.assert_close(network(tokens), network.layers[1](inner))
    assert network.layers[0].out_features == 5
