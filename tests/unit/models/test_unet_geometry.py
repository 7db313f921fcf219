"""Sizes, strides and first weights of the U-Nets."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import pytest
import torch

from segmentarium.errors import BadImage, UnknownName
from segmentarium.models import build
from segmentarium.models.unet import VARIANTS, Config, UNet, from_encoder


def unpadded(levels: int) -> UNet:
    config = Config(widths=(2,) * (levels + 1), decoder=(2,) * levels, valid=True, norm=False, in_channels=1)
    return UNet(config).eval()


def test_the_papers_figure() -> None:
    with torch.device("meta"):
        network = UNet(VARIANTS["paper"])
        assert network(torch.zeros(1, 1, 572, 572)).logits.shape == (1, 2, 388, 388)
    assert (network.border, network.input_side(388), network.input_side(1)) == (92, 572, 188)


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
def test_input_side_is_the_smallest_that_yields_enough(levels: int) -> None:
    network = unpadded(levels)
    for wanted in (1, 4, 5, 20, 33):
        side = network.input_side(wanted)
        assert network(torch.zeros(1, 1, side, side)).logits.shape[-1] == side - 2 * network.border >= wanted
        assert side - 2 * network.border - wanted < 2**levels


def test_an_unpadded_network_names_the_sizes_it_takes() -> None:
    with pytest.raises(BadImage, match="188 plus multiples of 16, next 204"):
        UNet(VARIANTS["paper"])(torch.zeros(1, 1, 188, 200))


def test_an_unpadded_network_sees_only_its_border() -> None:
    network = unpadded(2).double()
    side = network.input_side(9)
    image = torch.rand(1, 1, side, side, dtype=torch.float64, requires_grad=True)
    network(image).logits[..., 0, 0].sum().backward()
    assert image.grad is not None
    assert image.grad[..., 2 * network.border + 1 + 4 :].abs().sum() == 0


@pytest.mark.parametrize("encoder", ["resnet18", "convnext_atto", "vgg11_bn", "mobilenetv3_small_050"])
@pytest.mark.parametrize("size", [(33, 47), (64, 96), (65, 31)])
def test_encoders_answer_at_the_images_size(encoder: str, size: tuple[int, int]) -> None:
    config = replace(from_encoder(encoder), decoder=(8, 8, 8, 8, 8), in_channels=4)
    with torch.inference_mode():
        assert UNet(config).eval()(torch.rand(1, 4, *size)).logits.shape[-2:] == size


def test_a_short_decoder_stops_at_its_stride() -> None:
    for steps, stride in ((2, 8), (3, 4), (4, 2)):
        config = Config(encoder="resnet10t", decoder=(8,) * steps, up="nearest")
        with torch.device("meta"):
            assert UNet(config)(torch.zeros(1, 3, 64, 128)).logits.shape[-2:] == (64 // stride, 128 // stride)


def test_an_encoder_without_a_pyramid_is_refused() -> None:
    with pytest.raises(UnknownName, match="no pyramid"), torch.device("meta"):
        build("unet-vit_tiny_patch16_224", classes=2)


def test_first_weights_keep_the_scale() -> None:
    torch.manual_seed(0)
    network = UNet(VARIANTS["paper"])
    deep = network.get_submodule("encoder.levels.4.2")
    assert isinstance(deep, torch.nn.Conv2d)
    assert deep.weight.std().item() == pytest.approx(sqrt(2 / (9 * 1024)), rel=0.01)
    up = network.get_submodule("decoder.0.up")
    assert isinstance(up, torch.nn.ConvTranspose2d)
    assert up.weight.std().item() == pytest.approx(sqrt(2 / 1024), rel=0.01)
