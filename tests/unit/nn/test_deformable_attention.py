"""Deformable attention equals its slow twin, which reads pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterable
from math import floor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from segmentarium.errors import BadArgument
from segmentarium.nn.deformable_attention import DeformableAttention, pixel_centres, read_points

SIDES = st.integers(1, 5)
SIZES = st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=3)


def read_one(image: Tensor, x: float, y: float) -> Tensor:
    """The bilinear value of ``image`` (h w d) at (x, y) in pixels; the first has its centre at 0."""
    total = torch.zeros(image.shape[-1], dtype=image.dtype)
    for row in (floor(y), floor(y) + 1):
        for column in (floor(x), floor(x) + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += (1 - abs(x - column)) * (1 - abs(y - row)) * image[row, column]
    return total


def slow(values: Tensor, places: Tensor, weights: Tensor, sizes: Iterable[tuple[int, int]]) -> Tensor:
    """The definition, with one loop for each letter of the shape."""
    batch, queries, heads, _, points, _ = places.shape
    answers = torch.zeros(batch, queries, heads, values.shape[-1], dtype=values.dtype)
    start = 0
    for level, (height, width) in enumerate(sizes):
        for b in range(batch):
            for g in range(heads):
                image = values[b, start : start + height * width, g].unflatten(0, (height, width))
                for q in range(queries):
                    for p in range(points):
                        x, y = places[b, q, g, level, p].tolist()
                        read = read_one(image, x * width - 0.5, y * height - 0.5)
                        answers[b, q, g] += weights[b, q, g, level, p] * read
        start += height * width
    return answers.flatten(2)


@settings(max_examples=40, deadline=None)
@given(sizes=SIZES, heads=st.integers(1, 3), points=st.integers(1, 3), seed=st.integers(0, 2**16))
def test_equals_the_slow_twin(sizes: list[tuple[int, int]], heads: int, points: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    tokens = sum(height * width for height, width in sizes)

    def some(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw, dtype=torch.float64)

    values, weights = some(2, tokens, heads, 3) - 0.5, some(2, 4, heads, len(sizes), points)
    places = 1.6 * some(2, 4, heads, len(sizes), points, 2) - 0.3
    expected = slow(values, places, weights, sizes)
    torch.testing.assert_close(read_points(values, places, weights, sizes=sizes), expected)


@settings(max_examples=10, deadline=None)
@given(sizes=SIZES, seed=st.integers(0, 2**16))
def test_the_layer_is_the_twin_between_its_projections(sizes: list[tuple[int, int]], seed: int) -> None:
    torch.manual_seed(seed)
    layer = DeformableAttention(8, 2, levels=len(sizes), points=2).double()
    for tensor in layer.parameters():
        torch.nn.init.normal_(tensor)
    places = pixel_centres(sizes, like=torch.zeros(1, dtype=torch.float64))
    tokens, queries = (torch.randn(2, len(places), 8, dtype=torch.float64) for _ in range(2))
    offsets = layer.offsets(queries).view(2, len(places), 2, len(sizes), 2, 2)
    weights = layer.weights(queries).view(2, len(places), 2, -1).softmax(-1).view_as(offsets[..., 0])
    extent = torch.tensor([(w, h) for h, w in sizes]).double()
    where = places[None, :, None, None, None] + offsets / extent[None, None, None, :, None]
    with torch.no_grad():
        expected = layer.out(slow(layer.value(tokens).view(2, -1, 2, 4), where, weights, sizes))
        torch.testing.assert_close(layer(queries, tokens, places=places, sizes=sizes), expected)


def test_gradients_are_those_of_small_differences() -> None:
    torch.manual_seed(1)
    sizes = [(3, 2), (2, 2)]
    values, weights = torch.randn(1, 10, 2, 2).double(), torch.rand(1, 2, 2, 2, 2).double()
    places = torch.rand(1, 2, 2, 2, 2, 2).double()
    arguments = tuple(tensor.requires_grad_() for tensor in (values, places, weights))
    assert torch.autograd.gradcheck(lambda v, p, w: read_points(v, p, w, sizes=sizes), arguments)


def test_centres_stand_in_the_order_of_tokens() -> None:
    expected = [[0.5, 0.25], [0.5, 0.75], [1 / 6, 0.5], [0.5, 0.5], [5 / 6, 0.5]]
    torch.testing.assert_close(pixel_centres([(2, 1), (1, 3)], like=torch.zeros(1)), torch.tensor(expected))


def test_heads_look_all_around_at_first() -> None:
    layer = DeformableAttention(16, 8, levels=2, points=3)
    steps = layer.offsets.bias.detach().view(8, 2, 3, 2)
    corner, edge = torch.tensor([1.0, 1.0]), torch.tensor([0.0, 1.0])
    for point in range(3):
        torch.testing.assert_close(steps[1, :, point], ((point + 1) * corner).expand(2, 2))
        torch.testing.assert_close(steps[2, :, point], ((point + 1) * edge).expand(2, 2), atol=1e-6, rtol=0)


def test_places_keep_their_digits_in_half_precision() -> None:
    torch.manual_seed(2)
    sizes = [(64, 64)]
    layer = DeformableAttention(8, 2, levels=1, points=4).bfloat16()
    tokens = torch.arange(64 * 64.0)[None, :, None].expand(1, -1, 8) / 4096
    places = pixel_centres(sizes, like=tokens.bfloat16())
    half = layer(tokens.bfloat16(), tokens.bfloat16(), places=places, sizes=sizes)
    full = layer.float()(tokens, tokens, places=places, sizes=sizes)
    assert places.dtype == torch.float32
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), full, atol=0.02, rtol=0.02)


def test_heads_divide_the_width() -> None:
    with pytest.raises(BadArgument, match="9 channels in 2 heads"):
        DeformableAttention(9, 2, levels=1, points=1)
