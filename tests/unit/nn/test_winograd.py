"""Winograd's algorithm beside the usual one: answers, when it is used, and where it is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from segmentarium.nn import ConvNormAct
from segmentarium.nn.winograd import HERE, Sheet, WinogradConvolution, is_winograd


def assert_near(seen: Tensor, expected: Tensor, tolerance: float) -> None:
    assert (seen - expected).abs().max() <= tolerance * expected.abs().max()


@pytest.mark.parametrize(
    ("images", "step", "size"),
    [(1, 1, (40, 51)), (1, 2, (50, 67)), (3, 1, (31, 30)), (2, 3, (64, 50)), (1, 1, (4, 5))],
)
@torch.no_grad()
def test_winograd_equals_the_convolution(images: int, step: int, size: tuple[int, int]) -> None:
    torch.manual_seed(4)
    plain = nn.Conv2d(16, 24, 3, padding=step, dilation=step, bias=images > 1)
    maps = torch.rand(images, 16, *size)
    quick = WinogradConvolution(plain)
    for own in (maps, maps.to(memory_format=torch.channels_last), maps[..., :0]):
        if own.numel():
            assert_near(quick(own), plain(own), 1e-4)
    assert_near(quick.double()(maps.double()), plain.double()(maps.double()), 1e-12)


@pytest.mark.skipif(not HERE, reason="NNPACK is not to be had here")
@torch.no_grad()
def test_winograd_is_used_where_it_saves_work(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    convolve = Sheet.convolve

    def counted(sheet: Sheet, maps: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(sheet.height)
        return convolve(sheet, maps, weight, bias)

    monkeypatch.setattr(Sheet, "convolve", counted)
    quick = WinogradConvolution(nn.Conv2d(16, 24, 3, padding=1))
    quick(torch.rand(1, 16, 48, 50))
    quick(torch.rand(1, 16, 4, 5))
    quick.double()(torch.rand(1, 16, 54, 50, dtype=torch.float64))
    assert seen == [48]


def test_where_winograd_is_for() -> None:
    assert is_winograd(nn.Conv2d(16, 16, 3, padding=2, dilation=2))
    for other in (
        nn.Conv2d(16, 16, 3),
        nn.Conv2d(16, 16, 3, 2, 1),
        nn.Conv2d(16, 16, 5, padding=2),
        nn.Conv2d(16, 16, 3, padding=1, groups=2),
        nn.Conv2d(3, 16, 3, padding=1),
        nn.Conv2d(16, 16, 3, padding="same"),
        nn.Conv2d(16, 16, 3, padding=1, padding_mode="circular"),
        ConvNormAct(16, 16),
    ):
        assert not is_winograd(other)
