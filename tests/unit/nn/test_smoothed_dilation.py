"""Dilated convolutions taken apart and smoothed: equal where the paper says so, and connected."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from segmentarium.errors import BadArgument, UnknownName
from segmentarium.nn.smoothed_dilation import (
    SMOOTHINGS,
    GroupInteraction,
    SeparableShared,
    blockwise,
    decompose,
    decomposed_conv,
    interlace,
    smooth,
)

SIZES = [(1, 1), (5, 7), (8, 12), (13, 4)]


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(18))


def plain(rate: int, *, kernel: int = 3, groups: int = 1, bias: bool = True) -> nn.Conv2d:
    torch.manual_seed(8)
    padding = rate * (kernel // 2)
    return nn.Conv2d(4, 6, kernel, padding=padding, dilation=rate, groups=groups, bias=bias).double()


def test_groups_are_every_second_pixel() -> None:
    image = torch.arange(15.0).view(1, 1, 3, 5)
    first, second, third, _ = decompose(image, 2)[:, 0, 0]
    assert first.tolist() == [[0, 2, 4], [10, 12, 14]]
    assert second.tolist() == [[1, 3, 0], [11, 13, 0]]
    assert third.tolist() == [[5, 7, 9], [0, 0, 0]]


@pytest.mark.parametrize(("rate", "size"), [*product((1, 2, 3, 4), SIZES)])
def test_interlacing_undoes_decomposing(rate: int, size: tuple[int, int]) -> None:
    image = drawn(2, 3, *size)
    assert torch.equal(interlace(decompose(image, rate), size), image)


@pytest.mark.parametrize(("rate", "size", "groups"), [*product((1, 2, 3, 4), SIZES, (1, 2))])
def test_decomposed_is_dilated(rate: int, size: tuple[int, int], groups: int) -> None:
    image, weight = drawn(2, 4, *size), drawn(6, 4 // groups, 3, 3)
    wanted = functional.conv2d(image, weight, padding=rate, dilation=rate, groups=groups)
    found = interlace(decomposed_conv(image, weight, rate=rate, groups=groups), size)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "rate", "size"), [*product(SMOOTHINGS, (2, 4), SIZES)])
def test_smoothed_begins_as_dilated(kind: str, rate: int, size: tuple[int, int]) -> None:
    for convolution in (plain(rate), plain(rate, kernel=5, groups=2, bias=False)):
        image = drawn(2, 4, *size)
        smoothed = SMOOTHINGS[kind](convolution).double()
        torch.testing.assert_close(smoothed(image), convolution(image), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rate", "size"), [(2, (6, 10)), (4, (8, 12))])
def test_group_interaction_is_a_block_wise_fully_connected_layer(rate: int, size: tuple[int, int]) -> None:
    image, convolution = drawn(2, 4, *size), plain(rate, bias=False)
    mixing = GroupInteraction(convolution).double()
    mixing.offset.data = drawn(rate**2, rate**2)
    wanted = blockwise(convolution(image), mixing.matrix)
    torch.testing.assert_close(mixing(image), wanted, rtol=0, atol=1e-12)


def test_block_wise_layer_on_a_block() -> None:
    block = torch.tensor([[1.0, 2.0], [3.0, 4.0]])[None, None]
    matrix = torch.zeros(4, 4)
    matrix[0, 3] = matrix[1, 1] = matrix[2, 0] = 1.0
    matrix[3] = 0.25
    assert blockwise(block, matrix)[0, 0].tolist() == [[4.0, 2.0], [1.0, 2.5]]


@pytest.mark.parametrize("rate", [2, 4])
def test_separable_and_shared_filters_each_channel_alike(rate: int) -> None:
    image, convolution = drawn(1, 4, 9, 7), plain(rate)
    blurring = SeparableShared(convolution).double()
    blurring.offset.data = drawn(2 * rate - 1, 2 * rate - 1)
    shared = blurring.filter[None, None]
    channels = [functional.conv2d(image[:, [c]], shared, padding=rate - 1) for c in range(4)]
    torch.testing.assert_close(blurring(image), convolution(torch.cat(channels, 1)), rtol=0, atol=1e-12)


def seen_by(layers: nn.Module, pixel: tuple[int, int], *, side: int = 24) -> Tensor:
    """Which pixels of the input a pixel of the output depends on."""
    image = torch.zeros(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    layers(image)[0, 0, pixel[0], pixel[1]].backward()
    assert image.grad is not None
    return image.grad[0, 0] != 0


@pytest.mark.parametrize("rate", [2, 4])
def test_neighbours_share_nothing_until_smoothed(rate: int) -> None:
    convolutions = [nn.Conv2d(1, 1, 3, padding=rate, dilation=rate).double() for _ in range(2)]
    grid = nn.Sequential(*convolutions)
    assert not (seen_by(grid, (12, 12)) & seen_by(grid, (12, 13))).any()
    assert seen_by(grid, (12, 12)).sum() == 25
    for kind in (GroupInteraction, SeparableShared):
        smoothed = nn.Sequential(*(kind(convolution).double() for convolution in convolutions))
        for parameter in smoothed.parameters():
            nn.init.uniform_(parameter, 0.1, 1.0)
        here, beside = seen_by(smoothed, (12, 12)), seen_by(smoothed, (12, 13))
        rows = here.any(1).nonzero()
        assert here[rows[0, 0] : rows[-1, 0] + 1, 12].all()  # no gaps left
        assert (here & beside).sum() > 0.8 * here.sum()


@pytest.mark.parametrize(("kind", "rate", "more"), [
    (GroupInteraction, 2, 16), (GroupInteraction, 4, 256), (SeparableShared, 2, 9), (SeparableShared, 4, 49),
])  # fmt: skip
def test_what_smoothing_costs(kind: type[nn.Module], rate: int, more: int) -> None:
    before, after = plain(rate), kind(plain(rate))
    assert sum(p.numel() for p in after.parameters()) - sum(p.numel() for p in before.parameters()) == more


def test_a_network_is_smoothed_once_where_it_is_dilated() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sequential(plain(2)))
    weight = network[1][0].weight
    for _ in range(2):
        smooth(network, "separable_shared")
    assert type(network[0]) is nn.Conv2d
    assert isinstance(network[1][0], SeparableShared)
    assert network[1][0].weight is weight


def test_what_cannot_be_smoothed_is_refused() -> None:
    with pytest.raises(UnknownName, match="group_interaction"):
        smooth(nn.Sequential(), "gaussian")
    for convolution in (
        nn.Conv2d(1, 1, 3, stride=2, padding=2, dilation=2),
        nn.Conv2d(1, 1, 3, dilation=2),
        nn.Conv2d(1, 1, 3, padding=2, dilation=(2, 3)),
        nn.Conv2d(1, 1, (1, 3), padding=2, dilation=2),
    ):
        with pytest.raises(BadArgument):
            GroupInteraction(convolution)
