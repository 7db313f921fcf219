"""Blocks, encoders and geometry by eye."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from segmentarium.backbones import Encoder
from segmentarium.errors import BadImage, UnknownName
from segmentarium.nn import ConvNormAct, crop_or_pad, geometry_of, require_channels, resize


def test_the_odd_pixel_goes_last() -> None:
    row = torch.arange(1, 6)[None, None, None]
    assert crop_or_pad(row, (1, 3)).flatten().tolist() == [2, 3, 4]
    assert crop_or_pad(row, (1, 8)).flatten().tolist() == [0, 1, 2, 3, 4, 5, 0, 0]
    assert crop_or_pad(row, (1, 2)).flatten().tolist() == [2, 3]
    assert crop_or_pad(row, (1, 4)).flatten().tolist() == [1, 2, 3, 4]
    assert crop_or_pad(row, (1, 5)) is row


def test_resizing_keeps_pixel_centres() -> None:
    ramp = torch.tensor([0.0, 4.0])[None, None, None]
    assert resize(ramp, (1, 4)).flatten().tolist() == [0, 1, 3, 4]
    assert resize(ramp, (1, 2)) is ramp


def test_a_block_keeps_the_size() -> None:
    for kernel, dilation in ((1, 1), (3, 1), (3, 4), (5, 2)):
        block = ConvNormAct(2, 3, kernel=kernel, dilation=dilation)
        assert block(torch.rand(2, 2, 9, 11)).shape == (2, 3, 9, 11)


def test_the_door_reads_shapes() -> None:
    require_channels(torch.zeros(1, 3, 2, 2), 3)
    for shape in ((1, 4, 2, 2), (3, 2, 2)):
        with pytest.raises(BadImage, match=r"\(batch, 3, height, width\)"):
            require_channels(torch.zeros(shape), 3)


def test_networks_without_geometry_answer_at_their_size() -> None:
    geometry = geometry_of(nn.Identity())
    assert (geometry.border, geometry.input_side(77)) == (0, 77)


@pytest.mark.parametrize("size", [(64, 96), (33, 47), (1, 1), (5, 70)])
def test_encoders_say_what_they_give(size: tuple[int, int]) -> None:
    encoder = Encoder("mobilenetv3_small_050", in_channels=5).eval()
    maps = encoder(torch.rand(2, 5, *size))
    assert tuple(m.shape[1] for m in maps) == encoder.channels
    assert encoder.strides == (2, 4, 8, 16, 32)
    for made, stride in zip(maps, encoder.strides, strict=True):
        assert tuple(made.shape[-2:]) == tuple(-(-side // stride) for side in size)


def test_unknown_encoders_are_told() -> None:
    with pytest.raises(UnknownName, match="did you mean 'resnet34'"):
        Encoder("resnet_34")
